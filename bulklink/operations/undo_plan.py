"""The inverse of a run, as a mapping, and what of the run cannot be taken back."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from bulklink.atomic_files import replacing
from bulklink.errors import LockedError
from bulklink.ledger.records import Result
from bulklink.mapping.interrupt import Stop
from bulklink.mapping.rejects import OUR_COLUMNS
from bulklink.models import Status
from bulklink.operations.deeds import deeds
from bulklink.operations.inverse import Done, Inverse, Kept, Why, inverse_of
from bulklink.runs.folder import RunFolder

if TYPE_CHECKING:
    from _csv import Writer

COLUMNS = (
    *("op", "contact_id", "owner_id", "message_id", "deal_id", "owner_name", "deal_name"),
    *("from_deal_id", "source_row"),
)
MOST_NAMED = 20
_ADVICE = {
    Why.NO_SNAPSHOT: "The run took no snapshot of it: which deal it was on is not known.",
    Why.SETTLED_BY_READ: "A read settled it after a lost answer, without a snapshot: it may have"
    " been so before the run. --include-settled unlinks it.",
    Why.IN_DOUBT: "It is in doubt, without a snapshot: it may have been so before the run, or not"
    " be so at all. --include-settled unlinks it if it is.",
}


class Left(msgspec.Struct, frozen=True):
    """A row that is not taken back: what the run did with it, and why it is left."""

    done: Done
    kept: Kept


class Inversion(msgspec.Struct):
    """The inverse of a run, in a temporary folder.

    Attributes:
        folder: where it is: `mapping` has the rows, `left` those that are left.
        rows: how many are taken back; `kept` how many are not, by reason.
        unseen: how many links are taken back without a snapshot.
        named: the first rows of the run that are left, by reason.
    """

    folder: Path
    rows: int = 0
    unseen: int = 0
    kept: Counter[Why] = msgspec.field(default_factory=Counter)
    named: dict[Why, list[int]] = {}

    @property
    def mapping(self) -> Path:
        """The rows that take the run back, an ordinary mapping."""
        return self.folder / "undo.csv"

    @property
    def left(self) -> Path:
        """The rows that are not taken back, one JSON object a line."""
        return self.folder / "left.jsonl"

    def lefts(self) -> Iterator[tuple[int, Left]]:
        """Stream what is left; its rows follow those that are taken back."""
        decoder = msgspec.json.Decoder(Left)
        with self.left.open("rb") as file:
            for row, line in enumerate(file, self.rows + 1):
                yield row, decoder.decode(line)

    def results(self) -> Iterator[Result]:
        """Stream what the ledger says of each that is left."""
        for row, left in self.lefts():
            done, inverse = left.done, left.kept.inverse
            yield Result(
                row, inverse.op, done.contact_id, done.owner_id, done.message_id, None,
                Status.REJECTED, left.kept.why, message=_ADVICE[left.kept.why],
            )  # fmt: skip

    def warnings(self) -> Iterator[str]:
        """Say what a person should know before it starts."""
        if self.unseen:
            yield (
                f"{self.unseen:,} links were made without a snapshot: which of these emails were so"
                " already cannot be told. All that are still on that deal are unlinked."
            )
        for why, many in sorted(self.kept.items()):
            rows = ", ".join(map(str, self.named[why]))
            more = f" and {many - MOST_NAMED:,} more" if many > MOST_NAMED else ""
            yield f"{many:,} rows are left as they are ({why}): row {rows}{more}. {_ADVICE[why]}"

    def write_rejects(self, path: Path, name: str) -> None:
        """Write what is left as a mapping that can be mended and sent.

        Args:
            path: where to.
            name: what the inverse is called.
        """
        with (
            replacing(path) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            rejects = csv.writer(file)
            rejects.writerow([*COLUMNS, *OUR_COLUMNS])
            for row, left in self.lefts():
                cells = _cells(left.done, left.kept.inverse)
                rejects.writerow([*cells, name, row, None, None, left.kept.why, ""])


def inversion_of(source: RunFolder, scratch: Path, *, settled: bool, stop: Stop) -> Inversion:
    """Write the inverse of a run into a temporary folder.

    Raises:
        LockedError: if a process drives the run.
        LedgerError: if its ledger is damaged.
    """
    found = Inversion(scratch)
    record = source.read()
    with _writing(found) as (rows, left):
        if not record.invocations or not source.plan.is_file():
            return found
        if source.is_driven():
            raise LockedError(
                "A process drives this run.",
                where=str(source.path),
                advice="Wait until it ends, or stop it; then undo it.",
            )
        encoder = msgspec.json.Encoder()
        for done in deeds(source, scratch / "spill", stop):
            match inverse_of(done, settled=settled):
                case Inverse() as inverse:
                    found.rows += 1
                    found.unseen += not done.seen
                    rows.writerow(_cells(done, inverse))
                case Kept() as kept:
                    found.kept[kept.why] += 1
                    named = found.named.setdefault(kept.why, [])
                    if len(named) < MOST_NAMED:
                        named.append(done.row)
                    left.write(encoder.encode(Left(done, kept)) + b"\n")
    return found


@contextmanager
def _writing(found: Inversion) -> Iterator[tuple[Writer, BinaryIO]]:
    with (
        found.mapping.open("w", encoding="utf-8", newline="") as mapping,
        found.left.open("wb") as left,
    ):
        rows = csv.writer(mapping)
        rows.writerow(COLUMNS)
        yield rows, left


def _cells(done: Done, inverse: Inverse) -> tuple[str | int | None, ...]:
    return (
        inverse.op, done.contact_id, done.owner_id, done.message_id, inverse.deal_id,
        done.owner_name, inverse.deal_name, inverse.from_deal_id, done.row,
    )  # fmt: skip
