"""Entry point of planning: from the files of a mapping to a checked mapping."""
# ruff: noqa: S608

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from bulklink.advice import Advice
from bulklink.atomic_files import write_error
from bulklink.errors import BadFileError
from bulklink.mapping import duplicates, plan_stats, rejects, validate
from bulklink.mapping.database import PLANNING_MEMORY, Database
from bulklink.mapping.headers import (
    advise_other_sheet,
    check_mapping_options,
    find_columns,
    is_mapping,
)
from bulklink.mapping.input.files import remove_folder, unreadable_file_error
from bulklink.mapping.input.frames import Frame
from bulklink.mapping.input.prepare import (
    PreparedInput,
    prepare_input,
    restage,
    with_records,
    with_scan,
)
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.load import CHANGED_NAME, StagedTable
from bulklink.mapping.looked_up_names import (
    GOOD_ROWS,
    NO_UNKNOWN_ROWS,
    RecordEmails,
    insert_names,
    name_rows_statements,
    records_with_most_emails_sql,
    unnamed_ids_sql,
)
from bulklink.mapping.name_cells import name_warnings
from bulklink.mapping.plan_writer import PlanWriter
from bulklink.mapping.schema import DuplicateRow, InputFile, MappingOptions, RefusedRow, RowFault
from bulklink.mapping.sheet_choice import hidden_rows_advice, refuse_hidden_rows, sheet_warnings
from bulklink.mapping.suspect_ids import SuspectIds, find_suspect_ids
from bulklink.models import Op

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from bulklink.mapping.headers import MappingColumn
    from bulklink.mapping.input.files import Source
    from bulklink.mapping.plan_digest import RowHashes

LOADING = "Loading the rows"
CHECKING = "Checking the rows"
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
        inputs: what `find_sources` returned.
        options: options for reading the mapping.
        scratch: folder for temporary files, which are removed at the end.
        stop: stops the work from another thread.
        standard_input: stream that `-` reads; the process's own if None.
        threads: threads of DuckDB; at most four if None.
        memory: DuckDB's memory limit, such as `512MB`; it spills the rest to disk.

    Returns:
        The checked mapping; close it when done.

    Raises:
        BadFileError: if the mapping cannot be read as a whole.
        UsageError: if the options name unknown columns.
        InterruptedPlanningError: if `stop` stopped it.
        RunDirError: if `scratch` cannot be written.
    """
    check_mapping_options(options)
    stop = stop or PlanningStop()
    with ExitStack() as on_error:
        folder = _own_folder(scratch)
        on_error.callback(remove_folder, folder)
        prepared_inputs = [
            prepare_input(source, options, folder, standard_input or sys.stdin.buffer, stop, memory)
            for source in inputs
        ]
        headers = [prepared_input.headers for prepared_input in prepared_inputs]
        if not headers[0].headers:
            _refuse_no_records(prepared_inputs, options)
        columns = find_columns(headers, options)
        refuse_hidden_rows(headers, options)
        if not any(isinstance(one.table, Frame) for one in prepared_inputs):
            _refuse_no_records(prepared_inputs, options)
        database = Database(folder / "spill", stop, threads=threads, memory=memory, adjustable=True)
        on_error.callback(database.close)
        table = StagedTable(database, columns, len(prepared_inputs), options)
        table.create()
        loaded_inputs = [
            _load_input(table, prepared_input, number, folder, stop)
            for number, prepared_input in enumerate(prepared_inputs)
        ]
        _refuse_no_records(loaded_inputs, options)
        checked = _check_rows(table, loaded_inputs, folder, stop)
        on_error.pop_all()
    return checked


def _own_folder(scratch: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="planning-", dir=scratch))
    except OSError as error:
        raise write_error(scratch, error) from None


def _refuse_no_records(prepared_inputs: Sequence[PreparedInput], options: MappingOptions) -> None:
    if not any(prepared_input.input.records for prepared_input in prepared_inputs):
        headers = prepared_inputs[0].headers
        raise BadFileError(
            "There are no rows, only a header." if headers.headers else "There are no rows.",
            where=headers.where,
            advice=advise_other_sheet(headers, options)
            or hidden_rows_advice(headers)
            or "Check the export that made it.",
        )


def _load_input(
    table: StagedTable,
    prepared_input: PreparedInput,
    number: int,
    folder: Path,
    stop: PlanningStop,
) -> PreparedInput:
    """Load one input; use the exact reader if DuckDB reads a different number of records."""
    stop.begin_stage(LOADING, single_query=True)
    if isinstance(prepared_input.table, Frame):
        return with_records(prepared_input, table.load_frame(prepared_input.table, number))
    loaded_input, loaded = _load_and_scan(table, prepared_input, number)
    if not loaded:
        loaded_input = restage(loaded_input, folder, stop)
        _, loaded = _load_and_scan(table, loaded_input, number)
    if not loaded:
        raise RuntimeError("DuckDB did not read all staged records")
    if loaded_input.has_changed:
        raise BadFileError(
            "The file changed while it was read.",
            where=loaded_input.input.name,
            advice="Wait until it is complete, then start again.",
        )
    loaded_input.discard()
    return loaded_input


def _load_and_scan(
    table: StagedTable, prepared_input: PreparedInput, number: int
) -> tuple[PreparedInput, bool]:
    """Load one input, and scan it at the same time if its scan has not ended.

    Returns:
        The scanned input, and whether it was loaded.
    """
    scanner, csv_input = prepared_input.scanner, prepared_input.csv_input
    if scanner is None:
        counting = nullcontext(lambda: prepared_input.input.records)
        return prepared_input, table.load_file(csv_input, number, counting)
    try:
        loaded = table.load_file(csv_input, number, scanner.counting(table.database.interrupt))
    except OSError as error:
        raise unreadable_file_error(prepared_input.input.name, error) from None
    return with_scan(prepared_input, scanner.result), loaded


def _check_rows(
    table: StagedTable, inputs: Sequence[PreparedInput], folder: Path, stop: PlanningStop
) -> CheckedMapping:
    """Check the rows of a loaded mapping, first one by one, then against each other."""
    database, columns = table.database, table.columns
    files = rejects.MappingFiles.from_inputs(inputs, columns)
    stop.begin_stage(CHECKING)
    records = sum(prepared_input.input.records for prepared_input in inputs)
    suspects = _create_row_views(table, files, stored=records <= validate.MAX_STORED_ROWS)
    statistics = validate.collect_row_statistics(database, table.options)
    for statement in duplicates.duplicate_tables_sql(statistics.group_key_columns()):
        database.execute(statement)
    database.execute(NO_UNKNOWN_ROWS)
    conflict_count, duplicate_count = map(
        int, database.fetch_one(duplicates.duplicate_counts_sql())
    )
    headers = [prepared_input.headers for prepared_input in inputs]
    notes = sheet_warnings(headers, table.options, lambda names: is_mapping(names, table.options))
    included = tuple(column for column in columns if column.included)
    return CheckedMapping(
        inputs=tuple(prepared_input.input for prepared_input in inputs),
        warnings=(*notes, *suspects.warnings, *name_warnings(database, columns, CHANGED_NAME)),
        rejected=statistics.faulty + conflict_count,
        duplicates=duplicate_count,
        unclosed_quote=_unclosed_quote_fault(table, files, inputs),
        columns=columns,
        suspects=suspects,
        plan_writer=PlanWriter(included, table.options, files, statistics),
        database=database,
        folder=folder,
        stop=stop,
    )


def _create_row_views(
    table: StagedTable, files: rejects.MappingFiles, *, stored: bool
) -> SuspectIds:
    """Create `base` and the view `checked_rows`; return the ids that look rounded."""
    database, columns, options = table.database, table.columns, table.options
    database.execute(
        validate.base_rows_sql(
            options,
            columns,
            validate.loaded_places(files.line_offsets, any_staged=files.any_staged),
            stored=stored,
        )
    )
    guards = validate.has_guards(options, columns)
    suspects = SuspectIds()
    if not options.allow_round_ids:
        headers = {column.known: column.header for column in columns}
        suspects = find_suspect_ids(database, headers, guards=guards)
    database.execute(validate.may_be_faulty_macro_sql(suspects))
    database.execute(validate.checked_rows_view_sql(options, columns, suspects, guards=guards))
    return suspects


def _unclosed_quote_fault(
    table: StagedTable, files: rejects.MappingFiles, inputs: Sequence[PreparedInput]
) -> RowFault | None:
    rows_before = 0
    for prepared_input in inputs:
        if prepared_input.unclosed_quote is not None:
            row = rows_before + prepared_input.unclosed_quote.record
            query = rejects.refused_rows_sql(table.columns, row, row, joined=False)
            return files.to_fault(table.database.fetch_one(query))
        rows_before += prepared_input.input.records
    return None


@dataclass(slots=True, kw_only=True)
class CheckedMapping:
    """A checked mapping in a private database; close it when done. Made by `check`.

    Args:
        inputs: its files.
        warnings: warnings for the user, one sentence each.
        rejected: number of refused rows.
        duplicates: number of valid rows that repeat an earlier one.
        unclosed_quote: fault of the first record with a quote that is never closed.
        columns: the user's columns, including those that only the option `only` reads.
        suspects: ids that look rounded.
        plan_writer: options, files and statistics of the mapping.
        database: holds the rows.
        folder: folder for temporary files, removed on close.
        stop: stops the work from another thread.
    """

    inputs: tuple[InputFile, ...]
    warnings: tuple[str | Advice, ...]
    rejected: int
    duplicates: int
    unclosed_quote: RowFault | None
    columns: tuple[MappingColumn, ...]
    suspects: SuspectIds
    plan_writer: PlanWriter
    database: Database
    folder: Path
    stop: PlanningStop
    _is_grouped: bool = field(default=False, init=False)
    _plan_stats: plan_stats.PlanStats | None = field(default=None, init=False)

    @property
    def rows(self) -> int:
        """Rows of the run: the records that `only` does not leave out."""
        return self.plan_writer.statistics.rows

    @property
    def guarded(self) -> int:
        """Rows with a guard and without a fault of their own."""
        return self.plan_writer.statistics.guarded

    @property
    def messages(self) -> int:
        """Rows that are sent: neither refused nor duplicates."""
        return self.rows - self.rejected - self.duplicates

    @property
    def left_out(self) -> int:
        """Records that `only` leaves out of the run; no shard has any."""
        if self.plan_writer.is_shard:
            return 0
        return sum(file.records for file in self.inputs) - self.rows

    def faults(self) -> Iterator[RowFault]:
        """Stream the fault of each refused row, in row order."""
        for batch in rejects.stream_refused(self.database, self.columns):
            yield from map(self.plan_writer.files.to_fault, batch)

    def refused_rows(self) -> Iterator[RefusedRow]:
        """Stream the refused rows with the ids that could be read, in row order."""
        if not self.rejected:
            return
        for batch in rejects.stream_refused(self.database, self.columns):
            yield from map(self.plan_writer.files.to_refused_row, batch)

    def duplicate_rows(self) -> Iterator[DuplicateRow]:
        """Stream the rows that repeat an earlier one, in row order."""
        if not self.duplicates:
            return
        for row, op, *fields in self.database.rows(rejects.DUPLICATES_SQL):
            yield DuplicateRow(row, Op(op), *fields)

    def deals_without_name(self) -> Iterator[str]:
        """Stream the distinct deals of links and relinks without a name, sorted."""
        return self._stream_unnamed("deal_id", "deal_name")

    def count_deals_without_name(self) -> int:
        """Count the deals that `deals_without_name` streams."""
        query = unnamed_ids_sql(GOOD_ROWS, "deal_id", "deal_name")
        return int(self.database.fetch_one(f"SELECT count(*) FROM ({query})")[0])

    def owners_without_name(self) -> Iterator[str]:
        """Stream the distinct owners of links and relinks without a name, sorted."""
        return self._stream_unnamed("owner_id", "owner_name")

    def _stream_unnamed(self, ident: str, name: str) -> Iterator[str]:
        query = unnamed_ids_sql(GOOD_ROWS, ident, name)
        for (value,) in self.database.rows(f"{query} ORDER BY id"):
            yield value

    def add_names(
        self, deals: Iterable[tuple[str, str]], owners: Iterable[tuple[str, str]]
    ) -> None:
        """Add names that were looked up, and refuse rows whose deal or owner does not exist.

        Call it before the mapping is measured or sealed.

        Args:
            deals: pairs of a deal's id and name; a deal that is missing does not exist.
            owners: pairs of an owner's id and name; an owner that is missing does not exist.
        """
        insert_names(self.database, deals, owners)
        for statement in name_rows_statements():
            self.database.execute(statement)
        self.rejected += int(self.database.fetch_one("SELECT count(*) FROM unknown_rows")[0])
        self.plan_writer = replace(self.plan_writer, names_looked_up=True)

    def find_foreign_deals(
        self, contacts: Iterable[tuple[str, str]], roles: Iterable[tuple[str, str]] = ()
    ) -> rejects.ForeignDeals:
        """Find rows whose deal belongs to another contact.

        Args:
            contacts: pairs of a deal that was looked up and its contact.
            roles: pairs of a deal and a contact with a role on it, whose rows are left out.
        """
        return rejects.query_foreign_deals(self.database, GOOD_ROWS, contacts, roles)

    def records_with_most_emails(
        self, ident: str, name: str, limit: int
    ) -> tuple[tuple[RecordEmails, ...], int]:
        """Return the deals or owners with the most links and relinks, and the total number.

        Args:
            ident: column of the ids, `deal_id` or `owner_id`.
            name: column of their names.
            limit: maximum number to return.
        """
        rows = list(self.database.rows(records_with_most_emails_sql(ident, name, limit)))
        return tuple(RecordEmails(*row[:3]) for row in rows), rows[0][3] if rows else 0

    def keep_fetched_deals(self) -> None:
        """Add the deal that each email is on to the plan, from the table `fetched_deals`."""
        self.plan_writer = replace(self.plan_writer, compared=True)

    def plan_stats(self) -> plan_stats.PlanStats:
        """Measure the plan, for forecasting calls and look-ups."""
        if self._plan_stats is None:
            self._group()
            writer = self.plan_writer
            self._plan_stats = plan_stats.measure_plan(
                self.database,
                writer.options,
                self.columns,
                writer.statistics,
                all_named=writer.names_looked_up,
            )
        return self._plan_stats

    def seal(self, folder: Path) -> None:
        """Write `plan.parquet` into a folder: every valid row, in the order of sending."""
        self._group()
        self.stop.begin_stage(SORTING, single_query=True)
        self.plan_writer.write(self.database, folder)

    def hash_plan(self) -> RowHashes:
        """Hash the rows of the plan, sealed or not."""
        self._group()
        self.stop.begin_stage(SORTING, single_query=True)
        return self.plan_writer.hash(self.database)

    def refusals(self) -> dict[str, int]:
        """Count the refused rows by reason, the most frequent first."""
        return dict(self.database.rows(rejects.REFUSALS_SQL)) if self.rejected else {}

    def write_rejects(self, path: Path) -> None:
        """Write every refused row to a CSV file, as a mapping to fix and reuse."""
        self.stop.begin_stage(WRITING_REJECTS)
        writer = self.plan_writer
        rejects.write_rejects(
            self.database,
            path,
            self.folder,
            writer.columns,
            writer.files,
            is_shard=writer.is_shard,
        )

    def _group(self) -> None:
        if not self._is_grouped:
            self.stop.begin_stage(GROUPING)
            writer = self.plan_writer
            for statement in plan_stats.group_tables_sql(
                writer.options.op, writer.statistics, orphans=writer.names_looked_up
            ):
                self.database.execute(statement)
            self._is_grouped = True

    def close(self) -> None:
        """Drop the database and all temporary files."""
        self.database.close()
        remove_folder(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
