"""Counts and latencies of a load test."""

from __future__ import annotations

import pytest

from bulklink.engine.load.recorder import LoadRecorder
from bulklink.engine.load.schedule import LoadSchedule, SchedulePhase, with_warm_up
from bulklink.engine.load.sender import LoadCall

BEGAN_AT = 1000.0


def recorder(warm_up: float = 0.0, seconds: float = 10.0) -> LoadRecorder:
    phases = [
        SchedulePhase("step", seconds, 10.0, 10.0),
        SchedulePhase("step", seconds, 20.0, 20.0),
    ]
    return LoadRecorder(with_warm_up(phases, warm_up), BEGAN_AT)


def call(sent_at: float, ended_at: float, error: str | None = None) -> LoadCall:
    return LoadCall(BEGAN_AT + sent_at, BEGAN_AT + ended_at, 0 if error else 20, error, None)


def test_latency_counts_from_when_a_call_was_due_and_service_time_from_when_it_left() -> None:
    record = recorder()
    record.record(call(3.0, 3.5), due=BEGAN_AT + 1.0)
    whole = record.total()
    assert whole.intended.longest == pytest.approx(2.5)
    assert whole.service.longest == pytest.approx(0.5)
    assert (whole.calls, whole.messages, whole.late) == (1, 20, 1)


def test_a_call_belongs_to_the_phase_in_which_it_was_due() -> None:
    record = recorder(warm_up=2.0)
    for due in (0.5, 3.0, 11.9, 12.0):
        record.record(call(15.0, 15.1), due=BEGAN_AT + due)
    record.record(call(1.0, 1.1), due=None)
    assert [phase.calls for phase in record.phases] == [2, 2, 1]
    assert record.total().calls == 3, "the warm-up is not part of the figures"


@pytest.mark.parametrize("began_at", [1000.1, 5968.501421506, 123456.789])
@pytest.mark.parametrize("warm_up", [0.1, 0.3, 1.1, 5.3])
def test_the_first_measured_call_is_no_call_of_the_warm_up(began_at: float, warm_up: float) -> None:
    schedule = with_warm_up([SchedulePhase("constant", 10.0, 10.0, 10.0)], warm_up)
    record = LoadRecorder(schedule, began_at)
    due = began_at + warm_up
    record.record(LoadCall(due, due + 0.1, 20, None, None), due)
    assert [phase.calls for phase in record.phases] == [0, 1]
    assert record.intervals[0].started == 1


def test_a_dropped_call_counts_with_its_wait_so_far() -> None:
    record = recorder()
    record.record_dropped(BEGAN_AT + 9.0, BEGAN_AT + 10.5)
    whole = record.total()
    assert (whole.calls, whole.dropped, whole.service.count) == (0, 1, 0)
    assert whole.intended.longest == pytest.approx(1.5)


def test_errors_are_counted_by_code() -> None:
    record = recorder()
    for error in ("HTTP 503", "HTTP 503", "no-answer", None):
        record.record(call(1.0, 1.1, error), due=None)
    assert record.total().errors == {"HTTP 503": 2, "no-answer": 1}


def test_intervals_know_what_started_ended_and_was_in_flight_in_them() -> None:
    record = recorder()
    record.record(call(0.5, 2.25), due=BEGAN_AT + 0.25)
    record.record(call(2.5, 2.75, "HTTP 500"), due=BEGAN_AT + 2.5)
    first, second, third = record.intervals
    assert [first.started, second.started, third.started] == [1, 0, 1]
    assert [first.answered, second.answered, third.answered] == [0, 0, 2]
    assert [first.busy_seconds, second.busy_seconds, third.busy_seconds] == [0.5, 1.0, 0.5]
    assert (first.late, third.errors, third.messages) == (1, 1, 20)


def test_a_test_of_hours_has_longer_intervals_and_loses_no_call() -> None:
    record = recorder(seconds=20_000.0)
    for second in range(0, 5000, 3):
        record.record(call(second, second + 1.5), due=None)
    assert len(record.intervals) <= 600
    assert record.interval_seconds == 16
    assert sum(interval.started for interval in record.intervals) == 1667
    assert sum(interval.answered for interval in record.intervals) == 1667
    busy = sum(interval.busy_seconds for interval in record.intervals)
    assert busy == pytest.approx(1667 * 1.5)


def test_a_closed_schedule_has_one_phase() -> None:
    record = LoadRecorder(LoadSchedule((SchedulePhase("closed", 5.0),)), BEGAN_AT)
    record.record(call(4.0, 6.0), due=None)
    whole = record.total()
    assert whole.service.longest == whole.intended.longest == pytest.approx(2.0)
    assert whole.late == 0
