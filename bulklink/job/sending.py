"""Sending a prepared run: look-ups, the question, all messages; at the end, where it stands."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import msgspec
import platformdirs

from bulklink.engine.caller import Caller, Clock
from bulklink.engine.contact import Desk, Sending
from bulklink.engine.lookups import deals_module_id, organisation
from bulklink.engine.pacer import Pacer
from bulklink.engine.refusals import Refusals
from bulklink.engine.sender import send_all
from bulklink.engine.stopping import HaltedError, Stopping
from bulklink.engine.windows import contact_windows
from bulklink.errors import BulklinkError, InvalidRowsError, NotConfirmedError, RefusedError
from bulklink.job.ending import end
from bulklink.job.lookups import look_up_names
from bulklink.job.options import Job, OnInvalid
from bulklink.job.preparing import FAULTS_SHOWN
from bulklink.job.progress import Counter, Question, Watch
from bulklink.ledger.lines import Result, result_line, timestamp
from bulklink.ledger.writer import DiskFiles, Files, LedgerWriter, open_ledger
from bulklink.mapping.plan import SealedPlan
from bulklink.models import Message, Op, Status
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import Invocation, OrgRecord, RunRecord, State
from bulklink.runs.status import RunSummary
from bulklink.zoho.client import Client
from bulklink.zoho.connection import Connection
from bulklink.zoho.lookups import Org
from bulklink.zoho.tokens import Tokens, TokenStore
from bulklink.zoho.transport import HttpTransport, Transport

PROGRESS_SECONDS = 0.5
WORKERS_A_PLACE = 2
"""Contacts worked on for each call in flight, so that a place is never empty."""


class Surroundings(msgspec.Struct, frozen=True):
    """What a run meets outside of itself; the tests bring a CRM and a clock of their own."""

    clock: Clock
    transport: Callable[[], AbstractAsyncContextManager[Transport]]
    files: Callable[[RunFolder, bool], Files]
    token_store: TokenStore | None


def real_surroundings() -> Surroundings:
    """Return the network, the disk and the clock of this machine."""
    state = Path(platformdirs.user_state_dir("bulklink", appauthor=False))
    return Surroundings(
        clock=Clock(wall=time.time, monotonic=time.monotonic, chance=random.random),
        transport=HttpTransport,
        files=lambda folder, sync: DiskFiles(folder.ledger, folder.answers, sync=sync),
        token_store=TokenStore(state / "tokens"),
    )


async def send(
    folder: RunFolder,
    record: RunRecord,
    job: Job,
    connection: Connection,
    watch: Watch,
    stopping: Stopping,
    around: Surroundings,
) -> RunSummary:
    """Send the sealed plan of a run folder that this process drives.

    What stops the run on the way is in the summary, and in `stopping.reason`.

    Raises:
        RefusedError: if it is refused before the first change.
        LedgerError: if the ledger does not say what was done.
    """
    clock = around.clock
    began = clock.monotonic()
    invocation = Invocation(started=timestamp(clock.wall()))
    record = record.but(
        state=State.RUNNING,
        api_url=connection.api_url,
        data_centre=connection.data_centre,
        invocations=(*record.invocations, invocation),
    )
    folder.write(record)
    run = _Run(folder, record, job, connection, watch, stopping, around)
    refused: RefusedError | None = None
    try:
        if record.messages:
            await run.drive()
    except RefusedError as error:
        refused = error
    except HaltedError:
        pass
    except BulklinkError as error:
        stopping.stop(error)
    except Exception as error:
        stopping.stop(BulklinkError(f"A mistake in bulklink: {error!r}."))
        raise
    finally:
        # Also on the way out after a second Ctrl-C: the folder says that the run stopped.
        seconds = clock.monotonic() - began
        summary = end(folder, run.record, run.counter, stopping, refused, clock.wall(), seconds)
    if refused is not None:
        raise refused
    return summary


class _Run:
    """What the steps of one run share."""

    def __init__(
        self,
        folder: RunFolder,
        record: RunRecord,
        job: Job,
        connection: Connection,
        watch: Watch,
        stopping: Stopping,
        around: Surroundings,
    ) -> None:
        self.folder = folder
        self.record = record
        self.job = job
        self.connection = connection
        self.watch = watch
        self.stopping = stopping
        self.around = around
        self.clock = around.clock
        self.counter = Counter(record.messages, record.rows)
        self.pacer = Pacer(
            max_in_flight=job.in_flight(),
            max_per_second=job.rate,
            stopping=stopping,
            clock=self.clock.monotonic,
        )

    async def drive(self) -> None:
        """Do the whole run with its session and ledger open."""
        files = self.around.files(self.folder, self.job.sync)
        try:
            async with self.around.transport() as transport, open_ledger(files) as ledger:
                client = self._client(transport)
                caller = Caller(client, ledger, self.pacer, self.stopping, self.clock)
                await self._steps(caller, ledger)
        finally:
            files.close()

    def _client(self, transport: Transport) -> Client:
        tokens = Tokens(self.connection, transport, self.around.token_store, self.clock.wall)
        return Client(tokens, transport)

    async def _steps(self, caller: Caller, ledger: LedgerWriter) -> None:
        self.watch.phase("Looking up the org")
        org = await organisation(caller)
        self._note_org(org)
        self._confirm(org)
        module_id = await self._module_id(caller)
        names = await self._names(caller, ledger)
        self.watch.phase("Sending")
        sending = Sending(self.job.batch_size, self.job.single_endpoint, self.job.names, module_id)
        refusals = Refusals(self.stopping)
        desk = Desk(sending, caller, ledger, refusals, self.stopping, self.clock, self.counter.add)
        await self._send(desk, SealedPlan(self.folder.plan).chunks(names))

    def _note_org(self, org: Org) -> None:
        self.pacer.resize(self.job.in_flight(org.paid_type))
        self.record = self.record.but(org=OrgRecord(org.id, org.name, org.type))
        self.folder.write(self.record)

    def _confirm(self, org: Org) -> None:
        """Ask before an org is changed that is neither on this machine nor known to be a sandbox.

        Raises:
            NotConfirmedError: if the answer is no, or nobody can be asked.
        """
        if self.connection.loopback or self.job.yes:
            return
        question = Question(org.name, org.type, self.job.op_name, self.record.messages)
        if self.watch.can_ask:
            if not self.watch.confirm(question):
                raise NotConfirmedError("It was not confirmed; nothing was changed.")
        elif not org.sandbox:
            raise NotConfirmedError(
                f"This would change {self.record.messages:,} emails of {org.name or 'an org'}"
                f" ({org.type or 'type not known'}), and there is nobody to ask.",
                where=self.connection.api_url,
                advice="Add --yes if that is wanted; nothing was changed.",
            )

    async def _module_id(self, caller: Caller) -> str:
        if self.connection.module_id is not None:
            return self.connection.module_id
        links = any(self.record.by_op.get(op) for op in (Op.LINK, Op.RELINK))
        return await deals_module_id(caller) if links else ""

    async def _names(self, caller: Caller, ledger: LedgerWriter) -> Path | None:
        """Look up missing names; rows whose deal or owner does not exist end here.

        Raises:
            InvalidRowsError: if there are such rows and the job stops at them.
        """
        if not self.job.names:
            return None
        self.watch.phase("Looking up names")
        if not await look_up_names(self.folder, caller, at_once=self.job.in_flight()):
            return None
        names = self.folder.names
        plan = SealedPlan(self.folder.plan)
        shown: list[str] = []
        for row in plan.refused_by_names(names):
            what = f"deal {row.deal_id}" if row.code == "unknown-deal" else f"owner {row.owner_id}"
            text = f"The CRM shows no {what}."
            result = Result(
                row.row, row.op, row.contact_id, row.owner_id, row.message_id, row.deal_id,
                Status.REJECTED, row.code, message=text,
            )  # fmt: skip
            ledger.append(result_line(self.clock.timestamp(), result))
            self.counter.add(result)
            if len(shown) < FAULTS_SHOWN:
                shown.append(f"row {row.row}: {row.code}: {text}")
        if shown:
            plan.append_rejects(names, self.folder.rejects)
            self._refuse_unknown(tuple(shown))
        return names

    def _refuse_unknown(self, shown: tuple[str, ...]) -> None:
        refused = self.counter.counts[Status.REJECTED]
        if self.job.on_invalid is OnInvalid.STOP:
            raise InvalidRowsError(
                f"{refused:,} of {self.record.rows:,} rows name a deal or owner that the CRM does"
                " not show; nothing was changed.",
                advice=f"Mend them in {self.folder.rejects}, which is a mapping itself, or leave"
                " them out with --on-invalid skip.",
                faults=shown,
            )
        self.watch.warn(f"{refused:,} rows name a deal or owner that the CRM does not show.")

    def _settled(self, result: Result) -> None:
        self.counter.add(result)
        if result.status in (Status.FAILED, Status.IN_DOUBT):
            self.watch.not_done(result)

    async def _send(self, desk: Desk, chunks: Iterator[list[Message]]) -> None:
        workers = WORKERS_A_PLACE * self.pacer.max_in_flight
        async with anyio.create_task_group() as group:
            group.start_soon(self._tick)
            await send_all(contact_windows(chunks, self.job.batch_size), desk, workers=workers)
            group.cancel_scope.cancel()
        self.watch.progress(self.counter.progress())

    async def _tick(self) -> None:
        while True:
            self.watch.progress(self.counter.progress())
            await anyio.sleep(PROGRESS_SECONDS)
