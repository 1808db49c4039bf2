"""Reading a ledger: the last result of each row is its state; calls are counted by kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from bulklink.errors import LedgerError
from bulklink.models import Status

_STATES = (None, *Status)


class Calls(msgspec.Struct, frozen=True):
    """HTTP requests sent, by kind; `retried` of them were a second or later try."""

    link: int = 0
    unlink: int = 0
    read: int = 0
    lookup: int = 0
    retried: int = 0


class Tally(msgspec.Struct, frozen=True):
    """What a ledger says in sum.

    `counts` has the rows of each status; `last` is the `ts` of its last line, empty if it has none.
    """

    counts: dict[Status, int]
    calls: Calls
    last: str = ""


class _Line(msgspec.Struct):
    event: str
    ts: str
    row: int = 0
    status: Status | None = None
    op: str | None = None
    attempt: int = 1


def tally(path: Path) -> Tally:
    """Count what a ledger holds; a torn last line, of a run that was killed, does not count.

    Memory: one byte a row.
    """
    states = bytearray(1024)
    calls = dict.fromkeys(Calls.__struct_fields__, 0)
    last = ""
    for line in _lines(path):
        last = line.ts
        if line.event == "result" and line.status is not None:
            _mark(states, line.row, _STATES.index(line.status))
        elif line.event == "call" and line.op in calls:
            calls[line.op] += 1
            calls["retried"] += line.attempt > 1
    counts = {status: states.count(state) for state, status in enumerate(_STATES) if status}
    return Tally(counts, Calls(**calls), last)


def _mark(states: bytearray, row: int, state: int) -> None:
    if row >= len(states):
        states.extend(bytes(max(row + 1 - len(states), len(states))))
    states[row] = state


def _lines(path: Path) -> Iterator[_Line]:
    decoder = msgspec.json.Decoder(_Line)
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for number, line in enumerate(file, 1):
            if line.endswith(b"\n"):
                try:
                    yield decoder.decode(line)
                except msgspec.DecodeError as error:
                    raise LedgerError(
                        f"This is no ledger line: {error}.", where=f"{path}:{number}"
                    ) from None
