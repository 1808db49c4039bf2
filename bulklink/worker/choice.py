"""Which run is started next. Pure.

First in, first out for each org: the first run of an org is its only candidate, and while it waits
for credits the later ones wait with it. The orgs take turns by the positions of these first runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

import msgspec


class WaitingRun(msgspec.Struct, frozen=True):
    """A run that waits to be started.

    Args:
        run: its name.
        org_key: key of its org.
        position: position in the queue.
        not_before: monotonic seconds before which it may not be started; infinite until a person
            has acted.
    """

    run: str
    org_key: str
    position: int
    not_before: float = -math.inf


class Choice(msgspec.Struct, frozen=True):
    """Runs to be started now.

    Args:
        starts: names of the runs, by position.
        wake_at: monotonic seconds at which the next one may be started; infinite if only an event
            can change that.
        behind: for each run that waits for another one of its org, the name of the first of these.
    """

    starts: tuple[str, ...]
    wake_at: float
    behind: dict[str, str]


def choose(
    waiting: Iterable[WaitingRun],
    *,
    active: AbstractSet[str],
    slots: int,
    now: float,
) -> Choice:
    """Return the runs to be started.

    Args:
        waiting: the runs that wait.
        active: keys of the orgs of which a run is being sent.
        slots: runs that may be started.
        now: monotonic seconds.
    """
    first: dict[str, WaitingRun] = {}
    behind: dict[str, str] = {}
    for run in sorted(waiting, key=lambda run: (run.position, run.run)):
        if run.org_key in first:
            behind[run.run] = first[run.org_key].run
        else:
            first[run.org_key] = run
    candidates = [run for key, run in first.items() if key not in active]
    ready = [run.run for run in candidates if run.not_before <= now]
    later = (run.not_before for run in candidates if run.not_before > now)
    return Choice(tuple(ready[: max(0, slots)]), min(later, default=math.inf), behind)
