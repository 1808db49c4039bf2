"""The canary of a run: whether one is due, what is asked after it, what `run.json` keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
from anyio.abc import TaskGroup

from bulklink.engine.canary import Canary
from bulklink.engine.canary_result import Found
from bulklink.engine.context import Desk
from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.models import Message
from bulklink.operations.callbacks import Counter, Watch
from bulklink.runs.record import CanaryRecord, CanaryState
from bulklink.shell import quoted

MESSAGES = 20
"""Messages that a canary tries where nothing else is asked for."""
MOST_WITHOUT = 200
"""Messages that a run sends without a canary where nothing else is asked for."""


def canary_due(kept: CanaryRecord | None, asked: int | None, left: int) -> int:
    """Return how many messages are to be tried before the rest; 0 for none.

    Args:
        kept: what `run.json` keeps of a canary: what was tried to its end is not tried again, what
            was not, is.
        asked: messages that are asked for; None leaves it to the size of the run.
        left: messages that are to be sent.
    """
    if kept is not None:
        again = kept.state is CanaryState.TRYING
        return kept.messages if again and left else 0
    if asked is not None:
        return asked if left else 0
    return MESSAGES if left > MOST_WITHOUT else 0


class Trial(msgspec.Struct, frozen=True):
    """Lets a canary fly: has it kept how it goes, and asks where it does not pass.

    Args:
        keep: keeps in `run.json` how it goes.
        watch: can ask a person.
        counter: tells how many messages are left.
        run_dir: the run folder, for advice.
    """

    keep: Callable[[CanaryRecord], None]
    watch: Watch
    counter: Counter
    run_dir: str

    async def run(
        self, canary: Canary, windows: Iterator[list[Message]], contacts: TaskGroup, desk: Desk
    ) -> CanaryState:
        """Send the first messages and read them back; return how that went.

        Args:
            canary: that is to fly.
            windows: contacts in the order of the plan.
            contacts: works on what is left of those that were begun.
            desk: what the contacts share.
        """
        self.keep(CanaryRecord(canary.at_least))
        found = await canary.run(windows, contacts)
        if found is None:
            return CanaryState.TRYING
        state = CanaryState.PASSED if found.passed else await self._asked(found, desk)
        self.keep(CanaryRecord(canary.at_least, state, found.in_words))
        return state

    async def _asked(self, found: Found, desk: Desk) -> CanaryState:
        """Ask whether the rest is sent after all; nothing is in flight then."""
        await desk.ledger.commit()
        if self.watch.can_ask and self.watch.go_on(found.in_words, self.counter.left):
            return CanaryState.CONFIRMED
        if desk.stopping.reason is not None:
            return CanaryState.TRYING  # ended at the question, which was not answered
        desk.stopping.stop(_stop(found, self.counter.left, self.run_dir))
        return CanaryState.STOPPED


def _stop(found: Found, left: int, run_dir: str) -> RunStoppedError:
    """Return why a run stops after its canary, and what to do."""
    advice = (
        f"Look at these emails in the CRM. Then {quoted('resume', run_dir)} sends the other"
        f" {left:,} without another canary; {quoted('retry', run_dir)} sends what failed too."
    )
    return RunStoppedError(
        StoppedBy.CANARY,
        f"The canary did not pass. {found.in_words}",
        advice="\n".join([*found.resolutions, advice]),
    )
