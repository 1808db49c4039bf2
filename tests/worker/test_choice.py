"""Which run is started next."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from bulklink.worker.choice import Choice, WaitingRun, choose

_RUNS = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.sampled_from("abcde"),
        st.integers(0, 9),
        st.sampled_from([-math.inf, 5.0, 20.0, math.inf]),
    ),
    unique_by=lambda run: run[0],
    max_size=30,
).map(lambda runs: [WaitingRun(str(name), org, at, start) for name, org, at, start in runs])


def test_the_first_run_of_each_org_is_started_by_position() -> None:
    waiting = [
        WaitingRun("third", "b", 3),
        WaitingRun("second", "a", 2),
        WaitingRun("first", "a", 1),
        WaitingRun("busy", "c", 0),
    ]
    choice = choose(waiting, active={"c"}, slots=2, now=0.0)
    assert choice == Choice(("first", "third"), math.inf, {"second": "first"})


def test_a_run_that_waits_keeps_the_later_ones_of_its_org_waiting_and_no_others() -> None:
    waiting = [
        WaitingRun("early", "a", 1, 60.0),
        WaitingRun("late", "a", 2),
        WaitingRun("o", "b", 3),
    ]
    choice = choose(waiting, active=set(), slots=9, now=0.0)
    assert choice == Choice(("o",), 60.0, {"late": "early"})
    assert choose(waiting, active=set(), slots=9, now=60.0).starts == ("early", "o")


@given(_RUNS, st.sets(st.sampled_from("abcde")), st.integers(-2, 6), st.sampled_from([0.0, 10.0]))
def test_one_run_an_org_in_order_and_no_slot_stays_empty_without_a_reason(
    waiting: list[WaitingRun], active: set[str], slots: int, now: float
) -> None:
    choice = choose(waiting, active=active, slots=slots, now=now)
    by_name = {run.run: run for run in waiting}
    started = [by_name[name] for name in choice.starts]
    orgs = [run.org_key for run in started]
    assert len(orgs) == len(set(orgs)) <= max(0, slots)
    assert active.isdisjoint(orgs)
    for run in started:
        assert run.not_before <= now
        ahead = [other for other in waiting if other.org_key == run.org_key and other != run]
        assert all((run.position, run.run) < (other.position, other.run) for other in ahead)
    if len(started) < slots:
        for key in {run.org_key for run in waiting} - active - set(orgs):
            head = min(
                (run for run in waiting if run.org_key == key),
                key=lambda run: (run.position, run.run),
            )
            assert head.not_before > now
            assert choice.wake_at <= head.not_before
