"""Sending what is left of a sealed plan, from the pre-flight checks to the end of the run."""

from __future__ import annotations

from functools import partial

import anyio.to_thread
import msgspec

from bulklink.engine.breaker import Refusals
from bulklink.engine.caller import Caller
from bulklink.engine.context import Desk, Sending
from bulklink.engine.dispatch import workers_for
from bulklink.engine.lookups import organisation
from bulklink.engine.message_state import Track, track_of
from bulklink.engine.metrics import limited_by
from bulklink.engine.ratelimit.limiter import Pacer
from bulklink.engine.shutdown import HaltedError, Stopping
from bulklink.errors import (
    BulklinkError,
    LedgerError,
    RefusedError,
    RunDirError,
    RunStoppedError,
    StoppedBy,
)
from bulklink.ledger.records import timestamp
from bulklink.ledger.state import Replay, replay
from bulklink.ledger.statistics import tally
from bulklink.ledger.writer import LedgerWriter, open_ledger
from bulklink.mapping.plan_reader import SealedPlan
from bulklink.models import Message, Status
from bulklink.operations.callbacks import Counter, Watch
from bulklink.operations.cancellation import looking
from bulklink.operations.delivery import Delivery, Trial, canary_due
from bulklink.operations.environment import Surroundings
from bulklink.operations.job import Job
from bulklink.operations.monitor import Lookout, Observer, Recorder
from bulklink.operations.preflight import NameLookups, check_org, check_place, confirm, module_id
from bulklink.operations.session import Spending, too_early
from bulklink.runs.folder import RunFolder
from bulklink.runs.hashes import ledger_hash
from bulklink.runs.record import (
    CanaryRecord,
    Invocation,
    Limited,
    OrgRecord,
    RunRecord,
    State,
    closed,
)
from bulklink.runs.status import PENDING, RunSummary, counts_of, exit_code_of, summary_of
from bulklink.zoho.client import Client
from bulklink.zoho.connection import Connection, secrets_of
from bulklink.zoho.http import CallKind
from bulklink.zoho.lookup_responses import Org
from bulklink.zoho.tokens import Tokens


def end(
    folder: RunFolder,
    record: RunRecord,
    counter: Counter,
    stopping: Stopping,
    refused: RefusedError | None,
    before: RunRecord,
    now: float,
    seconds: float,
) -> RunSummary:
    """Write how an invocation ended and return where the run stands.

    Args:
        folder: of the run.
        record: as it stands.
        counter: the results of this invocation.
        stopping: why it stopped, if it did.
        refused: why it was refused, if it was.
        before: the record as the invocation found it.
        now: seconds since 1970.
        seconds: how long the invocation lasted.

    Raises:
        LedgerError: if the ledger does not hold what was done.
    """
    reason = stopping.reason
    if refused and before.invocations:
        # It was not taken up again, and can be as before.
        record = record.but(
            state=before.state,
            stopped_by=before.stopped_by,
            reason=before.reason,
            resume_at=before.resume_at,
            org=before.org,
        )
    else:
        record = record.but(
            state=State.REFUSED if refused else State.STOPPED if reason else State.FINISHED,
            stopped_by=reason.by if reason and not refused else None,
            reason=refused.code if refused else reason.message if reason else None,
            resume_at=_resume_at(reason),
        )
    told = replay(folder.ledger)
    counts = counts_of(record, told)
    code = exit_code_of(record.state, record.stopped_by, counts)
    *earlier, last = record.invocations
    ended = Invocation(last.started, timestamp(now), round(seconds, 3), record.stopped_by, code)
    proof = ledger_hash(folder.ledger)
    record = record.but(counts=counts, invocations=(*earlier, ended), **proof)
    broken = reason is not None and reason.by is StoppedBy.LEDGER
    try:
        folder.write(record)
    except RunDirError as error:
        if not broken:
            raise LedgerError(error.message, where=error.where, advice=error.advice) from None
    summary = summary_of(folder, record, told)
    if not broken:
        _check(record, counter, summary)
    return summary


def _resume_at(reason: RunStoppedError | None) -> str | None:
    return timestamp(reason.resume_at) if reason and reason.resume_at is not None else None


def _check(record: RunRecord, counter: Counter, summary: RunSummary) -> None:
    """Hold what this process did against what the ledger holds: promise 1, checked at each end."""
    known = counter.counts
    told = {s: summary.counts[s] for s in Status}
    pending = summary.counts[PENDING]
    if known != told or pending < 0 or (record.state is State.FINISHED and pending):
        raise LedgerError(
            f"The ledger does not add up: it tells {told} of {record.rows} rows, but {known} were"
            " recorded. This is a mistake in bulklink.",
            where=summary.run_dir,
            advice="Keep the run folder and report it; do not trust the counts.",
        )


async def send(
    folder: RunFolder,
    told: Replay,
    job: Job,
    connection: Connection,
    watch: Watch,
    stopping: Stopping,
    around: Surroundings,
) -> RunSummary:
    """Send what is left to do of the sealed plan in a run folder that this process drives.

    What stops the run on the way is in the summary, and in `stopping.reason`.

    Args:
        folder: of the run.
        told: what its ledger says so far.
        job: how it is to be sent.
        connection: where the CRM is and how to sign in.
        watch: call-backs.
        stopping: by which it can be stopped from outside.
        around: network, disk and clock.

    Raises:
        RefusedError: if it is refused before the first change.
        LedgerError: if the ledger does not say what was done.
    """
    before = folder.read()
    check_place(before, connection)
    clock = around.clock
    began = clock.monotonic()
    record = before.but(
        state=State.RUNNING,
        stopped_by=None,
        reason=None,
        resume_at=None,
        api_url=connection.api_url,
        data_centre=connection.data_centre,
        invocations=(
            *closed(before.invocations, told.last),
            Invocation(started=timestamp(clock.wall())),
        ),
    )
    folder.write(record)
    watch.began(str(folder.path))
    run = _Run(folder, before, record, told, job, connection, watch, stopping, around)
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
        mistake = BulklinkError(
            f"A mistake in bulklink: {error!r}.",
            where=str(folder.path),
            advice="Keep the run folder and report it; a resume goes on from what is recorded.",
        )
        stopping.stop(mistake)
        raise
    except BaseException:  # cancelled: what was in flight is left open, for a resume to settle
        stopping.interrupt()
        raise
    finally:
        seconds = clock.monotonic() - began
        summary = end(
            folder, run.record, run.counter, stopping, refused, before, clock.wall(), seconds
        )
    if refused is not None:
        raise refused
    return summary


_OUT_OF_CREDITS = (StoppedBy.CREDITS, StoppedBy.MAX_CREDITS)


class _Run:
    """What the steps of one invocation share."""

    def __init__(
        self,
        folder: RunFolder,
        before: RunRecord,
        record: RunRecord,
        told: Replay,
        job: Job,
        connection: Connection,
        watch: Watch,
        stopping: Stopping,
        around: Surroundings,
    ) -> None:
        self.folder = folder
        self.record = record
        self.told = told
        self.job = job
        self.connection = connection
        self.watch = watch
        self.stopping = stopping
        self.around = around
        self.clock = around.clock
        self.counter = Counter(record.rows, told)
        run_dir = str(folder.path)
        trial = Trial(self._keep, watch, self.counter, run_dir)
        self.delivery = Delivery(self.counter, job.max_failures, trial, watch, stopping, run_dir)
        self.pacer = Pacer(
            max_in_flight=job.in_flight(),
            max_per_second=job.rate,
            stopping=stopping,
            clock=self.clock.monotonic,
            chance=self.clock.chance,
            notice=watch.warn,
        )
        doubted = before.stopped_by == StoppedBy.CREDITS
        if doubted and before.resume_at and before.resume_at > self.clock.timestamp():
            watch.warn(too_early(before.resume_at))
        self.spending = Spending(
            job,
            connection,
            stopping,
            around,
            doubted=doubted,
            warn=watch.warn,
            waits=self._waits,
            messages_left=lambda: self.counter.pending,
        )

    async def drive(self) -> None:
        """Do the whole run with its session and ledger open."""
        files = self.around.files(self.folder.ledger, self.folder.answers, self.job.sync)
        store = self.around.token_store
        try:
            async with self.around.transport() as transport, open_ledger(files) as ledger:
                tokens = Tokens(self.connection, transport, store, self.clock.wall)
                client = Client(tokens, transport, secrets_of(self.connection))
                caller = Caller(
                    client,
                    ledger,
                    self.pacer,
                    self.spending.credits,
                    self.stopping,
                    self.clock,
                    first_call=self.told.next_call,
                    settle_after=self.job.settle_after,
                )
                lookout = self._lookout(caller)
                try:
                    async with looking(lookout.look):
                        await self._steps(caller, ledger, lookout)
                finally:
                    lookout.end()
                    self._note_limit(caller)
        finally:
            try:
                await self.spending.end()
            finally:
                files.close()

    async def _steps(self, caller: Caller, ledger: LedgerWriter, lookout: Lookout) -> None:
        await self.spending.begin(self.record.org.id if self.record.org else None)
        self.watch.phase("Looking up the org")
        org = await organisation(caller)
        check_org(self.record, org)
        await self.spending.met(org)
        confirm(org, self.record, self.job, self.connection, self.watch)
        self._note_org(org)
        module = await module_id(self.record, self.connection, caller)
        self.watch.phase("Looking up names")
        lookups = NameLookups(self.folder, self.record, self.job, self.counter, self.watch)
        names = await lookups.names(caller, ledger, self.clock.timestamp())
        await self._count_codes()
        self.watch.phase("Sending")
        desk = self._desk(caller, ledger, module)
        plan = SealedPlan(self.folder.plan)
        lookout.sending = True
        await lookout.look()
        await self.delivery.send(
            desk,
            lambda: plan.chunks(names),
            workers=workers_for(self.pacer.max_in_flight),
            due=lambda: canary_due(self.record.canary, self.job.canary, self.counter.left),
        )
        await lookout.look()

    async def _count_codes(self) -> None:
        """Have the counter know by which codes failed what an earlier invocation left so."""
        standing = self.told.standing
        if standing[Status.FAILED] or standing[Status.IN_DOUBT]:
            self.watch.phase("Reading the ledger")
            count = partial(tally, self.folder.ledger, without=self.told.is_to_do)
            before = await anyio.to_thread.run_sync(count)
            self.counter.codes = {found.code: found.count for found in before.failures}

    def _lookout(self, caller: Caller) -> Lookout:
        rate, counter, credits_ = self.job.rate, self.counter, self.spending.credits
        before = sum(one.seconds or 0.0 for one in self.record.invocations)
        return Lookout(
            Observer(
                caller.measured,
                self.pacer,
                credits_,
                rate,
                done=lambda: sum(counter.results.values()),
                left=lambda: counter.left,
            ),
            Recorder(self.folder.timeline, before, rate, self.watch.warn),
            caller.measured,
            credits_,
            counter,
            lambda: self.delivery.trying,
            self.watch,
            self.clock,
        )

    def _keep(self, canary: CanaryRecord) -> None:
        self.record = self.record.but(canary=canary)
        self.folder.write(self.record)

    def _note_org(self, org: Org) -> None:
        self.pacer.resize(self.job.in_flight(org.paid_type))
        self.record = self.record.but(org=OrgRecord(org.id, org.name, org.type))
        self.folder.write(self.record)

    def _note_limit(self, caller: Caller) -> None:
        """Have the record say what limited this invocation."""
        figures = caller.meter.figures(self.job.rate, self.spending.credits.waited)
        if figures is not None:
            out = self.stopping.reason is not None and self.stopping.reason.by in _OUT_OF_CREDITS
            waits = self.spending.credits.waits  # it was ended while it waited
            by = limited_by(figures, out_of_credits=out or waits)
            told = msgspec.structs.asdict(figures) | {
                "answered_429": self.spending.credits.refused,
                "beyond_max_credits": self.spending.credits.book.overrun,
            }
            self.record = self.record.but(limited=Limited(by, told))

    def _waits(self, until: float | None) -> None:
        """Have the folder and whoever watches know that the run waits for credits."""
        resume_at = timestamp(until) if until is not None else None
        self.record = self.record.but(resume_at=resume_at)
        self.folder.write(self.record)
        self.watch.waits(until)

    def _desk(self, caller: Caller, ledger: LedgerWriter, module: str) -> Desk:
        job = self.job
        sending = Sending(
            batch_size=job.batch_size,
            by_contact=job.by_contact,
            single_endpoint=job.single_endpoint,
            names=job.names,
            module_id=module,
            read_back=job.read_back,
            read_pages=job.read_pages,
            settle_after=job.settle_after,
        )
        return Desk(
            sending=sending,
            caller=caller,
            ledger=ledger,
            refusals=Refusals(self.stopping, map(CallKind, self.told.worked)),
            stopping=self.stopping,
            clock=self.clock,
            settled=self.delivery.settled,
            track=self._track,
        )

    def _track(self, message: Message) -> Track:
        return track_of(
            message,
            self.told,
            snapshot=self.job.reads_first(message.op),
            no_put_back=self.job.accept_no_put_back,
        )
