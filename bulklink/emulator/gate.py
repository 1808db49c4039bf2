"""Lets a call in, or answers that it is one too many."""

from __future__ import annotations

from bulklink.emulator.calls import Kind
from bulklink.emulator.desk import Desk
from bulklink.emulator.limits import (
    Load,
    Reason,
    is_barred,
    lengthened,
    price,
    too_many,
    too_many_answer,
)
from bulklink.emulator.wire import Answer

_MOMENT = 1.0


def admit(desk: Desk, kind: Kind) -> Answer | None:
    """Count the credits of a call that may come in; return the 429 of one that may not."""
    state, settings = desk.state, desk.settings
    load = _load(desk, kind)
    reason = too_many(load, desk.caps)
    if is_barred(state.penalty, desk.now):
        reason = reason or state.penalty.reason
    if reason is None:
        state.credits.spend(load.price, desk.now)
        return None
    state.penalty = lengthened(state.penalty, reason, desk.now, settings.penalty)
    return too_many_answer(reason, _wait(desk, reason), settings)


def _load(desk: Desk, kind: Kind) -> Load:
    state = desk.state
    links = state.in_flight[Kind.LINK] + state.in_flight[Kind.UNLINK]
    return Load(
        in_flight=state.in_flight.total() + desk.caps.others_at(desk.now - state.began),
        link_in_flight=links if kind in {Kind.LINK, Kind.UNLINK} else 0,
        used=state.credits.used(desk.now),
        price=price(kind, desk.settings),
    )


def _wait(desk: Desk, reason: Reason) -> float:
    if is_barred(desk.state.penalty, desk.now):
        return desk.state.penalty.until - desk.now
    return _MOMENT if reason is Reason.IN_FLIGHT else desk.state.credits.until_next(desk.now)
