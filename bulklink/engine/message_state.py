"""State of one message during a run (pure).

`transitions` changes it after each answer or read; `contact` makes the calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from enum import Enum, auto

import msgspec

from bulklink.ledger.records import Result
from bulklink.ledger.state import LedgerState, OpenRow
from bulklink.models import Message, Op, Status
from bulklink.zoho.email_pages import LinkedDeal
from bulklink.zoho.link_response import AnswerVerdict


class NextStep(Enum):
    """The next step of a message."""

    SNAPSHOT = auto()
    UNLINK = auto()
    LINK = auto()
    PUT_BACK = auto()
    READ_BACK = auto()
    NOTHING = auto()


@dataclass(slots=True, eq=False)
class MessageState:
    """The state of one message, and its next step.

    Args:
        message: the message as planned.
        snapshot: whether the message's deal is read before it is changed.
        no_put_back: whether a relink may be sent even if it could not be put back.

    Attributes:
        next_step: its next step; NOTHING once it has a result.
        phase: the write step that READ_BACK settles.
        allow_unlisted: whether it is changed even if no page of the snapshot lists it.
        previous_deal: the deal it was on before; UNSET without a snapshot.
        unlink_repeated: whether its unlink was repeated after a read showed its previous deal.
        unlinked: whether its relink is half done: unlinked, but not yet linked.
        unlink_recorded: whether the ledger records `unlinked`.
        uncertain: whether an answer to the current phase was lost or did not name it.
        answer_lost: whether it is uncertain for another reason than the refusal of its whole batch.
        sends: attempts in the current phase.
        attempts: write calls that included it.
        last_call: number of the last call that concerned it.
        await_consistency: whether READ_BACK waits until a read that shows no change can be trusted.
        split_id: part of a split batch that it belongs to; different parts share no call.
        refusal: refusal of its link or unlink, while it is read back or put back.
        result: its final result, until it is recorded.
    """

    message: Message
    snapshot: InitVar[bool] = field(kw_only=True)
    no_put_back: InitVar[bool] = field(default=False, kw_only=True)
    next_step: NextStep = field(init=False)
    phase: NextStep = field(init=False)
    allow_unlisted: bool = field(init=False)
    previous_deal: LinkedDeal | msgspec.UnsetType | None = field(default=msgspec.UNSET, init=False)
    unlink_repeated: bool = field(default=False, init=False)
    unlinked: bool = field(default=False, init=False)
    unlink_recorded: bool = field(default=False, init=False)
    uncertain: bool = field(default=False, init=False)
    answer_lost: bool = field(default=False, init=False)
    sends: int = field(default=0, init=False)
    attempts: int = field(default=0, init=False)
    last_call: int | None = field(default=None, init=False)
    await_consistency: bool = field(default=False, init=False)
    split_id: int = field(default=0, init=False)
    refusal: AnswerVerdict | None = field(default=None, init=False)
    result: Result | None = field(default=None, init=False)

    def __post_init__(self, snapshot: bool, no_put_back: bool) -> None:
        op = self.message.op
        self.phase = NextStep.LINK if op is Op.LINK else NextStep.UNLINK
        self.next_step = NextStep.SNAPSHOT if snapshot else self.phase
        self.allow_unlisted = self.message.from_deal_id is None and (
            op is not Op.RELINK or no_put_back
        )

    @property
    def link_target(self) -> tuple[str, str | None]:
        """Target of the next link: (id, name) of the deal."""
        if self.next_step is NextStep.PUT_BACK and isinstance(self.previous_deal, LinkedDeal):
            return self.previous_deal.id, self.previous_deal.name
        return self.message.deal_id or "", self.message.deal_name

    @property
    def may_be_detached(self) -> bool:
        """Whether its relink may be half done, which a graceful stop completes."""
        unlink_uncertain = self.next_step is NextStep.READ_BACK and self.phase is NextStep.UNLINK
        return self.unlinked or (unlink_uncertain and self.message.op is Op.RELINK)

    def record_send(self, call: int, attempts: int, *, answer_lost: bool) -> None:
        """Record a write call that included the message.

        Args:
            call: number of the call.
            attempts: attempts of the call.
            answer_lost: whether one of them may have been applied without an answer.
        """
        self.uncertain = self.uncertain or answer_lost
        self.answer_lost = self.answer_lost or answer_lost
        self.last_call = call
        self.sends += attempts
        self.attempts += attempts

    def start_phase(self, phase: NextStep) -> None:
        """Move on to another phase."""
        self.next_step = self.phase = phase
        self.sends, self.split_id = 0, 0
        self.uncertain = self.answer_lost = False
        if phase is not NextStep.PUT_BACK:
            self.refusal = None

    def request_read_back(self, *, await_consistency: bool = True) -> None:
        """Settle the current phase by reading the link back.

        Args:
            await_consistency: whether the read waits until the last call must be visible.
        """
        self.phase, self.next_step = self.next_step, NextStep.READ_BACK
        self.await_consistency = await_consistency

    def mark_uncertain(self) -> None:
        """Record that the answer was lost or did not name this message."""
        self.uncertain = self.answer_lost = True
        can_resend = self.next_step is not NextStep.UNLINK and self.sends < 2
        if not can_resend:
            self.request_read_back()

    def end(
        self,
        status: Status,
        code: str = "",
        *,
        verdict: AnswerVerdict | None = None,
        text: str = "",
        current: LinkedDeal | msgspec.UnsetType | None = msgspec.UNSET,
    ) -> None:
        """Set the final result.

        Args:
            status: status of the message.
            code: code of the result; empty for the verdict's.
            verdict: the answer that settled it.
            text: text of the result; empty for the verdict's.
            current: the deal it is on; None for no deal, UNSET if unknown.
        """
        message, previous_deal = self.message, self.previous_deal
        unknown = previous_deal is msgspec.UNSET
        self.next_step = NextStep.NOTHING
        self.result = Result(
            row=message.row,
            op=message.op,
            contact_id=message.contact_id,
            owner_id=message.owner_id,
            message_id=message.message_id,
            deal_id=message.deal_id,
            status=status,
            code=code or (verdict.code if verdict else None) or None,
            http_status=(verdict.http_status or None) if verdict else None,
            message=text or (verdict.text if verdict else ""),
            attempts=self.attempts,
            call=self.last_call,
            previous_deal_id=msgspec.UNSET if unknown else _deal_id(previous_deal),
            previous_deal_name=msgspec.UNSET if unknown else _deal_name(previous_deal),
            current_deal_id=msgspec.UNSET if current is msgspec.UNSET else _deal_id(current),
        )


def need_one_call(messages: Sequence[Message]) -> bool:
    """Return whether all messages need the same single call, if they are sent unread."""
    op = messages[0].op
    for message in messages:
        if message.op is not op or message.from_deal_id is not None:
            return False
    return op is not Op.RELINK


def initial_state(
    message: Message, ledger_state: LedgerState, *, snapshot: bool, no_put_back: bool = False
) -> MessageState:
    """Return the starting state of a message, restored from the ledger.

    Args:
        message: the message as planned.
        ledger_state: state replayed from the ledger.
        snapshot: whether the message's deal is read before it is changed.
        no_put_back: whether a relink may be sent even if it could not be put back.
    """
    state = MessageState(message, snapshot=snapshot, no_put_back=no_put_back)
    open_row = ledger_state.open_rows.get(message.row)
    if open_row is not None:
        _resume(state, open_row)
    elif ledger_state.is_retry(message.row):
        state.attempts = ledger_state.earlier_attempts(message.row)
        state.uncertain = ledger_state.status(message.row) is Status.IN_DOUBT and state.attempts > 0
        state.answer_lost = state.uncertain
        if state.uncertain and snapshot:
            state.await_consistency = True
        elif state.uncertain:
            state.request_read_back()
    return state


def _resume(state: MessageState, open_row: OpenRow) -> None:
    """Restore a message that an earlier invocation left open.

    The effect of its last call is unknown: it is read back before anything is sent.
    """
    state.attempts, state.last_call = open_row.attempts, open_row.last_call
    if open_row.previous_deal is not None:
        deal_id, name = open_row.previous_deal
        state.previous_deal = LinkedDeal(deal_id, name) if deal_id is not None else None
    state.unlinked = state.unlink_recorded = open_row.unlinked
    if open_row.last_op is not None:
        state.next_step = NextStep.UNLINK if open_row.last_op == "unlink" else NextStep.LINK
        state.uncertain = state.answer_lost = True
        state.request_read_back()
    elif open_row.unlinked:
        state.next_step = NextStep.LINK
    else:
        state.uncertain = state.await_consistency = open_row.may_have_changed
        state.answer_lost = state.uncertain


def _deal_id(deal: LinkedDeal | msgspec.UnsetType | None) -> str | None:
    return deal.id if isinstance(deal, LinkedDeal) else None


def _deal_name(deal: LinkedDeal | msgspec.UnsetType | None) -> str | None:
    return deal.name if isinstance(deal, LinkedDeal) else None
