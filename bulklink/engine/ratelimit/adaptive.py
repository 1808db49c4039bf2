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
_SHORTEST_TRIAL = 0.05
_LONGEST_TRIAL = 1.0
_SMOOTHING = 0.1
_LONGEST_STEP = 1.0
_CALLS_A_REFUSAL = 120
_SECONDS_A_REFUSAL = 25.0
"""What a refused call costs the patience for the next probe: so many calls, but no more seconds."""
_SHORTEST_WAIT = 6.0
_LONGEST_WAIT = 1_800.0


class Trial(Enum):
    """Whether one call tries alone if the server takes calls again."""

    NONE = "all leave"
    NEXT = "the next call leaves alone"
    OUT = "it has left"


class Capacity(msgspec.Struct, frozen=True):
    """What is known of the calls that may be in flight.

    Attributes:
        ceiling: what the org is told to allow.
        limit: calls that may be in flight now.
        good: what the server took without a refusal; the limit grows back to it.
        paused_until: nobody leaves before.
        trial: whether one call tries alone.
        trial_ends: when it is taken as accepted.
        cut_at: when the limit was cut; refusals of calls that left before do not cut it again.
        taken: calls in flight that were not refused then.
        least: below which that cut does not go.
        first_good: what was good after the first refusals of the episode.
        began: when the episode began, None while there is none.
        refusals: calls refused in it.
        held_up: seconds that it let nobody leave.
        back_off: seconds of its last pause without Retry-After.
        barred: whether a call was refused in it that was alone after a pause.
        penalty: seconds that one refusal costs where nobody announces it, 0 for none.
        probed: places opened beyond what was known to be good.
        next_place: when the next one may be opened.
        latency: seconds of a call, smoothed.
        turnaround: seconds until a refusal comes, smoothed.
    """

    ceiling: int
    limit: int
    good: int
    paused_until: float = 0.0
    trial: Trial = Trial.NONE
    trial_ends: float = 0.0
    cut_at: float = -math.inf
    taken: int = 0
    least: int = 1
    first_good: int = 1
    began: float | None = None
    refusals: int = 0
    held_up: float = 0.0
    back_off: float = 0.0
    barred: bool = False
    penalty: float = 0.0
    probed: int = 0
    next_place: float = 0.0
    latency: float = 0.5
    turnaround: float = 0.0


def capacity(ceiling: int) -> Capacity:
    """Return the capacity to start with: all that is told to be allowed."""
    return Capacity(ceiling, ceiling, ceiling)


def with_ceiling(now: Capacity, ceiling: int) -> Capacity:
    """Return it with another ceiling; one that was never refused starts there."""
    if now.limit == now.ceiling:
        return _but(now, ceiling=ceiling, limit=ceiling, good=ceiling)
    return _but(now, ceiling=ceiling, limit=min(now.limit, ceiling), good=min(now.good, ceiling))


def may_leave(known: Capacity, in_flight: int, now: float) -> bool:
    """Tell whether one more call may leave."""
    return now >= known.paused_until and in_flight < known.limit and known.trial is not Trial.OUT


def granted(known: Capacity) -> Capacity:
    """Note that a call was given a place: a trial call leaves alone."""
    if known.trial is not Trial.NEXT:
        return known
    return _but(known, trial=Trial.OUT, trial_ends=math.inf)


def left(known: Capacity, now: float) -> Capacity:
    """Note that a call leaves."""
    if known.trial is not Trial.OUT or known.trial_ends < math.inf:
        return known
    seconds = min(max(2 * known.turnaround, _SHORTEST_TRIAL), _LONGEST_TRIAL)
    if known.barred or known.penalty:
        seconds = _LONGEST_TRIAL  # not to take a slow refusal for none, which costs so much here
    return _but(known, trial_ends=now + seconds)


def ended(known: Capacity, now: float) -> Capacity:
    """Note that a call ended and tells nothing: if it was a trial, the next call is one."""
    if known.trial is Trial.OUT and now < known.trial_ends:
        return _but(known, trial=Trial.NEXT)
    return known


def passed(known: Capacity, now: float) -> Capacity:
    """Take a trial call as accepted once it was not refused for so long."""
    if known.trial is Trial.OUT and now >= known.trial_ends:
        return _trial_over(known)
    return known


def wanted(known: Capacity, now: float) -> Capacity:
    """Open one place more if it is time; to be asked when a call waits and all places are taken."""
    if known.began is not None or now < known.next_place:
        return known
    if known.limit >= known.ceiling or known.limit < known.good:
        return known
    probed = known.probed + 1
    step = min(known.latency, _LONGEST_STEP) / probed
    return _but(
        known, limit=known.limit + 1, good=known.limit, probed=probed, next_place=now + step
    )


def next_change(known: Capacity, now: float) -> float | None:
    """Return when time alone lets more calls leave, None if it does not."""
    if now < known.paused_until:
        return known.paused_until
    if known.trial is Trial.OUT:
        return known.trial_ends if known.trial_ends < math.inf else None
    if known.began is None and known.good <= known.limit < known.ceiling:
        return known.next_place
    return None


def answered(known: Capacity, left_at: float, now: float) -> Capacity:
    """Note that a call was accepted and answered.

    Args:
        known: what is known.
        left_at: when the call left.
        now: when its answer came.
    """
    latency = known.latency + _SMOOTHING * (now - left_at - known.latency)
    known = _but(known, latency=latency)
    if known.began is not None and left_at >= known.cut_at and now >= known.paused_until:
        known = _episode_over(_trial_over(known), now)
    if known.limit < known.good and known.trial is Trial.NONE and left_at >= known.cut_at:
        known = _but(known, limit=known.limit + 1)
    return known


def refused(
    known: Capacity,
    left_at: float,
    in_flight: int,
    now: float,
    retry_after: float | None,
    chance: float,
) -> Capacity:
    """Note that a call was refused because too many were in flight.

    Args:
        known: what is known.
        left_at: when the call left.
        in_flight: most calls that were in flight since, itself included.
        now: when the refusal came.
        retry_after: seconds that the server asks for.
        chance: a random number from 0 to 1, for the jitter.
    """
    turnaround = known.turnaround + _SMOOTHING * (now - left_at - known.turnaround)
    known = _but(known, turnaround=turnaround, refusals=known.refusals + 1)
    if left_at < known.cut_at:
        good = max(known.least, known.good - 1)
        limit = min(known.limit, good)
        known = _but(known, good=good, first_good=good, limit=limit, taken=known.taken - 1)
        if known.penalty:  # this call lengthened it
            known = _backed_off(known, now, 0.0, chance)
    else:
        known = _cut(known, in_flight - 1, now, silent=retry_after is None)
        known = _backed_off(known, now, known.back_off, chance)
    if retry_after is not None:
        known = _paused(_but(known, penalty=0.0), now, retry_after + _AFTER_RETRY_AFTER)
    return known


def explains(known: Capacity, left_at: float, in_flight: int) -> bool:
    """Tell whether too many in flight is reason enough for a refusal.

    It is where more were in flight than is known to be taken, and where the call left before
    another one was refused.

    Args:
        known: what was known before the refusal.
        left_at: when the call left.
        in_flight: most calls that were in flight since, itself included.
    """
    return in_flight > known.good or left_at < known.cut_at


def _cut(known: Capacity, accepted: int, now: float, *, silent: bool) -> Capacity:
    """Begin an episode, or go on with one that a further refusal shows not to be over."""
    barred = known.trial is Trial.OUT and 2 * accepted <= known.taken
    begins = known.began is None
    known = _but(
        known,
        cut_at=now,
        began=now if begins else known.began,
        barred=known.barred or (barred and silent),
        trial=Trial.NEXT,
    )
    if barred:  # neither does this refusal tell what the server takes, nor those since the first
        return _but(known, limit=known.first_good, good=known.first_good)
    least = max(1, -(-known.limit // 2))
    good = max(1, min(max(least, accepted), known.limit - 1))
    first_good = good if begins else known.first_good
    return _but(known, limit=good, good=good, first_good=first_good, least=least, taken=accepted)


def _backed_off(known: Capacity, now: float, last: float, chance: float) -> Capacity:
    """Have all wait: longer than the last time, and as long as a penalty takes if there is one."""
    if known.barred or known.penalty:
        back_off = pause(known.penalty, known.refusals, last)
        seconds = jittered(back_off, chance)
    else:
        back_off = min(last * _GROWTH, LONGEST) or _FIRST_BACK_OFF
        seconds = back_off * (0.75 + 0.5 * chance)
    return _paused(_but(known, back_off=back_off), now, seconds)


def _paused(known: Capacity, now: float, seconds: float) -> Capacity:
    longer = now + seconds - max(known.paused_until, now)
    if longer <= 0:
        return known
    return _but(known, paused_until=now + seconds, held_up=known.held_up + longer)


def _trial_over(known: Capacity) -> Capacity:
    """Let the others leave too: slowly, unless it was a probe that was refused."""
    if known.trial is Trial.NONE:
        return known
    limit = known.good if known.probed else max(1, -(-known.good // 2))
    if not known.barred and not known.penalty:
        return _but(known, trial=Trial.NONE, limit=limit)
    seconds = learned(known.penalty, known.refusals, known.back_off, barred=known.barred)
    known = _but(known, penalty=seconds, barred=False, back_off=0.0, refusals=1)
    # From one place on, so that one call is refused, and not many, if it is too many again.
    return _but(known, trial=Trial.NONE, limit=limit if known.probed else 1)


def _episode_over(known: Capacity, now: float) -> Capacity:
    """Say when the next place may be tried, so that refusals stay as few as promised."""
    calls = _CALLS_A_REFUSAL * known.latency / known.good
    cost = known.held_up
    if known.penalty:  # the first time cost more, to find that out
        cost = min(cost, jittered(known.penalty, 1.0))
    wait = max(known.refusals * min(calls, _SECONDS_A_REFUSAL), interval(cost))
    wait = min(max(wait, _SHORTEST_WAIT), _LONGEST_WAIT)
    return _but(
        known, began=None, refusals=0, held_up=0.0, back_off=0.0, probed=0, next_place=now + wait
    )


def _but(known: Capacity, **changed: object) -> Capacity:
    return msgspec.structs.replace(known, **changed)


_GUESS = 10.0
"""Seconds that one refusal may cost, before anything is known."""
_PENALTY_GROWTH = 4.0
"""How pauses grow while the server bars; a penalty that doubles has to be overtaken."""
_FIRST_GROWTH = 2.5
"""Enough where what was learned had decayed to a little too short."""
LONGEST = 310.0
"""A call that it holds up once is still far from the time after which it gives up."""
_MARGIN = 1.05
_JITTER = 0.2
_DECAY = 0.9
_FORGOTTEN = 0.5
"""Seconds below which a penalty is as good as none."""
_SHARE = 12.0
_DEAR = 4.5
_DEAR_SHARE = 40.0
"""A probe waits so many times as long as one costs, and longer for what it costs beyond some
seconds: they are what our own pauses take, not a penalty. Where it costs little, a risen cap is to
be found within half a minute."""


def pause(penalty: float, refusals: int, last: float) -> float:
    """Return the seconds to wait while the server bars everybody.

    Args:
        penalty: seconds that one refusal costs, 0 where that is not known.
        refusals: in this episode so far; each after the first doubled the penalty.
        last: seconds of the pause that was too short, 0 for none.
    """
    doubled = 2.0 ** min(refusals - 1, 12)
    seconds = (penalty or _GUESS) * doubled
    growth = _FIRST_GROWTH if last <= penalty else _PENALTY_GROWTH
    return min(max(seconds, last * growth), LONGEST)


def jittered(seconds: float, chance: float) -> float:
    """Return a pause that is never shorter than what was found to be needed."""
    return seconds * (_MARGIN + _JITTER * chance)


def learned(penalty: float, refusals: int, last: float, *, barred: bool) -> float:
    """Return the seconds that one refusal costs, after an episode.

    Args:
        penalty: what they were taken to be, 0 for none.
        refusals: in the episode.
        last: seconds of the pause that was long enough.
        barred: whether a shorter pause was seen to be too short.
    """
    if barred:
        return last / 2.0 ** min(refusals - 1, 12)
    decayed = penalty * _DECAY
    return decayed if decayed >= _FORGOTTEN else 0.0


def interval(cost: float) -> float:
    """Return the seconds from one probe to the next, where one that fails costs so many."""
    return _SHARE * cost + (_DEAR_SHARE - _SHARE) * max(0.0, cost - _DEAR)
