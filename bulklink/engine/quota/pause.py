"""The wait for credits that all calls share."""

from __future__ import annotations

from collections.abc import Callable

from bulklink.engine.quota.waiting import Wait


class Pause:
    """Begins, is looked at, and ends.

    Args:
        wall: seconds since 1970.
        monotonic: seconds that nobody sets.
        told: told until when the run waits, in seconds since 1970, and None when it goes on.

    Attributes:
        waited: seconds of all pauses that ended.
    """

    def __init__(
        self,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        told: Callable[[float | None], None],
    ) -> None:
        self.waited = 0.0
        self._wall = wall
        self._monotonic = monotonic
        self._told = told
        self._wait: Wait | None = None
        self._began = 0.0

    @property
    def is_on(self) -> bool:
        """Whether calls wait."""
        return self._wait is not None

    @property
    def waited_so_far(self) -> float:
        """Seconds of all pauses, the one that goes on included."""
        return self.waited + (self._monotonic() - self._began if self.is_on else 0.0)

    def begin(self, seconds: float) -> None:
        """Have calls wait for so long."""
        self._began = self._monotonic()
        self._wait = Wait(seconds, self._wall(), self._began)
        self._told(self._wall() + seconds)

    def left(self) -> float:
        """Return the seconds that are left; where none are, the pause is over."""
        if self._wait is None:
            return 0.0
        left = self._wait.look(self._wall(), self._monotonic())
        if not left:
            self._wait = None
            self.waited += self._monotonic() - self._began
            self._told(None)
        return left
