"""The review page in a browser: decisions, keys, filters, and the mapping that it offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from bulklink.finding.verdicts import EmailVerdict, Tier
from bulklink.html_pages.review.model import (
    Review,
    ReviewCandidate,
    ReviewConversation,
    ReviewEmail,
    TierSummary,
)
from bulklink.html_pages.review.render import stream_review
from bulklink.operations.auditing.files import AuditFiles
from bulklink.operations.job import Job
from bulklink.operations.plan import PlanResult, plan
from tests.browser.open_page import OpenPage, in_thread, weak_texts
from tests.html_pages.review.audits import (
    BUOYS,
    CRANES,
    PUMPS,
    contact_of,
    email,
    message_of,
    proposal,
    rows_of_mapping,
    usual_contact,
    write_audit,
)

EVIL = '</script><script>document.title = "run"</script><img src=x onerror="document.title=1">'
TIERS = (Tier.LOOK, Tier.LIKELY, Tier.SURE, Tier.SURE)
NO_STORAGE = """Object.defineProperty(window, "localStorage", {
  get() { throw new DOMException("refused", "SecurityError"); },
});"""
Opener = Callable[..., OpenPage]


@pytest.fixture
def files(tmp_path: Path) -> AuditFiles:
    """An audit of four conversations of two proposals each, in the order of the page."""
    return audit_of(tmp_path, [usual_contact(n, tier) for n, tier in enumerate(TIERS)])


def audit_of(
    folder: Path, contacts: Sequence[Sequence[EmailVerdict]], name: str = "m.csv"
) -> AuditFiles:
    return in_thread(lambda: write_audit(folder, contacts, name))


def plan_of(mapping: Path) -> PlanResult:
    job = Job(mappings=(str(mapping),), run_dir=mapping.with_name("run"))
    return in_thread(lambda: plan(job))


@pytest.fixture
def open_review(chromium: Browser, files: AuditFiles) -> Iterator[Opener]:
    """Open the page in a browser that knows nothing of earlier tests."""
    contexts = []

    def open_it(path: Path = files.review, init: str = "", **options: Any) -> OpenPage:
        context = chromium.new_context(**({"timezone_id": "UTC"} | options))
        contexts.append(context)
        if init:
            context.add_init_script(init)
        opened = OpenPage(context.new_page(), path)
        if options.get("java_script_enabled", True):
            opened.tab.wait_for_selector("#app:not([hidden])")
        return opened

    yield open_it
    for context in contexts:
        context.close()


def press(tab: Page, keys: str) -> None:
    for key in keys:
        tab.keyboard.press(key)


def download(tab: Page, path: Path) -> list[dict[str, str]]:
    with tab.expect_download() as caught:
        tab.click("#download")
    assert caught.value.suggested_filename == "m.reviewed.csv"
    caught.value.save_as(path)
    return rows_of_mapping(path)


def states(tab: Page) -> list[str]:
    classes = tab.eval_on_selector_all(".row", "es => es.map(e => e.className)")
    return [text.split()[1] for text in classes]


OPS = {"attach": "link", "move": "relink", "detach": "unlink"}


def test_what_is_accepted_unchanged_is_the_mapping_of_the_audit(
    open_review: Opener, files: AuditFiles, tmp_path: Path
) -> None:
    tab = open_review().tab
    press(tab, "aaaa")
    expected = [
        row | {"accept": "yes", "op": OPS[row["kind"]]} for row in rows_of_mapping(files.mapping)
    ]
    assert len(expected) == 8
    assert download(tab, tmp_path / "accepted.csv") == expected


def test_the_cost_is_that_of_the_plan(open_review: Opener, tmp_path: Path) -> None:
    tab = open_review().tab
    press(tab, "aaaa")
    download(tab, tmp_path / "accepted.csv")
    planned = plan_of(tmp_path / "accepted.csv")
    assert planned.messages == 8
    calls = planned.calls
    at_least = calls.link + calls.unlink + calls.read_at_least + calls.lookup_at_least
    expect(tab.locator("#cost")).to_have_text(
        f"{calls.link} link calls, {calls.unlink} unlink calls; about {at_least} credits at least"
    )


def test_another_deal_or_none_is_chosen_by_its_number(open_review: Opener, tmp_path: Path) -> None:
    tab = open_review().tab
    press(tab, "2j3j0")
    rows = download(tab, tmp_path / "accepted.csv")
    found = [(row["contact_id"], row["op"], row["deal_id"], row["from_deal_id"]) for row in rows]
    assert found == [
        (contact_of(0), "link", PUMPS, ""),
        (contact_of(1), "relink", BUOYS, PUMPS),
        (contact_of(1), "link", BUOYS, ""),
        (contact_of(2), "unlink", "", PUMPS),
    ]
    assert {row["tier"] for row in rows} == {""}
    assert rows[0]["runner_up_deal_id"] == CRANES


def test_a_bulk_action_leaves_the_tier_look_and_what_is_decided_alone(
    open_review: Opener,
) -> None:
    tab = open_review().tab
    press(tab, "jr")
    tab.click("#accept-sure")
    tab.wait_for_timeout(100)
    assert states(tab) == ["open", "rejected", "accepted", "accepted"]
    expect(tab.locator("#accept-likely")).to_be_disabled()
    expect(tab.locator("#totals")).to_have_text("4 emails accepted, 2 rejected, 2 not decided")
    press(tab, "u")
    assert states(tab) == ["open", "rejected", "open", "open"]


def test_filters_limit_the_list_and_bulk_actions(open_review: Opener) -> None:
    tab = open_review().tab
    tab.select_option("select[name=tier]", "sure")
    tab.select_option("select[name=kind]", "attach")
    tab.fill("input[name=text]", "ann3@CUSTOMER")
    expect(tab.locator("#shown")).to_have_text("1 conversation shown of 4")
    tab.click("#accept-sure")
    expect(tab.locator("#totals")).to_have_text("1 email accepted, 0 rejected, 7 not decided")
    tab.click("button[type=reset]")
    expect(tab.locator("#shown")).to_have_text("4 conversations shown of 4")
    for name, value, shown in [
        ("deal", "orchard", 4),
        ("deal", "no such deal", 0),
        ("reason", "named", 4),
        ("state", "accepted", 1),
        ("state", "rejected", 0),
    ]:
        field = f"[name={name}]"
        if name == "deal":
            tab.fill(field, value)
        else:
            tab.select_option(field, value)
        noun = "conversation" if shown == 1 else "conversations"
        expect(tab.locator("#shown")).to_have_text(f"{shown} {noun} shown of 4")
        tab.click("button[type=reset]")


def test_an_email_is_decided_by_itself(open_review: Opener, tmp_path: Path) -> None:
    tab = open_review().tab
    tab.get_by_role("button", name="Accept the email of 2026-02-04").click()
    assert states(tab)[0] == "partly"
    (row,) = download(tab, tmp_path / "accepted.csv")
    assert row["message_id"] == message_of(0, 2)


def test_an_email_of_an_unknown_mailbox_cannot_be_accepted(
    open_review: Opener, tmp_path: Path
) -> None:
    judged = email(0, 0, PUMPS, owner_id=None, owner_name=None)
    other = audit_of(tmp_path, [[proposal(judged, Tier.LOOK)]], "other.csv")
    tab = open_review(other.review).tab
    press(tab, "a1")
    assert states(tab) == ["open"]
    assert "mailbox unknown: cannot be sent" in tab.inner_text("#detail")


def test_decisions_survive_a_reload(open_review: Opener) -> None:
    opened = open_review()
    press(opened.tab, "arj2")
    before = states(opened.tab)
    opened.tab.reload()
    opened.tab.wait_for_selector("#app:not([hidden])")
    assert states(opened.tab) == before == ["accepted", "rejected", "open", "partly"]


def test_decisions_survive_a_demotion_but_not_another_audit(
    open_review: Opener, files: AuditFiles
) -> None:
    """The page of each is at the same place, and its conversations are in another order."""
    opened = open_review()
    press(opened.tab, "arj2")
    folder = files.mapping.parent

    def states_of(contacts: Sequence[Sequence[EmailVerdict]]) -> dict[str, str]:
        audit_of(folder, contacts)
        opened.tab.reload()
        opened.tab.wait_for_selector("#app:not([hidden])")
        subjects = opened.tab.locator(".row .subject").all_inner_texts()
        return dict(zip(subjects, states(opened.tab), strict=True))

    demoted = (Tier.LOOK, Tier.LIKELY, Tier.SURE, Tier.LIKELY)
    found = states_of([usual_contact(n, tier) for n, tier in enumerate(demoted)])
    assert list(found) == ["Cranes 0", "Cranes 1", "Cranes 3", "Cranes 2"]
    assert list(found.values()) == ["accepted", "rejected", "partly", "open"]
    moves = [[proposal(email(n, 0, PUMPS), Tier.SURE, BUOYS)] for n in range(8)]
    assert set(states_of(moves).values()) == {"open"}


def test_two_tabs_with_one_page_share_their_decisions(
    open_review: Opener, files: AuditFiles
) -> None:
    opened = open_review()
    other = OpenPage(opened.tab.context.new_page(), files.review)
    other.tab.wait_for_selector("#app:not([hidden])")
    press(opened.tab, "a")
    expect(other.tab.locator(".row.accepted")).to_have_count(1)
    press(other.tab, "jr")
    expect(opened.tab.locator(".row.rejected")).to_have_count(1)
    opened.tab.reload()
    opened.tab.wait_for_selector("#app:not([hidden])")
    assert states(opened.tab) == ["accepted", "rejected", "open", "open"]


def test_without_storage_the_page_says_how_long_decisions_last(open_review: Opener) -> None:
    tab = open_review(init=NO_STORAGE).tab
    expect(tab.locator("#not-stored")).to_be_visible()
    press(tab, "a")
    with tab.expect_event("dialog") as asked:
        tab.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    asked.value.dismiss()


def test_proposals_show_without_scripts(open_review: Opener) -> None:
    tab = open_review(java_script_enabled=False).tab
    text = tab.inner_text("body")
    assert text.count("Harbour Cranes") == 4
    assert "its name is in the subject; open" in text
    assert "Runner-up: no deal" in text
    assert "m.csv, which has every row" in text
    expect(tab.locator("#app")).to_be_hidden()


def test_hostile_texts_do_nothing_and_are_read_back_as_they_were(
    open_review: Opener, tmp_path: Path
) -> None:
    subjects = [
        EVIL,
        'a "quoted", text\r\nof two lines',
        "\u202eevil\u2028\x07",
        "=1+1",
        "x" * 2000,
    ]
    verdicts = [
        [proposal(email(n, 0, PUMPS, subject=subject))] for n, subject in enumerate(subjects)
    ]
    opened = open_review(audit_of(tmp_path, verdicts).review)
    tab = opened.tab
    press(tab, "aaaaa")
    assert tab.title() == "bulklink review: m.csv"
    assert len(opened.requests) == 1
    assert opened.console_messages == []
    assert "\\u202eevil\\u2028\\x07" in tab.inner_text("#list")
    rows = download(tab, tmp_path / "accepted.csv")
    assert [row["subject"] for row in rows] == subjects
    planned = plan_of(tmp_path / "accepted.csv")
    assert (planned.messages, planned.rejected) == (5, 0)


def test_everything_is_done_by_keyboard_alone_and_has_a_name(
    open_review: Opener, tmp_path: Path
) -> None:
    tab = open_review().tab
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to the conversations"
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("listbox", name="Conversations")).to_be_visible()
    tab.get_by_role("listbox").focus()
    press(tab, "j")
    chosen = tab.get_by_role("listbox").get_by_role("option", selected=True)
    expect(chosen).to_have_accessible_name(
        "Cranes 1 (not decided) Orchard Pumps, no deal → Harbour Cranes"
        " likely move and attach · 2 emails · Ann 1"
    )
    assert tab.get_by_role("listbox").get_attribute("aria-activedescendant") == "row-1"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "detail"
    press(tab, "r")
    expect(tab.locator("#announcer")).to_have_text("Rejected: Cranes 1")
    press(tab, "?")
    expect(tab.get_by_role("dialog", name="Keys")).to_be_visible()
    press(tab, "a")
    tab.keyboard.press("Escape")
    assert states(tab) == ["open", "rejected", "open", "open"]
    unnamed = [
        snapshot
        for snapshot in tab.locator("main").aria_snapshot().splitlines()
        if snapshot.strip(" -:") in ("button", "textbox", "combobox", "option", "searchbox")
    ]
    assert unnamed == []


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_page_fits_a_phone_and_dark_mode(
    open_review: Opener, tmp_path: Path, width: int
) -> None:
    long = "Donaudampfschifffahrtsgesellschaft" * 12
    other = audit_of(tmp_path, [[proposal(email(0, 0, PUMPS, subject=long))]], "long.csv")
    tab = open_review(
        other.review, viewport={"width": width, "height": 800}, color_scheme="dark"
    ).tab
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 22, 28)"
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    tab.locator(".row").click()
    expect(tab.locator("#detail")).to_be_visible()
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    if width < 400:
        expect(tab.locator("#list")).to_be_hidden()
        tab.get_by_role("button", name="List", exact=False).click()
        expect(tab.locator("#list")).to_be_visible()


def test_only_the_conversations_in_view_are_in_the_document(
    open_review: Opener, tmp_path: Path
) -> None:
    contacts = [usual_contact(number, Tier.SURE) for number in range(600)]
    tab = open_review(audit_of(tmp_path, contacts).review).tab
    assert tab.locator(".row").count() < 40
    tab.get_by_role("listbox").focus()
    tab.keyboard.press("End")
    expect(tab.get_by_role("listbox").get_by_role("option", selected=True)).to_contain_text(
        "Cranes 599"
    )
    assert tab.locator(".row").count() < 40


def test_the_page_says_what_it_leaves_out(open_review: Opener, tmp_path: Path) -> None:
    summary = Review(
        mapping="m.csv",
        reviewed="m.reviewed.csv",
        made_at="2026-11-22T12:00:00Z",
        contacts=1,
        emails=900,
        conversations=900,
        reading=None,
        tiers=(TierSummary(tier="sure", proposed={"move": 900}, promise="", measured=""),),
        columns=(),
        commands=dict.fromkeys(("plan", "run", "explain"), "x") | {"sure": "bulklink run m.csv"},
    )
    conversations = (
        ReviewConversation(
            str(number),
            0,
            (ReviewCandidate("1", "Cranes", "0.9900", ()),),
            (ReviewEmail(message_id=f"m{number}", kind="move", tier="sure"),),
        )
        for number in range(900)
    )
    page = tmp_path / "large.html"
    page.write_text("".join(stream_review(summary, conversations, max_bytes=50_000)), "utf-8")
    tab = open_review(page).tab
    warning = tab.locator("#left-out")
    expect(warning).to_contain_text("emails of the tier sure. The mapping has all of them")
    expect(warning).to_contain_text("bulklink run m.csv")
    here, left = (
        int(tab.locator(place).inner_text().split()[word].replace(",", ""))
        for place, word in (("#shown", 0), ("#left-out strong", 0))
    )
    assert here + left == 900
    assert 0 < here < 900


def test_the_proposals_are_printed(open_review: Opener) -> None:
    tab = open_review().tab
    expect(tab.locator("#proposals")).to_be_hidden()
    tab.emulate_media(media="print")
    expect(tab.locator("#proposals")).to_be_visible()
    expect(tab.locator("#app")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast(open_review: Opener, scheme: str) -> None:
    tab = open_review(color_scheme=scheme).tab
    assert weak_texts(tab) == []
    press(tab, "arj2jjk")
    expect(tab.locator("#download")).to_be_enabled()
    assert weak_texts(tab) == []
    tab.emulate_media(media="print")
    assert weak_texts(tab) == []
