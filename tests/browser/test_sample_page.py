"""The page with a sample in a browser: verdicts, exact numbers, the download, and no network."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

import bulklink
from bulklink.blocking import call_inline
from bulklink.cli.sample_summary import sample_lines
from bulklink.finding.sample_check import DrawnEmail, SampleVerdict, check_sample, wrong_limits
from bulklink.finding.verdicts import ChangeKind, Tier
from bulklink.operations.auditing.sample import AuditCheck
from bulklink.operations.check_audit import check_audit
from bulklink.operations.sample_audit import sample_audit
from tests.browser.open_page import weak_texts
from tests.operations.auditing.audited import answer, write_audit

PAGES = Path(bulklink.__file__).parent / "html_pages"
ASSETS = PAGES / "sample" / "assets"
GROUPS = {
    (Tier.SURE, ChangeKind.ATTACH): 30,
    (Tier.SURE, ChangeKind.MOVE): 20,
    (Tier.LOOK, ChangeKind.MOVE): 6,
}
EVIL = "</script><script>document.title = 'run'</script><img src=https://x.example/a>\u202e\x00"


def draw(mapping: Path, emails: int = 25, **options: Any) -> None:
    """Draw a sample; Playwright runs an event loop in this thread."""
    call_inline(lambda: sample_audit(mapping, emails, **options))


def read_verdicts(mapping: Path, verdicts: Path) -> AuditCheck:
    return call_inline(lambda: check_audit(mapping, verdicts))


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    """A mapping whose sample of 25 emails of each tier has been drawn."""
    mapping = call_inline(lambda: write_audit(tmp_path, GROUPS, subject=EVIL))
    draw(mapping)
    return mapping


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    with chromium.new_context(viewport={"width": 1100, "height": 800}) as context:
        yield context


class SamplePage:
    """The page in a tab, with its requests and its errors."""

    def __init__(self, context: BrowserContext, mapping: Path, before: str = "") -> None:
        self.tab: Page = context.new_page()
        self.problems: list[str] = []
        self.tab.on("console", lambda message: self.problems.append(message.text))
        self.tab.on("pageerror", lambda error: self.problems.append(str(error)))
        self.tab.on("request", lambda request: self._on_request(request.url))
        if before:
            self.tab.add_init_script(before)
        self.tab.goto(mapping.with_name("m.check.html").as_uri())

    def _on_request(self, url: str) -> None:
        if not url.startswith(("file:", "blob:")):
            self.problems.append(url)

    def press(self, keys: str) -> None:
        for key in keys:
            self.tab.keyboard.press(key)

    @property
    def verdicts(self) -> list[str]:
        cards: list[str] = self.tab.eval_on_selector_all(
            ".email", "cards => cards.map((card) => card.dataset.verdict)"
        )
        return cards

    @property
    def proof(self) -> list[str]:
        return self.tab.locator(".proof li").all_inner_texts()

    def download(self, folder: Path) -> Path:
        with self.tab.expect_download() as download:
            self.tab.click("text=Download verdicts")
        path = folder / download.value.suggested_filename
        download.value.save_as(path)
        return path


def numbers_of_script(tab: Page, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    scripts = (PAGES / "assets" / "counts.js", ASSETS / "bounds.js", ASSETS / "summary.js")
    sources = "".join(script.read_text("utf-8") for script in scripts)
    results: list[dict[str, Any]] = tab.evaluate(
        f"""(cases) => {{ {sources}
        return cases.map(({{ group, verdicts }}) => {{
            const result = checkGroup(group, verdicts);
            return {{ ...result, text: describe(group, result) }};
        }}); }}""",
        cases,
    )
    return results


def random_case(random: Random) -> tuple[dict[tuple[Tier, ChangeKind], int], list[Any]]:
    """Return the proposals of a kind, and verdicts on some of the first group that has any."""
    kind = random.choice(list(ChangeKind))
    most = random.choice([5, 60, 1500, 200_000])
    tiers = random.sample(list(Tier), random.randint(1, 3))
    proposed = {(tier, kind): random.randint(1, most) for tier in Tier if tier in tiers}
    size = random.randint(0, min(next(iter(proposed.values())), 300))
    bad = random.choice([0, 0.01, 0.1, 0.5])
    verdicts = [
        random.choice(["wrong", "unsure", None]) if random.random() < bad else "right"
        for _ in range(size)
    ]
    return proposed, verdicts


def test_the_script_computes_and_says_the_same_as_the_command(context: BrowserContext) -> None:
    random = Random(24)
    cases, expected = [], []
    for _ in range(300):
        proposed, verdicts = random_case(random)
        (tier, kind), *_ = proposed
        limits = wrong_limits(proposed, tier, kind)
        group = {
            "tier": tier.value,
            "kind": kind.value,
            "proposed": limits.proposed,
            "promise": None if limits.promise is None else f"{limits.promise:.1%}",
            "proving": limits.proving,
            "rejecting": {name.value: most for name, most in limits.rejecting.items()},
        }
        cases.append({"group": group, "verdicts": verdicts})
        emails = [
            DrawnEmail(tier, kind, None if verdict is None else SampleVerdict(verdict))
            for verdict in verdicts
        ]
        expected.append(check_sample(proposed, emails)[0])
    for result, check in zip(numbers_of_script(context.new_page(), cases), expected, strict=True):
        names = ("drawn", "right", "wrong", "unsure", "checked", "needed", "becomes")
        assert {name: result[name] for name in names} == {
            name: getattr(check, name) for name in names
        }
        assert result["atLeast"] == round(10_000 * check.at_least)
        nothing = {tier.value: dict[str, int]() for tier in Tier}
        lines = sample_lines(AuditCheck((check,), nothing, {"check": ""}, 0, 1), "m.csv")
        assert result["text"] in " ".join(" ".join(map(str, lines)).split())


def test_verdicts_given_by_keys_are_downloaded_and_read(
    context: BrowserContext, mapping: Path, tmp_path: Path
) -> None:
    page = SamplePage(context, mapping)
    page.press("j" + "r" * 10 + "wu" + "k" + "c" + "jr")
    assert page.verdicts[:14] == ["right"] * 10 + ["wrong", "", "right", ""]
    page.tab.locator(".email").nth(30).get_by_role("button", name="Unsure").click()
    assert page.verdicts[30] == "unsure"
    path = page.download(tmp_path)
    assert path.name == "m.verdicts.csv"
    with path.open(encoding="utf-8", newline="") as file:
        assert "subject" not in next(csv.reader(file)), "no text of others in a spreadsheet"
    checks = read_verdicts(mapping, path).check
    assert sum(one.right for one in checks) == 11
    assert sum(one.wrong for one in checks) == 1
    nothing = {tier.value: dict[str, int]() for tier in Tier}
    lines = list(sample_lines(AuditCheck(checks, nothing, {"check": ""}, 0, 1), "m.csv"))
    shown = " ".join(" ".join(map(str, lines)).split())
    for line in page.proof:
        assert line.partition(" That is less")[0].partition("; ")[0].rstrip(".") in shown
    assert page.tab.locator("#next code").inner_text() == (
        "bulklink audit --checked m.verdicts.csv -o m.csv"
    )
    assert page.problems == []


def test_verdicts_survive_a_reload_and_those_of_the_table_are_shown(
    context: BrowserContext, mapping: Path
) -> None:
    answer(mapping.with_name("m.check.csv"), lambda row: "no" if row["number"] == "3" else "")
    draw(mapping)
    page = SamplePage(context, mapping)
    assert page.verdicts[:4] == ["", "", "wrong", ""]
    page.press("jrrc")
    page.tab.reload()
    assert page.verdicts[:4] == ["right", "right", "", ""]
    assert "3 of 31 answered" in page.tab.inner_text("#state")
    other = call_inline(lambda: write_audit(mapping.parent, {(Tier.SURE, ChangeKind.MOVE): 9}))
    draw(other, 5, force=True)
    assert set(SamplePage(context, other).verdicts) == {""}, "verdicts belong to one audit"


def test_two_tabs_with_one_page_share_their_verdicts(
    context: BrowserContext, mapping: Path
) -> None:
    page, other = SamplePage(context, mapping), SamplePage(context, mapping)
    page.press("jr")
    expect(other.tab.locator(".email[data-verdict=right]")).to_have_count(1)
    other.press("jjw")
    expect(page.tab.locator("#state")).to_have_text("2 of 31 answered.")
    page.tab.reload()
    assert page.verdicts[:3] == ["right", "wrong", ""]


def test_where_storage_is_refused_the_page_says_so_and_works(
    context: BrowserContext, mapping: Path, tmp_path: Path
) -> None:
    refuse = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('no'); } });"
    page = SamplePage(context, mapping, refuse)
    assert "download them before you leave" in page.tab.inner_text("#state")
    page.press("jr")
    assert "download them before you leave" in page.tab.inner_text("#state")
    assert read_verdicts(mapping, page.download(tmp_path)).check[0].checked <= 1
    assert page.problems == []


def test_hostile_texts_do_nothing_and_controls_are_visible(
    context: BrowserContext, mapping: Path
) -> None:
    page = SamplePage(context, mapping)
    assert page.tab.title() == "Check a sample: m.csv"
    title = page.tab.locator(".email h3").first.inner_text()
    assert "<img src=https://x.example/a>" in title
    assert r"\u202e\x00" in title
    assert page.tab.locator("img").count() == 0
    assert page.problems == []


def test_without_a_script_the_emails_are_shown_with_what_to_do(
    chromium: Browser, mapping: Path
) -> None:
    with chromium.new_context(java_script_enabled=False) as context:
        tab = context.new_page()
        tab.goto(mapping.with_name("m.check.html").as_uri())
        assert tab.locator(".email").count() == 31
        assert "bulklink audit --checked m.check.csv -o m.csv" in tab.inner_text("body")
        assert not tab.locator("#proof").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_the_page_without_scrolling_sideways(
    chromium: Browser, mapping: Path, scheme: Any
) -> None:
    with chromium.new_context(
        viewport={"width": 390, "height": 800}, color_scheme=scheme
    ) as context:
        page = SamplePage(context, mapping)
        page.press("jrwuj")
        assert weak_texts(page.tab) == []
        assert page.tab.evaluate("document.documentElement.scrollWidth") == 390
        heights = page.tab.eval_on_selector_all(
            ".answers button", "buttons => buttons.slice(0, 3).map((b) => b.offsetHeight)"
        )
        assert set(heights) == {heights[0]}
        assert heights[0] >= 40


def test_a_screen_reader_has_names_for_everything(context: BrowserContext, mapping: Path) -> None:
    page = SamplePage(context, mapping)
    page.press("jr")
    card = page.tab.locator(".email").first
    group = card.get_by_role("group", name="Verdict on sure 1")
    assert group.get_by_role("button", name="Right", pressed=True).count() == 1
    assert group.get_by_role("button", pressed=False).count() == 2
    status = page.tab.locator("#announcement")
    assert status.get_attribute("role") == "status"
    assert status.inner_text().startswith("sure 1: right. sure, ")
    assert page.tab.locator(".email").nth(1).evaluate("card => card === document.activeElement")


def test_an_audit_without_proposals_says_so(context: BrowserContext, tmp_path: Path) -> None:
    mapping = call_inline(lambda: write_audit(tmp_path, {}))
    draw(mapping, 5)
    page = SamplePage(context, mapping)
    assert "nothing to check" in page.tab.inner_text("body")
    assert page.problems == []
