"""`match`: find the emails of another system's list among fetched emails, for a mapping."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Unpack

from bulklink.advice import Advice, Keyword
from bulklink.atomic_files import atomic_replace, write_error
from bulklink.counts import count_of
from bulklink.engine.shutdown import StopController
from bulklink.errors import BadFileError, ConfigError, InterruptedPlanningError, UsageError
from bulklink.finding.email_choice import (
    MIN_SHIFT_EMAILS,
    SHIFT_STEP_SECONDS,
    TimeShift,
    choose_messages,
    find_shift,
)
from bulklink.finding.subjects import LEADING_MARKS
from bulklink.mapping.database import PLANNING_MEMORY
from bulklink.mapping.email_matches import (
    ContestedPair,
    Decision,
    EmailMatches,
    MatchCounts,
    open_matches,
)
from bulklink.mapping.faults import quote_cell
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.match_columns import WantedOptions
from bulklink.mapping.match_lists import (
    INVALID_IDS_ADVICE,
    FetchedList,
    WantedCounts,
    read_fetched,
    write_deals,
    write_read_deals,
    write_wanted,
)
from bulklink.mapping.schema import HiddenRows, MappingOptions
from bulklink.models import Op
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.cancellation import T, run_guarded, run_planning
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.job import check_ranges, parse_duration, parse_memory
from bulklink.operations.job_options import PACE_OPTIONS, PaceOptions, with_options
from bulklink.operations.matching.deal_keys import DealKeysReader, ReadDeals, check_key_field
from bulklink.operations.matching.files import MatchFiles, check_inputs, plan_match_files
from bulklink.operations.matching.result import MatchResult, complete_match, stopped_match
from bulklink.operations.matching.systems import system_headers
from bulklink.operations.session import NO_CALLS
from bulklink.tables import write_tables
from bulklink.zoho.connection import Connection

_WITHIN_SECONDS = 120
_MAX_CONFLICTS_NAMED = 5


async def match(
    wanted: str | PathLike[str],
    fetched: str | PathLike[str],
    mapping: str | PathLike[str],
    connection: Connection | None = None,
    *,
    deals: str | PathLike[str] | None = None,
    deal_key: str | None = None,
    within: float | str = _WITHIN_SECONDS,
    tz: str | None = None,
    from_system: str | None = None,
    columns: tuple[tuple[str, str], ...] = (),
    delimiter: str | None = None,
    quote: str | None = None,
    escape: str | None = None,
    skip_lines: int = 0,
    encoding: str | None = None,
    sheet: str | None = None,
    hidden_rows: HiddenRows | None = None,
    memory: str = PLANNING_MEMORY,
    format_: str | None = None,
    spreadsheet: bool = False,
    force: bool = False,
    callbacks: RunCallbacks | None = None,
    stop: StopController | None = None,
    environment: Environment | None = None,
    **pace: Unpack[PaceOptions],
) -> MatchResult:
    """Find the emails of another system's list among fetched emails, and write a mapping of them.

    Emails are compared by sender, recipients, subject and time, or by the ids in their headers if
    both lists have them. Beside the mapping, with its stem, are `.ambiguous.csv` with the
    candidates of emails that may be several, and `.missing.csv` with those that were not found.
    Nothing in the CRM is changed.

    Args:
        wanted: the list of the other system, in any format of a mapping; `-` is standard input.
        fetched: file of emails that a fetch wrote.
        mapping: file of the mapping, whose suffix determines the format.
        connection: endpoint and credentials of the CRM; needed only for `deal_key`.
        deals: table with the columns `deal_key` and `deal_id`, perhaps `deal_name`, if the list
            names deals by their keys in the other system.
        deal_key: API name of the field of deals in the CRM that holds these keys.
        within: greatest difference between the times of one email, in seconds, or a text such as
            `2m`.
        tz: time zone of times without one: a name such as `Europe/Berlin`, or an offset.
        from_system: `hubspot`, `salesforce` or `pipedrive`, for the headers of their lists.
        columns: (column, header) pairs that rename headers of the list.
        delimiter: CSV delimiter; None detects it.
        quote: CSV quote character; None is `"`, or detects it.
        escape: CSV escape character before quotes in a cell; None means that quotes are doubled.
        skip_lines: lines, or rows of a sheet, to skip above the headers.
        encoding: encoding of text files; None is UTF-8.
        sheet: name or number of a workbook's sheet; None is the first visible one.
        hidden_rows: include or skip hidden rows of a sheet; None refuses such a sheet.
        memory: memory limit, such as `512MB`; the rest is on disk, beside the mapping.
        format_: csv, jsonl, parquet or xlsx, if there is no suffix.
        spreadsheet: whether to write CSV whose ids and formulas a spreadsheet keeps as text.
        force: whether to replace existing files.
        callbacks: receives progress and warnings; None for none.
        stop: stops the match from outside.
        environment: network, disk and clock; None for this machine's, others for tests.
        **pace: options of `Job`: limits on calls and their rate.

    Returns:
        The result; if `stopped_by` is set, no file was written.

    Raises:
        UsageError: if the files cannot be written, options do not fit together, or the CRM refuses
            the field.
        ConfigError: if the keys are to be read from the CRM and there is no connection.
        BadFileError: if a list cannot be read, lacks a column, or has a time or deal that cannot
            be read.
        InterruptedPlanningError: if it was stopped before the files were written.
    """
    if deals is not None and deal_key is not None:
        raise UsageError(
            "The keys of the deals are in a table or in the CRM, not in both.",
            where=Advice("{}, {}", Keyword("deals"), Keyword("deal_key")),
            advice="Leave out one of them.",
        )
    if deal_key is not None:
        check_key_field(deal_key)
    seconds = parse_duration(within, "within")
    check_ranges({"within": seconds})
    verb = _Match(
        wanted=fspath(wanted),
        fetched=Path(fetched),
        files=plan_match_files(mapping, format_, spreadsheet=spreadsheet, force=force),
        connection=connection,
        deals=None if deals is None else fspath(deals),
        deal_key=deal_key,
        within=int(seconds),
        options=WantedOptions(
            reading=MappingOptions(
                op=Op.UNLINK,
                user_columns=("op",),
                delimiter=delimiter,
                quote=quote,
                escape=escape,
                skip_lines=skip_lines,
                encoding=encoding,
                sheet=sheet,
                hidden_rows=hidden_rows,
            ),
            columns=columns,
            headers=system_headers(from_system),
            zone=tz,
            has_keys=deals is not None or deal_key is not None,
        ),
        memory=parse_memory(memory),
        pace=pace,
        environment=environment or real_environment(),
    )
    check_inputs(verb.files, verb.wanted, verb.fetched, verb.deals)
    return await run_guarded(verb.run, callbacks, stop)


@dataclass(slots=True, frozen=True, kw_only=True)
class _Match:
    """One match.

    Args:
        wanted: the list of wanted emails.
        fetched: the file of fetched emails.
        files: the files that it writes.
        connection: endpoint and credentials of the CRM.
        deals: table of the deals by their keys.
        deal_key: API name of the field with the keys.
        within: greatest difference between the times of one email, in seconds.
        options: how the list of wanted emails is read.
        memory: DuckDB's memory limit.
        pace: limits on calls and their rate.
        environment: network, disk and clock.
    """

    wanted: str
    fetched: Path
    files: MatchFiles
    connection: Connection | None
    deals: str | None
    deal_key: str | None
    within: int
    options: WantedOptions
    memory: str
    pace: PaceOptions
    environment: Environment

    async def run(self, callbacks: RunCallbacks, stop: StopController) -> MatchResult:
        """Read the lists, compare them, and write the files."""
        parent = self.files.mapping.parent
        try:
            with tempfile.TemporaryDirectory(prefix="bulklink-", dir=parent) as folder:
                return await self._run(_Lists(Path(folder)), callbacks, stop)
        except OSError as error:
            raise write_error(parent, error) from None
        except InterruptedPlanningError as error:
            raise InterruptedPlanningError(
                "Stopped before the mapping was written.",
                where=str(self.files.mapping),
                advice="Run the same command again to start again.",
            ) from error

    async def _run(
        self, lists: _Lists, callbacks: RunCallbacks, stop: StopController
    ) -> MatchResult:
        plan = partial(self._plan, callbacks, stop)
        wanted = await plan(
            partial(write_wanted, self.wanted, lists.wanted, self.options, memory=self.memory)
        )
        fetched = await plan(
            partial(read_fetched, str(self.fetched), lists.fetched, memory=self.memory)
        )
        self._check_comparable(wanted, fetched)
        read_deals = ReadDeals(NO_CALLS.copy(), 0)
        if self.deal_key is not None:
            read_deals = await self._read_deals(self.deal_key, lists, callbacks, stop)
            if stop.reason is not None:
                return stopped_match(wanted, read_deals, stop)
        counts, shift = await run_planning(
            partial(self._compare, lists, wanted, fetched),
            callbacks,
            stop,
            self.environment.run_blocking,
        )
        return complete_match(wanted, fetched, counts, shift, read_deals, self.files)

    async def _plan(
        self, callbacks: RunCallbacks, stop: StopController, work: Callable[..., T]
    ) -> T:
        def planning(planning_stop: PlanningStop, warn: object) -> T:
            del warn
            return work(stop=planning_stop)

        return await run_planning(planning, callbacks, stop, self.environment.run_blocking)

    def _check_comparable(self, wanted: WantedCounts, fetched: FetchedList) -> None:
        """Refuse a list that has nothing but ids in headers, if the fetched emails have none."""
        if wanted.is_comparable or fetched.has_header_ids:
            return
        raise BadFileError(
            "The list names emails only by the ids in their headers, which Zoho's lists of emails"
            " do not have.",
            where=self.wanted,
            advice="Export sender, recipients, subject and time as well; or add a column"
            f" internet_message_id to {self.fetched}.",
        )

    async def _read_deals(
        self, key_field: str, lists: _Lists, callbacks: RunCallbacks, stop: StopController
    ) -> ReadDeals:
        if self.connection is None:
            raise ConfigError(
                "The keys of the deals are in the CRM, and there is no connection.",
                where=Advice("{}", Keyword("deal_key")),
                advice="Sign in with `bulklink auth login`.",
            )
        reader = DealKeysReader(
            key_field=key_field,
            connection=self.connection,
            job=with_options(None, self.pace, PACE_OPTIONS),
            environment=self.environment,
            folder=lists.folder,
        )
        read_deals = await reader.read(callbacks, stop)
        if stop.reason is None:
            await self._plan(
                callbacks,
                stop,
                partial(write_read_deals, reader.deals, lists.deals, memory=self.memory),
            )
        return read_deals

    def _compare(
        self,
        lists: _Lists,
        wanted: WantedCounts,
        fetched: FetchedList,
        stop: PlanningStop,
        warn: Callable[[str | Advice], None],
    ) -> tuple[MatchCounts, TimeShift | None]:
        """Compare the lists, and write the files."""
        if self.deals is not None:
            encoding = self.options.reading.encoding
            write_deals(self.deals, lists.deals, encoding, stop=stop, memory=self.memory)
        with open_matches(
            lists.wanted,
            fetched,
            lists.deals if self.options.has_keys else None,
            deals_name=self.deals or f"Deals, field {self.deal_key}",
            within=self.within,
            leading_marks=LEADING_MARKS,
            stop=stop,
            memory=self.memory,
        ) as matches:
            matches.load(
                has_header_ids=wanted.has_header_ids and fetched.has_header_ids,
                is_comparable=wanted.is_comparable,
            )
            shift = find_shift(matches.shift_counts(SHIFT_STEP_SECONDS))
            if shift is not None and not shift.is_clear:
                shift = _unclear_shift(shift, warn)
            matches.find_pairs(shift.seconds if shift is not None and shift.is_clear else 0)
            matches.decide(_decide)
            self._warn_of_rows(fetched, matches, warn)
            self._warn_of_conflicts(matches, warn)
            self._write(matches)
            return matches.counts(), shift

    def _write(self, matches: EmailMatches) -> None:
        """Write the files, which appear once all are complete."""
        tables = self.files.tables()
        with ExitStack() as appearing:
            if self.files.is_plain:
                path = appearing.enter_context(atomic_replace(self.files.mapping))
                matches.write_mapping(path, self.files.mapping_format.file_type)
                tables = tables[1:]
            *mapping, ambiguous, missing = appearing.enter_context(write_tables(tables))
            for table in mapping:
                table.write(matches.mapping_rows())
            ambiguous.write(matches.ambiguous_rows())
            missing.write(matches.missing_rows())

    def _warn_of_rows(
        self, fetched: FetchedList, matches: EmailMatches, warn: Callable[[str | Advice], None]
    ) -> None:
        """Warn of fetched rows that are left out."""
        invalid = fetched.invalid
        if invalid is not None:
            others = f", like {count_of(invalid.rows - 1, 'other row')}" if invalid.rows > 1 else ""
            warn(
                f"{fetched.name}, row {invalid.first:,}: {invalid.column} is"
                f" {quote_cell(invalid.cell)}, so the row is left out{others}. {INVALID_IDS_ADVICE}"
            )
        contradiction = matches.contradiction()
        if contradiction is not None:
            first, second = contradiction
            warn(
                f"{fetched.name}, rows {first:,} and {second:,}: one email is on two deals. Such"
                " emails are left out: fetch them again."
            )

    def _warn_of_conflicts(
        self, matches: EmailMatches, warn: Callable[[str | Advice], None]
    ) -> None:
        conflicts, emails = matches.conflicts(_MAX_CONFLICTS_NAMED)
        for conflict in conflicts:
            warn(
                f"{self.wanted}, rows {conflict.first:,} and {conflict.second:,}: one email is"
                " wanted on two deals. It is in the file of ambiguous emails."
            )
        if emails > len(conflicts):
            others = count_of(emails - len(conflicts), "other email is", "other emails are")
            warn(f"{self.wanted}: {others} wanted on two deals. See the file of ambiguous emails.")


@dataclass(slots=True, frozen=True)
class _Lists:
    """Temporary files with the lists.

    Args:
        folder: their folder.
    """

    folder: Path

    @property
    def wanted(self) -> Path:
        return self.folder / "wanted.parquet"

    @property
    def fetched(self) -> Path:
        return self.folder / "fetched.parquet"

    @property
    def deals(self) -> Path:
        return self.folder / "deals.parquet"


def _decide(pairs: Sequence[ContestedPair]) -> Decision:
    """Decide about connected pairs."""
    choice = choose_messages(pairs)
    rows: dict[str, set[int]] = defaultdict(set)
    for pair in pairs:
        rows[pair.message_id].add(pair.fetched)
    return Decision(
        [(row, wanted) for message, wanted in choice.matched.items() for row in rows[message]],
        list(choice.repeated),
        {wanted: reason.value for wanted, reason in choice.unclear.items()},
    )


def _unclear_shift(shift: TimeShift, warn: Callable[[str | Advice], None]) -> TimeShift | None:
    """Return a shift that is not applied, with a warning; None if few emails show it."""
    if shift.emails < MIN_SHIFT_EMAILS:
        return None
    warn(
        Advice(
            "Of {} in both lists, {} differ by {} seconds, and the others do not, so no shift is"
            " applied. If the list has local times of a zone"
            " with daylight saving, remove their offsets and set {}.",
            count_of(shift.of, "email"),
            f"{shift.emails:,}",
            shift.seconds,
            Keyword("tz", "Europe/Berlin"),
        )
    )
    return shift
