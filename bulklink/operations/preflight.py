"""Pre-flight checks: the org, the confirmation, the module id, missing names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec

from bulklink.engine.caller import Caller
from bulklink.engine.lookups import deals, deals_module_id, user_names
from bulklink.errors import InvalidRowsError, NotConfirmedError, WrongOrgError
from bulklink.ledger.records import Result, result_line
from bulklink.ledger.writer import LedgerWriter
from bulklink.mapping.plan_reader import SealedPlan, UnknownRow
from bulklink.mapping.rejects import ForeignDeals, add_unknown, foreign_deals
from bulklink.models import Op, Status
from bulklink.operations.callbacks import Counter, Question, Reading, Watch
from bulklink.operations.cancellation import looking
from bulklink.operations.job import Job, OnInvalid
from bulklink.operations.prepare import FAULTS_SHOWN
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import OrgRecord, RunRecord
from bulklink.zoho.connection import Connection, is_loopback
from bulklink.zoho.lookup_responses import FoundDeal, Org

T = TypeVar("T", bound=msgspec.Struct)


async def look_up_names(
    folder: RunFolder, caller: Caller, watch: Watch, *, at_once: int
) -> ForeignDeals | None:
    """Look up what a plan needs and does not name, and write it beside the plan.

    The names found wait on disk, not in memory: there can be as many deals as messages.

    Args:
        folder: of the run.
        caller: makes the calls.
        watch: is told how far it is.
        at_once: look-ups in flight at most.

    Returns:
        What is likely to be refused, None if nothing had to be looked up.

    Raises:
        RunStoppedError: if it cannot be read.
        HaltedError: if the run was stopped.
    """
    plan = SealedPlan(folder.plan)
    owners = set(plan.owners_without_name())
    count = len(owners) + plan.count_deals_without_name()
    if not count:
        return None
    folder.scratch.mkdir(mode=0o700, exist_ok=True)
    looked_up = _LookedUp(folder.scratch, count, watch)
    async with looking(looked_up.tell):
        await looked_up.deals(caller, plan.deals_without_name(), at_once)
        await looked_up.owners(caller, owners)
    names = ((deal.id, deal.name) for deal in looked_up.found_deals())
    found = ((owner.id, owner.name) for owner in looked_up.found_owners())
    plan.write_names(names, found, folder.names)
    contacts = (
        (deal.id, deal.contact_id)
        for deal in looked_up.found_deals()
        if deal.contact_id is not None
    )
    foreign = foreign_deals(folder.plan, contacts)
    folder.clear_scratch()
    return foreign


class FoundOwner(msgspec.Struct, frozen=True):
    """A user that exists."""

    id: str
    name: str


class _LookedUp:
    """What was looked up: kept on disk, and counted.

    Args:
        scratch: the folder that keeps it.
        count: names that are to be looked up.
        watch: is told how many of them are.
    """

    def __init__(self, scratch: Path, count: int, watch: Watch) -> None:
        self._deals = scratch / "deals.jsonl"
        self._owners = scratch / "owners.jsonl"
        self._count = count
        self._watch = watch
        self._done = 0

    async def deals(self, caller: Caller, ids: Iterator[str], at_once: int) -> None:
        """Look up deals."""
        with self._deals.open("wb") as file:
            await deals(
                caller, ids, lambda deal: _keep(file, deal), at_once=at_once, done=self._note
            )

    async def owners(self, caller: Caller, wanted: set[str]) -> None:
        """Look up users."""
        with self._owners.open("wb") as file:

            def take(owner: str, name: str) -> None:
                _keep(file, FoundOwner(owner, name))
                self._note(1)

            await user_names(caller, wanted, take)

    def found_deals(self) -> Iterator[FoundDeal]:
        """Yield the deals that exist."""
        return _read(self._deals, FoundDeal)

    def found_owners(self) -> Iterator[FoundOwner]:
        """Yield the users that exist."""
        return _read(self._owners, FoundOwner)

    async def tell(self) -> None:
        """Tell how far it is."""
        self._watch.read(Reading("names", self._done, self._count))

    def _note(self, count: int) -> None:
        self._done += count


def _keep(file: BinaryIO, found: msgspec.Struct) -> None:
    file.write(msgspec.json.encode(found) + b"\n")


def _read(path: Path, kind: type[T]) -> Iterator[T]:
    decoder = msgspec.json.Decoder(kind)
    with path.open("rb") as file:
        for line in file:
            yield decoder.decode(line)


class Begun(Protocol):
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


def check_place(record: Begun, connection: Connection) -> None:
    """Refuse to go on with a run at another place than it began; loopback ports may differ.

    Raises:
        WrongOrgError: if host or data centre differ.
    """
    if record.api_url is None:
        return
    began, now = (urlsplit(url).hostname for url in (record.api_url, connection.api_url))
    local = is_loopback(record.api_url) and connection.loopback
    if (began != now and not local) or record.data_centre != connection.data_centre:
        raise WrongOrgError(
            f"The run began at {began} (data centre {record.data_centre}); this is {now}"
            f" (data centre {connection.data_centre}).",
            where="BULKLINK_DC, BULKLINK_API_URL",
            advice="Set them to what the run began with.",
        )


def check_org(record: Begun, org: Org) -> None:
    """Refuse to go on with a run in another org than it began in.

    Raises:
        WrongOrgError: if both are known and differ.
    """
    began = record.org
    if began is not None and began.id and org.id and began.id != org.id:
        raise WrongOrgError(
            f"The run began in the org {began.name} ({began.id}); this is {org.name} ({org.id}).",
            where="BULKLINK_DC, --profile",
            advice="Sign in to the org that the run began in.",
        )


def confirm(org: Org, record: RunRecord, job: Job, connection: Connection, watch: Watch) -> None:
    """Ask before an org is changed that is neither on this machine nor known to be a sandbox.

    Raises:
        NotConfirmedError: if the answer is no, or nobody can be asked.
    """
    if connection.loopback or job.yes:
        return
    op = "undo" if record.undo_of else record.op
    question = Question(org.name, org.type, op, record.messages)
    if watch.can_ask:
        if not watch.confirm(question):
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


async def module_id(record: RunRecord, connection: Connection, caller: Caller) -> str:
    """Return the org's id of the module Deals, looked up only where something is linked."""
    if connection.module_id is not None:
        return connection.module_id
    links = any(record.by_op.get(op) for op in (Op.LINK, Op.RELINK))
    return await deals_module_id(caller) if links else ""


class NameLookups(msgspec.Struct, frozen=True):
    """Looks up the names that a plan leaves out; rows whose deal or owner is not there end here."""

    folder: RunFolder
    record: RunRecord
    job: Job
    counter: Counter
    watch: Watch

    async def names(self, caller: Caller, ledger: LedgerWriter, ts: str) -> Path | None:
        """Return the file with the names, None where none are needed.

        Raises:
            InvalidRowsError: if there are such rows and the job stops at them.
        """
        path = self.folder.names
        if not self.job.names:
            return None
        if not path.exists():
            at_once = self.job.in_flight()
            foreign = await look_up_names(self.folder, caller, self.watch, at_once=at_once)
            if foreign is None:
                return None
            if foreign.rows:
                self.watch.warn(_likely_refused(foreign))
            add_unknown(self.folder.plan, path, self.folder.rejects)
        shown: list[str] = []
        for row in SealedPlan(self.folder.plan).refused_by_names(path):
            result = _unknown(row)
            if self.counter.told.is_to_do(row.row):
                ledger.append(result_line(ts, result))
                self.counter.add(result)
            elif self.counter.told.status(row.row) is not Status.REJECTED:
                continue  # its deal was there when it was sent; the names were looked up again
            if len(shown) < FAULTS_SHOWN:
                shown.append(f"row {row.row}: {row.code}: {result.message}")
        if shown:
            self._refuse(tuple(shown))
        return path

    def _refuse(self, shown: tuple[str, ...]) -> None:
        refused = self.counter.counts[Status.REJECTED]
        if self.job.on_invalid is OnInvalid.STOP:
            raise InvalidRowsError(
                f"{refused:,} of {self.record.rows:,} rows name a deal or owner that the CRM does"
                " not show; nothing was changed.",
                where=str(self.folder.path),
                advice=f"Mend them in {self.folder.rejects}, which is a mapping itself, or leave"
                " them out with --on-invalid skip.",
                faults=shown,
            )
        self.watch.warn(
            f"{refused:,} rows are refused, among them some that name a deal or owner which the"
            " CRM does not show."
        )


def _likely_refused(foreign: ForeignDeals) -> str:
    rows = ", ".join(map(str, foreign.first))
    more = ", …" if foreign.rows > len(foreign.first) else ""
    return (
        f"{foreign.rows:,} rows link an email to a deal of another contact (row {rows}{more}):"
        " Zoho is likely to refuse them as NOT_ALLOWED, unless the contact has a role there."
    )


def _unknown(row: UnknownRow) -> Result:
    what = f"deal {row.deal_id}" if row.code == "unknown-deal" else f"owner {row.owner_id}"
    return Result(
        row.row, row.op, row.contact_id, row.owner_id, row.message_id, row.deal_id,
        Status.REJECTED, row.code, message=f"The CRM shows no {what}.",
    )  # fmt: skip
