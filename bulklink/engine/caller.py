"""API calls with their ledger lines, slots in flight and retries."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence

import anyio.lowlevel
import msgspec

from bulklink.engine.breaker import fatal_error
from bulklink.engine.call_outcome import (
    CallOutcome,
    is_answered,
    maybe_applied,
    no_answer_error,
    no_answer_reason,
)
from bulklink.engine.clock import Clock
from bulklink.engine.metrics import CallMeter, MeterTotals
from bulklink.engine.outage import OutageGate
from bulklink.engine.quota.budget import Reservation
from bulklink.engine.quota.diagnosis import RefusalCause
from bulklink.engine.quota.gate import Credit, QuotaGate, QuotaShortageError
from bulklink.engine.ratelimit.attempt import AT_ONCE, Attempt, CallTiming, QueuedCall
from bulklink.engine.ratelimit.limiter import ConcurrencyLimiter
from bulklink.engine.retry import AttemptHistory, RetryAction, decide_retry
from bulklink.engine.shutdown import StopController
from bulklink.errors import LedgerError, StoppedError
from bulklink.ledger.records import (
    MAX_ANSWER_LENGTH,
    CallLine,
    answer_line,
    call_line,
    unsent_line,
)
from bulklink.ledger.writer import LedgerWriter
from bulklink.zoho import requests
from bulklink.zoho.client import Client, ClientResponse
from bulklink.zoho.error_policy import AnswerClass
from bulklink.zoho.http import Answer, CallKind, NoResponse, Request
from bulklink.zoho.link_response import parse_refusal
from bulklink.zoho.request_log import CallReference
from bulklink.zoho.throttling import stated_limit
from bulklink.zoho.tokens import Token, TokenUnavailableError

MAX_UNANSWERED = 5
"""Consecutive requests without an answer after which the run stops."""


class Caller:
    """Makes the calls of all tasks of a run.

    Args:
        client: sends requests.
        ledger: records the `call` line before a request is sent, and any answer but HTTP 2xx.
        limiter: limits the calls in flight.
        quota: grants the credits.
        outage: holds calls back during an outage.
        stop: stops the run.
        clock: clocks and randomness.
        recorded: counts the requests in the ledger by kind, and those that are second or later
            attempts as `retried`; requests that were not sent are left out.
        first_call: number of the first call in the ledger.
        settle_after: seconds that a timed-out call keeps its slot, as the server may still be
            working on it.
        may_leave: called right before each request leaves; raises if it may not.

    Attributes:
        meter: measures the calls.
    """

    def __init__(
        self,
        client: Client,
        ledger: LedgerWriter,
        limiter: ConcurrencyLimiter,
        quota: QuotaGate,
        outage: OutageGate,
        stop: StopController,
        clock: Clock,
        *,
        recorded: Counter[str] | None = None,
        first_call: int = 1,
        settle_after: float = 0.0,
        may_leave: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._limiter = limiter
        self._quota = quota
        self._outage = outage
        self._stop = stop
        self._clock = clock
        self._next_call = first_call
        self.meter = CallMeter(lambda: limiter.limit, clock.monotonic, clock.cpu_time)
        self._recorded: Counter[str] = Counter() if recorded is None else recorded
        self._settle_after = settle_after
        self._may_leave = may_leave
        self._server_has_answered = False
        self._unanswered_in_row = 0

    @property
    def gave_up(self) -> bool:
        """Whether the last finished call used up its attempts without an answer."""
        return self._unanswered_in_row > 0

    @property
    def has_room(self) -> bool:
        """Whether calls of further contacts would be prepared without a wait."""
        return self._limiter.has_room

    @property
    def profile(self) -> str | None:
        """Name of the stored profile with the credentials; None if they are from elsewhere."""
        return self._client.tokens.profile

    async def sign_in(self) -> None:
        """Get an access token now, so that no call has to wait for it.

        Raises:
            RunStoppedError: if no token is granted.
        """
        await self._client.tokens.current()

    async def make(
        self,
        request: Request,
        *,
        contact_id: str | None = None,
        rows: Sequence[int] = (),
        earlier_attempts: int = 0,
        completes_relink: bool = False,
        reservation: Reservation | None = None,
        reserve: int = 0,
        timing: CallTiming = AT_ONCE,
        only_once: bool = False,
    ) -> CallOutcome:
        """Send a request until it has a final answer or its attempts are used up.

        An unlink that may have been applied is not retried here: it is read back first. The call
        waits during an outage, and attempts made during one are not counted.

        Args:
            request: request to send.
            contact_id: contact that it concerns, for the ledger.
            rows: rows in the request, for the ledger.
            earlier_attempts: earlier attempts of these rows in the same phase.
            completes_relink: whether it completes a relink, which a graceful stop allows.
            reservation: credits reserved to complete relinks of its contact.
            reserve: credits to add to `reservation` before it is sent.
            timing: when it is sent.
            only_once: whether it is not retried, unless its token is renewed.

        Raises:
            StoppedError: if the run was stopped before it was sent.
            TooLateError: if it was too late to send it.
            QuotaShortageError: if credits are short and its contact has relinks to complete first.
            RunStoppedError: if the token is refused or no server answers.
            LedgerError: if its line cannot be written; the request is then not sent.
        """
        progress = _CallProgress(reserve, only_once=only_once)
        queued_call = self._limiter.new_call(
            contact_id, completes_relink=completes_relink, timing=timing
        )
        while True:
            try:
                if self._outage.is_closed:
                    await self._wait_out_outage(queued_call, reservation)
                    progress.started = None  # time spent waiting behind others does not count
                credit = await self._quota.take_credit(
                    reservation=reservation,
                    reserve=progress.reserve,
                    completes_relink=completes_relink,
                    cost=request.credits,
                )
                try:
                    progress.reserve = 0
                    attempt = earlier_attempts + self._attempts(progress) + 1
                    line = self._new_line(request.kind, attempt, contact_id, rows)
                    received = await self._send_once(request, line, queued_call, credit, progress)
                finally:
                    self._quota.end_call(credit)
            except QuotaShortageError:
                if progress.last_outcome is None:
                    raise
                return progress.last_outcome
            except _HeldBackError:
                continue
            except TokenUnavailableError:
                if not self._begins_outage():
                    raise
                continue
            response, succeeded = received.outcome, received.is_success
            progress.sends += 1
            if not succeeded and not is_answered(response, received.answer_class):
                await self._settle_outage(queued_call, reservation, progress)
            progress.last_outcome = call_outcome = CallOutcome(
                line.call,
                self._attempts(progress),
                request.kind,
                response,
                progress.answer_lost,
                received.success_text,
                progress.sent_at,
                progress.ended_at,
            )
            if succeeded:
                self._server_has_answered, self._unanswered_in_row = True, 0
                return call_outcome
            if isinstance(response, NoResponse) or not response.ok:
                self.record_answer(call_outcome)
            if credit.cause is RefusalCause.CREDITS:
                continue  # waiting for credits uses up no attempt
            history = self._attempt_history(progress, request, received)
            decision = decide_retry(response, history, self._clock.random())
            progress.answer_lost |= maybe_applied(response, received.answer_class)
            match decision.action:
                case RetryAction.ACCEPT | RetryAction.GIVE_UP:
                    self._raise_if_hopeless(
                        received, request, exhausted=decision.action is RetryAction.GIVE_UP
                    )
                    return call_outcome
                case RetryAction.RENEW:
                    progress.token_renewed = await self._renew_token(received.token)
                case RetryAction.RETRY:
                    await self._stop.sleep(decision.delay, completes_relink=completes_relink)

    def record_answer(self, call_outcome: CallOutcome) -> None:
        """Write the response to `answers.jsonl`; `make` does so for all but HTTP 2xx."""
        response = call_outcome.response
        if isinstance(response, NoResponse):
            status, body = None, response.reason
        else:
            status, body = response.status, response.excerpt(MAX_ANSWER_LENGTH)
        self._ledger.append_answer(
            answer_line(self._clock.timestamp(), call_outcome.call, call_outcome.kind, status, body)
        )

    async def _wait_out_outage(
        self, queued_call: QueuedCall, reservation: Reservation | None
    ) -> None:
        """Wait until the outage is over; meanwhile calls take turns to send a trial.

        Raises:
            StoppedError: if the run was stopped.
            QuotaShortageError: see `make`.
            RunStoppedError: if the outage has lasted too long.
        """
        completes_relink = queued_call.completes_relink
        while await self._outage.wait_turn(completes_relink=completes_relink):
            with self._outage.trial(completes_relink=completes_relink):
                await self._try_alone(queued_call, reservation)

    async def _try_alone(self, queued_call: QueuedCall, reservation: Reservation | None) -> None:
        """Test whether calls are answered by looking up the org, which changes nothing."""
        trial = _CallProgress(is_trial=True)
        credit = await self._quota.take_credit(
            reservation=reservation, completes_relink=queued_call.completes_relink
        )
        try:
            request = requests.org_request()
            line = self._new_line(request.kind, 1, None, ())
            received = await self._send_once(request, line, queued_call, credit, trial)
        except TokenUnavailableError as error:
            self._outage.record_failed_trial(error.reason)
            return
        finally:
            self._quota.end_call(credit)
        if trial.unanswered:
            self._outage.record_failed_trial(no_answer_reason(received.outcome))

    async def _settle_outage(
        self, queued_call: QueuedCall, reservation: Reservation | None, progress: _CallProgress
    ) -> None:
        """After a call without an answer, wait until it is known whether there is an outage."""
        with contextlib.suppress(StoppedError):  # the next step notices the stop
            await self._wait_out_outage(queued_call, reservation)
        if self._outage.was_outage(progress.unanswered[-1]):
            progress.started = None

    def _attempts(self, progress: _CallProgress) -> int:
        """Return the attempts of a call, without those made during an outage."""
        unanswered = progress.unanswered
        return progress.sends - (sum(map(self._outage.was_outage, unanswered)) if unanswered else 0)

    def _begins_outage(self) -> bool:
        """Hold all calls back because there is no token; return False if they may not wait."""
        self._outage.record_silence(concerns_all=True)
        return self._outage.is_closed

    async def _renew_token(self, refused: Token) -> bool:
        """Renew the token; return False if the renewal must wait for the end of an outage."""
        try:
            await self._client.tokens.renew(refused)
        except TokenUnavailableError:
            if not self._begins_outage():
                raise
            return False
        return True

    async def _send_once(
        self,
        request: Request,
        line: CallLine,
        queued_call: QueuedCall,
        credit: Credit,
        progress: _CallProgress,
    ) -> ClientResponse:
        """Send the request once, after its line is on disk.

        Raises:
            _HeldBackError: if an outage began before it was sent.
        """
        attempt = await self._limiter.admit(queued_call)
        slot_passed_on = False
        try:
            await self._client.tokens.current()
            if self._outage.is_closed and not progress.is_trial:
                raise _HeldBackError
            self._ledger.append(call_line(self._clock.timestamp(), line))
            self._count_recorded(line, 1)
            try:
                is_needed = self._limiter.needs_ready_calls or queued_call.timing is not AT_ONCE
                await self._ledger.commit(at_once=is_needed)
                token = await self._wait_to_leave(attempt, credit, is_trial=progress.is_trial)
            except BaseException:
                self._record_unsent(line)
                raise
            if progress.started is None:
                progress.started = self._clock.monotonic()
                progress.waited_before = self._quota.waited
            progress.sent_at = self.meter.call_started()
            try:
                call_tag = CallReference(line.call, line.attempt)
                received = await self._client.send(request, token, call_tag)
            finally:
                self.meter.call_ended(request.kind, progress.sent_at)
            progress.ended_at = self._clock.monotonic()
            await self._report(attempt, credit, received, progress)
        finally:
            slot_passed_on = self._limiter.end(attempt)
        if slot_passed_on and received.is_success:
            # Let the next call start before this answer is parsed, so its slot is not left empty.
            # A refusal is parsed first: it may stop the run.
            await anyio.lowlevel.cancel_shielded_checkpoint()
        return received

    async def _report(
        self, attempt: Attempt, credit: Credit, received: ClientResponse, progress: _CallProgress
    ) -> None:
        """Report the response to a call to all that decide when others may start."""
        response, is_busy = received.outcome, received.answer_class is AnswerClass.THROTTLED
        if is_answered(response, received.answer_class):
            self._outage.record_answer()
        else:
            progress.unanswered.append(self._outage.record_silence())
        await self._quota.on_response(
            credit,
            response,
            busy=is_busy,
            explained_by_concurrency=is_busy and self._limiter.explains_refusal(attempt),
        )
        if isinstance(response, NoResponse):
            attempt.hold_after = self._settle_after if response.timed_out else 0.0
        elif not is_busy:
            self._limiter.report_accepted(attempt)
        elif credit.cause is not RefusalCause.CREDITS:
            self._limiter.report_refused(
                attempt,
                response.retry_after,
                longest_pause=credit.longest_pause,
                stated=stated_limit(response),
            )

    async def _wait_to_leave(self, attempt: Attempt, credit: Credit, *, is_trial: bool) -> Token:
        """Wait until a call may be sent, and return its token; the request must follow immediately.

        Quota and limiter are checked one last time with no `await` before the request: if another
        call was refused meanwhile, this one waits again, so only a single call is sent after a
        refusal. During an outage, only a trial is sent.

        Raises:
            RunStoppedError: if the request may not leave, as `may_leave` says.
        """
        while True:
            # The credit of a call that completes a relink may not be counted yet.
            if credit.completes_relink or not self._quota.may_start():
                await self._quota.wait_to_start(credit)
            await self._limiter.acquire_slot(attempt)
            token = await self._client.tokens.current()  # it may have expired meanwhile
            await self._limiter.wait_for_rate(attempt.queued_call)
            if self._outage.is_closed and not is_trial:
                raise _HeldBackError
            if self._quota.may_start() and self._limiter.may_start(attempt):
                self._may_leave()
                self._quota.start(credit)
                self._limiter.start(attempt)
                return token
            self._limiter.return_slot(attempt)

    def totals(self) -> MeterTotals:
        """Return the totals measured so far."""
        return self.meter.totals(
            answered_429=self._quota.refused_429,
            credit_wait=self._quota.waited_so_far,
            paused_seconds=self._limiter.paused_seconds,
        )

    def _new_line(
        self, kind: CallKind, attempt: int, contact_id: str | None, rows: Sequence[int]
    ) -> CallLine:
        call, self._next_call = self._next_call, self._next_call + 1
        return CallLine(call, kind, attempt, contact_id, tuple(rows))

    def _record_unsent(self, line: CallLine) -> None:
        """Record that a call is not sent although its line is, or will be, on disk.

        Without this, a resume assumes that it was sent and reads its messages back.
        """
        self._count_recorded(line, -1)
        # A ledger that cannot be written has already stopped the run.
        with contextlib.suppress(LedgerError):
            self._ledger.append(unsent_line(self._clock.timestamp(), line))

    def _count_recorded(self, line: CallLine, change: int) -> None:
        self._recorded[line.op] += change
        if line.attempt > 1:
            self._recorded["retried"] += change

    def _attempt_history(
        self, progress: _CallProgress, request: Request, received: ClientResponse
    ) -> AttemptHistory:
        progress.busy_answers += received.answer_class is AnswerClass.THROTTLED
        now, waited = self._clock.monotonic(), self._quota.waited - progress.waited_before
        return AttemptHistory(
            count=self._attempts(progress) - progress.busy_answers,
            elapsed=0.0 if progress.started is None else now - progress.started - waited,
            token_renewed=progress.token_renewed,
            repeatable=request.kind is not CallKind.UNLINK,
            never_answered=not self._server_has_answered
            and isinstance(received.outcome, NoResponse),
            only_once=progress.only_once,
        )

    def _raise_if_hopeless(
        self, received: ClientResponse, request: Request, *, exhausted: bool
    ) -> None:
        """Stop the run if the token is refused or too many requests have no answer."""
        response = received.outcome
        if isinstance(response, NoResponse) and response.cure:
            raise no_answer_error(response, 1)
        if isinstance(response, Answer):
            self._server_has_answered = True
            if received.answer_class is AnswerClass.TOKEN:
                raise fatal_error(request.kind, parse_refusal(response), "the access token")
        if not exhausted:
            self._unanswered_in_row = 0
            return
        maybe_applied = isinstance(response, NoResponse) and response.sent
        if request.kind is CallKind.UNLINK and maybe_applied:
            return  # not retried, because it must be read back first
        self._unanswered_in_row += 1
        if not self._server_has_answered or self._unanswered_in_row >= MAX_UNANSWERED:
            raise no_answer_error(response, self._unanswered_in_row)


class _CallProgress(msgspec.Struct):
    reserve: int = 0
    started: float | None = None
    """Monotonic time of the first attempt, or of the first since an outage."""
    waited_before: float = 0.0
    last_outcome: CallOutcome | None = None
    sends: int = 0
    busy_answers: int = 0
    token_renewed: bool = False
    answer_lost: bool = False
    is_trial: bool = False
    only_once: bool = False
    sent_at: float = 0.0
    ended_at: float = 0.0
    unanswered: list[int] = []
    """Numbers of the streaks that its unanswered attempts belong to."""


class _HeldBackError(Exception):
    """Raised when a call would be sent during an outage."""
