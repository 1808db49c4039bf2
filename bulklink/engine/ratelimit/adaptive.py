"""Adaptive concurrency limit (AIMD with CUBIC-like probing, pure).

Additive increase, multiplicative decrease. An HTTP 429 carries more information than a lost packet:
the calls in flight that were not refused show how many the server accepts. After a refusal all
calls wait, then one probes alone, because a server can lock every caller out for some seconds after
a refusal, and twice as long for each call that comes too early. The increase resembles CUBIC's: the
limit stays at a value known to be good, then opens one more slot, and opens slots faster and faster
while none is refused.

All that is learned about such a server is the penalty: the seconds that one refusal costs.
"""

from __future__ import annotations

import math
from enum import Enum

import msgspec

_FIRST_BACK_OFF = 0.2
_GROWTH = 4.0
"""Growth factor of pauses while refusals persist."""
_AFTER_RETRY_AFTER = 1.0
"""Seconds added: a related API refuses calls at exactly the stated time and extends the penalty."""
_SMOOTHING = 0.1
_LONGEST_STEP = 1.0
_CALLS_PER_REFUSAL = 120
_SECONDS_PER_REFUSAL = 25.0
"""Wait for the next increase per refused call: the time of these calls, capped in seconds."""
_SHORTEST_WAIT = 6.0
_LONGEST_WAIT = 1_800.0
_FIRST_GUESS = 10.0
"""Assumed cost of one refusal in seconds, before anything is known."""
_PENALTY_GROWTH = 4.0
"""Growth of pauses while the server locks us out; it must outpace a penalty that doubles."""
_FIRST_PAUSE_GROWTH = 2.5
"""Growth that suffices if the learned penalty has decayed to slightly too short."""
LONGEST_PAUSE = 310.0
"""Seconds; short enough that a call delayed once is far from giving up."""
_MARGIN = 1.05
_JITTER = 0.2
_DECAY = 0.9
_NEGLIGIBLE = 0.5
"""Seconds below which a penalty is ignored."""
_INTERVAL_FACTOR = 12.0
_HIGH_COST = 3.0
_HIGH_COST_FACTOR = 40.0
"""An increase waits a multiple of the cost of a refused one, and a larger multiple of the cost
beyond 3 s: up to there, the cost is our own pauses and not a penalty. If refusals cost little, a
raised server limit is found within half a minute."""


class Probe(Enum):
    """Whether a single call tests the server after a pause."""

    NONE = "all calls start"
    NEXT = "the next call starts alone"
    IN_FLIGHT = "the probe has a slot; no other call starts before its outcome is known"


class AdaptiveLimit(msgspec.Struct, frozen=True):
    """State of the adaptive limit; times are in seconds of the run's clock.

    Args:
        ceiling: maximum calls in flight, set by the org's licence or the user.
        limit: calls that may be in flight now.
        known_good: calls the server accepted without a refusal; the limit grows back to it.
        paused_until: time before which no call starts.
        probe: whether a single call tests the server.
        cut_at: when the limit was cut; refusals of calls started earlier do not cut it again.
        accepted: calls in flight that were not refused then.
        min_limit: floor of that cut.
        first_known_good: `known_good` after the first refusals of the episode.
        episode_began: when the episode of refusals began; None outside an episode.
        refusals: calls refused in the episode.
        back_off: seconds of the last pause without Retry-After.
        locked_out: whether a probe was refused in the episode.
        penalty: seconds that one refusal costs without Retry-After; 0 for none.
        extra_slots: slots opened beyond the known good limit.
        next_increase_at: when the next slot may be opened.
        latency: seconds of a call, smoothed.
    """

    ceiling: int
    limit: int
    known_good: int
    paused_until: float = 0.0
    probe: Probe = Probe.NONE
    cut_at: float = -math.inf
    accepted: int = 0
    min_limit: int = 1
    first_known_good: int = 1
    episode_began: float | None = None
    refusals: int = 0
    back_off: float = 0.0
    locked_out: bool = False
    penalty: float = 0.0
    extra_slots: int = 0
    next_increase_at: float = 0.0
    latency: float = 0.5


def initial_limit(ceiling: int) -> AdaptiveLimit:
    """Return the initial state, whose limit is the ceiling."""
    return AdaptiveLimit(ceiling, ceiling, ceiling)


def with_ceiling(state: AdaptiveLimit, ceiling: int) -> AdaptiveLimit:
    """Return the state with another ceiling; a limit that was never cut starts there."""
    if state.limit == state.ceiling:
        state = _replace(state, limit=ceiling, known_good=ceiling)
    return _replace(
        state,
        ceiling=ceiling,
        limit=min(state.limit, ceiling),
        known_good=min(state.known_good, ceiling),
        first_known_good=min(state.first_known_good, ceiling),
        min_limit=min(state.min_limit, ceiling),
    )


def may_start(state: AdaptiveLimit, in_flight: int, now: float) -> bool:
    """Return whether one more call may start."""
    return (
        now >= state.paused_until and in_flight < state.limit and state.probe is not Probe.IN_FLIGHT
    )


def on_slot_granted(state: AdaptiveLimit) -> AdaptiveLimit:
    """Record that a call was granted a slot; a probe starts alone."""
    return _replace(state, probe=Probe.IN_FLIGHT) if state.probe is Probe.NEXT else state


def on_probe_lost(state: AdaptiveLimit) -> AdaptiveLimit:
    """Record that a probe was not sent or not answered: the next call probes instead."""
    return _replace(state, probe=Probe.NEXT) if state.probe is Probe.IN_FLIGHT else state


def increase_if_due(state: AdaptiveLimit, now: float) -> AdaptiveLimit:
    """Open one more slot if due; called when a call waits and all slots are in use."""
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
    """Return when more calls may start by the passage of time alone; None if never."""
    if now < state.paused_until:
        return state.paused_until
    if state.probe is Probe.IN_FLIGHT:
        return None
    if state.episode_began is None and state.known_good <= state.limit < state.ceiling:
        return state.next_increase_at
    return None


def on_accepted(state: AdaptiveLimit, started_at: float, now: float) -> AdaptiveLimit:
    """Record that a call was accepted and answered.

    Args:
        state: state of the limit.
        started_at: when the call started.
        now: when its answer came.
    """
    latency = state.latency + _SMOOTHING * (now - started_at - state.latency)
    state = _replace(state, latency=latency)
    if state.episode_began is not None and started_at > state.cut_at:
        state = _end_episode(_end_probe(state), now, cost=now - state.episode_began)
    if state.limit < state.known_good and state.probe is Probe.NONE and started_at > state.cut_at:
        state = _replace(state, limit=state.limit + 1)
    return state


def on_refused(
    state: AdaptiveLimit,
    started_at: float,
    in_flight: int,
    now: float,
    retry_after: float | None,
    jitter: float,
    longest_pause: float = math.inf,
) -> AdaptiveLimit:
    """Record that a call was refused because too many were in flight.

    Args:
        state: state of the limit.
        started_at: when the call started.
        in_flight: maximum calls in flight since then, including itself.
        now: when the refusal came.
        retry_after: seconds to wait, as requested by the server; None without a request.
        jitter: a random number from 0 to 1.
        longest_pause: maximum seconds to pause, unless the server asks for more.
    """
    state = _replace(state, refusals=state.refusals + 1)
    if started_at <= state.cut_at:
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
            state = _back_off(state, now, 0.0, jitter, longest_pause)
    else:
        state = _reduce(state, in_flight - 1, now, unannounced=retry_after is None)
        state = _back_off(state, now, state.back_off, jitter, longest_pause)
    if retry_after is not None:
        state = _pause(_replace(state, penalty=0.0), now, retry_after + _AFTER_RETRY_AFTER)
    return state


def explains_refusal(state: AdaptiveLimit, started_at: float, in_flight: int) -> bool:
    """Return whether too many calls in flight explain a refusal.

    They do if more were in flight than the server is known to accept, or if the call started before
    another one was refused.

    Args:
        state: state of the limit before the refusal.
        started_at: when the call started.
        in_flight: maximum calls in flight since then, including itself.
    """
    return in_flight > state.known_good or started_at <= state.cut_at


def _reduce(state: AdaptiveLimit, accepted: int, now: float, *, unannounced: bool) -> AdaptiveLimit:
    """Cut the limit, and start an episode or continue one that is not over."""
    locked_out = state.probe is Probe.IN_FLIGHT and 2 * accepted <= state.accepted
    is_new_episode = state.episode_began is None
    state = _replace(
        state,
        cut_at=now,
        episode_began=now if is_new_episode else state.episode_began,
        locked_out=state.locked_out or (locked_out and unannounced),
        probe=Probe.NEXT,
    )
    if locked_out:  # refusals after the first do not show how many calls are accepted
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


def _back_off(
    state: AdaptiveLimit, now: float, last_pause: float, jitter: float, longest_pause: float
) -> AdaptiveLimit:
    """Pause longer than last time, and at least for the penalty if there is one."""
    if state.locked_out or state.penalty:
        back_off = next_pause(state.penalty, state.refusals, last_pause)
        seconds = add_jitter(back_off, jitter)
    else:
        back_off = min(last_pause * _GROWTH, LONGEST_PAUSE) or _FIRST_BACK_OFF
        seconds = back_off * (0.75 + 0.5 * jitter)
    back_off, seconds = min(back_off, longest_pause), min(seconds, longest_pause)
    return _pause(_replace(state, back_off=back_off), now, seconds)


def _pause(state: AdaptiveLimit, now: float, seconds: float) -> AdaptiveLimit:
    return _replace(state, paused_until=max(state.paused_until, now + seconds))


def _end_probe(state: AdaptiveLimit) -> AdaptiveLimit:
    """Let other calls start too, slowly unless an increase was refused."""
    if state.probe is Probe.NONE:
        return state
    limit = state.known_good if state.extra_slots else max(1, -(-state.known_good // 2))
    if not state.locked_out and not state.penalty:
        return _replace(state, probe=Probe.NONE, limit=limit)
    seconds = learn_penalty(
        state.penalty, state.refusals, state.back_off, locked_out=state.locked_out
    )
    state = _replace(state, penalty=seconds, locked_out=False, back_off=0.0, refusals=1)
    # Restart from one slot, so that only one call is refused if that is too many again.
    return _replace(state, probe=Probe.NONE, limit=limit if state.extra_slots else 1)


def _end_episode(state: AdaptiveLimit, now: float, *, cost: float) -> AdaptiveLimit:
    """End the episode, and set when the next slot may be opened so that refusals stay rare.

    Args:
        state: state of the limit.
        now: when the episode ends.
        cost: duration of the episode in seconds, during which only probes were sent.
    """
    calls = _CALLS_PER_REFUSAL * state.latency / state.known_good
    if state.penalty:  # the first episode costs more, to learn the penalty
        cost = min(cost, add_jitter(state.penalty, 1.0))
    wait = max(state.refusals * min(calls, _SECONDS_PER_REFUSAL), increase_interval(cost))
    wait = min(max(wait, _SHORTEST_WAIT), _LONGEST_WAIT)
    return _replace(
        state,
        episode_began=None,
        refusals=0,
        back_off=0.0,
        extra_slots=0,
        next_increase_at=now + wait,
    )


def _replace(state: AdaptiveLimit, **changes: object) -> AdaptiveLimit:
    return msgspec.structs.replace(state, **changes)


def next_pause(penalty: float, refusals: int, last_pause: float) -> float:
    """Return the seconds to pause while the server locks every caller out.

    Args:
        penalty: seconds that one refusal costs; 0 if unknown.
        refusals: calls refused in this episode; each after the first doubled the penalty.
        last_pause: seconds of the pause that was too short; 0 for none.
    """
    doubled = 2.0 ** min(refusals - 1, 12)
    seconds = (penalty or _FIRST_GUESS) * doubled
    growth = _FIRST_PAUSE_GROWTH if last_pause <= penalty else _PENALTY_GROWTH
    return min(max(seconds, last_pause * growth), LONGEST_PAUSE)


def add_jitter(seconds: float, jitter: float) -> float:
    """Return the seconds of a pause with jitter, never shorter than `seconds`."""
    return seconds * (_MARGIN + _JITTER * jitter)


def learn_penalty(penalty: float, refusals: int, last_pause: float, *, locked_out: bool) -> float:
    """Return the penalty after an episode: the seconds that one refusal costs.

    Args:
        penalty: penalty before the episode; 0 for none.
        refusals: calls refused in the episode.
        last_pause: seconds of the pause that was long enough.
        locked_out: whether a shorter pause was too short.
    """
    if locked_out:
        return last_pause / 2.0 ** min(refusals - 1, 12)
    decayed = penalty * _DECAY
    return decayed if decayed >= _NEGLIGIBLE else 0.0


def increase_interval(cost: float) -> float:
    """Return the seconds between increases if a refused increase costs `cost` seconds."""
    return _INTERVAL_FACTOR * cost + (_HIGH_COST_FACTOR - _INTERVAL_FACTOR) * max(
        0.0, cost - _HIGH_COST
    )
