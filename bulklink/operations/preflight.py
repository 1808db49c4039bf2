"""Pre-flight checks: the org, the confirmation, the module id, missing names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec

from bulklink.engine.caller import Caller
from bulklink.engine.lookups import look_up_deals, look_up_module_id, look_up_user_names
from bulklink.errors import InvalidRowsError, NotConfirmedError, WrongOrgError
from bulklink.ledger.records import Result, result_line
from bulklink.ledger.writer import LedgerWriter
from bulklink.mapping.plan_reader import SealedPlan, UnknownRow
from bulklink.mapping.rejects import ForeignDeals, append_unknown_rows, find_foreign_deals
from bulklink.models import Op, Status
from bulklink.operations.callbacks import (
    ConfirmationRequest,
    ReadProgress,
    ResultCounter,
    RunCallbacks,
)
from bulklink.operations.cancellation import sample_periodically
from bulklink.operations.job import Job, OnInvalid
from bulklink.operations.prepare import MAX_FAULTS_SHOWN
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import OrgRecord, RunRecord
from bulklink.zoho.connection import Connection, is_loopback
from bulklink.zoho.lookup_responses import DealDetails, Org

T = TypeVar("T", bound=msgspec.Struct)


async def look_up_names(
    folder: RunFolder, caller: Caller, callbacks: RunCallbacks, *, max_in_flight: int
) -> ForeignDeals | None:
    """Look up what a plan needs and does not name, and write it beside the plan.

    The names found wait on disk, not in memory: there can be as many deals as messages.

    Args:
        folder: of the run.
        caller: makes the calls.
        callbacks: is told how far it is.
        max_in_flight: look-ups in flight at most.

    Returns:
        What is likely to be refused, None if nothing had to be looked up.

    Raises:
        RunStoppedError: if it cannot be read.
        StoppedError: if the run was stopped.
    """
    plan = SealedPlan(folder.plan)
    owners = set(plan.owners_without_name())
    count = len(owners) + plan.count_deals_without_name()
    if not count:
        return None
    folder.scratch.mkdir(mode=0o700, exist_ok=True)
    lookup = _NameLookup(folder.scratch, count, callbacks)
    async with sample_periodically(lookup.report_progress):
        await lookup.fetch_deals(caller, plan.deals_without_name(), max_in_flight)
        await lookup.fetch_owners(caller, owners)
    deal_names = ((deal.id, deal.name) for deal in lookup.saved_deals())
    owner_names = ((owner.id, owner.name) for owner in lookup.saved_owners())
    plan.write_names(deal_names, owner_names, folder.names)
    deal_contacts = (
        (deal.id, deal.contact_id) for deal in lookup.saved_deals() if deal.contact_id is not None
    )
    foreign = find_foreign_deals(folder.plan, deal_contacts)
    folder.clear_scratch()
    return foreign


class OwnerName(msgspec.Struct, frozen=True):
    """A user that exists."""

    id: str
    name: str


class _NameLookup:
    """What was looked up: kept on disk, and counted.

    Args:
        scratch: the folder that keeps it.
        count: names that are to be looked up.
        watch: is told how many of them are.
    """

    def __init__(self, scratch: Path, count: int, callbacks: RunCallbacks) -> None:
        self._deals = scratch / "deals.jsonl"
        self._owners = scratch / "owners.jsonl"
        self._count = count
        self._callbacks = callbacks
        self._done = 0

    async def fetch_deals(self, caller: Caller, ids: Iterator[str], max_in_flight: int) -> None:
        """Look up deals."""
        with self._deals.open("wb") as file:
            await look_up_deals(
                caller,
                ids,
                lambda deal: _write_record(file, deal),
                at_once=max_in_flight,
                on_batch=self._add_done,
            )

    async def fetch_owners(self, caller: Caller, owner_ids: set[str]) -> None:
        """Look up users."""
        with self._owners.open("wb") as file:

            def save_owner(owner_id: str, name: str) -> None:
                _write_record(file, OwnerName(owner_id, name))
                self._add_done(1)

            await look_up_user_names(caller, owner_ids, save_owner)

    def saved_deals(self) -> Iterator[DealDetails]:
        """Yield the deals that exist."""
        return _read_records(self._deals, DealDetails)

    def saved_owners(self) -> Iterator[OwnerName]:
        """Yield the users that exist."""
        return _read_records(self._owners, OwnerName)

    async def report_progress(self) -> None:
        """Tell how far it is."""
        self._callbacks.on_read(ReadProgress("names", self._done, self._count))

    def _add_done(self, count: int) -> None:
        self._done += count


def _write_record(file: BinaryIO, record: msgspec.Struct) -> None:
    file.write(msgspec.json.encode(record) + b"\n")


def _read_records(path: Path, record_type: type[T]) -> Iterator[T]:
    decoder = msgspec.json.Decoder(record_type)
    with path.open("rb") as file:
        for line in file:
            yield decoder.decode(line)


class RunOrigin(Protocol):
    """What is known of where something began."""

    @property
    def api_url(self) -> str | None:
        """Address of the API; None where nothing has begun."""
        ...

    @property
    def data_centre(self) -> str | None:
        """The data centre, None where the address alone was given."""
        ...

    @property
    def org(self) -> OrgRecord | None:
        """The org, None where it is not known."""
        ...


def check_same_host(origin: RunOrigin, connection: Connection) -> None:
    """Refuse to go on with a run at another place than it began; loopback ports may differ.

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
            f"The run began at {origin_host} (data centre {origin.data_centre}); this is"
            f" {current_host}"
            f" (data centre {connection.data_centre}).",
            where="BULKLINK_DC, BULKLINK_API_URL",
            advice="Set them to what the run began with.",
        )


def check_same_org(origin: RunOrigin, org: Org) -> None:
    """Refuse to go on with a run in another org than it began in.

    Raises:
        WrongOrgError: if both are known and differ.
    """
    origin_org = origin.org
    if origin_org is not None and origin_org.id and org.id and origin_org.id != org.id:
        raise WrongOrgError(
            f"The run began in the org {origin_org.name} ({origin_org.id}); this is {org.name}"
            f" ({org.id}).",
            where="BULKLINK_DC, --profile",
            advice="Sign in to the org that the run began in.",
        )


def confirm_changes(
    org: Org, record: RunRecord, job: Job, connection: Connection, callbacks: RunCallbacks
) -> None:
    """Ask before an org is changed that is neither on this machine nor known to be a sandbox.

    Raises:
        NotConfirmedError: if the answer is no, or nobody can be asked.
    """
    if connection.loopback or job.yes:
        return
    op = "undo" if record.undo_of else record.op
    question = ConfirmationRequest(org.name, org.type, op, record.messages)
    if callbacks.can_ask:
        if not callbacks.confirm(question):
            raise NotConfirmedError(
                "It was not confirmed; nothing was changed.",
                where=org.name or connection.api_url,
                advice="Start it again to be asked again.",
            )
    elif not org.sandbox:
        raise NotConfirmedError(
            f"This would change {record.messages:,} emails of {org.name or 'an org'}"
            f" ({org.type or 'type not known'}), and there is nobody to ask.",
            where=connection.api_url,
            advice="Add --yes if that is wanted; nothing was changed.",
        )


async def resolve_module_id(record: RunRecord, connection: Connection, caller: Caller) -> str:
    """Return the org's id of the module Deals, looked up only where something is linked."""
    if connection.module_id is not None:
        return connection.module_id
    needs_module_id = any(record.by_op.get(op) for op in (Op.LINK, Op.RELINK))
    return await look_up_module_id(caller) if needs_module_id else ""


class NameResolver(msgspec.Struct, frozen=True):
    """Looks up the names that a plan leaves out; rows whose deal or owner is not there end here."""

    folder: RunFolder
    record: RunRecord
    job: Job
    counter: ResultCounter
    callbacks: RunCallbacks

    async def resolve(self, caller: Caller, ledger: LedgerWriter, ts: str) -> Path | None:
        """Return the file with the names, None where none are needed.

        Raises:
            InvalidRowsError: if there are such rows and the job stops at them.
        """
        path = self.folder.names
        if not self.job.names:
            return None
        if not path.exists():
            max_in_flight = self.job.max_in_flight()
            foreign = await look_up_names(
                self.folder, caller, self.callbacks, max_in_flight=max_in_flight
            )
            if foreign is None:
                return None
            if foreign.rows:
                self.callbacks.on_warning(_foreign_deals_warning(foreign))
            append_unknown_rows(self.folder.plan, path, self.folder.rejects)
        faults: list[str] = []
        for row in SealedPlan(self.folder.plan).unknown_rows(path):
            result = _rejected_result(row)
            if self.counter.ledger_state.is_unfinished(row.row):
                ledger.append(result_line(ts, result))
                self.counter.add(result)
            elif self.counter.ledger_state.status(row.row) is not Status.REJECTED:
                continue  # its deal was there when it was sent; the names were looked up again
            if len(faults) < MAX_FAULTS_SHOWN:
                faults.append(f"row {row.row}: {row.code}: {result.message}")
        if faults:
            self._stop_or_warn(tuple(faults))
        return path

    def _stop_or_warn(self, faults: tuple[str, ...]) -> None:
        rejected = self.counter.counts[Status.REJECTED]
        if self.job.on_invalid is OnInvalid.STOP:
            raise InvalidRowsError(
                f"{rejected:,} of {self.record.rows:,} rows name a deal or owner that the CRM does"
                " not show; nothing was changed.",
                where=str(self.folder.path),
                advice=f"Mend them in {self.folder.rejects}, which is a mapping itself, or leave"
                " them out with --on-invalid skip.",
                faults=faults,
            )
        self.callbacks.on_warning(
            f"{rejected:,} rows are refused, among them some that name a deal or owner which the"
            " CRM does not show."
        )


def _foreign_deals_warning(foreign: ForeignDeals) -> str:
    rows = ", ".join(map(str, foreign.first_rows))
    ellipsis = ", …" if foreign.rows > len(foreign.first_rows) else ""
    return (
        f"{foreign.rows:,} rows link an email to a deal of another contact (row {rows}{ellipsis}):"
        " Zoho is likely to refuse them as NOT_ALLOWED, unless the contact has a role there."
    )


def _rejected_result(row: UnknownRow) -> Result:
    missing_record = (
        f"deal {row.deal_id}" if row.code == "unknown-deal" else f"owner {row.owner_id}"
    )
    return Result(
        row.row, row.op, row.contact_id, row.owner_id, row.message_id, row.deal_id,
        Status.REJECTED, row.code, message=f"The CRM shows no {missing_record}.",
    )  # fmt: skip
