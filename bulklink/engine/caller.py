"""Making a call: its ledger line, its place among the calls in flight, its tries."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

import anyio.lowlevel
import msgspec

from bulklink.engine.breaker import fatal
from bulklink.engine.clock import Clock
from bulklink.engine.metrics import Meter, Totals
from bulklink.engine.quota.budget import Hold
from bulklink.engine.quota.diagnosis import Cause
from bulklink.engine.quota.gate import Credit, Credits, ShortError
from bulklink.engine.ratelimit.limiter import Pacer, Ticket, Turn
from bulklink.engine.retry import Next, Tries, decide
from bulklink.engine.shutdown import Stopping
from bulklink.errors import LedgerError, RunStoppedError, StoppedBy
from bulklink.ledger.records import CallLine, answer_line, call_line, unsent_line
from bulklink.ledger.writer import LedgerWriter
from bulklink.zoho.client import Client, Received
from bulklink.zoho.error_policy import AnswerClass, class_of
from bulklink.zoho.http import Answer, CallKind, Request, Silence
from bulklink.zoho.link_response import refusal_of
from bulklink.zoho.request_log import Mark

MOST_UNANSWERED = 5
"""Requests in a row that stay without an answer before the run stops."""


class Exchange(msgspec.Struct, frozen=True):
    """A call that is over: its last number in the ledger, how often it was sent, what came.

    `lost` tells that a try before the last may have been applied, without a word of it.
    """

    call: int
    tries: int
    kind: CallKind
    outcome: Answer | Silence
    lost: bool


class Caller:
    """Makes calls for all tasks of a run.

    Args:
        client: sends requests.
        ledger: takes the `call` line before a request leaves, and answers worth keeping.
        pacer: gives out turns and places in flight.
        credits: gives out credits.
        stopping: tells whether the run goes on.
        clock: tells the time.
        first_call: number of the first call in the ledger.
        settle_after: seconds that a call without an answer in time holds its place longer: the
            server may still be at work on it.

    Attributes:
        meter: measures the calls.
    """

    def __init__(
        self,
        client: Client,
        ledger: LedgerWriter,
        pacer: Pacer,
        credits: Credits,  # noqa: A002 - the word of the field; nobody wants the builtin
        stopping: Stopping,
        clock: Clock,
        *,
        first_call: int = 1,
        settle_after: float = 0.0,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._pacer = pacer
        self._credits = credits
        self._stopping = stopping
        self._clock = clock
        self._next_call = first_call
        self.meter = Meter(lambda: pacer.limit, clock.monotonic, clock.cpu)
        self._settle_after = settle_after
        self._answered = False
        self._unanswered = 0

    async def make(
        self,
        request: Request,
        *,
        contact_id: str | None = None,
        rows: Sequence[int] = (),
        tried: int = 0,
        finishing: bool = False,
        hold: Hold | None = None,
        aside: int = 0,
    ) -> Exchange:
        """Send a request until it has an answer that stands, or its tries are used up.

        An unlink that may have been applied is not sent again here: it is read back first.

        Args:
            request: what to send.
            contact_id: the contact it concerns, for the ledger.
            rows: the rows it carries, for the ledger.
            tried: how often these rows were sent for the same purpose before.
            finishing: whether it finishes a relink that a gentle stop must not tear.
            hold: credits of its contact that are set aside to finish relinks.
            aside: credits that must be set aside there before it is sent.

        Raises:
            HaltedError: if the run was stopped before it was sent.
            ShortError: if credits are short and its contact has relinks to finish first.
            RunStoppedError: if the token is refused or no server answers.
            LedgerError: if its line cannot be written; it was not sent then.
        """
        made = _Made(self._clock.monotonic(), self._credits.waited)
        ticket = self._pacer.ticket(contact_id, finishing=finishing)
        while True:
            made.sent += 1
            try:
                async with self._credits.credit(
                    hold=hold, aside=0 if made.last else aside, finishing=finishing
                ) as credit:
                    line = self._line(request.kind, tried + made.sent, contact_id, rows)
                    received = await self._send(request, line, ticket, credit)
            except ShortError:
                if made.last is None:
                    raise
                return made.last
            outcome = received.outcome
            made.last = exchange = Exchange(line.call, made.sent, request.kind, outcome, made.lost)
            if isinstance(outcome, Silence) or not outcome.ok:
                self.keep(exchange)
            if credit.cause is Cause.CREDITS:
                continue  # it waits for them, or the run stops: no try is used up
            decision = decide(outcome, self._tries(made, request, outcome), self._clock.chance())
            made.lost = made.lost or _may_be_applied(outcome)
            match decision.next:
                case Next.TAKE | Next.GIVE_UP:
                    self._note(outcome, request, gave_up=decision.next is Next.GIVE_UP)
                    return exchange
                case Next.RENEW:
                    made.renewed = True
                    await self._client.renew(received.token)
                case Next.AGAIN:
                    await self._stopping.sleep(decision.delay, finishing=finishing)

    def keep(self, exchange: Exchange) -> None:
        """Keep what came back in `answers.jsonl`; `make` does so by itself unless HTTP says 2xx."""
        outcome = exchange.outcome
        if isinstance(outcome, Silence):
            status, body = None, outcome.reason
        else:
            status, body = outcome.status, outcome.body.decode("utf-8", "replace")
        self._ledger.keep_answer(
            answer_line(self._clock.timestamp(), exchange.call, exchange.kind, status, body)
        )

    async def _send(
        self, request: Request, line: CallLine, ticket: Ticket, credit: Credit
    ) -> Received:
        """Send once, with the line on disk before."""
        async with self._pacer.turn(ticket) as turn:
            await self._client.ready()
            await self._ledger.commit(call_line(self._clock.timestamp(), line))
            async with self._told_if_kept_back(line):
                await self._pacer.take_place(turn)
                token = await self._client.ready()  # one can have ended meanwhile
                await self._credits.leave(credit)
                await self._pacer.start(turn)
            left_at = self.meter.left()
            try:
                mark = Mark(line.call, line.attempt)
                received = await self._client.send(request, token, mark)
            finally:
                self.meter.landed(request.kind, left_at)
            outcome = received.outcome
            explained = self._pacer.explains(turn)
            await self._credits.answered(credit, outcome, busy=_busy(outcome), explained=explained)
            self._tell_pacer(turn, outcome, credit.cause)
        if isinstance(outcome, Answer) and outcome.ok:
            # The next call leaves before this answer is looked into, so that its place is not
            # empty meanwhile. What is no success is looked into first: it may stop the run.
            await anyio.lowlevel.cancel_shielded_checkpoint()
        return received

    def measured(self) -> Totals:
        """Return what was measured of all calls so far."""
        return self.meter.totals(
            answered_429=self._credits.refused,
            waited=self._credits.waited_so_far,
            held=self._pacer.held_up,
        )

    def on_wait(self, action: Callable[[], None]) -> None:
        """Have something done when the run begins to wait for credits."""
        self._credits.on_wait(action)

    def release(self, hold: Hold) -> None:
        """Free the credits that were set aside for a contact with no relink to finish."""
        self._credits.release(hold)

    def _tell_pacer(self, turn: Turn, outcome: Answer | Silence, cause: Cause | None) -> None:
        """Tell what became of a call, which says how many may be in flight."""
        if isinstance(outcome, Silence):
            turn.lingers = 0.0 if outcome.in_time else self._settle_after
        elif not _busy(outcome):
            self._pacer.answered(turn)
        elif cause is not Cause.CREDITS:
            self._pacer.refused(turn, outcome.retry_after)

    def _line(
        self, kind: CallKind, attempt: int, contact_id: str | None, rows: Sequence[int]
    ) -> CallLine:
        call, self._next_call = self._next_call, self._next_call + 1
        return CallLine(call, kind, attempt, contact_id, tuple(rows))

    @contextlib.asynccontextmanager
    async def _told_if_kept_back(self, line: CallLine) -> AsyncIterator[None]:
        """Have the ledger say so if a call whose line is on disk does not leave after all."""
        try:
            yield
        except BaseException:
            # A ledger that cannot be written has stopped the run already; without this line a
            # resume takes the call as sent and looks.
            with contextlib.suppress(LedgerError):
                self._ledger.append(unsent_line(self._clock.timestamp(), line))
            raise

    def _tries(self, made: _Made, request: Request, outcome: Answer | Silence) -> Tries:
        made.busy += _busy(outcome)
        return Tries(
            made=made.sent - made.busy,
            seconds=self._clock.monotonic() - made.started - (self._credits.waited - made.waited),
            renewed=made.renewed,
            repeatable=request.kind is not CallKind.UNLINK,
            first_contact=not self._answered and isinstance(outcome, Silence),
        )

    def _note(self, outcome: Answer | Silence, request: Request, *, gave_up: bool) -> None:
        """Stop the run where no token is taken, or too many requests stay without an answer."""
        if isinstance(outcome, Answer):
            self._answered = True
            refusal = refusal_of(outcome) if not outcome.ok else None
            if refusal and class_of(outcome.status, refusal.code) is AnswerClass.TOKEN:
                raise fatal(request.kind, refusal, "the access token")
        if not gave_up:
            self._unanswered = 0
            return
        lost = isinstance(outcome, Silence) and outcome.sent
        if request.kind is CallKind.UNLINK and lost:
            return  # it had one try, because it must be read back
        self._unanswered += 1
        if not self._answered or self._unanswered >= MOST_UNANSWERED:
            raise _unanswered(outcome, self._unanswered)


class _Made:
    """What was done for one request so far."""

    def __init__(self, started: float, waited: float) -> None:
        self.started = started
        self.waited = waited
        self.last: Exchange | None = None
        self.sent = 0
        self.busy = 0
        self.renewed = False
        self.lost = False


def _may_be_applied(outcome: Answer | Silence) -> bool:
    """Tell whether a call may have been applied though nothing says so."""
    if isinstance(outcome, Silence):
        return outcome.sent
    return not outcome.ok and _class(outcome) is AnswerClass.AGAIN


def _class(answer: Answer) -> AnswerClass:
    return class_of(answer.status, refusal_of(answer).code)


def _busy(outcome: Answer | Silence) -> bool:
    if isinstance(outcome, Silence) or outcome.ok:
        return False
    return _class(outcome) is AnswerClass.BUSY


def _unanswered(outcome: Answer | Silence, requests: int) -> RunStoppedError:
    if isinstance(outcome, Silence):
        said = outcome.reason
    elif _busy(outcome):
        said = "the server says that there are too many requests"
    else:
        said = f"the server fails with HTTP {outcome.status}"
    return RunStoppedError(
        StoppedBy.NO_ANSWER,
        f"The CRM does not answer: {said} ({requests} in a row, each tried several times)."
        if requests > 1
        else f"The CRM does not answer: {said}.",
        advice="Check the address, the data centre and the network.",
    )
