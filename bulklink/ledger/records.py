"""Lines of the ledger: one JSON object each, with `event` and `ts`; the README lists them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import orjson

from bulklink.blocking import blocks
from bulklink.errors import LedgerError
from bulklink.models import Op, Status

_MAX_TEXT_LENGTH = 300
MAX_ANSWER_LENGTH = 8 * 1024
"""Characters of a stored answer."""
_LINES_PER_CHECK = 4096
_OPTIONAL_FIELDS = ("previous_deal_id", "previous_deal_name", "current_deal_id", "duplicate_of")

json_line = partial(orjson.dumps, option=orjson.OPT_APPEND_NEWLINE)
"""Return a value as one line of JSON."""


_DecodedLine = TypeVar("_DecodedLine")


class Result(msgspec.Struct, frozen=True):
    """Result of one row: a `result` line.

    A field that is UNSET is left out of the line: unknown, or not a duplicate. A previous or
    current deal of None means no deal.

    Args:
        row: row number in the mapping, from 1.
        op: operation, None if unknown.
        contact_id: id of the contact from the mapping.
        owner_id: id of the email's owner from the mapping.
        message_id: id of the email from the mapping.
        deal_id: wanted deal, None for an unlink.
        status: status of the row.
        code: Zoho's or bulklink's code of a failure.
        http_status: HTTP status of the answer that settled it.
        message: text for the user, up to 300 characters.
        attempts: write calls that carried it.
        call: number of the call that settled it.
        previous_deal_id: deal before the change.
        previous_deal_name: name of that deal.
        current_deal_id: deal now, where known.
        duplicate_of: first row with the same email.
    """

    row: int
    op: Op | None
    contact_id: str | None
    owner_id: str | None
    message_id: str | None
    deal_id: str | None
    status: Status
    code: str | None = None
    http_status: int | None = None
    message: str = ""
    attempts: int = 0
    call: int | None = None
    previous_deal_id: str | msgspec.UnsetType | None = msgspec.UNSET
    previous_deal_name: str | msgspec.UnsetType | None = msgspec.UNSET
    current_deal_id: str | msgspec.UnsetType | None = msgspec.UNSET
    duplicate_of: int | msgspec.UnsetType = msgspec.UNSET


def failure_code(result: Result) -> str:
    """Return the code by which a failure is counted; without one, its HTTP status."""
    return result.code or (f"HTTP {result.http_status}" if result.http_status else "no code")


class CallLine(msgspec.Struct, frozen=True):
    """A call: its number, kind, attempt and rows.

    Args:
        call: number of the call in the ledger, from 1.
        op: kind of the request: link, unlink, read or lookup.
        attempt: attempt of the request, from 1.
        contact_id: the contact; None for a look-up.
        rows: rows of the messages that it carries; none for a look-up.
    """

    call: int
    op: str
    attempt: int
    contact_id: str | None
    rows: tuple[int, ...]


def timestamp(seconds: float) -> str:
    """Return seconds since 1970 as RFC 3339 in UTC with milliseconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def call_line(ts: str, line: CallLine) -> bytes:
    """Return the line that is on disk before a request is sent."""
    return _format_call_line("call", ts, line)


def unsent_line(ts: str, line: CallLine) -> bytes:
    """Return the line that revokes a `call` line: the run stopped before the request was sent."""
    return _format_call_line("unsent", ts, line)


def snapshot_line(
    ts: str, row: int, deal_id: str | None, deal_name: str | None, call: int
) -> bytes:
    """Return the line with the deal of a message before a change."""
    return _line(
        "snapshot", ts, row=row, previous_deal_id=deal_id, previous_deal_name=deal_name, call=call
    )


def step_line(ts: str, row: int) -> bytes:
    """Return the line for a confirmed unlink of a relink."""
    return _line("step", ts, row=row, current_deal_id=None)


def result_line(ts: str, result: Result) -> bytes:
    """Return the line of a result; written out for speed, since there are millions."""
    fields = {
        "event": "result",
        "ts": ts,
        "row": result.row,
        "op": result.op,
        "contact_id": result.contact_id,
        "owner_id": result.owner_id,
        "message_id": result.message_id,
        "deal_id": result.deal_id,
        "status": result.status,
        "code": result.code,
        "http_status": result.http_status,
        "message": result.message[:_MAX_TEXT_LENGTH],
        "attempts": result.attempts,
        "call": result.call,
    }
    for name in _OPTIONAL_FIELDS:
        value = getattr(result, name)
        if value is not msgspec.UNSET:
            fields[name] = value
    return json_line(fields)


def answer_line(ts: str, call: int, op: str, http_status: int | None, body: str) -> bytes:
    """Return a line of `answers.jsonl`: an answer other than a clean success, as received."""
    content = {"ts": ts, "call": call, "op": op, "http_status": http_status}
    content["body"] = body[:MAX_ANSWER_LENGTH]
    return json_line(content)


def _format_call_line(event: str, ts: str, line: CallLine) -> bytes:
    return _line(
        event,
        ts,
        call=line.call,
        op=line.op,
        attempt=line.attempt,
        contact_id=line.contact_id,
        rows=line.rows,
    )


def _line(event: str, ts: str, **fields: Any) -> bytes:
    return json_line({"event": event, "ts": ts, **fields})


def decode_lines(
    path: Path,
    decode: Callable[[bytes], _DecodedLine],
    check: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, _DecodedLine]]:
    """Yield each line of a ledger, decoded, with its offset in bytes.

    A torn last line, of a run that was killed, is left out.

    Args:
        path: the ledger; a missing one is empty.
        decode: decodes one line; a ValueError means that it is damaged.
        check: called every few thousand lines; what it raises ends the pass.

    Raises:
        LedgerError: if a line is damaged.
    """
    blocks("a pass over a ledger")
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    offset = 0
    with file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                decoded = decode(line)
            except ValueError as error:
                raise _damaged_line_error(path, number, error) from None
            yield offset, decoded
            offset += len(line)
            if not number % _LINES_PER_CHECK:
                check()


def _damaged_line_error(path: Path, number: int, error: ValueError) -> LedgerError:
    return LedgerError(
        f"This is no ledger line: {error}.",
        where=f"{path}:{number}",
        advice="Put the file back from a copy; without one, keep it and report this: nothing that"
        " it says behind that line is known.",
    )
