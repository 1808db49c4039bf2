"""Penalties that nobody announces: how long to wait for a server that bars everybody.

Such a server refuses all for some seconds after a refusal, and twice as long for each call that
comes too early. Pure: what is learned is one number, the seconds that one refusal costs.
"""

from __future__ import annotations

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
