"""End of an invocation that sent: what the ledger shows, and how `run.json` records it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from bulklink.engine.shutdown import StopController
from bulklink.errors import LedgerError, RefusedError, RunDirError, StoppedBy
from bulklink.ledger.checkpoint import check_written
from bulklink.ledger.records import timestamp
from bulklink.ledger.replay import replay
from bulklink.ledger.state import LedgerState
from bulklink.operations.callbacks import ResultCounter, RunCallbacks
from bulklink.operations.environment import Environment
from bulklink.operations.invocation import check_accounting, with_end_state
from bulklink.operations.session import CrmSession
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import RunRecord, RunState
from bulklink.runs.status import RunResult, build_run_result, run_exit_code, status_counts
from bulklink.runs.undone import record_undo


@dataclass(slots=True, kw_only=True)
class InvocationEnd:
    """End of one invocation that sent, whose session is closed.

    Args:
        folder: the run folder.
        record: `run.json` as it is on disk, but for the bottleneck.
        previous_record: `run.json` before this invocation.
        started_at: start of the invocation in monotonic seconds.
        ledger_state: state of the ledger with the results counted by this invocation.
        counter: counts these results.
        session: the session.
        callbacks: called with warnings about an undo.
        stop: why the run stopped.
        environment: clock and disk.
    """

    folder: RunFolder
    record: RunRecord
    previous_record: RunRecord
    started_at: float
    ledger_state: LedgerState
    counter: ResultCounter
    session: CrmSession
    callbacks: RunCallbacks
    stop: StopController
    environment: Environment

    async def record_end(self, refusal: RefusedError | None) -> RunResult:
        """Record how the invocation ended and return the state of the run.

        Args:
            refusal: why it was refused; None if it was not.

        Raises:
            LedgerError: if the ledger does not match the results.
        """
        clock, reason = self.environment.clock, self.stop.reason
        ended, seconds = timestamp(clock.wall()), round(clock.monotonic() - self.started_at, 3)
        ledger_broken = reason is not None and reason.stopped_by is StoppedBy.LEDGER
        record = with_end_state(self.record, self.previous_record, reason, refusal)
        read = self._replay_ledger if ledger_broken else self._check_ledger
        ledger_state = await self._read_ledger(record, ended, seconds, read)
        counts = status_counts(record, ledger_state)
        exit_code = run_exit_code(record.state, record.stopped_by, counts)
        *earlier, last = record.invocations
        invocation = msgspec.structs.replace(
            last,
            ended=ended,
            seconds=seconds,
            stopped_by=record.stopped_by,
            exit_code=exit_code,
        )
        self.record = record
        ledger_fields: dict[str, Any] = {}
        # A broken ledger without the calls of this invocation is another file in its place.
        if not ledger_broken or ledger_state.next_call > self.ledger_state.next_call:
            ledger_fields = {
                "counts": counts,
                "ledger_sha256": ledger_state.digest.sha256,
                "ledger_bytes": ledger_state.digest.length,
            }
        try:
            self._update(invocations=(*earlier, invocation), **ledger_fields)
        except RunDirError as error:
            if not ledger_broken:
                raise LedgerError(error.message, where=error.place, advice=error.guidance) from None
        result = await self.environment.run_blocking(
            partial(build_run_result, self.folder, self.record, ledger_state)
        )
        if refusal is None and not ledger_broken:
            for text in record_undo(self.folder, self.record, ended):
                self.callbacks.warn(text)
        if not ledger_broken:
            check_accounting(self.record, self.counter, self.session.recorded_results, result)
        return result

    def _replay_ledger(self) -> LedgerState:
        """Return what the ledger records, where it is unknown which lines were written.

        Raises:
            LedgerError: if it does not begin as it did at the start.
        """
        return replay(self.folder.ledger, checkpoint=self.previous_record.checkpoint)

    def _check_ledger(self) -> LedgerState:
        """Return what was counted, after a check that the ledger has the lines that were written.

        Raises:
            LedgerError: if a byte of them is missing or has changed, or if there are others.
        """
        digest = self.session.ledger_digest
        check_written(self.folder.ledger, digest)
        counted = self.ledger_state
        counted.digest = digest
        counted.calls = counted.calls.plus(self.session.recorded_calls)
        return counted

    async def _read_ledger(
        self, record: RunRecord, ended: str, seconds: float, read: Callable[[], LedgerState]
    ) -> LedgerState:
        """Return what the ledger records at the end.

        Nothing is recorded about a missing or changed ledger: `run.json` still contains the
        checkpoint that it must start with.

        Raises:
            LedgerError: if it is missing or changed.
        """
        try:
            return await self.environment.run_blocking(read)
        except LedgerError as error:
            stopped_by = StoppedBy.LEDGER
            *earlier, last = record.invocations
            invocation = msgspec.structs.replace(
                last,
                ended=ended,
                seconds=seconds,
                stopped_by=stopped_by,
                exit_code=error.exit_code,
            )
            with suppress(RunDirError):  # the folder may be missing too
                self._update(
                    state=RunState.STOPPED,
                    stopped_by=stopped_by,
                    reason=error.message,
                    invocations=(*earlier, invocation),
                )
            reason = self.stop.reason
            if reason is not None and reason.stopped_by is stopped_by:
                error.message = reason.message
            raise

    def _update(self, **changes: Any) -> None:
        """Change fields of the record and write it."""
        self.record = self.record.replace(**changes)
        self.folder.write(self.record)
