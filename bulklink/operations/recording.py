"""Writing the timeline of a run while it is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio.to_thread

from bulklink.engine.limiting import limited_in
from bulklink.engine.metrics import Totals, Window, latencies_between, window_between
from bulklink.models import Status
from bulklink.runs.timeline import Stretch, append_stretch

_SHORTEST = 1.0
_HARDLY_ANY = 0.01
_STRETCHES = 500
"""A stretch lasts a second, or this part of the run so far: days make some thousand lines."""


class Recorder:
    """Cuts what is measured into stretches and adds them to `timeline.jsonl`.

    A wait for credits is one stretch. A timeline that cannot be written is given up: the run does
    not need it.

    Args:
        path: of the timeline.
        before: seconds that the run took in earlier invocations.
        rate: calls a second that are allowed; None is no limit.
        warn: told if it cannot be written.
    """

    def __init__(
        self, path: Path, before: float, rate: float | None, warn: Callable[[str], None]
    ) -> None:
        self._path = path
        self._before = before
        self._rate = rate
        self._warn = warn
        self._given_up = False
        self._began: Totals | None = None
        self._last: Totals | None = None
        self._settled: dict[Status, int] = {}
        self._waits = False

    async def look(
        self,
        totals: Totals,
        settled: dict[Status, int],
        credits_left: int | None,
        ts: Callable[[], str],
        *,
        waits: bool,
    ) -> None:
        """Take in what is measured so far; what makes a stretch is written.

        Args:
            totals: what is measured of the calls.
            settled: results of this invocation by status.
            credits_left: what the org has left as the CRM told.
            ts: returns the time as the ledger writes it.
            waits: whether the run waits for credits.
        """
        turns, self._waits = waits is not self._waits, waits
        if self._is_due(totals, turns=turns):
            stretch = self._cut(totals, settled, credits_left, ts())
            if stretch is not None:
                with self._given_up_if_unwritable():
                    await anyio.to_thread.run_sync(append_stretch, self._path, stretch)

    def end(
        self, totals: Totals, settled: dict[Status, int], credits_left: int | None, ts: str
    ) -> None:
        """Write what is left; nothing is waited for, so that a stop at once has it too."""
        stretch = self._cut(totals, settled, credits_left, ts)
        if stretch is not None:
            with self._given_up_if_unwritable():
                append_stretch(self._path, stretch)

    def _is_due(self, totals: Totals, *, turns: bool) -> bool:
        if self._began is None or self._last is None:
            return True
        if self._waits or turns:
            return turns
        elapsed = self._before + totals.at - self._began.at
        return totals.at - self._last.at >= max(_SHORTEST, elapsed / _STRETCHES)

    def _cut(
        self, totals: Totals, settled: dict[Status, int], credits_left: int | None, ts: str
    ) -> Stretch | None:
        """End a stretch and begin another; None where there is nothing to write."""
        last, self._last = self._last, totals
        before, self._settled = self._settled, settled.copy()
        if last is None:
            self._began = totals
            return None
        if self._given_up:
            return None
        window = window_between(last, totals)
        if _is_idle(window) and settled == before:
            return None
        more = {str(status): n - before.get(status, 0) for status, n in settled.items()}
        return Stretch(
            ts=ts,
            seconds=round(window.seconds, 3),
            settled={status: n for status, n in more.items() if n},
            calls={str(kind): n for kind, n in window.landed.items()},
            answered_429=window.answered_429,
            in_flight=round(window.in_flight, 2),
            most_in_flight=round(window.most_in_flight, 2),
            latency=latencies_between(last, totals),
            credits_left=credits_left,
            waited=round(window.waited, 3),
            limited_by=limited_in(window, self._rate),
        )

    @contextmanager
    def _given_up_if_unwritable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._given_up = True
            self._warn(
                f"{self._path.name} cannot be written: {error.strerror or error}. The run goes on"
                " without it; the ledger is not touched by that."
            )


def _is_idle(window: Window) -> bool:
    return not window.calls and max(window.in_flight, window.waited, window.held) < _HARDLY_ANY
