"""Effects of injected faults on a call and its answer."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bulklink.emulator.errors import Problem, error_answer
from bulklink.emulator.faults import Fault, FaultKind, seeded_fraction
from bulklink.emulator.http import Answer, DeliveryMode
from bulklink.emulator.state import Change, ContactView
from bulklink.emulator.world import World
from bulklink.zoho.error_codes import Code

_HTML = (
    b"<!DOCTYPE html><html><head><title>Sorry</title></head>"
    b"<body><h1>Something went wrong</h1></body></html>"
)
_DROPPED = Answer(0, delivery=DeliveryMode.DROPPED)
_CUMULATIVE_KINDS = (
    FaultKind.SLOW,
    FaultKind.STALE,
    FaultKind.HIDDEN,
    FaultKind.EDITED,
    FaultKind.IGNORED,
)
_REPLACEMENT_ANSWERS = {
    FaultKind.LOST_REQUEST: _DROPPED,
    FaultKind.LATE: _DROPPED,
    FaultKind.INTERNAL_ERROR: error_answer(Problem(Code.INTERNAL_ERROR)),
    FaultKind.BAD_GATEWAY: Answer(502),
    FaultKind.UNAVAILABLE: Answer(503),
    FaultKind.HTML: Answer(500, _HTML, content_type="text/html"),
    FaultKind.HTML_OK: Answer(200, _HTML, content_type="text/html"),
}


def answer_fault(faults: Sequence[Fault]) -> Fault | None:
    """Return the first fault that determines the answer, or None; cumulative kinds never do."""
    return next((fault for fault in faults if fault.kind not in _CUMULATIVE_KINDS), None)


def fault_delay(faults: Sequence[Fault]) -> float:
    """Return the seconds that faults delay a call."""
    return sum(fault.duration for fault in faults if fault.kind == FaultKind.SLOW)


def replacement_answer(fault: Fault | None) -> Answer | None:
    """Return the answer sent in place of executing the call, or None if it is executed."""
    if fault is None:
        return None
    if fault.kind in list(FaultKind):
        return _REPLACEMENT_ANSWERS.get(FaultKind(fault.kind))
    return error_answer(Problem(Code(fault.kind)))


def apply_to_answer(answer: Answer, fault: Fault | None) -> Answer:
    """Return the answer of an executed call as changed by a fault."""
    if fault is None:
        return answer
    match FaultKind(fault.kind):
        case FaultKind.LOST_ANSWER | FaultKind.STALLED:
            return _DROPPED
        case FaultKind.INTERNAL_ERROR_APPLIED:
            return error_answer(Problem(Code.INTERNAL_ERROR))
        case FaultKind.EMPTY:
            return Answer(200)
        case FaultKind.TRUNCATED:
            return msgspec.structs.replace(answer, body=answer.body[: len(answer.body) // 2])
        case FaultKind.CUT:
            return msgspec.structs.replace(answer, delivery=DeliveryMode.CUT)
        case _:
            return answer


def concurrent_edit(view: ContactView, world: World, seed: int, change_count: int) -> Change | None:
    """Choose an edit by another user: one email moved to another deal, or unlinked.

    Args:
        view: the contact's emails and their deals.
        world: the world that has the contact's deals.
        seed: with `change_count`, determines the email and the deal.
        change_count: number of changes so far.
    """
    emails = view.mailbox.emails
    if not emails:
        return None
    email = emails[int(seeded_fraction(seed, f"email {change_count}") * len(emails))]
    deals = [None, *(deal.id for deal in world.deals_by_contact.get(view.contact_id, ()))]
    other_deals = [deal_id for deal_id in deals if deal_id != view.deal_of(email)]
    if not other_deals:
        return None
    return Change(
        email.message_id,
        other_deals[int(seeded_fraction(seed, f"deal {change_count}") * len(other_deals))],
    )
