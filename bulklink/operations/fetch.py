"""`fetch`: read the emails of contacts and write them as one table."""

from __future__ import annotations

from collections.abc import Collection
from os import PathLike
from typing import BinaryIO, Unpack

from bulklink.engine.shutdown import StopController
from bulklink.mapping.database import PLANNING_MEMORY
from bulklink.mapping.schema import HiddenRows
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.cancellation import run_guarded
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.fetching.emails import FetchResult, prepare_fetch
from bulklink.operations.job import Job
from bulklink.operations.job_options import PaceOptions
from bulklink.zoho.connection import Connection


async def fetch(
    contacts: Collection[str],
    output: str | PathLike[str] | BinaryIO,
    connection: Connection,
    *,
    from_mapping: Collection[str] = (),
    contacts_of_deals: Collection[str] = (),
    deals_where: Collection[str] = (),
    contacts_where: Collection[str] = (),
    roles: str | None = None,
    emails_on: Collection[str] = (),
    on_no_deal: bool = False,
    since: str | None = None,
    until: str | None = None,
    candidates: bool = False,
    yes: bool = False,
    columns: tuple[tuple[str, str], ...] = (),
    preset: str | None = None,
    allow_round_ids: bool = False,
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
) -> FetchResult:
    """Read all emails of contacts and write them as one table once all are read.

    Selectors add contacts, filters leave emails out. Until all are read, the emails are in a folder
    next to the file, with the suffix `.fetching`; the same call continues from there, and so does
    one without a selector. For a stream nothing is stored.

    Args:
        contacts: ids, addresses, and names of at least two words; `@FILE` is a file with one a
            line, `-` such a list from standard input.
        output: file, whose suffix determines the format, or stream of bytes.
        connection: endpoint and credentials of the CRM.
        from_mapping: mappings, or other tables with a column `contact_id`, whose contacts to add.
        contacts_of_deals: ids of deals, or `@FILE`, whose contacts to add.
        deals_where: conditions in COQL on deals, whose contacts to add.
        contacts_where: conditions in COQL on contacts to add.
        roles: deals whose contact roles count, at a call each: `named` for those that
            `contacts_of_deals` and `emails_on` name, `yes` for those of `deals_where` too, `no` for
            none. By default that of the unfinished fetch, or `named`.
        emails_on: ids of deals, or `@FILE`: add their contacts, and keep only emails on them.
        on_no_deal: keep only emails on no deal; with `emails_on`, these as well.
        since: keep only emails from this time on, ISO 8601; without an offset, local time.
        until: keep only emails before this time; a date alone includes its day.
        candidates: read the deals of each contact, at a call each, and add a column `candidates`.
        yes: whether to spend more than 1,000 credits without asking.
        columns: (column, header) pairs that rename headers of the mappings.
        preset: `zoho` also accepts the headers of Zoho's own exports.
        allow_round_ids: accept ids that look rounded.
        delimiter: CSV delimiter; None detects it.
        quote: CSV quote character; None is `"`, or detects it.
        escape: CSV escape character before quotes in a cell; None means that quotes are doubled.
        skip_lines: lines, or rows of a sheet, to skip above the headers.
        encoding: encoding of text files; None is UTF-8.
        sheet: name or number of a workbook's sheet; None is the first visible one.
        hidden_rows: include or skip hidden rows of a sheet; None refuses such a sheet.
        memory: memory limit of reading mappings and of selecting contacts, such as `512MB`.
        format_: csv, jsonl, parquet or xlsx, if there is no suffix; csv by default for a stream.
        spreadsheet: whether to write CSV whose ids and formulas a spreadsheet keeps as text.
        force: whether to replace an existing file, and to drop an unfinished fetch of other
            contacts.
        callbacks: receives progress and events; None for none.
        stop: stops the fetch from outside.
        environment: network, disk and clock; None for this machine's, others for tests.
        **pace: options of `Job`: limits on calls and their rate. By default these options,
            `format_` and `spreadsheet` are those of the unfinished fetch, except `max_credits`.

    Returns:
        The result; if `stopped_by` is set, no file was written.

    Raises:
        UsageError: if the file cannot be written in this format, an unfinished fetch has another
            selection, or the CRM refuses a condition.
        RefusedError: if the contacts cannot be read, the folder cannot be created, or the user
            refuses the cost.
        WrongOrgError: if an unfinished fetch used another org.
        InterruptedPlanningError: if it was stopped before it read a contact.
    """
    mapping_job = None
    if from_mapping:
        mapping_job = Job(
            mappings=tuple(from_mapping),
            columns=columns,
            preset=preset,
            allow_round_ids=allow_round_ids,
            delimiter=delimiter,
            quote=quote,
            escape=escape,
            skip_lines=skip_lines,
            encoding=encoding,
            sheet=sheet,
            hidden_rows=hidden_rows,
            memory=memory,
        )
    email_fetch = prepare_fetch(
        contacts,
        output,
        connection,
        mapping_job=mapping_job,
        contacts_of_deals=contacts_of_deals,
        deals_where=deals_where,
        contacts_where=contacts_where,
        roles=roles,
        emails_on=emails_on,
        on_no_deal=on_no_deal,
        since=since,
        until=until,
        candidates=candidates,
        yes=yes,
        memory=memory,
        format_=format_,
        spreadsheet=spreadsheet,
        force=force,
        environment=environment or real_environment(),
        **pace,
    )
    return await run_guarded(email_fetch.run, callbacks, stop)
