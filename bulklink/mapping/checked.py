"""Checking a mapping, and what the check found: the way from files to a sealed plan."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from bulklink.atomic_files import unwritable
from bulklink.errors import BadFileError
from bulklink.mapping import duplicates, load, plan_stats, plan_writer, rejects, validate
from bulklink.mapping.database import PLANNING_MEMORY, Database
from bulklink.mapping.headers import check_reading, columns_of
from bulklink.mapping.input.files import remove
from bulklink.mapping.input.prepare import Prepared, prepare, restage
from bulklink.mapping.interrupt import Stop
from bulklink.mapping.schema import DuplicateRow, Fault, InputFile, Reading, RefusedRow
from bulklink.models import Op

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from bulklink.mapping.headers import Column
    from bulklink.mapping.input.files import Source

LOADING = "Loading its rows"
CHECKING = "Checking its rows"
GROUPING = "Grouping the emails"
SORTING = "Sorting the plan"
WRITING_REJECTS = "Writing the refused rows"


def check(
    inputs: Sequence[Source],
    reading: Reading,
    scratch: Path,
    *,
    stop: Stop | None = None,
    standard_input: BinaryIO | None = None,
    threads: int | None = None,
    memory: str = PLANNING_MEMORY,
) -> Checked:
    """Read a mapping and check every row of it.

    Args:
        inputs: what `sources` found.
        reading: how the mapping is to be read.
        scratch: a folder for temporary files; what is written there is removed again.
        stop: ends the work from another thread.
        standard_input: what `-` reads; the process's own if None.
        threads: how many threads DuckDB uses; None for at most four of the machine's.
        memory: what DuckDB holds in memory at most, such as `512MB`; it spills the rest.

    Returns:
        What was found; close it when done.

    Raises:
        BadFileError: if the mapping cannot be read as a whole.
        UsageError: if the reading names columns that there are not.
        InterruptedPlanningError: if `stop` ended it.
        RunDirError: if `scratch` cannot be written.
    """
    check_reading(reading)
    stop = stop or Stop()
    folder = _own_folder(scratch)
    try:
        prepared = [
            prepare(source, reading, folder, standard_input or sys.stdin.buffer, stop)
            for source in inputs
        ]
        _refuse_no_records(prepared)
        columns = columns_of([one.headers for one in prepared], reading)
        database = Database(folder / "spill", stop, threads=threads, memory=memory)
        try:
            loaded = _load(database, prepared, columns, reading, folder, stop)
            return Checked(database, loaded, columns, reading, folder, stop)
        except BaseException:
            database.close()
            raise
    except BaseException:
        remove(folder)
        raise


def _own_folder(scratch: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="planning-", dir=scratch))
    except OSError as error:
        raise unwritable(scratch, error) from None


def _refuse_no_records(prepared: Sequence[Prepared]) -> None:
    if not any(one.input.records for one in prepared):
        raise BadFileError(
            "There are no rows, only a header."
            if prepared[0].headers.headers
            else "There are no rows.",
            where=prepared[0].source.name,
            advice="Check the export that made it.",
        )


def _load(
    database: Database,
    prepared: Sequence[Prepared],
    columns: Sequence[Column],
    reading: Reading,
    folder: Path,
    stop: Stop,
) -> tuple[Prepared, ...]:
    target = load.Target(tuple(columns), len(prepared), reading)
    load.create(database, target)
    return tuple(
        _load_one(database, target, one, number, folder, stop)
        for number, one in enumerate(prepared)
    )


def _load_one(
    database: Database,
    target: load.Target,
    given: Prepared,
    number: int,
    folder: Path,
    stop: Stop,
) -> Prepared:
    one = given
    stop.begins(LOADING, one_query=True)
    if not load.load(database, target, one.feed, number, one.input.records):
        one = restage(given, folder, stop)
        if not load.load(database, target, one.feed, number, one.input.records):
            raise RuntimeError("DuckDB did not read what was staged")
    if one.content.changed:
        raise BadFileError(
            "The file was written to while it was read.",
            where=one.source.name,
            advice="Wait until it is complete, then start again.",
        )
    one.discard()
    return one


class Checked:
    """What a check found, kept in a private database until it is closed.

    Made by `check`. `rows` counts the rows of the run, `rejected` those that are refused,
    `duplicates` those that say the same as an earlier one, `messages` the rest; `left_out` the
    records that `only` left out of the run. `guarded` counts rows with a guard.
    """

    def __init__(
        self,
        database: Database,
        prepared: tuple[Prepared, ...],
        columns: tuple[Column, ...],
        reading: Reading,
        folder: Path,
        stop: Stop,
    ) -> None:
        self._database = database
        self._folder = folder
        self._stop = stop
        self._files = rejects.Files.of(prepared, columns)
        self._columns = columns
        self._kept = tuple(column for column in columns if column.kept)
        self._reading = reading
        self._grouped = False
        self.inputs: tuple[InputFile, ...] = tuple(one.input for one in prepared)
        stop.begins(CHECKING)
        self.warnings = self._check()
        self._findings = validate.findings(database, reading)
        for statement in duplicates.twin_tables(self._findings.owner_forms()):
            database.run(statement)
        conflicts, self.duplicates = map(int, database.one(duplicates.counts_query()))
        self.rows, self.rejected = self._findings.rows, self._findings.faulty + conflicts
        self.guarded = self._findings.guarded
        self.messages = self.rows - self.rejected - self.duplicates
        self.left_out = sum(one.records for one in self.inputs) - self.rows
        self.unclosed_quote = self._unclosed(prepared)

    def _check(self) -> tuple[str, ...]:
        """Find what is wrong with each row by itself; return what a person is warned of."""
        files, run = self._files, self._database.run
        run(validate.base_view(self._reading, self._columns, files.shifts, told=files.told))
        guards = validate.has_guards(self._reading, self._columns)
        suspects = validate.round_ids(self._database, guards=guards)
        if self._reading.allow_round_ids:
            suspects = ()
        refused = [found for found in suspects if found.refused]
        run(validate.run_view(self._reading, refused, guards=guards))
        headers = {column.known: column.header for column in self._columns}
        return tuple(
            found.warning(headers.get(found.column, found.column))
            for found in suspects
            if not found.refused
        )

    def _unclosed(self, prepared: Sequence[Prepared]) -> Fault | None:
        before = 0
        for one in prepared:
            if one.unclosed is not None:
                row = before + one.unclosed.record
                query = rejects.refused_query(self._columns, row, row)
                return self._files.fault(self._database.one(query))
            before += one.input.records
        return None

    def faults(self) -> Iterator[Fault]:
        """Stream what is wrong with each refused row, in row order."""
        for batch in rejects.refused(self._database, self._columns):
            yield from map(self._files.fault, batch)

    def refused_rows(self) -> Iterator[RefusedRow]:
        """Stream the refused rows with as much of them as could be read, in row order."""
        for batch in rejects.refused(self._database, self._columns):
            yield from map(self._files.refused_row, batch)

    def duplicate_rows(self) -> Iterator[DuplicateRow]:
        """Stream the rows that say the same as an earlier one, in row order."""
        for row, op, *rest in self._database.rows(rejects.DUPLICATES):
            yield DuplicateRow(row, Op(op), *rest)

    def shape(self) -> plan_stats.PlanShape:
        """Count what the plan's messages need in calls and look-ups."""
        self._group()
        return plan_stats.measure(self._database, self._reading, self._columns, self._findings)

    def seal(self, folder: Path) -> None:
        """Write `plan.parquet` into a folder: every valid row, sorted as it will be sent."""
        self._group()
        self._stop.begins(SORTING, one_query=True)
        plan = plan_writer.Plan(self._kept, self._reading, self._files, self._findings)
        plan_writer.write_plan(self._database, folder, plan)

    def write_rejects(self, folder: Path) -> None:
        """Write `rejects.csv` into a folder: every refused row, to be mended and fed again."""
        self._stop.begins(WRITING_REJECTS)
        rejects.write_rejects(self._database, folder, self._folder, self._kept, self._files)

    def _group(self) -> None:
        if not self._grouped:
            self._stop.begins(GROUPING)
            for statement in plan_stats.group_tables(self._reading.op, self._findings):
                self._database.run(statement)
            self._grouped = True

    def interrupt(self) -> None:
        """End what is running, from another thread; it raises `InterruptedPlanningError`."""
        self._stop.interrupt()

    def close(self) -> None:
        """Drop the database and everything that was written into the scratch folder."""
        self._database.close()
        remove(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
