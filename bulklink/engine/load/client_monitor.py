"""Load of this machine during a load test: processor, event loop, garbage collection."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio

from bulklink.latency_histogram import LatencyHistogram

_TICK = 0.01
"""Seconds between two looks at the event loop."""
MAX_CPU_SHARE = 0.9
"""Share of a processor above which the client may limit what it measures."""
_MAX_LAG_SHARE = 0.1


@dataclass(slots=True)
class ClientMonitor:
    """Measures how busy this process is.

    Args:
        monotonic: returns monotonic seconds.
        cpu: returns seconds of processor time of this process.

    Attributes:
        loop_lag: how late the event loop wakes a task.
        gc_seconds: seconds of garbage collection.
        cpu_seconds: seconds of processor time.
        seconds: seconds of measuring.
    """

    monotonic: Callable[[], float]
    cpu: Callable[[], float]
    loop_lag: LatencyHistogram = field(default_factory=LatencyHistogram, init=False)
    gc_seconds: float = field(default=0.0, init=False)
    cpu_seconds: float = field(default=0.0, init=False)
    seconds: float = field(default=0.0, init=False)
    _gc_began: float = field(default=0.0, init=False)

    async def measure(self) -> None:
        """Measure until the task is cancelled."""
        began_at, cpu_before = self.monotonic(), self.cpu()
        with self._watch_gc():
            try:
                while True:
                    before = self.monotonic()
                    await anyio.sleep(_TICK)
                    self.loop_lag.record(max(0.0, self.monotonic() - before - _TICK))
            finally:
                self.cpu_seconds = self.cpu() - cpu_before
                self.seconds = self.monotonic() - began_at

    @property
    def cpu_share(self) -> float:
        """Share of one processor that the process used."""
        return self.cpu_seconds / self.seconds if self.seconds else 0.0

    def is_bottleneck(self, median_latency: float | None) -> bool:
        """Return whether this process may have limited the figures.

        Args:
            median_latency: median service time of the calls in seconds; None without any.
        """
        lag = self.loop_lag.quantile(0.99) or 0.0
        is_late = median_latency is not None and lag > _MAX_LAG_SHARE * median_latency
        return self.cpu_share > MAX_CPU_SHARE or is_late

    @contextmanager
    def _watch_gc(self) -> Iterator[None]:
        gc.callbacks.append(self._on_gc)
        try:
            yield
        finally:
            gc.callbacks.remove(self._on_gc)

    def _on_gc(self, phase: str, info: object) -> None:
        del info
        if phase == "start":
            self._gc_began = self.monotonic()
        else:
            self.gc_seconds += self.monotonic() - self._gc_began
