"""The lines of the ledger: one JSON object each, with `event` and `ts`; the README lists them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import orjson

from bulklink.errors import LedgerError
from bulklink.models import Op, Status

_MAX_TEXT_LENGTH = 300
_MAX_ANSWER_LENGTH = 8 * 1024
_OPTIONAL_FIELDS = ("previous_deal_id", "previous_deal_name", "current_deal_id", "duplicate_of")

json_line = partial(orjson.dumps, option=orjson.OPT_APPEND_NEWLINE)
"""Return a value as one line of JSON."""


class Result(msgspec.Struct, frozen=True):
    """What became of one row: a `result` line.

    The deal fields that are UNSET are left out of the line: not known. None means on no deal.
    `call` is the number of the call that settled it, `attempts` the write calls that carried it.
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
    """Return the code by which a failure is counted: where there is none, its HTTP status."""
    return result.code or (f"HTTP {result.http_status}" if result.http_status else "no code")


class CallLine(msgspec.Struct, frozen=True):
    """What a `call` line says of a request: its number, what it is, the rows it carries.

    `attempt` counts from 1; look-ups have neither contact nor rows.
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
    """Return the line that is on disk before a request leaves."""
    return _format_call_line("call", ts, line)


def unsent_line(ts: str, line: CallLine) -> bytes:
    """Return the line that takes a `call` line back: the run stopped before it left."""
    return _format_call_line("unsent", ts, line)


def snapshot_line(
    ts: str, row: int, deal_id: str | None, deal_name: str | None, call: int
) -> bytes:
    """Return the line that tells which deal a message was on before it is changed."""
    return _line(
        "snapshot", ts, row=row, previous_deal_id=deal_id, previous_deal_name=deal_name, call=call
    )


def step_line(ts: str, row: int) -> bytes:
    """Return the line that tells that the unlink of a relink is confirmed."""
    return _line("step", ts, row=row, current_deal_id=None)


def result_line(ts: str, result: Result) -> bytes:
    """Return the line that tells what became of a row; written out, for there are millions."""
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
    """Return a line of `answers.jsonl`: an answer that was no clean success, as received."""
    content = {"ts": ts, "call": call, "op": op, "http_status": http_status}
    content["body"] = body[:_MAX_ANSWER_LENGTH]
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


def damaged_line_error(path: Path, number: int, error: Exception) -> LedgerError:
    """Say that a line of a ledger cannot be read.

    Args:
        path: of the ledger.
        number: of the line, from 1.
        error: what is wrong with it.
    """
    return LedgerError(
        f"This is no ledger line: {error}.",
        where=f"{path}:{number}",
        advice="Put the file back from a copy; without one, keep it and report this: nothing that"
        " it says behind that line is known.",
    )
