"""One call of a load test: sent once, and settled by its answer alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bulklink.engine.breaker import fatal_error
from bulklink.engine.call_outcome import CallOutcome
from bulklink.engine.caller import Caller
from bulklink.engine.clock import Clock
from bulklink.engine.contact_calls import build_request, parse_write_response
from bulklink.engine.context import SendSettings
from bulklink.engine.load.batches import LoadBatch
from bulklink.engine.message_state import MessageState, NextStep
from bulklink.engine.ratelimit.attempt import AT_ONCE, CallTiming
from bulklink.engine.retry import is_inconclusive
from bulklink.engine.transitions import NO_ANSWER
from bulklink.ledger.done_batch import DoneBatch, done_lines
from bulklink.ledger.records import Result, result_line
from bulklink.ledger.writer import LedgerWriter
from bulklink.models import Op, Status
from bulklink.zoho.error_codes import Code
from bulklink.zoho.error_policy import AnswerClass, classify_error
from bulklink.zoho.http import NoResponse
from bulklink.zoho.link_response import AnswerVerdict, ParsedAnswer
from bulklink.zoho.plain_success import PLAIN_STATUS


@dataclass(frozen=True, slots=True)
class LoadCall:
    """A call that was made.

    Args:
        sent_at: monotonic seconds at which it was sent.
        ended_at: monotonic seconds at which it was answered, or given up.
        done: emails that it changed.
        error: code of its error, for the figures; None if it changed all of its emails.
        linked: whether its emails are linked now; None if unknown, or if it changed nothing.
        answered_429: whether it was refused with HTTP 429.
    """

    sent_at: float
    ended_at: float
    done: int
    error: str | None
    linked: bool | None
    answered_429: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSender:
    """Makes the calls of a load test.

    Nothing is read back: what an answer leaves open stays in doubt.

    Args:
        caller: makes the calls.
        ledger: writes the results.
        settings: how batches are sent.
        clock: clock of the results.
        on_result: called with each result once it is queued for the ledger.
        on_done_batch: called in its place with messages that one answer settled as done.
    """

    caller: Caller
    ledger: LedgerWriter
    settings: SendSettings
    clock: Clock
    on_result: Callable[[Result], None]
    on_done_batch: Callable[[DoneBatch], None]

    async def send(
        self, batch: LoadBatch, timing: CallTiming = AT_ONCE, *, only_once: bool = True
    ) -> LoadCall:
        """Make the call of a batch, and record its results.

        Args:
            batch: the batch.
            timing: when the call starts.
            only_once: whether it is not retried.

        Raises:
            StoppedError: if the run was stopped before it was sent.
            TooLateError: if it was too late to send it.
            RunStoppedError: if no call can succeed.
            LedgerError: if its line cannot be written.
        """
        messages, step = batch.messages, _STEPS[batch.op]
        deals = [(message.deal_id or "", message.deal_name) for message in messages]
        request = build_request(messages, step, self.settings, deals)
        call_outcome = await self.caller.make(
            request,
            contact_id=messages[0].contact_id,
            rows=[message.row for message in messages],
            timing=timing,
            only_once=only_once,
        )
        is_link = batch.op is Op.LINK
        text = call_outcome.success_text
        if text is not None:
            self._record_done(batch, call_outcome, text, request.message_ids)
            return _load_call(call_outcome, len(messages), None, linked=is_link)
        states = [MessageState(message, snapshot=False) for message in messages]
        parsed = parse_write_response(states, step, call_outcome, self.settings)
        error = _error_code(parsed, states, call_outcome)
        if error is not None and not isinstance(call_outcome.response, NoResponse):
            self.caller.record_answer(call_outcome)
        self._record(states, parsed, call_outcome)
        if parsed.call_verdict is not None:
            _raise_if_fatal(call_outcome, parsed.call_verdict, messages[0].contact_id)
        done = sum(verdict.success for verdict in parsed.verdicts.values())
        return _load_call(call_outcome, done, error, linked=_is_linked(parsed, is_link=is_link))

    def _record_done(
        self, batch: LoadBatch, call_outcome: CallOutcome, text: str, message_ids: Sequence[str]
    ) -> None:
        done = DoneBatch(
            batch.messages,
            Code.SUCCESS,
            text,
            PLAIN_STATUS,
            call_outcome.attempts,
            call_outcome.call,
        )
        self.ledger.append_results(
            Status.DONE, done_lines(self.clock.timestamp(), done, message_ids)
        )
        self.on_done_batch(done)

    def _record(
        self, states: Sequence[MessageState], parsed: ParsedAnswer, call_outcome: CallOutcome
    ) -> None:
        """Record the results of a call that did not change all of its emails."""
        timestamp = self.clock.timestamp()
        for state in states:
            state.record_send(call_outcome.call, call_outcome.attempts, answer_lost=False)
            _settle(state, parsed.verdicts.get(state.message.message_id) or parsed.call_verdict)
            if state.result is not None:
                line = result_line(timestamp, state.result)
                self.ledger.append_results(state.result.status, line)
                self.on_result(state.result)


_TOO_MANY_REQUESTS = 429
_STEPS = {Op.LINK: NextStep.LINK, Op.UNLINK: NextStep.UNLINK}


def _load_call(
    call_outcome: CallOutcome, done: int, error: str | None, *, linked: bool | None
) -> LoadCall:
    response = call_outcome.response
    answered_429 = not isinstance(response, NoResponse) and response.status == _TOO_MANY_REQUESTS
    return LoadCall(call_outcome.sent_at, call_outcome.ended_at, done, error, linked, answered_429)


def _settle(state: MessageState, verdict: AnswerVerdict | None) -> None:
    """End a message by what the answer says about it."""
    if verdict is not None and verdict.success:
        state.end(Status.DONE, verdict=verdict)
    elif verdict is None or is_inconclusive(verdict):
        code = NO_ANSWER if verdict is None else ""
        text = "A load test neither retries a call nor reads it back."
        state.end(Status.IN_DOUBT, code, verdict=verdict, text=text)
    else:
        state.end(Status.FAILED, verdict=verdict)


def _error_code(
    parsed: ParsedAnswer, states: Sequence[MessageState], call_outcome: CallOutcome
) -> str | None:
    """Return the code of a call's error; None if it changed all of its emails."""
    if isinstance(call_outcome.response, NoResponse):
        return NO_ANSWER
    verdicts = [parsed.verdicts.get(state.message.message_id) for state in states]
    refusals = [parsed.call_verdict, *verdicts]
    for verdict in refusals:
        if verdict is not None and not verdict.success:
            return verdict.shown_code
    return None if all(verdicts) else "unnamed"


def _is_linked(parsed: ParsedAnswer, *, is_link: bool) -> bool | None:
    """Return whether the emails of a batch are linked after a call that named them all.

    If one of them is not as wanted, it was in that state before: the next call is the other one.
    """
    verdicts = parsed.verdicts.values()
    if parsed.call_verdict is not None or not verdicts:
        refusal = parsed.call_verdict
        return is_link if refusal is not None and refusal.code == Code.ALREADY_LINKED else None
    if any(verdict.success or verdict.code == Code.ALREADY_LINKED for verdict in verdicts):
        return is_link
    return None if is_link else False


def _raise_if_fatal(call_outcome: CallOutcome, verdict: AnswerVerdict, contact_id: str) -> None:
    answer_class = classify_error(verdict.http_status, verdict.code)
    if answer_class in (AnswerClass.FATAL, AnswerClass.TOKEN):
        raise fatal_error(call_outcome.kind, verdict, f"contact {contact_id}")
