"""Pre-flight checks: host, org, confirmation, module id, missing names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from bulklink.advice import Advice, Keyword
from bulklink.counts import count_of
from bulklink.engine.caller import Caller
from bulklink.engine.lookups import look_up_module_id
from bulklink.errors import (
    ConfigError,
    InvalidRowsError,
    NotConfirmedError,
    WrongOrgError,
)
from bulklink.folder_files import check_folder_file
from bulklink.ledger.records import result_line
from bulklink.mapping.plan_reader import SealedPlan, UnknownRow
from bulklink.mapping.rejects import ForeignDeals, append_unknown_rows, find_foreign_deals
from bulklink.models import Op, Status
from bulklink.operations.callbacks import (
    ConfirmationRequest,
    ResultCounter,
    RunCallbacks,
)
from bulklink.operations.foreign_deals import check_roles, foreign_deals_warning
from bulklink.operations.job import Job, OnInvalid
from bulklink.operations.name_lookup import NameLookup
from bulklink.operations.prepare import MAX_FAULTS_SHOWN, result_of
from bulklink.operations.session import CrmSession
from bulklink.runs.folder import RunFolder
from bulklink.runs.hashes import sha256_of
from bulklink.runs.record import OrgRecord, RunRecord
from bulklink.zoho.connection import Connection, is_loopback
from bulklink.zoho.lookup_responses import Org

T = TypeVar("T")
_ROWS_AT_ONCE = 2048


class RunOrigin(Protocol):
    """Where a run was started: API host, data centre and org, as far as known."""

    @property
    def api_url(self) -> str | None:
        """Address of the API; None if nothing was started."""
        ...

    @property
    def data_centre(self) -> str | None:
        """The data centre; None if only the address was given."""
        ...

    @property
    def org(self) -> OrgRecord | None:
        """The org; None if unknown."""
        ...


def check_same_host(origin: RunOrigin, connection: Connection) -> None:
    """Refuse to resume on a different host or data centre (loopback ports may differ).

    Raises:
        WrongOrgError: if host or data centre differ.
    """
    if origin.api_url is None:
        return
    origin_host, current_host = (
        urlsplit(url).hostname for url in (origin.api_url, connection.api_url)
    )
    both_local = is_loopback(origin.api_url) and connection.loopback
    if (
        origin_host != current_host and not both_local
    ) or origin.data_centre != connection.data_centre:
        raise WrongOrgError(
            f"The first command connected to {_host_text(origin_host, origin.data_centre)}, and"
            f" this one connects to {_host_text(current_host, connection.data_centre)}.",
            where="BULKLINK_DC, BULKLINK_API_URL",
            advice="Set them to the values of the first command.",
        )


def _host_text(host: str | None, data_centre: str | None) -> str:
    centre = "" if data_centre is None else f" (data centre {data_centre})"
    return f"{host}{centre}"


def check_same_org(origin: RunOrigin, org: Org) -> None:
    """Refuse to resume a run in a different org.

    Raises:
        WrongOrgError: if both are known and differ.
    """
    origin_org = origin.org
    if origin_org is not None and origin_org.id and org.id and origin_org.id != org.id:
        raise WrongOrgError(
            f"The first command used the org {origin_org.name} ({origin_org.id}), and this one uses"
            f" {org.name} ({org.id}).",
            where=Advice("BULKLINK_DC, {}", Keyword("profile")),
            advice="Sign in to the org that the first command used.",
        )


def check_expected_org(expected: str | None, org: Org) -> None:
    """Refuse another org than the one that the user named.

    Args:
        expected: its id; None accepts any.
        org: the org, which was looked up.

    Raises:
        WrongOrgError: if it has another id, or reports none.
    """
    if expected is not None and org.id != expected:
        found = f"{org.name or 'an org'} ({org.id})" if org.id else "an org that reports no id"
        raise WrongOrgError(
            f"The connection leads to {found}, and the org {expected} is expected.",
            where=Advice("{}", Keyword("expect_org")),
            advice=Advice("Sign in to the expected org, with {}.", Keyword("profile")),
        )


def check_is_test_org(org: Org, connection: Connection) -> None:
    """Refuse a load test of an org that does not say that it is a sandbox or a developer org.

    Raises:
        ConfigError: if it does not.
    """
    if not org.is_for_tests:
        raise ConfigError(
            f"The org says that it is {org.type!r}, and load tests need a sandbox."
            if org.type
            else "The org does not say what it is, and load tests need a sandbox.",
            where=org.name or connection.api_url,
            advice="Connect to a sandbox or a developer org, or measure a server on this machine.",
        )


def confirm_changes(
    org: Org, record: RunRecord, job: Job, connection: Connection, callbacks: RunCallbacks
) -> None:
    """Ask for confirmation before changing an org that is neither local nor a known sandbox.

    Raises:
        NotConfirmedError: if the answer is no, or the user cannot be asked.
    """
    if connection.loopback or job.yes:
        return
    messages = record.shard.job_messages if record.shard is not None else record.messages
    request = ConfirmationRequest(org.name, org.type, record.shown_op, messages)
    if callbacks.can_ask:
        if not callbacks.confirm(request):
            raise NotConfirmedError(
                "Not confirmed; nothing was changed.",
                where=org.name or connection.api_url,
                advice="Run the command again to be asked again.",
            )
    elif not org.sandbox:
        raise NotConfirmedError(
            f"This would change {count_of(messages, 'email')} of {org.name or 'an org'}"
            f" ({org.type or 'unknown type'}), and the user cannot be asked.",
            where=connection.api_url,
            advice=Advice("Nothing was changed. To allow it: {}.", Keyword("yes", value=True)),
        )


async def resolve_module_id(record: RunRecord, connection: Connection, caller: Caller) -> str:
    """Return the org's id of the Deals module; look it up only if something is linked."""
    if connection.module_id is not None:
        return connection.module_id
    needs_module_id = any(record.by_op.get(op) for op in (Op.LINK, Op.RELINK))
    return await look_up_module_id(caller) if needs_module_id else ""


async def resolve_names(
    session: CrmSession,
    folder: RunFolder,
    record: RunRecord,
    counter: ResultCounter,
    callbacks: RunCallbacks,
    save_names_hash: Callable[[str], None] = lambda sha256: None,
) -> Path | None:
    """Look up missing names, reject rows whose deal or owner does not exist; return the names file.

    Args:
        session: open session.
        folder: the run folder.
        record: `run.json` of the run.
        counter: results of the run; rejected rows are added.
        callbacks: called with progress and warnings.
        save_names_hash: records the hash of the names, before their file appears.

    Returns:
        The file with the names of each row; None if none is needed.

    Raises:
        InvalidRowsError: if there are such rows and the job stops at them.
        RunStoppedError: if names cannot be looked up.
        StoppedError: if the run was stopped.
    """
    if not session.job.names:
        return None
    if not check_folder_file(folder.names) and not await _look_up_names(
        session, folder, callbacks, save_names_hash
    ):
        return None
    faults = await _reject_unknown_rows(session, folder, counter)
    if faults:
        rejected = counter.counts[Status.REJECTED]
        if session.job.on_invalid is OnInvalid.STOP:
            raise _unknown_rows_error(folder, rejected, record.rows, faults)
        callbacks.warn(
            f"{count_of(rejected, 'row is', 'rows are')} refused, some of them because the CRM does"
            " not show their deal or owner."
        )
    return folder.names


async def _look_up_names(
    session: CrmSession,
    folder: RunFolder,
    callbacks: RunCallbacks,
    save_names_hash: Callable[[str], None],
) -> bool:
    """Look up the names that a plan lacks and write them to the run folder.

    Returns:
        Whether anything had to be looked up.
    """
    plan = session.environment.open_plan(folder.plan, session.interrupt)
    lookup = NameLookup(folder.scratch, callbacks)
    await session.run_blocking(partial(lookup.find_missing, plan))
    if not lookup.total:
        return False
    await lookup.fetch(session)
    await _warn_of_foreign_deals(lookup, session, folder, callbacks)
    write = partial(_write_names, lookup, folder, plan, save_names_hash)
    await session.run_blocking(write)
    return True


async def _warn_of_foreign_deals(
    lookup: NameLookup, session: CrmSession, folder: RunFolder, callbacks: RunCallbacks
) -> None:
    """Warn of rows that Zoho is likely to refuse, once the contact roles were read."""

    def find(roles: tuple[tuple[str, str], ...] = ()) -> ForeignDeals:
        contacts = lookup.deal_contacts()
        return find_foreign_deals(folder.plan, contacts, session.interrupt, roles=roles)

    foreign = await session.run_blocking(find)
    if not foreign.rows:
        return
    in_flight = session.job.max_in_flight()
    check = await check_roles(session.caller, foreign.deal_ids, at_once=in_flight)
    if check.roles:
        foreign = await session.run_blocking(partial(find, check.roles))
    if foreign.rows:
        callbacks.warn(foreign_deals_warning(foreign, check))


def _write_names(
    lookup: NameLookup, folder: RunFolder, plan: SealedPlan, save_hash: Callable[[str], None]
) -> None:
    """Write the names file and the rejected rows to the run folder; blocks.

    Args:
        lookup: the names looked up.
        folder: the run folder.
        plan: its sealed plan.
        save_hash: records the SHA-256 of the names before their file appears: a resume refuses a
            file without a recorded hash.
    """
    written = folder.scratch / "names.parquet"
    # The last interruptible step: once the file exists, a resume looks nothing up.
    plan.write_names(lookup.named_deals(), lookup.named_owners(), written)
    save_hash(sha256_of(written))
    written.replace(folder.names)
    folder.clear_scratch()
    append_unknown_rows(folder.plan, folder.names, folder.rejects)


async def _reject_unknown_rows(
    session: CrmSession, folder: RunFolder, counter: ResultCounter
) -> list[str]:
    """Reject rows whose deal or owner does not exist; return the first faults for the user."""
    ts = session.clock.timestamp()
    faults: list[str] = []
    plan = session.environment.open_plan(folder.plan, session.interrupt)
    rows = plan.unknown_rows(folder.names)
    read_rows = partial(_take, rows, _ROWS_AT_ONCE)
    while batch := await session.run_blocking(read_rows):
        for row in batch:
            text = f"The CRM shows no {_missing_record(row)}."
            if counter.ledger_state.is_unfinished(row.row):
                result = result_of(row, Status.REJECTED, code=row.code, message=text)
                session.ledger.append_results(result.status, result_line(ts, result))
                counter.add(result)
            elif counter.ledger_state.status(row.row) is not Status.REJECTED:
                continue  # its deal existed when it was sent; names were looked up again since
            if len(faults) < MAX_FAULTS_SHOWN:
                faults.append(f"row {row.row}: {row.code}: {text}")
    return faults


def _take(items: Iterator[T], count: int) -> list[T]:
    return list(islice(items, count))


def _missing_record(row: UnknownRow) -> str:
    return f"deal {row.deal_id}" if row.code == "unknown-deal" else f"owner {row.owner_id}"


def _unknown_rows_error(
    folder: RunFolder, rejected: int, rows: int, faults: list[str]
) -> InvalidRowsError:
    return InvalidRowsError(
        f"{rejected:,} of {count_of(rows, 'row names', 'rows name')} a deal or owner that the CRM"
        " does not show; nothing of this plan was changed.",
        where=str(folder.path),
        advice=Advice(
            "Fix them in {}, which is a mapping itself, and plan the whole mapping again in another"
            " folder; or leave them out there with {}.",
            folder.rejects,
            Keyword("on_invalid", "skip"),
        ),
        faults=tuple(faults),
    )
