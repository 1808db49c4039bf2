"""24-hour usage: shared by processes, never overspent, expired after 24 hours."""

from __future__ import annotations

import multiprocessing
import os
import stat
import sys
from pathlib import Path

import pytest

from bulklink.engine.quota.daily_usage import (
    WINDOW_MINUTES,
    AllowanceRequest,
    DailyUsageFile,
    free_at,
)

NOW = 30_000_000


def take(
    usage: DailyUsageFile, requested: int, minute: int = NOW, daily_limit: int | None = 1_000
) -> int:
    return usage.take(AllowanceRequest(minute, requested, 1, limit=daily_limit))


def test_taken_credits_are_available_again_after_24_hours() -> None:
    usage = DailyUsageFile(None, "org")
    assert [take(usage, 100, daily_limit=150), take(usage, 100, daily_limit=150)] == [15, 13]
    assert take(usage, 1_000, daily_limit=28) == 0
    assert take(usage, 1, NOW + WINDOW_MINUTES, daily_limit=28) == 0
    assert take(usage, 1, NOW + WINDOW_MINUTES + 1, daily_limit=28) == 1


def test_near_the_limit_only_a_tenth_is_granted() -> None:
    usage = DailyUsageFile(None, "org")
    assert take(usage, 50, daily_limit=10_000) == 50
    assert take(usage, 50, daily_limit=150) == 10
    assert usage.take(AllowanceRequest(NOW, 50, 3, limit=64)) == 3
    assert usage.take(AllowanceRequest(NOW, 50, 3, limit=65)) == 0


def test_returned_and_already_spent_credits_are_counted_first() -> None:
    usage = DailyUsageFile(None, "org")
    take(usage, 40, daily_limit=None)
    assert usage.spent_by_minute(NOW) == [(NOW, 40)]
    usage.take(AllowanceRequest(NOW + 5, 0, 0, already_spent=7, returned=30, returned_minute=NOW))
    assert usage.spent_by_minute(NOW + 5) == [(NOW, 10), (NOW + 5, 7)]
    assert take(usage, 100, NOW + 5, daily_limit=17) == 0


def test_orgs_are_counted_separately() -> None:
    usage = DailyUsageFile(None, "a")
    take(usage, 100)
    assert DailyUsageFile(None, "b").spent_by_minute(NOW) == []


def test_credits_spent_before_the_org_is_known_are_moved_to_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "credits.sqlite3"
    first, concurrent = (DailyUsageFile(path, "connection") for _ in range(2))
    first.take(AllowanceRequest(NOW, 3, 1))
    concurrent.take(AllowanceRequest(NOW, 5, 1))
    first.take(AllowanceRequest(NOW, 2, 1, org="org", counted=3))
    assert first.spent_by_minute(NOW) == concurrent.spent_by_minute(NOW) == [(NOW, 10)]
    concurrent.take(AllowanceRequest(NOW, 0, 0, returned=4, returned_minute=NOW))
    assert first.spent_by_minute(NOW) == [(NOW, 6)]


def test_the_org_of_a_connection_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "credits.sqlite3"
    DailyUsageFile(path, "connection").take(AllowanceRequest(NOW, 7, 1, org="org"))
    next_run, other_connection = (DailyUsageFile(path, key) for key in ("connection", "other"))
    assert (next_run.org(), other_connection.org()) == ("org", None)
    assert next_run.spent_by_minute(NOW) == [(NOW, 7)]
    assert next_run.take(AllowanceRequest(NOW, 1, 1, limit=7)) == 0
    other_connection.take(AllowanceRequest(NOW, 1, 1, org="org"))
    assert other_connection.spent_by_minute(NOW) == [(NOW, 8)]


def test_a_connection_that_changed_its_org_counts_for_the_new_org(tmp_path: Path) -> None:
    path = tmp_path / "credits.sqlite3"
    DailyUsageFile(path, "connection").take(AllowanceRequest(NOW, 7, 1, org="former"))
    usage = DailyUsageFile(path, "connection")
    taken = usage.take(AllowanceRequest(NOW, 1, 1))
    usage.take(AllowanceRequest(NOW, 5, 1, org="org", counted=taken))
    usage.take(AllowanceRequest(NOW, 5, 1, org="org", counted=taken + 5))
    assert usage.spent_by_minute(NOW) == [(NOW, 11)]


def test_a_window_reported_by_an_emulator_is_stored_for_its_org(tmp_path: Path) -> None:
    path = tmp_path / "credits.sqlite3"
    usage = DailyUsageFile(path, "connection")
    usage.take(AllowanceRequest(NOW, 9, 1, org="emulator", window_minutes=2))
    next_run, other = DailyUsageFile(path, "connection"), DailyUsageFile(path, "other")
    assert (next_run.window_minutes(), other.window_minutes()) == (2, WINDOW_MINUTES)
    assert next_run.take(AllowanceRequest(NOW + 2, 1, 1, limit=9)) == 0
    assert next_run.take(AllowanceRequest(NOW + 3, 1, 1, limit=9)) == 1
    assert free_at([(NOW, 9)], 9, next_run.window_minutes()) == (NOW + 3) * 60


def test_credits_recorded_days_ahead_are_dropped() -> None:
    usage = DailyUsageFile(None, "org")
    take(usage, 500, NOW + 10 * WINDOW_MINUTES, daily_limit=None)
    assert usage.spent_by_minute(NOW) == []
    take(usage, 500, NOW + 300, daily_limit=None)
    assert usage.spent_by_minute(NOW) == [(NOW + 300, 500)], (
        "less than a day ahead still counts, to be safe"
    )


def test_free_at_returns_when_enough_credits_leave_the_window() -> None:
    spent = [(NOW, 10), (NOW + 3, 5)]
    assert free_at(spent, 10) == (NOW + WINDOW_MINUTES + 1) * 60
    assert free_at(spent, 11) == (NOW + WINDOW_MINUTES + 4) * 60
    assert free_at(spent, 16) is None


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_only_its_owner_can_read_the_file(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = tmp_path / "state" / "credits.sqlite3"
        usage = DailyUsageFile(path, "org")
        take(usage, 1)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_a_file_other_than_a_database_raises_an_os_error(tmp_path: Path) -> None:
    path = tmp_path / "credits.sqlite3"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(OSError, match="not a database"):
        DailyUsageFile(path, "org")


def _spend(path: Path, results: multiprocessing.Queue[int]) -> None:
    usage, total = DailyUsageFile(path, "org"), 0
    while taken := take(usage, 9, daily_limit=200):
        total += taken
    results.put(total)


def test_concurrent_processes_do_not_exceed_the_limit(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[int] = context.Queue()
    path = tmp_path / "credits.sqlite3"
    processes = [context.Process(target=_spend, args=(path, results)) for _ in range(3)]
    for process in processes:
        process.start()
    assert sum(results.get(timeout=30) for _ in processes) == 200
    for process in processes:
        process.join(30)
    assert sum(amount for _, amount in DailyUsageFile(path, "org").spent_by_minute(NOW)) == 200
