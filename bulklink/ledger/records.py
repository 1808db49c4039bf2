"""Lines of the ledger: one JSON object each, with `event` and `ts`; docs/ledger.md lists them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import orjson

from bulklink.errors import LedgerError
from bulklink.folder_files import line_blocks, split_lines
from bulklink.ledger.checkpoint import LedgerDigest
from bulklink.models import MAX_ROWS, Op, Status

_MAX_TEXT_LENGTH = 300
MAX_ANSWER_LENGTH = 8 * 1024
"""Maximum characters of a stored answer."""
_MAX_COUNT = 1 << 53
FIRST_YEAR, LAST_YEAR = 1970, 3000
"""A time of a run is in or after the first year and before the last."""

json_line = partial(orjson.dumps, option=orjson.OPT_APPEND_NEWLINE)
"""Return a value as one line of JSON."""
_encode = msgspec.json.Encoder().encode

RowNumber = Annotated[int, msgspec.Meta(ge=1, le=MAX_ROWS)]
"""A row number that a ledger may contain."""
Count = Annotated[int, msgspec.Meta(ge=0, le=_MAX_COUNT)]
"""A number of calls, attempts or bytes that a file may contain."""
UtcTime = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time that a ledger may contain: RFC 3339 with a time zone."""

_DecodedLine = TypeVar("_DecodedLine")


class Result(msgspec.Struct, frozen=True):
    """Result of one row: a `result` line.

    An UNSET field is omitted from the line: its value is unknown, or the row is not a duplicate. A
    previous or current deal of None means no deal.

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
        attempts: write calls that included it.
        call: number of the call that settled it.
        previous_deal_id: deal before the change.
        previous_deal_name: name of that deal.
        current_deal_id: current deal, if known.
        duplicate_of: first row with the same email.
    """

    row: RowNumber
    op: Op | None
    contact_id: str | None
    owner_id: str | None
    message_id: str | None
    deal_id: str | None
    status: Status
    code: str | None = None
    http_status: Count | None = None
    message: str = ""
    attempts: Count = 0
    call: Count | None = None
    previous_deal_id: str | msgspec.UnsetType | None = msgspec.UNSET
    previous_deal_name: str | msgspec.UnsetType | None = msgspec.UNSET
    current_deal_id: str | msgspec.UnsetType | None = msgspec.UNSET
    duplicate_of: RowNumber | msgspec.UnsetType = msgspec.UNSET


def failure_code(result: Result) -> str:
    """Return the code under which a failure is counted; without a code, its HTTP status."""
    return result.code or (f"HTTP {result.http_status}" if result.http_status else "no code")


class CallLine(msgspec.Struct, frozen=True):
    """A call: its number, kind, attempt and rows.

    Args:
        call: number of the call in the ledger, from 1.
        op: kind of the request: link, unlink, read or lookup.
        attempt: attempt of the request, from 1.
        contact_id: the contact; None for a look-up.
        rows: rows of its messages; none for a look-up.
    """

    call: int
    op: str
    attempt: int
    contact_id: str | None
    rows: tuple[int, ...]


def timestamp(seconds: float) -> str:
    """Return seconds since 1970 as RFC 3339 in UTC with milliseconds."""
    second, millisecond = divmod(round(seconds * 1e6) // 1000, 1000)
    return f"{_format_second(second)}.{millisecond:03d}Z"


@lru_cache(16)
def _format_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")


def format_time(moment: datetime) -> str:
    """Return a time with a time zone as RFC 3339 in UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Parse a time as written by bulklink: RFC 3339 in UTC.

    Raises:
        ValueError: if it is not such a time, or is implausible.
    """
    moment = datetime.fromisoformat(text)
    if moment.utcoffset() != timedelta() or not is_plausible(moment):
        raise ValueError(text)
    return moment


def is_plausible(moment: datetime) -> bool:
    """Return whether a time can be the time of a run."""
    return FIRST_YEAR <= moment.year < LAST_YEAR


def call_line(ts: str, line: CallLine) -> bytes:
    """Return the line that is written to disk before a request is sent."""
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
    """Return the line of a result."""
    if len(result.message) > _MAX_TEXT_LENGTH:
        result = msgspec.structs.replace(result, message=result.message[:_MAX_TEXT_LENGTH])
    return b'{"event":"result","ts":"%b",%b\n' % (ts.encode(), _encode(result)[1:])


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
    digest: LedgerDigest | None = None,
) -> Iterator[tuple[int, _DecodedLine]]:
    """Yield each line of a ledger, decoded, with its offset in bytes.

    A torn last line, left by a killed run, is ignored.

    Args:
        path: the ledger; a missing one is empty.
        decode: decodes one line, without its newline; a ValueError means that it is damaged.
        check: called every few thousand lines; may raise to abort.
        digest: hashes all lines, and compares them with its checkpoint.

    Raises:
        LedgerError: if a line is damaged, or the ledger does not begin with the checkpoint.
        RunDirError: if it is not a regular file, or cannot be read.
    """
    digest = digest or LedgerDigest(path)
    offset = number = 0
    for block in line_blocks(path, error_class=LedgerError):
        digest.add(block)
        for line in split_lines(block):
            number += 1
            try:
                decoded = decode(line)
            except (ValueError, RecursionError):
                raise damaged_line_error(path, number) from None
            yield offset, decoded
            offset += len(line) + 1
        check()
    digest.end()


def damaged_line_error(path: Path, number: int) -> LedgerError:
    """Return the error about a line that bulklink did not write."""
    return LedgerError(
        "This is not a ledger line of this run.",
        where=f"{path}:{number}",
        advice="Restore the file from a backup. Without one, keep it and report this: what it"
        " says after that line is unknown.",
    )
