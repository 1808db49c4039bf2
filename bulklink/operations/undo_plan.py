"""Inverse of a run: the mapping that takes its changes back."""

# ruff: noqa: S608

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from bulklink.atomic_files import replacing
from bulklink.errors import LockedError
from bulklink.ledger.index import FirstSnapshots, Outcome, Outcomes, Snapshot
from bulklink.ledger.records import Result
from bulklink.ledger.state import PUT_BACK_FAILED, OpenRow, replay
from bulklink.mapping.database import Database, literal
from bulklink.mapping.interrupt import Stop
from bulklink.mapping.plan_layout import relation
from bulklink.mapping.rejects import OUR_COLUMNS
from bulklink.models import EITHER, NO_DEAL, Op, Status
from bulklink.runs.folder import RunFolder

if TYPE_CHECKING:
    from _csv import Writer

_SETTLED_BY_READ = "settled-by-read"


class Done(msgspec.Struct, frozen=True):
    """What a run did with one email.

    `seen` tells that a snapshot was taken: the first one says that the email was on the deal
    `was_on`, None for no deal, the last one that it was on `later_on`. `status` is None where it
    was in flight when the run stopped. `current` is where its result says that it is, as far as it
    does; `written` tells that a call carried it which may have changed it.
    """

    row: int
    op: Op
    contact_id: str
    owner_id: str
    message_id: str
    deal_id: str | None
    owner_name: str | None = None
    seen: bool = False
    was_on: str | None = None
    was_on_name: str | None = None
    later_on: str | None = None
    status: Status | None = None
    code: str | None = None
    current: str | None = None
    written: bool = False


class Inverse(msgspec.Struct, frozen=True):
    """What takes a row back: `from_deal_id` is its guard, the deal that the run left it on."""

    op: Op
    from_deal_id: str
    deal_id: str | None = None
    deal_name: str | None = None


class Why(StrEnum):
    """Why a row is not taken back; these are codes of the ledger."""

    NO_SNAPSHOT = "no-snapshot"
    SETTLED_BY_READ = _SETTLED_BY_READ
    IN_DOUBT = "in-doubt"


class Kept(msgspec.Struct, frozen=True):
    """A row that is not taken back, why, and what a person could make of it."""

    why: Why
    inverse: Inverse


def inverse_of(done: Done, *, settled: bool) -> Inverse | Kept | None:
    """Return what takes a row back; None where the run did not change it.

    Args:
        done: what the run did with it.
        settled: take back links too that might not be the run's: those that a read settled, or
            that are in doubt, without a snapshot.
    """
    left = _left_on(done)
    if not left or (left == (done.was_on,) and done.seen):
        return None
    guard = EITHER.join(deal or NO_DEAL for deal in left)
    if not done.seen:
        return _unseen(done, guard, settled=settled)
    if done.was_on is None:
        return Inverse(Op.UNLINK, EITHER.join(deal for deal in left if deal))
    op = Op.LINK if left == (None,) else Op.RELINK
    return Inverse(op, guard, done.was_on, done.was_on_name)


def _unseen(done: Done, guard: str, *, settled: bool) -> Inverse | Kept:
    """Take a link back by unlinking; where anything else was, nothing tells."""
    if done.op is not Op.LINK:
        return Kept(Why.NO_SNAPSHOT, Inverse(Op.RELINK, guard))
    inverse = Inverse(Op.UNLINK, guard)
    if settled or (done.status is Status.DONE and done.code != _SETTLED_BY_READ):
        return inverse
    sure = done.status is Status.DONE
    return Kept(Why.SETTLED_BY_READ if sure else Why.IN_DOUBT, inverse)


def _left_on(done: Done) -> tuple[str | None, ...]:
    """Return the deals that the run may have left an email on; none where it changed nothing."""
    wanted = None if done.op is Op.UNLINK else done.deal_id
    match done.status:
        case Status.DONE:
            return (wanted,)
        case None | Status.IN_DOUBT if done.written:
            return (wanted, None) if done.op is Op.RELINK else (wanted,)
        case Status.FAILED if _left_off(done):
            return (None,)
        case _:
            return ()


def _left_off(done: Done) -> bool:
    """Tell whether a failed relink took an email off its deal and did not bring it back."""
    if done.code == PUT_BACK_FAILED:
        return True
    if not (done.seen and done.written and done.op is Op.RELINK) or done.was_on is None:
        return False
    return done.was_on != (done.current or done.later_on)


_MEMORY = "128MB"
_COLUMNS = ("row", "op", "contact_id", "owner_id", "message_id", "deal_id")
_NEVER_SENT = (Status.REJECTED, Status.DUPLICATE)


def deeds(folder: RunFolder, spill: Path, stop: Stop) -> Iterator[Done]:
    """Stream what a run did with each email that it came to, in the order of its plan.

    A torn last line, of a run that was killed, does not count. Memory: some bytes a row.

    Args:
        folder: of the run.
        spill: where data goes that does not fit into memory; removed again.
        stop: ends the work from another thread.

    Raises:
        LedgerError: if a line of the ledger is damaged.
        InterruptedPlanningError: if `stop` ended it.
    """
    flying = replay(folder.ledger).open
    with (
        closing(Database(spill, stop, threads=1, memory=_MEMORY)) as database,
        Outcomes(folder.ledger) as outcomes,
        FirstSnapshots(folder.ledger) as snapshots,
    ):
        for found in database.rows(_query(database, folder)):
            row = found[0]
            told, flies = outcomes.of(row), flying.get(row)
            if flies is not None or (told is not None and told.status not in _NEVER_SENT):
                yield _done(found, snapshots.of(row), told, flies)


def _done(
    found: tuple[Any, ...],
    seen: Snapshot | None,
    told: Outcome | None,
    flies: OpenRow | None,
) -> Done:
    row, op, contact_id, owner_id, message_id, deal_id, owner_name = found
    was_on = seen.previous_deal_id if seen else None
    ended = told if flies is None else None
    current = ended.current_deal_id if ended else None
    return Done(
        row,
        Op(op),
        contact_id,
        owner_id,
        message_id,
        deal_id,
        owner_name,
        seen=seen is not None,
        was_on=was_on,
        was_on_name=seen.previous_deal_name if seen else None,
        later_on=_later_on(told, was_on),
        status=ended.status if ended else None,
        code=ended.code if ended else None,
        current=current if isinstance(current, str) else None,
        written=(told is not None and told.attempts > 0) or (flies is not None and _sent(flies)),
    )


def _later_on(told: Outcome | None, was_on: str | None) -> str | None:
    """Return what the last snapshot told; a result has it, unless there was none."""
    later = told.previous_deal_id if told else was_on
    return later if later is None or isinstance(later, str) else was_on


def _sent(left: OpenRow) -> bool:
    return left.asked is not None or left.unlinked or left.doubt


def _query(database: Database, folder: RunFolder) -> str:
    columns = ", ".join(f"plan.bulklink_{column}" for column in _COLUMNS)
    owner_name, names = "plan.bulklink_owner_name", ""
    if folder.names.is_file():
        owner_name = f"coalesce({owner_name}, names.owner_name)"
        path = literal(str(folder.names))
        names = f"POSITIONAL JOIN read_parquet({path}) AS names"
    return (
        f"SELECT {columns}, {owner_name} FROM {relation(database, folder.plan)} AS plan {names} "
        "WHERE plan.bulklink_duplicate_of IS NULL"
    )


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
