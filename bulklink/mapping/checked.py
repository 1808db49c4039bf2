"""Checking a mapping, and what the check found: the way from files to a sealed plan."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from bulklink.atomic_files import write_error
from bulklink.errors import BadFileError
from bulklink.mapping import duplicates, load, plan_stats, plan_writer, rejects, validate
from bulklink.mapping.database import PLANNING_MEMORY, Database
from bulklink.mapping.headers import check_mapping_options, find_columns
from bulklink.mapping.input.files import remove_folder
from bulklink.mapping.input.prepare import PreparedInput, prepare_input, restage
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.schema import DuplicateRow, InputFile, MappingOptions, RefusedRow, RowFault
from bulklink.models import Op

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from bulklink.mapping.headers import MappingColumn
    from bulklink.mapping.input.files import Source

LOADING = "Loading its rows"
CHECKING = "Checking its rows"
GROUPING = "Grouping the emails"
SORTING = "Sorting the plan"
WRITING_REJECTS = "Writing the refused rows"


def check(
    inputs: Sequence[Source],
    options: MappingOptions,
    scratch: Path,
    *,
    stop: PlanningStop | None = None,
    standard_input: BinaryIO | None = None,
    threads: int | None = None,
    memory: str = PLANNING_MEMORY,
) -> CheckedMapping:
    """Read a mapping and check every row of it.

    Args:
        inputs: what `sources` found.
        options: how the mapping is to be read.
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
    check_mapping_options(options)
    stop = stop or PlanningStop()
    folder = _own_folder(scratch)
    try:
        prepared_inputs = [
            prepare_input(source, options, folder, standard_input or sys.stdin.buffer, stop)
            for source in inputs
        ]
        _refuse_no_records(prepared_inputs)
        columns = find_columns(
            [prepared_input.headers for prepared_input in prepared_inputs], options
        )
        database = Database(folder / "spill", stop, threads=threads, memory=memory)
        try:
            loaded_inputs = _load(database, prepared_inputs, columns, options, folder, stop)
            return CheckedMapping(database, loaded_inputs, columns, options, folder, stop)
        except BaseException:
            database.close()
            raise
    except BaseException:
        remove_folder(folder)
        raise


def _own_folder(scratch: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="planning-", dir=scratch))
    except OSError as error:
        raise write_error(scratch, error) from None


def _refuse_no_records(prepared_inputs: Sequence[PreparedInput]) -> None:
    if not any(prepared_input.input.records for prepared_input in prepared_inputs):
        raise BadFileError(
            "There are no rows, only a header."
            if prepared_inputs[0].headers.headers
            else "There are no rows.",
            where=prepared_inputs[0].source.name,
            advice="Check the export that made it.",
        )


def _load(
    database: Database,
    prepared_inputs: Sequence[PreparedInput],
    columns: Sequence[MappingColumn],
    options: MappingOptions,
    folder: Path,
    stop: PlanningStop,
) -> tuple[PreparedInput, ...]:
    table = load.StagedTable(tuple(columns), len(prepared_inputs), options)
    load.create_staged_table(database, table)
    return tuple(
        _load_input(database, table, prepared_input, number, folder, stop)
        for number, prepared_input in enumerate(prepared_inputs)
    )


def _load_input(
    database: Database,
    table: load.StagedTable,
    prepared_input: PreparedInput,
    number: int,
    folder: Path,
    stop: PlanningStop,
) -> PreparedInput:
    loaded_input = prepared_input
    stop.begin_stage(LOADING, single_query=True)
    if not load.load_file(
        database, table, loaded_input.csv_input, number, loaded_input.input.records
    ):
        loaded_input = restage(prepared_input, folder, stop)
        if not load.load_file(
            database, table, loaded_input.csv_input, number, loaded_input.input.records
        ):
            raise RuntimeError("DuckDB did not read what was staged")
    if loaded_input.content.changed:
        raise BadFileError(
            "The file was written to while it was read.",
            where=loaded_input.source.name,
            advice="Wait until it is complete, then start again.",
        )
    loaded_input.discard()
    return loaded_input


class CheckedMapping:
    """What a check found, kept in a private database until it is closed.

    Made by `check`. `rows` counts the rows of the run, `rejected` those that are refused,
    `duplicates` those that say the same as an earlier one, `messages` the rest; `left_out` the
    records that `only` left out of the run. `guarded` counts rows with a guard.
    """

    def __init__(
        self,
        database: Database,
        prepared_inputs: tuple[PreparedInput, ...],
        columns: tuple[MappingColumn, ...],
        options: MappingOptions,
        folder: Path,
        stop: PlanningStop,
    ) -> None:
        self._database = database
        self._folder = folder
        self._stop = stop
        self._files = rejects.MappingFiles.from_inputs(prepared_inputs, columns)
        self._columns = columns
        self._output_columns = tuple(column for column in columns if column.included)
        self._options = options
        self._is_grouped = False
        self.inputs: tuple[InputFile, ...] = tuple(
            prepared_input.input for prepared_input in prepared_inputs
        )
        stop.begin_stage(CHECKING)
        self.warnings = self._check()
        self._statistics = validate.collect_row_statistics(database, options)
        for statement in duplicates.duplicate_tables_sql(self._statistics.group_key_columns()):
            database.execute(statement)
        conflicts, self.duplicates = map(int, database.fetch_one(duplicates.duplicate_counts_sql()))
        self.rows, self.rejected = self._statistics.rows, self._statistics.faulty + conflicts
        self.guarded = self._statistics.guarded
        self.messages = self.rows - self.rejected - self.duplicates
        self.left_out = sum(prepared_input.records for prepared_input in self.inputs) - self.rows
        self.unclosed_quote = self._unclosed_quote_fault(prepared_inputs)

    def _check(self) -> tuple[str, ...]:
        """Find what is wrong with each row by itself; return what a person is warned of."""
        files, execute = self._files, self._database.execute
        execute(
            validate.base_view_sql(
                self._options, self._columns, files.line_offsets, any_staged=files.any_staged
            )
        )
        guards = validate.has_guards(self._options, self._columns)
        suspects = validate.count_trailing_zeros(self._database, guards=guards)
        if self._options.allow_round_ids:
            suspects = ()
        rounded_ids = [suspect for suspect in suspects if suspect.exceeds_chance]
        execute(validate.run_view_sql(self._options, rounded_ids, guards=guards))
        headers = {column.known: column.header for column in self._columns}
        return tuple(
            suspect.warning(headers.get(suspect.column, suspect.column))
            for suspect in suspects
            if not suspect.exceeds_chance
        )

    def _unclosed_quote_fault(self, prepared_inputs: Sequence[PreparedInput]) -> RowFault | None:
        rows_before = 0
        for prepared_input in prepared_inputs:
            if prepared_input.unclosed_quote is not None:
                row = rows_before + prepared_input.unclosed_quote.record
                query = rejects.refused_rows_sql(self._columns, row, row)
                return self._files.to_fault(self._database.fetch_one(query))
            rows_before += prepared_input.input.records
        return None

    def faults(self) -> Iterator[RowFault]:
        """Stream what is wrong with each refused row, in row order."""
        for batch in rejects.stream_refused(self._database, self._columns):
            yield from map(self._files.to_fault, batch)

    def refused_rows(self) -> Iterator[RefusedRow]:
        """Stream the refused rows with as much of them as could be read, in row order."""
        for batch in rejects.stream_refused(self._database, self._columns):
            yield from map(self._files.to_refused_row, batch)

    def duplicate_rows(self) -> Iterator[DuplicateRow]:
        """Stream the rows that say the same as an earlier one, in row order."""
        for row, op, *fields in self._database.rows(rejects.DUPLICATES_SQL):
            yield DuplicateRow(row, Op(op), *fields)

    def plan_stats(self) -> plan_stats.PlanStats:
        """Count what the plan's messages need in calls and look-ups."""
        self._group()
        return plan_stats.measure_plan(
            self._database, self._options, self._columns, self._statistics
        )

    def seal(self, folder: Path) -> None:
        """Write `plan.parquet` into a folder: every valid row, sorted as it will be sent."""
        self._group()
        self._stop.begin_stage(SORTING, single_query=True)
        contents = plan_writer.PlanContents(
            self._output_columns, self._options, self._files, self._statistics
        )
        plan_writer.write_plan(self._database, folder, contents)

    def write_rejects(self, folder: Path) -> None:
        """Write `rejects.csv` into a folder: every refused row, to be mended and fed again."""
        self._stop.begin_stage(WRITING_REJECTS)
        rejects.write_rejects(
            self._database, folder, self._folder, self._output_columns, self._files
        )

    def _group(self) -> None:
        if not self._is_grouped:
            self._stop.begin_stage(GROUPING)
            for statement in plan_stats.group_tables_sql(self._options.op, self._statistics):
                self._database.execute(statement)
            self._is_grouped = True

    def interrupt(self) -> None:
        """End what is running, from another thread; it raises `InterruptedPlanningError`."""
        self._stop.interrupt()

    def close(self) -> None:
        """Drop the database and everything that was written into the scratch folder."""
        self._database.close()
        remove_folder(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
