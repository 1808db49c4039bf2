"""Adaptive concurrency limit, and what is learned of a server's penalties. Pure: no clock, no wait.

Additive increase, multiplicative decrease, with what an HTTP 429 tells more than a lost packet: the
calls that were in flight and not refused are what the server takes. After a refusal all wait
together, then one call tries alone, for a server can bar everybody for a while and lengthen that
at each call that comes too early. Upwards it goes like CUBIC: it stays where it is good, tries one
place more, and opens more and more of them while none is refused.

Such a server refuses all for some seconds after a refusal, and twice as long for each call that
comes too early. Pure: what is learned is one number, the seconds that one refusal costs.
"""

from __future__ import annotations

import math
from enum import Enum

import msgspec

_FIRST_BACK_OFF = 0.2
_GROWTH = 4.0
"""How pauses grow while refusals persist."""
_AFTER_RETRY_AFTER = 1.0
"""At exactly the given time a sister API refuses again, and lengthens the penalty."""
_SHORTEST_PROBE = 0.05
_LONGEST_PROBE = 1.0
_SMOOTHING = 0.1
_LONGEST_STEP = 1.0
_CALLS_PER_REFUSAL = 120
_SECONDS_PER_REFUSAL = 25.0
"""What a refused call costs the patience for the next probe: so many calls, but no more seconds."""
_SHORTEST_WAIT = 6.0
_LONGEST_WAIT = 1_800.0


class Probe(Enum):
    """Whether one call tries alone if the server takes calls again."""

    NONE = "all leave"
    NEXT = "the next call leaves alone"
    IN_FLIGHT = "it has left"


class AdaptiveLimit(msgspec.Struct, frozen=True):
    """What is known of the calls that may be in flight.

    Attributes:
        ceiling: what the org is told to allow.
        limit: calls that may be in flight now.
        known_good: what the server took without a refusal; the limit grows back to it.
        paused_until: nobody leaves before.
        probe: whether one call tries alone.
        probe_ends_at: when it is taken as accepted.
        cut_at: when the limit was cut; refusals of calls that left before do not cut it again.
        accepted: calls in flight that were not refused then.
        min_limit: below which that cut does not go.
        first_known_good: what was good after the first refusals of the episode.
        episode_began: when the episode began, None while there is none.
        refusals: calls refused in it.
        paused_seconds: seconds that it let nobody leave.
        back_off: seconds of its last pause without Retry-After.
        locked_out: whether a call was refused in it that was alone after a pause.
        penalty: seconds that one refusal costs where nobody announces it, 0 for none.
        extra_slots: places opened beyond what was known to be good.
        next_increase_at: when the next one may be opened.
        latency: seconds of a call, smoothed.
        refusal_latency: seconds until a refusal comes, smoothed.
    """

    ceiling: int
    limit: int
    known_good: int
    paused_until: float = 0.0
    probe: Probe = Probe.NONE
    probe_ends_at: float = 0.0
    cut_at: float = -math.inf
    accepted: int = 0
    min_limit: int = 1
    first_known_good: int = 1
    episode_began: float | None = None
    refusals: int = 0
    paused_seconds: float = 0.0
    back_off: float = 0.0
    locked_out: bool = False
    penalty: float = 0.0
    extra_slots: int = 0
    next_increase_at: float = 0.0
    latency: float = 0.5
    refusal_latency: float = 0.0


def initial_limit(ceiling: int) -> AdaptiveLimit:
    """Return the capacity to start with: all that is told to be allowed."""
    return AdaptiveLimit(ceiling, ceiling, ceiling)


def with_ceiling(state: AdaptiveLimit, ceiling: int) -> AdaptiveLimit:
    """Return it with another ceiling; one that was never refused starts there."""
    if state.limit == state.ceiling:
        return _replace(state, ceiling=ceiling, limit=ceiling, known_good=ceiling)
    return _replace(
        state,
        ceiling=ceiling,
        limit=min(state.limit, ceiling),
        known_good=min(state.known_good, ceiling),
    )


def may_start(state: AdaptiveLimit, in_flight: int, now: float) -> bool:
    """Tell whether one more call may leave."""
    return (
        now >= state.paused_until and in_flight < state.limit and state.probe is not Probe.IN_FLIGHT
    )


def on_slot_granted(state: AdaptiveLimit) -> AdaptiveLimit:
    """Note that a call was given a place: a trial call leaves alone."""
    if state.probe is not Probe.NEXT:
        return state
    return _replace(state, probe=Probe.IN_FLIGHT, probe_ends_at=math.inf)


def on_start(state: AdaptiveLimit, now: float) -> AdaptiveLimit:
    """Note that a call leaves."""
    if state.probe is not Probe.IN_FLIGHT or state.probe_ends_at < math.inf:
        return state
    seconds = min(max(2 * state.refusal_latency, _SHORTEST_PROBE), _LONGEST_PROBE)
    if state.locked_out or state.penalty:
        seconds = _LONGEST_PROBE  # not to take a slow refusal for none, which costs so much here
    return _replace(state, probe_ends_at=now + seconds)


def on_no_outcome(state: AdaptiveLimit, now: float) -> AdaptiveLimit:
    """Note that a call ended and tells nothing: if it was a trial, the next call is one."""
    if state.probe is Probe.IN_FLIGHT and now < state.probe_ends_at:
        return _replace(state, probe=Probe.NEXT)
    return state


def accept_overdue_probe(state: AdaptiveLimit, now: float) -> AdaptiveLimit:
    """Take a trial call as accepted once it was not refused for so long."""
    if state.probe is Probe.IN_FLIGHT and now >= state.probe_ends_at:
        return _end_probe(state)
    return state


def increase_if_due(state: AdaptiveLimit, now: float) -> AdaptiveLimit:
    """Open one place more if it is time; to be asked when a call waits and all places are taken."""
    if state.episode_began is not None or now < state.next_increase_at:
        return state
    if state.limit >= state.ceiling or state.limit < state.known_good:
        return state
    extra_slots = state.extra_slots + 1
    step = min(state.latency, _LONGEST_STEP) / extra_slots
    return _replace(
        state,
        limit=state.limit + 1,
        known_good=state.limit,
        extra_slots=extra_slots,
        next_increase_at=now + step,
    )


def next_change_at(state: AdaptiveLimit, now: float) -> float | None:
    """Return when time alone lets more calls leave, None if it does not."""
    if now < state.paused_until:
        return state.paused_until
    if state.probe is Probe.IN_FLIGHT:
        return state.probe_ends_at if state.probe_ends_at < math.inf else None
    if state.episode_began is None and state.known_good <= state.limit < state.ceiling:
        return state.next_increase_at
    return None


def on_accepted(state: AdaptiveLimit, started_at: float, now: float) -> AdaptiveLimit:
    """Note that a call was accepted and answered.

    Args:
        state: what is known.
        started_at: when the call left.
        now: when its answer came.
    """
    latency = state.latency + _SMOOTHING * (now - started_at - state.latency)
    state = _replace(state, latency=latency)
    if state.episode_began is not None and started_at >= state.cut_at and now >= state.paused_until:
        state = _end_episode(_end_probe(state), now)
    if state.limit < state.known_good and state.probe is Probe.NONE and started_at >= state.cut_at:
        state = _replace(state, limit=state.limit + 1)
    return state


def on_refused(
    state: AdaptiveLimit,
    started_at: float,
    in_flight: int,
    now: float,
    retry_after: float | None,
    jitter: float,
) -> AdaptiveLimit:
    """Note that a call was refused because too many were in flight.

    Args:
        state: what is known.
        started_at: when the call left.
        in_flight: most calls that were in flight since, itself included.
        now: when the refusal came.
        retry_after: seconds that the server asks for.
        jitter: a random number from 0 to 1, for the jitter.
    """
    refusal_latency = state.refusal_latency + _SMOOTHING * (
        now - started_at - state.refusal_latency
    )
    state = _replace(state, refusal_latency=refusal_latency, refusals=state.refusals + 1)
    if started_at < state.cut_at:
        known_good = max(state.min_limit, state.known_good - 1)
        limit = min(state.limit, known_good)
        state = _replace(
            state,
            known_good=known_good,
            first_known_good=known_good,
            limit=limit,
            accepted=state.accepted - 1,
        )
        if state.penalty:  # this call lengthened it
            state = _back_off(state, now, 0.0, jitter)
    else:
        state = _reduce(state, in_flight - 1, now, unannounced=retry_after is None)
        state = _back_off(state, now, state.back_off, jitter)
    if retry_after is not None:
        state = _pause(_replace(state, penalty=0.0), now, retry_after + _AFTER_RETRY_AFTER)
    return state


def explains_refusal(state: AdaptiveLimit, started_at: float, in_flight: int) -> bool:
    """Tell whether too many in flight is reason enough for a refusal.

    It is where more were in flight than is known to be taken, and where the call left before
    another one was refused.

    Args:
        state: what was known before the refusal.
        started_at: when the call left.
        in_flight: most calls that were in flight since, itself included.
    """
    return in_flight > state.known_good or started_at < state.cut_at


def _reduce(state: AdaptiveLimit, accepted: int, now: float, *, unannounced: bool) -> AdaptiveLimit:
    """Begin an episode, or go on with one that a further refusal shows not to be over."""
    locked_out = state.probe is Probe.IN_FLIGHT and 2 * accepted <= state.accepted
    is_new_episode = state.episode_began is None
    state = _replace(
        state,
        cut_at=now,
        episode_began=now if is_new_episode else state.episode_began,
        locked_out=state.locked_out or (locked_out and unannounced),
        probe=Probe.NEXT,
    )
    if (
        locked_out
    ):  # neither does this refusal tell what the server takes, nor those since the first
        return _replace(state, limit=state.first_known_good, known_good=state.first_known_good)
    min_limit = max(1, -(-state.limit // 2))
    known_good = max(1, min(max(min_limit, accepted), state.limit - 1))
    first_known_good = known_good if is_new_episode else state.first_known_good
    return _replace(
        state,
        limit=known_good,
        known_good=known_good,
        first_known_good=first_known_good,
        min_limit=min_limit,
        accepted=accepted,
    )


def _back_off(state: AdaptiveLimit, now: float, last_pause: float, jitter: float) -> AdaptiveLimit:
    """Have all wait: longer than the last time, and as long as a penalty takes if there is one."""
    if state.locked_out or state.penalty:
        back_off = next_pause(state.penalty, state.refusals, last_pause)
        seconds = add_jitter(back_off, jitter)
    else:
        back_off = min(last_pause * _GROWTH, LONGEST_PAUSE) or _FIRST_BACK_OFF
        seconds = back_off * (0.75 + 0.5 * jitter)
    return _pause(_replace(state, back_off=back_off), now, seconds)


def _pause(state: AdaptiveLimit, now: float, seconds: float) -> AdaptiveLimit:
    added = now + seconds - max(state.paused_until, now)
    if added <= 0:
        return state
    return _replace(state, paused_until=now + seconds, paused_seconds=state.paused_seconds + added)


def _end_probe(state: AdaptiveLimit) -> AdaptiveLimit:
    """Let the others leave too: slowly, unless it was a probe that was refused."""
    if state.probe is Probe.NONE:
        return state
    limit = state.known_good if state.extra_slots else max(1, -(-state.known_good // 2))
    if not state.locked_out and not state.penalty:
        return _replace(state, probe=Probe.NONE, limit=limit)
    seconds = learn_penalty(
        state.penalty, state.refusals, state.back_off, locked_out=state.locked_out
    )
    state = _replace(state, penalty=seconds, locked_out=False, back_off=0.0, refusals=1)
    # From one place on, so that one call is refused, and not many, if it is too many again.
    return _replace(state, probe=Probe.NONE, limit=limit if state.extra_slots else 1)


def _end_episode(state: AdaptiveLimit, now: float) -> AdaptiveLimit:
    """Say when the next place may be tried, so that refusals stay as few as promised."""
    calls = _CALLS_PER_REFUSAL * state.latency / state.known_good
    cost = state.paused_seconds
    if state.penalty:  # the first time cost more, to find that out
        cost = min(cost, add_jitter(state.penalty, 1.0))
    wait = max(state.refusals * min(calls, _SECONDS_PER_REFUSAL), increase_interval(cost))
    wait = min(max(wait, _SHORTEST_WAIT), _LONGEST_WAIT)
    return _replace(
        state,
        episode_began=None,
        refusals=0,
        paused_seconds=0.0,
        back_off=0.0,
        extra_slots=0,
        next_increase_at=now + wait,
    )


def _replace(state: AdaptiveLimit, **changes: object) -> AdaptiveLimit:
    return msgspec.structs.replace(state, **changes)


_FIRST_GUESS = 10.0
"""Seconds that one refusal may cost, before anything is known."""
_PENALTY_GROWTH = 4.0
"""How pauses grow while the server bars; a penalty that doubles has to be overtaken."""
_FIRST_PAUSE_GROWTH = 2.5
"""Enough where what was learned had decayed to a little too short."""
LONGEST_PAUSE = 310.0
"""A call that it holds up once is still far from the time after which it gives up."""
_MARGIN = 1.05
_JITTER = 0.2
_DECAY = 0.9
_NEGLIGIBLE = 0.5
"""Seconds below which a penalty is as good as none."""
_INTERVAL_FACTOR = 12.0
_HIGH_COST = 4.5
_HIGH_COST_FACTOR = 40.0
"""A probe waits so many times as long as one costs, and longer for what it costs beyond some
seconds: they are what our own pauses take, not a penalty. Where it costs little, a risen cap is to
be found within half a minute."""


def next_pause(penalty: float, refusals: int, last_pause: float) -> float:
    """Return the seconds to wait while the server bars everybody.

    Args:
        penalty: seconds that one refusal costs, 0 where that is not known.
        refusals: in this episode so far; each after the first doubled the penalty.
        last_pause: seconds of the pause that was too short, 0 for none.
    """
    doubled = 2.0 ** min(refusals - 1, 12)
    seconds = (penalty or _FIRST_GUESS) * doubled
    growth = _FIRST_PAUSE_GROWTH if last_pause <= penalty else _PENALTY_GROWTH
    return min(max(seconds, last_pause * growth), LONGEST_PAUSE)


def add_jitter(seconds: float, jitter: float) -> float:
    """Return a pause that is never shorter than what was found to be needed."""
    return seconds * (_MARGIN + _JITTER * jitter)


def learn_penalty(penalty: float, refusals: int, last_pause: float, *, locked_out: bool) -> float:
    """Return the seconds that one refusal costs, after an episode.

    Args:
        penalty: what they were taken to be, 0 for none.
        refusals: in the episode.
        last_pause: seconds of the pause that was long enough.
        locked_out: whether a shorter pause was seen to be too short.
    """
    if locked_out:
        return last_pause / 2.0 ** min(refusals - 1, 12)
    decayed = penalty * _DECAY
    return decayed if decayed >= _NEGLIGIBLE else 0.0


def increase_interval(cost: float) -> float:
    """Return the seconds from one probe to the next, where one that fails costs so many."""
    return _INTERVAL_FACTOR * cost + (_HIGH_COST_FACTOR - _INTERVAL_FACTOR) * max(
        0.0, cost - _HIGH_COST
    )
