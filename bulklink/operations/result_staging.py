"""Staging of a ledger's results for DuckDB: a line for each call, with the rows that it settled."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from bulklink.decoding import json_decoder
from bulklink.folder_files import MAX_LINE_BYTES
from bulklink.ledger.checkpoint import LedgerCheckpoint
from bulklink.ledger.index import RecordedResult
from bulklink.ledger.records import json_line
from bulklink.ledger.replay import replay
from bulklink.ledger.row_array import InvalidLineError, RowArray
from bulklink.models import NEVER_SENT, Status

YES, NO, PERHAPS, NEVER = "yes", "no", "perhaps", "never"
"""Whether a result shows the deal of its email; after PERHAPS the email may have moved, and with
NEVER its row was not sent."""
RESULT_TYPES = {"rows": "BIGINT[]", "message_ids": "VARCHAR[]", "seq": "BIGINT"} | dict.fromkeys(
    ("contact_id", "deal_id", "status", "code", "ts", "known"), "VARCHAR"
)
#: A line has the message ids of lines within one block of the ledger.
MAX_STAGED_BYTES = 2 * MAX_LINE_BYTES
DealOf = Callable[[RecordedResult], str | msgspec.UnsetType | None]
_decode = json_decoder(RecordedResult).decode


def stage_results(
    ledger: Path,
    checkpoint: LedgerCheckpoint,
    staged: Path,
    deal_of: DealOf,
    check: Callable[[], None],
) -> ResultStager:
    """Write the results of a ledger to a file, in its order.

    Args:
        ledger: path of the ledger.
        checkpoint: start that the ledger must have, and the rows that it may contain.
        staged: the file; `RESULT_TYPES` are its columns.
        deal_of: returns the deal that a result shows, UNSET if none.
        check: called periodically; may raise to abort.

    Raises:
        LedgerError: if a line is damaged, or the ledger does not begin with the checkpoint.
    """
    with staged.open("wb") as file:
        stager = ResultStager(file, deal_of, checkpoint.rows)
        hashed = checkpoint.length is not None
        state = replay(ledger, checkpoint=checkpoint, check=check, observer=stager, hashed=hashed)
    stager.open_rows = state.open_rows.keys()
    return stager


class ResultStager:
    """Writer of staged results.

    Args:
        file: the file.
        deal_of: returns the deal that a result shows, UNSET if none.
        rows: the highest row number of the run.

    Attributes:
        has_several: whether a row has several results.
        open_rows: rows in flight after their last result; set at the end of the ledger.
    """

    def __init__(self, file: BinaryIO, deal_of: DealOf, rows: int) -> None:
        self._file = file
        self._deal_of = deal_of
        self._settled = RowArray("B", rows)
        self._seq = 0
        self.has_several = False
        self.open_rows: Collection[int] = ()

    def add(self, line: bytes) -> None:
        """Write a result."""
        result = _decode_result(line)
        self.has_several = self.has_several or self._settled[result.row] != 0
        self._settled[result.row] = 1
        encode = msgspec.json.encode
        self._write(result, encode([result.row]), encode([result.message_id]))

    def add_uniform(self, line: bytes, rows: Sequence[int], message_ids: Sequence[bytes]) -> None:
        """Write the results of a call, of rows that had none."""
        result = _decode_result(line)
        self._settled.reserve(max(rows))
        settled = self._settled.numbers
        for row in rows:
            settled[row] = 1
        self._write(result, str(rows).encode(), b'["%b"]' % b'","'.join(message_ids))

    def _write(self, result: RecordedResult, rows: bytes, message_ids: bytes) -> None:
        deal_id = self._deal_of(result)
        self._seq += 1
        cells = json_line(
            {
                "seq": self._seq,
                "contact_id": result.contact_id,
                "deal_id": deal_id if isinstance(deal_id, str) else None,
                "status": result.status,
                "code": result.code,
                "ts": result.ts,
                "known": _known(result, deal_id),
            }
        )
        self._file.write(b'{"rows":%b,"message_ids":%b,%b' % (rows, message_ids, cells[1:]))


def _decode_result(line: bytes) -> RecordedResult:
    """Decode a result.

    Raises:
        InvalidLineError: if the line is damaged.
    """
    try:
        return _decode(line)
    except (ValueError, RecursionError):
        raise InvalidLineError from None


def _known(result: RecordedResult, deal_id: str | msgspec.UnsetType | None) -> str:
    """Return whether a result shows the deal of its email."""
    if result.status in NEVER_SENT:
        return NEVER
    if deal_id is not msgspec.UNSET:
        return YES
    return PERHAPS if result.status is Status.IN_DOUBT else NO
