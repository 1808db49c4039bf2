"""The canary of a run: whether one is due, what is asked after it, what `run.json` keeps."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from anyio.abc import TaskGroup

from bulklink.engine.canary import Canary, Found
from bulklink.engine.contact import Desk
from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.job.options import Job
from bulklink.job.progress import Counter, Watch
from bulklink.models import Message
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import CanaryRecord, CanaryState, RunRecord

MESSAGES = 20
"""Messages that a canary tries where nothing else is asked for."""
MOST_WITHOUT = 200
"""Messages that a run sends without a canary where nothing else is asked for."""


def canary_due(record: RunRecord, job: Job, left: int) -> int:
    """Return how many messages are to be tried before the rest; 0 for none.

    Args:
        record: of the run: what was tried to its end is not tried again, what was not, is.
        job: what is asked.
        left: messages that are to be sent.
    """
    if record.canary is not None:
        again = record.canary.state is CanaryState.TRYING
        return record.canary.messages if again and left else 0
    if job.canary is not None:
        return job.canary if left else 0
    return MESSAGES if left > MOST_WITHOUT else 0


class Trial(msgspec.Struct, frozen=True):
    """Lets a canary fly: keeps in `run.json` how it goes, and asks where it does not pass."""

    folder: RunFolder
    watch: Watch
    counter: Counter

    async def run(
        self,
        record: RunRecord,
        canary: Canary,
        windows: Iterator[list[Message]],
        contacts: TaskGroup,
        desk: Desk,
    ) -> tuple[RunRecord, CanaryState]:
        """Send the first messages and read them back.

        Args:
            record: of the run.
            canary: that is to fly.
            windows: contacts in the order of the plan.
            contacts: works on what is left of those that were begun.
            desk: what the contacts share.

        Returns:
            The record as it is kept now, and how the canary went.
        """
        kept = CanaryRecord(canary.at_least)
        self._keep(record.but(canary=kept))
        found = await canary.run(windows, contacts)
        if found is not None:
            state = CanaryState.PASSED if found.passed else await self._asked(found, desk)
            kept = CanaryRecord(canary.at_least, state, found.in_words)
        return self._keep(record.but(canary=kept)), kept.state

    async def _asked(self, found: Found, desk: Desk) -> CanaryState:
        """Ask whether the rest is sent after all; nothing is in flight then."""
        await desk.ledger.commit()
        if self.watch.can_ask and self.watch.go_on(found.in_words, self.counter.left):
            return CanaryState.CONFIRMED
        if desk.stopping.reason is not None:
            return CanaryState.TRYING  # ended at the question, which was not answered
        desk.stopping.stop(_stop(found, self.counter.left, str(self.folder.path)))
        return CanaryState.STOPPED

    def _keep(self, record: RunRecord) -> RunRecord:
        self.folder.write(record)
        return record


def _stop(found: Found, left: int, run_dir: str) -> RunStoppedError:
    """Return why a run stops after its canary, and what to do."""
    advice = (
        f"Look at these emails in the CRM. Then `bulklink resume {run_dir}` sends the other"
        f" {left:,} without another canary; `bulklink retry {run_dir}` sends what failed too."
    )
    return RunStoppedError(
        StoppedBy.CANARY,
        f"The canary did not pass. {found.in_words}",
        advice="\n".join([*found.resolutions, advice]),
    )
