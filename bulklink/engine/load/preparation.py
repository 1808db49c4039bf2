"""Preparation of a load test: brings each email into the state that the test begins with."""

from __future__ import annotations

from dataclasses import dataclass, field

from bulklink.engine.load.batches import BatchCycle, LoadBatch
from bulklink.engine.load.sender import LoadSender
from bulklink.engine.shutdown import StopController
from bulklink.engine.worker_pool import WorkerPool
from bulklink.errors import BulklinkError, StoppedError

_MAX_IN_FLIGHT = 10
"""Any edition of Zoho CRM with these calls accepts as many."""
_MAX_SILENT_CALLS = 20
"""Calls whose answers name no email after which the server is taken for none that keeps links."""


@dataclass(slots=True)
class Preparation:
    """Calls before a load test, which are not measured.

    A server that is no CRM keeps no links: if none of the first answers names an email, the rest is
    left as it is.

    Args:
        batches: yields each batch once, with the op that undoes what the test does first.
    """

    batches: BatchCycle
    _calls: int = field(default=0, init=False)
    _named: bool = field(default=False, init=False)

    async def run(self, sender: LoadSender, stop: StopController, max_in_flight: int) -> None:
        """Make the calls.

        Args:
            sender: makes them.
            stop: stops them.
            max_in_flight: maximum calls in flight.
        """

        async def send(batch: LoadBatch) -> None:
            linked: bool | None = None
            try:
                call = await sender.send(batch, only_once=False)
                linked = call.linked
                self._calls += 1
                self._named = self._named or call.done > 0 or linked is not None
            except StoppedError:
                pass
            except BulklinkError as error:
                stop.request(error)
            finally:
                self.batches.end(batch, linked=linked)

        await WorkerPool[LoadBatch](self, send, stop, min(max_in_flight, _MAX_IN_FLIGHT)).run()

    def next_ready(self) -> LoadBatch | None:
        """Return None: `next` reads the batches."""
        return None

    async def next(self) -> LoadBatch | None:
        """Return the next batch; None at the end.

        Raises:
            StoppedError: if a stop has interrupted the reading.
        """
        if self._calls >= _MAX_SILENT_CALLS and not self._named:
            return None
        return await self.batches.next()
