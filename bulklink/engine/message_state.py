"""One email's way through a run: what is known of it, and what it needs next.

Pure: no clock, no await. `settling.py` says what an answer makes of it; `contact.py` calls.
"""

from __future__ import annotations

from enum import Enum, auto

import msgspec

from bulklink.ledger.records import Result
from bulklink.ledger.state import LedgerState, OpenRow
from bulklink.models import Message, Op, Status
from bulklink.zoho.email_pages import LinkedDeal
from bulklink.zoho.link_response import AnswerVerdict


class NextStep(Enum):
    """What a message needs next."""

    SNAPSHOT = auto()
    UNLINK = auto()
    LINK = auto()
    PUT_BACK = auto()
    READ_BACK = auto()
    NOTHING = auto()


class MessageState:
    """What is known of one message while it is worked on.

    Attributes:
        next_step: what it needs next; NOTHING once `result` is there.
        phase: the write that SETTLE is about.
        previous_deal: the deal it was on before; UNSET where no snapshot told.
        unlink_repeated: whether its unlink was asked for again after a read showed its former deal.
        unlinked: whether it is between the halves of a relink.
        unlink_recorded: whether the ledger knows that.
        uncertain: whether an answer to the present half was lost or did not name it.
        answer_lost: whether one left open what became of it; not where a refused call was halved.
        sends: how often the present half was sent.
        attempts: write calls that carried it.
        last_call: the number of the last call that concerned it.
        await_consistency: whether SETTLE must wait until a read can be believed that shows nothing
            applied.
        split_id: messages of different lots share no call; a refused batch was halved into them.
        link_refusal: why the link half was refused, while the message is put back.
        result: what became of it.
        allow_unlisted: whether it is changed too where no page of the snapshot lists it.

    Args:
        message: what is wanted.
        snapshot: whether the deal that it is on is read before it is changed.
        no_put_back: whether a relink may be changed that could not be put back.
    """

    __slots__ = (
        "allow_unlisted",
        "answer_lost",
        "attempts",
        "await_consistency",
        "last_call",
        "link_refusal",
        "message",
        "next_step",
        "phase",
        "previous_deal",
        "result",
        "sends",
        "split_id",
        "uncertain",
        "unlink_recorded",
        "unlink_repeated",
        "unlinked",
    )  # fmt: skip

    def __init__(self, message: Message, *, snapshot: bool, no_put_back: bool = False) -> None:
        self.message = message
        self.phase = NextStep.LINK if message.op is Op.LINK else NextStep.UNLINK
        self.next_step = NextStep.SNAPSHOT if snapshot else self.phase
        self.allow_unlisted = message.from_deal_id is None and (
            message.op is not Op.RELINK or no_put_back
        )
        self.previous_deal: LinkedDeal | msgspec.UnsetType | None = msgspec.UNSET
        self.unlink_repeated = False
        self.unlinked = False
        self.unlink_recorded = False
        self.uncertain = self.answer_lost = False
        self.await_consistency = False
        self.sends = 0
        self.attempts = 0
        self.last_call: int | None = None
        self.split_id = 0
        self.link_refusal: AnswerVerdict | None = None
        self.result: Result | None = None

    @property
    def link_target(self) -> tuple[str, str | None]:
        """Return (id, name) of the deal that the next link puts it on."""
        if self.next_step is NextStep.PUT_BACK and isinstance(self.previous_deal, LinkedDeal):
            return self.previous_deal.id, self.previous_deal.name
        return self.message.deal_id or "", self.message.deal_name

    @property
    def may_be_detached(self) -> bool:
        """Whether it is, or may be, between the halves of a relink: no gentle stop leaves it so."""
        unlink_uncertain = self.next_step is NextStep.READ_BACK and self.phase is NextStep.UNLINK
        return self.unlinked or (unlink_uncertain and self.message.op is Op.RELINK)

    def record_send(self, call: int, attempts: int, *, answer_lost: bool) -> None:
        """Note that a write call carried it so many times, and whether an answer was lost."""
        self.uncertain, self.answer_lost = (
            self.uncertain or answer_lost,
            self.answer_lost or answer_lost,
        )
        self.last_call = call
        self.sends += attempts
        self.attempts += attempts

    def start_phase(self, phase: NextStep) -> None:
        """Go on to another half of the work."""
        self.next_step = self.phase = phase
        self.sends, self.split_id = 0, 0
        self.uncertain = self.answer_lost = False
        if phase is not NextStep.PUT_BACK:
            self.link_refusal = None

    def request_read_back(self, *, await_consistency: bool = True) -> None:
        """Have the present half settled by reading the link back.

        A read soon after a call may not show it yet: `await_consistency` waits until it must.
        """
        self.phase, self.next_step, self.await_consistency = (
            self.next_step,
            NextStep.READ_BACK,
            await_consistency,
        )

    def mark_uncertain(self) -> None:
        """Note that an answer was lost, or did not say what became of this message."""
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
        """Settle it: this is what the ledger says."""
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


def initial_state(
    message: Message, ledger_state: LedgerState, *, snapshot: bool, no_put_back: bool = False
) -> MessageState:
    """Return the track of a message, taken up where the ledger says that it stands.

    Args:
        message: what is wanted.
        ledger_state: what the ledger says.
        snapshot: whether the deal that it is on is read before it is changed.
        no_put_back: whether a relink may be changed that could not be put back.
    """
    state = MessageState(message, snapshot=snapshot, no_put_back=no_put_back)
    open_row = ledger_state.open_rows.get(message.row)
    if open_row is not None:
        _resume(state, open_row)
    elif ledger_state.is_retry(message.row):
        state.attempts = ledger_state.earlier_attempts(message.row)
        state.uncertain = ledger_state.status(message.row) is Status.IN_DOUBT and state.attempts > 0
        if state.uncertain and snapshot:
            state.await_consistency = True
        elif state.uncertain:
            state.answer_lost = True
            state.request_read_back()
    return state


def _resume(state: MessageState, open_row: OpenRow) -> None:
    """Take up a message that an earlier invocation left in flight.

    What the last call did is not known: it is read back before anything is sent.
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


def _deal_id(deal: LinkedDeal | msgspec.UnsetType | None) -> str | None:
    return deal.id if isinstance(deal, LinkedDeal) else None


def _deal_name(deal: LinkedDeal | msgspec.UnsetType | None) -> str | None:
    return deal.name if isinstance(deal, LinkedDeal) else None
