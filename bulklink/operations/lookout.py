"""Looking at a run while it is sent, for whoever watches and for its timeline."""

from __future__ import annotations

from collections.abc import Callable

from bulklink.engine.clock import Clock
from bulklink.engine.metrics import Totals
from bulklink.engine.quota.gate import Credits
from bulklink.operations.callbacks import Counter, Watch
from bulklink.operations.monitor import Observer
from bulklink.operations.recording import Recorder


class Lookout:
    """Looks now and then, and tells what is seen.

    Args:
        observer: looks at the calls and the credits.
        recorder: writes the timeline.
        measured: returns what was measured of the calls so far.
        credits: of the invocation.
        counter: of the run.
        trying: tells whether a canary flies.
        watch: call-backs.
        clock: tells the time.

    Attributes:
        sending: whether messages are sent, and not only looked up what they need.
    """

    def __init__(
        self,
        observer: Observer,
        recorder: Recorder,
        measured: Callable[[], Totals],
        credits: Credits,  # noqa: A002 - the word of the field; nobody wants the builtin
        counter: Counter,
        trying: Callable[[], bool],
        watch: Watch,
        clock: Clock,
    ) -> None:
        self.sending = False
        self._observer = observer
        self._recorder = recorder
        self._measured = measured
        self._credits = credits
        self._counter = counter
        self._trying = trying
        self._watch = watch
        self._clock = clock

    async def look(self) -> None:
        """Look once: whoever watches is told, and what makes a stretch of time is written."""
        if not self.sending or self._trying():
            self._observer.begin()  # look-ups and a canary tell nothing of the pace of the rest
        totals = await self._observer.look()
        if self.sending:
            self._watch.progress(self._counter.progress(self._observer.gauge()))
        await self._recorder.look(
            totals,
            self._counter.results,
            self._credits.book.told_left,
            self._clock.timestamp,
            waits=self._credits.waits,
        )

    def end(self) -> None:
        """Write what is left of the timeline, without a wait."""
        self._recorder.end(
            self._measured(),
            self._counter.results,
            self._credits.book.told_left,
            self._clock.timestamp(),
        )
