"""`bulklink audit --check` and `--checked`: a sample is drawn, answered, and tiers are demoted."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.audit import mode
from tests.e2e.command import Command
from tests.e2e.mixed_up import all_contacts, mixed_up_world
from tests.e2e.servers import Emulator
from tests.e2e.test_audit import QUICK, serving

CONTACTS = 6
FETCHED = ("--fetched", "m.emails.parquet")
KEYS = ["check", "proposed", "files", "demoted", "exit_code", "demoted_rows"]
CHECK_KEYS = [
    *("tier", "kind", "proposed", "drawn", "right", "wrong", "unsure", "promise", "at_least"),
    *("needed", "becomes", "to_draw"),
]
Row = dict[str, str]


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with serving(tmp_path_factory.mktemp("crm"), mixed_up_world(CONTACTS)) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def original(crm: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited")
    command = Command(folder).with_env(**crm.env())
    result = command("audit", *all_contacts(CONTACTS), "-o", "m.csv", *QUICK)
    assert result.code == 1, result
    return folder


@pytest.fixture
def audited(bulklink: Command, original: Path) -> Command:
    """A command without a connection, in a folder with a complete audit."""
    for file in original.glob("m.*"):
        (bulklink.folder / file.name).write_bytes(file.read_bytes())
    return bulklink


def answer(command: Command, verdict: Callable[[Row], str], name: str = "m.check.csv") -> None:
    path = command.folder / name
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"verdict": verdict(row)} for row in rows)


def moves_are_wrong(row: Row) -> str:
    return "wrong" if row["kind"] == "move" else "right"


def test_a_sample_is_drawn_answered_and_demotes_without_a_connection(audited: Command) -> None:
    drawn = audited("audit", "-o", "m.csv", "--check", "50", "--json")
    assert drawn.code == 1, drawn
    assert list(drawn.object) == KEYS
    assert list(drawn.object["check"][0]) == CHECK_KEYS
    assert drawn.object["files"] == {
        "review": "m.review.html",
        "check": "m.check.csv",
        "check_page": "m.check.html",
    }
    assert mode(audited.folder / "m.check.html") == 0o600
    answer(audited, moves_are_wrong)
    checked = audited("audit", "-o", "m.csv", "--checked", "m.check.csv", "--json")
    assert (checked.code, checked.object["demoted"]) == (1, CONTACTS)
    attach, move = checked.object["check"]
    assert (attach["kind"], attach["right"], attach["at_least"]) == ("attach", CONTACTS, 1.0)
    assert (move["kind"], move["wrong"], move["becomes"]) == ("move", CONTACTS, "look")
    assert checked.object["proposed"]["sure"] == {"attach": CONTACTS, "move": 0, "detach": 0}
    assert checked.object["files"] == {
        "review": "m.review.html",
        "check": "m.check.csv",
        "mapping": "m.csv",
        "audit": "m.audit.parquet",
    }
    plan = audited("plan", "m.csv", "--only", "tier=sure", "--json")
    assert (plan.code, plan.object["messages"]) == (0, CONTACTS)
    refused = audited("plan", "m.csv", "--only", "tier=look")
    assert refused.code == 2, refused
    again = audited("audit", "-o", "m.csv", "--checked", "m.check.csv", "--json")
    assert (again.object["demoted"], again.object["check"]) == (0, checked.object["check"])


def test_the_summary_says_what_is_proved_and_what_to_do(audited: Command) -> None:
    drawn = audited("audit", "-o", "m.csv", "--check", "4")
    for text in (
        "sure, attach: ",
        f"of {CONTACTS} drawn; {CONTACTS} without an error would prove the promise of 99.5%",
        "(--check 1",
        "No email has a verdict yet.",
        "Sample: m.check.csv",
        "bulklink audit --checked m.check.csv -o m.csv",
    ):
        assert text in " ".join(drawn.out.split()), drawn
    answer(audited, moves_are_wrong)
    checked = audited("audit", "-o", "m.csv", "--checked", "m.check.csv", "--check", "50")
    for text in (
        "0 wrong: at least ",
        "right at 95 % confidence",
        "That is less than sure promises: moves that were sure are look.",
        f"{CONTACTS} proposals have a lower tier now, in {CONTACTS} rows of m.csv.",
        "bulklink plan m.csv --only tier=sure",
    ):
        assert text in " ".join(checked.out.split()), checked
    everything = audited("audit", "-o", "m.csv", "--check", "50", "--json").object["check"]
    assert sum(one["drawn"] for one in everything) == 2 * CONTACTS
    assert sum(one["right"] + one["wrong"] for one in everything) == 4


def test_an_audit_can_be_followed_by_its_sample_and_by_earlier_verdicts(audited: Command) -> None:
    first = audited("audit", *FETCHED, "-o", "n.csv", "--check", "50", "--json")
    assert first.code == 1, first
    assert set(first.object["files"]) == {
        *("mapping", "review", "audit", "emails", "deals", "check", "check_page"),
    }
    assert first.object["contacts"] == len(all_contacts(CONTACTS))
    assert first.object["demoted"] == 0
    answer(audited, moves_are_wrong, "n.check.csv")
    second = audited(
        "audit", *FETCHED, "-o", "n.csv", "--force", "--checked", "n.check.csv", "--json"
    )
    assert second.object["demoted"] == CONTACTS
    assert second.object["proposed"]["look"]["move"] == CONTACTS
    text = audited("audit", *FETCHED, "-o", "n.csv", "--force", "--check", "50")
    assert "Proposed" in text.out
    assert "wrong: at least" in text.out, "verdicts are kept although the audit is replaced"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("-o", "x.csv", "--check", "5"), "usage"),
        (("-o", "m.csv", "--check", "0"), "usage"),
        (("-o", "m.csv", "--check", "x"), "usage"),
        (("--check", "5"), "usage"),
        (("-o", "m.csv", "--checked", "missing.csv"), "bad-file"),
        ((*FETCHED, "-o", "n.csv", "--checked", "missing.csv"), "bad-file"),
        (("-o", "m.csv", "--checked", "m.csv"), "usage"),
        (("-o", "m.csv", "--checked", "m.audit.parquet"), "bad-file"),
    ],
)
def test_a_check_of_nothing_is_refused(
    audited: Command, arguments: tuple[str, ...], code: str
) -> None:
    result = audited("audit", *arguments, "--json")
    assert (result.code, result.error["code"]) == (2, code)
    assert not (audited.folder / "n.csv").exists()


def test_verdicts_on_another_audit_change_nothing(audited: Command) -> None:
    assert audited("audit", "-o", "m.csv", "--check", "50").code == 1
    answer(audited, moves_are_wrong)
    path = audited.folder / "m.check.csv"
    path.write_text(path.read_text("utf-8").replace("audit-", "audit-0"), "utf-8")
    before = (audited.folder / "m.csv").read_bytes()
    result = audited("audit", "-o", "m.csv", "--checked", "m.check.csv", "--json")
    assert (result.code, result.error["code"]) == (2, "bad-file")
    assert "another audit" in result.error["message"]
    assert "line 2" in result.error["where"]
    replaced = audited("audit", "-o", "m.csv", "--check", "50", "--json")
    assert "--force" in replaced.error["advice"]
    assert (audited.folder / "m.csv").read_bytes() == before


def test_options_that_only_an_audit_uses_are_refused(audited: Command) -> None:
    """They would be ignored: the sample and the explanation are of an audit that is complete."""
    ignored = ("--reading", "loose", "--since", "2026-01-01", "--spreadsheet")
    for command in (("--check", "5"), ("--checked", "m.check.csv"), ("--explain", "x")):
        refused = audited("audit", "-o", "m.csv", *command, *ignored, "--json")
        assert (refused.code, refused.error["code"]) == (2, "usage")
        assert refused.error["where"] == "--since, --reading, --spreadsheet"
        assert command[0] in refused.error["message"]


def test_verdicts_from_a_pipe_are_read_once(audited: Command) -> None:
    """A larger sample, and the demotion, are made of the same verdicts."""
    audited("audit", "-o", "m.csv", "--check", "50", "--json")
    answer(audited, moves_are_wrong)
    table = audited.folder / "m.check.csv"
    verdicts = table.read_text("utf-8")
    table.unlink()
    result = audited.run_in_subprocess(
        *("audit", "-o", "m.csv", "--check", "50", "--checked", "-", "--json"), stdin=verdicts
    )
    assert result.code == 1, result
    assert result.object["demoted"] == CONTACTS
    assert set(result.object["files"]) == {"mapping", "audit", "review", "check", "check_page"}
    assert "wrong" in table.read_text("utf-8")
