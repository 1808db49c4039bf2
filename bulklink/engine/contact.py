"""One contact, phase by phase: snapshot, unlink, link, put back, read back.

The phases keep the number of calls low: all unlinks go first, then all links, so that full batches
are cut from the remaining work.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TypeVar

import msgspec

from bulklink.engine.batching import cut_batches, first_batches, message_batches
from bulklink.engine.call_outcome import CallOutcome
from bulklink.engine.contact_calls import build_request, parse_write_response, read_links
from bulklink.engine.context import RunContext
from bulklink.engine.message_state import MessageState, NextStep
from bulklink.engine.pagination import ContactReading
from bulklink.engine.quota.budget import Reservation
from bulklink.engine.quota.gate import RELINK_RESERVE, QuotaShortageError
from bulklink.engine.retry import is_inconclusive
from bulklink.engine.transitions import ON_RESULT, leave_in_doubt
from bulklink.errors import BulklinkError, StoppedError
from bulklink.ledger.done_batch import DoneBatch, done_lines
from bulklink.ledger.records import Result, result_line, snapshot_line, step_line
from bulklink.models import Message, Op, Status
from bulklink.task_group import task_group
from bulklink.zoho.error_codes import Code
from bulklink.zoho.error_policy import AnswerClass, classify_error
from bulklink.zoho.http import Answer, CallKind
from bulklink.zoho.link_response import AnswerVerdict
from bulklink.zoho.plain_success import PLAIN_STATUS

T = TypeVar("T", Message, MessageState)
_PHASES = (NextStep.SNAPSHOT, NextStep.UNLINK, NextStep.LINK, NextStep.PUT_BACK, NextStep.READ_BACK)


def _has_relinks(batch: Sequence[MessageState]) -> bool:
    """Return whether a batch contains relinks."""
    return any(state.message.op is Op.RELINK for state in batch)


def _states_without_read(messages: Iterable[Message]) -> list[MessageState]:
    return [MessageState(message, snapshot=False) for message in messages]


class ContactSender:
    """Sends the changes of one contact until each message is settled or the run stops.

    Each message has a state, but for one case, the most frequent: messages that need nothing but
    one call. A batch of them whose answer is plain success is settled as a whole. After any other
    answer its messages get the states that they would have had, and proceed like all others.

    Args:
        messages: messages of one contact.
        context: shared by all contacts of the run.
        while_waiting: entered while the contact only waits until a read can be trusted.
    """

    def __init__(
        self,
        messages: Sequence[Message],
        context: RunContext,
        while_waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._contact_id = messages[0].contact_id
        self._emails = len(messages)
        self._without_state = list(messages)
        self._states: list[MessageState] = []
        self._context = context
        self._last_split_id = 0
        self._reservation = Reservation()
        self._short_of_credits = False
        self._while_waiting = while_waiting
        self._last_write_at = context.earlier_calls_at

    async def run_first(self, min_messages: int) -> None:
        """Send the first whole batches of at least `min_messages`; `run` sends the rest."""
        self._make_states()
        while unread := [
            state for state in self._open_states() if state.next_step is NextStep.SNAPSHOT
        ]:
            await self._run_step(self._read_links, unread, NextStep.SNAPSHOT)
        all_states, settings = self._states, self._context.settings
        batch_size, by_contact = settings.batch_size, settings.by_contact
        self._states = first_batches(
            self._open_states(), min_messages, batch_size, by_contact=by_contact
        )
        await self.run()
        self._states = all_states

    def reset_unsent(self) -> None:
        """Reset messages that were not sent: their snapshots are missing or out of date."""
        self._states = [
            state
            if state.attempts or state.next_step is NextStep.NOTHING
            else self._context.initial_state(state.message)
            for state in self._states
        ]

    async def run(self) -> None:
        """Send the messages, phase by phase."""
        await self._send_without_states()
        while states := self._open_states():
            step = next(
                phase for phase in _PHASES if any(state.next_step is phase for state in states)
            )
            due = [state for state in states if state.next_step is step]
            if step in (NextStep.SNAPSHOT, NextStep.READ_BACK):
                await self._run_step(self._read_links, due, step)
            else:
                await self._write(due, step)

    def _make_states(self) -> None:
        """Give each message that has none its state."""
        self._states += map(self._context.initial_state, self._without_state)
        self._without_state = []

    async def _send_without_states(self) -> None:
        """Send messages that need no state; give the others one."""
        context, messages = self._context, self._without_state
        if not messages or not context.may_skip_states(messages):
            self._make_states()
            return
        if context.stop.reason is not None:
            return
        self._without_state = []
        step = NextStep.LINK if messages[0].op is Op.LINK else NextStep.UNLINK
        batches = message_batches(
            messages, step, context.settings.batch_size, by_contact=context.settings.by_contact
        )
        await self._send_all(self._send_whole, list(batches), step)
        if self._states:
            places = {message.row: place for place, message in enumerate(messages)}
            self._states.sort(key=lambda state: places[state.message.row])

    def _open_states(self) -> list[MessageState]:
        """Return the states that may advance; after a stop, at most those of half-done relinks.

        If credits are short, half-done relinks are completed before the contact waits for credits.
        """
        if not self._states:
            return []
        states = [state for state in self._states if state.next_step is not NextStep.NOTHING]
        detached = [state for state in states if state.may_be_detached]
        self._reservation.has_detached = bool(detached)
        if not detached:
            self._context.quota.release(self._reservation)
        if self._context.stop.reason is not None:
            return [] if self._context.stop.forbids_start(completes_relink=True) else detached
        self._short_of_credits = self._short_of_credits and bool(detached)
        return detached if self._short_of_credits else states

    async def _run_step(
        self, action: Callable[[list[T], NextStep], Awaitable[None]], items: list[T], step: NextStep
    ) -> None:
        """Run a step; an error stops the run and leaves the states unchanged."""
        try:
            await action(items, step)
        except QuotaShortageError:
            self._short_of_credits = True
        except StoppedError:
            pass
        except BulklinkError as error:
            self._context.stop.request(error)

    async def _write(self, states: Sequence[MessageState], step: NextStep) -> None:
        """Send the batches of a step."""
        settings = self._context.settings
        batches = cut_batches(states, step, settings.batch_size, by_contact=settings.by_contact)
        await self._send_all(self._send, list(batches), step)

    async def _send_all(
        self,
        send: Callable[[list[T], NextStep], Awaitable[None]],
        batches: Sequence[list[T]],
        step: NextStep,
    ) -> None:
        """Send all batches concurrently; the limiter queues those that must wait."""
        if len(batches) == 1:
            await self._run_step(send, batches[0], step)
            return
        async with task_group() as group:
            for batch in batches:
                group.start_soon(self._run_step, send, batch, step)

    async def _send_whole(self, messages: Sequence[Message], step: NextStep) -> None:
        """Send messages without states, and settle them together if the answer is plain."""
        context = self._context
        deals = [(message.deal_id or "", message.deal_name) for message in messages]
        request = build_request(messages, step, context.settings, deals)
        try:
            call_outcome = await context.caller.make(
                request,
                contact_id=self._contact_id,
                rows=[message.row for message in messages],
                reservation=self._reservation,
            )
        except BaseException:
            self._states += _states_without_read(messages)
            raise
        text = self._success_text(call_outcome)
        if text is not None:
            self._last_write_at = context.clock.monotonic()
            self._settle(messages, call_outcome, text, request.message_ids)
            return
        states = _states_without_read(messages)
        self._states += states
        await self._apply_outcome(states, step, call_outcome)

    @staticmethod
    def _success_text(call_outcome: CallOutcome) -> str | None:
        """Return the text of a success that settles all messages of a call; None otherwise."""
        return None if call_outcome.answer_lost else call_outcome.success_text

    def _settle(
        self,
        messages: Sequence[Message],
        call_outcome: CallOutcome,
        text: str,
        message_ids: Sequence[str],
    ) -> None:
        """Record messages that one answer settled as done; their ids are given as JSON."""
        context = self._context
        batch = DoneBatch(
            messages, Code.SUCCESS, text, PLAIN_STATUS, call_outcome.attempts, call_outcome.call
        )
        context.breaker.on_success(call_outcome.kind, self._contact_id)
        lines = done_lines(context.clock.timestamp(), batch, message_ids)
        context.ledger.append_results(Status.DONE, lines)
        context.on_done_batch(batch)

    async def _send(self, batch: Sequence[MessageState], step: NextStep) -> None:
        call_outcome = await self._context.caller.make(
            build_request(
                [state.message for state in batch],
                step,
                self._context.settings,
                [state.link_target for state in batch],
            ),
            contact_id=self._contact_id,
            rows=[state.message.row for state in batch],
            earlier_attempts=max(state.sends for state in batch),
            completes_relink=any(state.may_be_detached for state in batch),
            reservation=self._reservation,
            reserve=RELINK_RESERVE if step is NextStep.UNLINK and _has_relinks(batch) else 0,
        )
        await self._apply_outcome(batch, step, call_outcome)

    async def _apply_outcome(
        self, batch: Sequence[MessageState], step: NextStep, call_outcome: CallOutcome
    ) -> None:
        """Record that a call carried these messages, and apply its response."""
        self._last_write_at = self._context.clock.monotonic()
        for state in batch:
            state.record_send(
                call_outcome.call, call_outcome.attempts, answer_lost=call_outcome.answer_lost
            )
        await self._apply_answer(batch, step, call_outcome)

    async def _apply_answer(
        self, batch: Sequence[MessageState], step: NextStep, call_outcome: CallOutcome
    ) -> None:
        """Apply a response to the messages that succeeded, then to the others."""
        parsed = parse_write_response(batch, step, call_outcome, self._context.settings)
        ids = [state.message.message_id for state in batch]
        if (
            isinstance(call_outcome.response, Answer)
            and call_outcome.response.ok
            and not parsed.all_succeeded(ids)
        ):
            self._context.caller.record_answer(call_outcome)
        if any(verdict.success for verdict in parsed.verdicts.values()):
            self._context.breaker.on_success(call_outcome.kind, self._contact_id)
        not_applied = []
        for state in batch:
            verdict = parsed.verdicts.get(state.message.message_id)
            if verdict is not None and verdict.success:
                ON_RESULT[step](state, verdict)
            else:
                not_applied.append((state, verdict))
        self._record(batch)
        if parsed.call_verdict is not None:
            await self._on_call_refused(batch, step, call_outcome.kind, parsed.call_verdict)
        else:
            await self._on_not_applied(not_applied, step, call_outcome.kind)
        self._record(batch)

    async def _on_not_applied(
        self,
        not_applied: Sequence[tuple[MessageState, AnswerVerdict | None]],
        step: NextStep,
        kind: CallKind,
    ) -> None:
        """Apply an answer to messages that it refuses or does not mention."""
        for refusal in {verdict.code: verdict for _, verdict in not_applied if verdict}.values():
            await self._check_breaker(kind, refusal, [state for state, _ in not_applied])
        for state, verdict in not_applied:
            if verdict is None or is_inconclusive(verdict):
                state.mark_uncertain()
            else:
                ON_RESULT[step](state, verdict)

    async def _on_call_refused(
        self, batch: Sequence[MessageState], step: NextStep, kind: CallKind, verdict: AnswerVerdict
    ) -> None:
        """Apply a refusal of the whole call: split the batch down to single messages.

        If the contact is refused, no message was changed, and none would be by another call.
        """
        await self._check_breaker(kind, verdict, batch)
        answer_class = classify_error(verdict.http_status, verdict.code)
        if is_inconclusive(verdict):
            for state in batch:
                state.mark_uncertain()
        elif (
            answer_class is AnswerClass.FATAL_IF_COMMON
            or verdict.refuses_address
            or len(batch) == 1
        ):
            for state in batch:
                ON_RESULT[step](state, verdict)
        else:
            self._split_batch(batch, step)

    async def _check_breaker(
        self, kind: CallKind, verdict: AnswerVerdict, batch: Sequence[MessageState]
    ) -> None:
        """Return if a refusal concerns these messages or this contact alone."""
        completes_relink = any(state.may_be_detached for state in batch)
        await self._context.breaker.on_refusal(
            kind, self._contact_id, verdict, completes_relink=completes_relink
        )

    def _split_batch(self, batch: Sequence[MessageState], step: NextStep) -> None:
        """Split a refused batch in two.

        The refusal names no message, so some may have been applied: unlinks are read back first.
        """
        middle = (len(batch) + 1) // 2
        for part in (batch[:middle], batch[middle:]):
            self._last_split_id += 1
            for state in part:
                state.split_id, state.uncertain = self._last_split_id, True
                if step is NextStep.UNLINK:
                    state.request_read_back()

    async def _read_links(self, states: Sequence[MessageState], step: NextStep) -> None:
        """Read the contact's pages until all these messages are listed."""
        settings = self._context.settings
        completes_relink = all(state.may_be_detached for state in states)
        if step is NextStep.READ_BACK and not settings.read_back:
            for state in states:
                leave_in_doubt(state)
            self._record(states)
            return
        if any(state.await_consistency for state in states):
            await self._wait_for_consistency(completes_relink=completes_relink)
        pages = await read_links(
            self._contact_id,
            states,
            self._context.caller,
            self._context.breaker,
            max_pages=settings.read_pages,
            completes_relink=completes_relink,
            on_advanced=partial(self._record, snapshot=step is NextStep.SNAPSHOT),
            reservation=self._reservation,
        )
        self._context.on_contact_read(ContactReading(self._emails, len(states), pages))

    async def _wait_for_consistency(self, *, completes_relink: bool) -> None:
        """Wait until a read can be trusted to show what the last call changed."""
        trusted_at = self._last_write_at + self._context.settings.settle_after
        delay = trusted_at - self._context.clock.monotonic()
        if delay > 0:
            with self._while_waiting(), self._context.contacts.waiting(self._contact_id):
                await self._context.stop.sleep(delay, completes_relink=completes_relink)

    def _record(self, states: Iterable[MessageState], *, snapshot: bool = False) -> None:
        """Append new results, snapshots and steps of these states to the ledger."""
        context = self._context
        timestamp = context.clock.timestamp()
        results: list[Result] = []
        for state in states:
            row, previous_deal = state.message.row, state.previous_deal
            if state.result is not None:
                results.append(state.result)
                line = result_line(timestamp, state.result)
                context.ledger.append_results(state.result.status, line)
                state.result = None
            elif snapshot and not isinstance(previous_deal, msgspec.UnsetType) and state.last_call:
                deal_id, name = (
                    (previous_deal.id, previous_deal.name) if previous_deal else (None, None)
                )
                line = snapshot_line(timestamp, row, deal_id, name, state.last_call)
                context.ledger.append(line)
            if state.unlinked and not state.unlink_recorded:
                state.unlink_recorded = True
                context.ledger.append(step_line(timestamp, row))
        for result in results:
            if result.status is Status.DONE:
                # If the answer was lost, a read has confirmed the change.
                context.breaker.mark_confirmed(
                    CallKind.UNLINK if result.op is Op.UNLINK else CallKind.LINK
                )
            context.on_result(result)
