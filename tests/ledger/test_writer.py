"""Ledger writer: order and delay of writes, and disk failures."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from bulklink.errors import LedgerError, StoppedError
from bulklink.ledger.records import CallLine, Result, call_line, result_line
from bulklink.ledger.writer import LedgerWriter
from bulklink.models import Op, Status
from tests.virtual import now


class SlowDisk:
    """A disk with slow writes, which can fail from the nth write on."""

    def __init__(self, *, seconds: float = 0.01, fails_at: int | None = None) -> None:
        self.writes: list[bytes] = []
        self.answers = b""
        self.times: list[float] = []
        self._seconds = seconds
        self._fails_at = fails_at

    @property
    def ledger(self) -> bytes:
        return b"".join(self.writes)

    async def write(self, ledger: bytes, answers: bytes) -> None:
        await anyio.sleep(self._seconds)
        if self._fails_at is not None and len(self.writes) >= self._fails_at:
            raise OSError(28, "No space left on device")
        self.writes.append(ledger)
        self.times.append(now())
        self.answers += answers

    def close(self) -> None:
        pass


async def test_a_commit_writes_its_line_and_all_lines_queued_before_it() -> None:
    disk = SlowDisk()
    async with LedgerWriter(disk) as ledger:
        ledger.append(b"snapshot\n")
        await ledger.commit(b"call\n")
        assert disk.ledger == b"snapshot\ncall\n"


async def test_an_appended_line_is_on_disk_about_100_ms_later() -> None:
    disk = SlowDisk()
    async with LedgerWriter(disk) as ledger:
        before = now()
        ledger.append(b"result\n")
        await anyio.sleep(1)
        assert disk.ledger == b"result\n"
        assert 0.1 <= disk.times[0] - before <= 0.12


async def test_one_flush_serves_all_waiting_commits() -> None:
    disk = SlowDisk()
    async with LedgerWriter(disk) as ledger, anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(ledger.commit, b"call %d\n" % number)
    assert len(disk.writes) <= 3
    assert disk.ledger.count(b"\n") == 50


async def test_a_commit_that_can_wait_is_written_with_the_next_or_about_100_ms_later() -> None:
    disk = SlowDisk()
    async with LedgerWriter(disk) as ledger, anyio.create_task_group() as group:
        before = now()
        await ledger.commit(b"call 1\n", at_once=False)
        assert 0.1 <= now() - before <= 0.12
        group.start_soon(partial(ledger.commit, b"call 2\n", at_once=False))
        await anyio.sleep(0.05)
        await ledger.commit(b"call 3\n")
        assert disk.writes == [b"call 1\n", b"call 2\ncall 3\n"]


async def test_lines_are_written_in_the_order_in_which_they_were_queued() -> None:
    disk = SlowDisk()
    async with LedgerWriter(disk) as ledger:

        async def task(name: int) -> None:
            for number in range(20):
                ledger.append(b"%d %d\n" % (name, number))
                await ledger.commit(b"%d %d again\n" % (name, number))

        async with anyio.create_task_group() as group:
            for name in range(5):
                group.start_soon(task, name)
    for name in range(5):
        own = [line for line in disk.ledger.splitlines() if line.startswith(b"%d " % name)]
        expected = [
            line for n in range(20) for line in (b"%d %d" % (name, n), b"%d %d again" % (name, n))
        ]
        assert own == expected


async def test_queued_lines_are_written_even_if_the_run_is_cancelled() -> None:
    disk = SlowDisk()
    with anyio.CancelScope() as scope:
        async with LedgerWriter(disk) as ledger:
            ledger.append(b"result\n")
            ledger.append_answer(b"answer\n")
            scope.cancel()
            await anyio.sleep(1)
    assert disk.ledger == b"result\n"
    assert disk.answers == b"answer\n"


async def test_a_full_disk_fails_all_waiting_and_later_commits() -> None:
    disk = SlowDisk(fails_at=1)
    errors_seen: list[str] = []
    with pytest.raises(LedgerError, match="No space left"):
        async with LedgerWriter(disk) as ledger:
            await ledger.commit(b"call 1\n")

            async def wait(number: int) -> None:
                try:
                    await ledger.commit(b"call %d\n" % number)
                except LedgerError as error:
                    errors_seen.append(error.message)

            async with anyio.create_task_group() as group:
                for number in range(5):
                    group.start_soon(wait, number)
            assert len(errors_seen) == 5
            ledger.append(b"result\n")
    assert disk.ledger == b"call 1\n"


async def test_an_error_in_the_block_is_raised_unchanged() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with LedgerWriter(SlowDisk()) as ledger:
            ledger.append(b"result\n")
            raise KeyError("mine")


async def test_a_failed_write_at_the_end_raises_an_error() -> None:
    with pytest.raises(LedgerError, match="No space left"):
        async with LedgerWriter(SlowDisk(fails_at=0)) as ledger:
            ledger.append(b"result\n")


@pytest.mark.parametrize("error", [StoppedError(), RuntimeError("a mistake")])
async def test_a_failed_write_takes_precedence_over_the_error_that_ended_the_block(
    error: Exception,
) -> None:
    with pytest.raises(LedgerError, match="No space left on device"):
        async with LedgerWriter(SlowDisk(fails_at=0)) as ledger:
            ledger.append(b"result\n")
            raise error


async def test_results_are_counted_as_they_are_written() -> None:
    lines = b"".join(
        result_line(
            "now", Result(row, Op.LINK, "1", "2", "a", "3", Status.DONE, message="two\nlines")
        )
        for row in (1, 2)
    )
    writer = LedgerWriter(SlowDisk())
    async with writer as ledger:
        await ledger.commit(call_line("now", CallLine(1, "link", 1, "1", (1,))))
        ledger.append_results(Status.DONE, lines)
    assert writer.results == {Status.DONE: 2}


async def test_results_that_were_not_written_are_not_counted() -> None:
    writer = LedgerWriter(SlowDisk(fails_at=0))
    with pytest.raises(LedgerError):
        async with writer as ledger:
            ledger.append_results(Status.DONE, b"result\n")
    assert not writer.results
