"""Expected deals of emails, by the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings

from bulklink.errors import LedgerError
from bulklink.ledger.checkpoint import NO_CHECKPOINT, LedgerCheckpoint
from bulklink.ledger.index import LedgerIndex, RecordedResult
from bulklink.ledger.records import Result, result_line, step_line
from bulklink.mapping.interrupt import PlanningStop
from bulklink.models import NEVER_SENT, Op, Status
from bulklink.operations.expected_links import ExpectedLinks, recorded_deal_id
from tests.ledger.test_uniform_results import ROWS, ledgers

RESULT = (
    b'{"event":"result","ts":"2026-11-22T10:15:00.000Z","row":1,"op":"link","contact_id":"1",'
    b'"owner_id":"2","message_id":"a","deal_id":null,"status":"done","code":"SUCCESS",'
    b'"http_status":200,"message":"linked","attempts":1,"call":1}\n'
)
DAMAGED_BUT_REPLACED = RESULT.replace(b"owner_id", b"0owner_id") + RESULT
A, B, NONE = "500", "600", None
NOTHING = "nothing"


def result(
    row: int = 1,
    op: Op = Op.LINK,
    status: Status = Status.DONE,
    message: str = "",
    owner: str = "22",
    contact: str = "11",
    **more: Any,
) -> Result:
    deal = None if op is Op.UNLINK else B
    return Result(row, op, contact, owner, message or f"m{row}", deal, status, **more)


def expected_deals(
    folder: Path, *results: Result, open_rows: tuple[int, ...] = (), in_doubt: bool = False
) -> dict[int, str | None]:
    """Return the expected deal of each row."""
    ledger = folder / "ledger.jsonl"
    ledger.write_bytes(
        b"".join(
            result_line(f"2026-11-22T10:00:{at:02}.000Z", ledger_result)
            for at, ledger_result in enumerate(results)
        )
        + b"".join(step_line("2026-11-22T10:01:00.000Z", row) for row in open_rows)
    )
    expected_links = ExpectedLinks(
        ledger, NO_CHECKPOINT, in_doubt=in_doubt, folder=folder, stop=PlanningStop()
    )
    try:
        deals = {
            link.row: link.deal_id
            for contact in expected_links.contacts()
            for link in contact.links.values()
        }
        assert len(deals) == expected_links.total
        assert_sizes_match(expected_links)
        return deals
    finally:
        expected_links.close()


def assert_sizes_match(links: ExpectedLinks) -> None:
    """Compare the sizes of contacts with the contacts, with and without a sample."""
    for sampled in (None, frozenset[int](), frozenset({0}), frozenset({1, 2, 5})):
        contacts = [(len(c.links), len(c.to_check)) for c in links.contacts(sampled)]
        assert list(links.contact_sizes(sampled)) == contacts


@pytest.mark.parametrize(
    ("ledger_result", "expected"),
    [
        (result(status=Status.DONE), B),
        (result(status=Status.UNCHANGED), B),
        (result(op=Op.RELINK), B),
        (result(op=Op.UNLINK), NONE),
        (result(op=Op.UNLINK, status=Status.UNCHANGED), NONE),
        (result(status=Status.FAILED, code="ALREADY_LINKED", current_deal_id=A), A),
        (result(op=Op.RELINK, status=Status.FAILED, code="NOT_ALLOWED", current_deal_id=A), A),
        (result(status=Status.FAILED, code="put-back-failed", current_deal_id=None), NONE),
        (result(status=Status.FAILED, code="NOT_ALLOWED"), NOTHING),
        (result(op=Op.RELINK, status=Status.FAILED, previous_deal_id=A), NOTHING),
        (result(status=Status.IN_DOUBT, code="not-listed"), NOTHING),
        (result(status=Status.REJECTED, code="unknown-deal"), NOTHING),
        (result(status=Status.DUPLICATE, duplicate_of=7), NOTHING),
    ],
    ids=lambda value: (
        f"{value.op}-{value.status}-{value.code}" if isinstance(value, Result) else None
    ),
)
def test_each_result_has_its_expected_deal(
    tmp_path: Path, ledger_result: Result, expected: str | None
) -> None:
    assert expected_deals(tmp_path, ledger_result) == ({} if expected == NOTHING else {1: expected})


def test_the_last_result_of_a_row_counts(tmp_path: Path) -> None:
    first = result(status=Status.FAILED, current_deal_id=A)
    assert expected_deals(tmp_path, first, result()) == {1: B}
    assert expected_deals(tmp_path, result(), result(status=Status.IN_DOUBT)) == {}


def test_a_row_in_flight_has_no_expected_link(tmp_path: Path) -> None:
    assert expected_deals(tmp_path, result(1), result(2), open_rows=(2,)) == {1: B}


def test_the_last_row_that_may_have_moved_an_email_counts(
    tmp_path: Path,
) -> None:
    first = result(1, message="m")
    off = result(2, Op.UNLINK, message="m", owner="23")
    assert expected_deals(tmp_path, first, off) == {2: NONE}
    assert (
        expected_deals(tmp_path, first, msgspec.structs.replace(off, status=Status.IN_DOUBT)) == {}
    )
    assert expected_deals(tmp_path, first, msgspec.structs.replace(off, status=Status.FAILED)) == {
        1: B
    }


def test_the_expected_deal_of_an_email_in_doubt_is_its_target(tmp_path: Path) -> None:
    in_doubt = Status.IN_DOUBT
    results = (result(1), result(2, status=in_doubt), result(3, Op.UNLINK, in_doubt))
    assert expected_deals(tmp_path, *results, in_doubt=True) == {2: B, 3: NONE}


class Event(msgspec.Struct):
    event: str


def refuse_damaged_results(ledger: Path) -> None:
    """Decode every result: a damaged one counts even if a later result of its row follows."""
    for line in ledger.read_bytes().split(b"\n")[:-1]:
        try:
            if msgspec.json.decode(line, type=Event).event == "result":
                msgspec.json.decode(line, type=RecordedResult)
        except ValueError:
            raise LedgerError("", where=str(ledger)) from None


def expected_links_one_by_one(ledger: Path) -> dict[tuple[str | None, str | None], int]:
    """Return the row that says where each email is, from the last result of each row."""
    last: dict[tuple[str | None, str | None], tuple[str, int, bool]] = {}
    refuse_damaged_results(ledger)
    with LedgerIndex(ledger, checkpoint=LedgerCheckpoint(ROWS)) as index:
        for row in index.rows(1):
            outcome = index.result(row)
            assert isinstance(outcome, RecordedResult)
            if outcome.status in NEVER_SENT:
                continue
            is_open = row in index.state.open_rows
            is_known = recorded_deal_id(outcome) is not msgspec.UNSET and not is_open
            if is_known or is_open or outcome.status is Status.IN_DOUBT:
                key = (outcome.contact_id, outcome.message_id)
                last[key] = max(last.get(key, ("", 0, False)), (outcome.ts, row, is_known))
    return {key: row for key, (_, row, is_known) in last.items() if is_known}


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    max_examples=60,
)
@given(content=ledgers())
@example(content=DAMAGED_BUT_REPLACED)
def test_a_ledger_of_any_lines_has_the_links_of_its_last_results(
    tmp_path: Path, content: bytes
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_bytes(content)
    try:
        one_by_one = expected_links_one_by_one(ledger)
    except LedgerError:
        with pytest.raises(LedgerError):
            load(ledger)
        return
    links = load(ledger)
    try:
        found = {
            (link.contact_id, link.message_id): link.row
            for contact in links.contacts()
            for link in contact.links.values()
        }
        assert found == one_by_one
        assert links.total == len(found)
        assert_sizes_match(links)
    finally:
        links.close()


def load(ledger: Path) -> ExpectedLinks:
    return ExpectedLinks(
        ledger,
        LedgerCheckpoint(ROWS),
        in_doubt=False,
        folder=ledger.parent,
        stop=PlanningStop(),
    )
