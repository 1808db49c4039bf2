"""A run that may not send any more because another machine may drive it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import orjson

from bulklink import Connection, run
from bulklink.errors import ExitCode, RunStoppedError, StoppedBy
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.resume import resume
from tests.operations.local_crm import EMAILS, LocalCrm, job


class Lease:
    """A lease that ends after some requests.

    Attributes:
        asked: times that it was asked.
    """

    def __init__(self, requests: int) -> None:
        self.requests = requests
        self.asked = 0

    def may_leave(self) -> None:
        """Raise once the lease has ended."""
        self.asked += 1
        if self.asked > self.requests:
            raise RunStoppedError(StoppedBy.LEASE, "The lease has ended.")

    @property
    def environment(self) -> Environment:
        return msgspec.structs.replace(real_environment(), may_leave=self.may_leave)


async def test_nothing_leaves_once_the_lease_has_ended(
    tmp_path: Path, crm: LocalCrm, connection: Connection
) -> None:
    lease = Lease(requests=4)  # two look-ups with the names, and a link call at least
    planned = job(tmp_path, batch_size=5, canary=0, concurrency=1)
    result = await run(planned, connection, environment=lease.environment)
    assert (result.state, result.stopped_by) == ("stopped", StoppedBy.LEASE)
    assert result.exit_code == ExitCode.STOPPED
    assert sum(msgspec.structs.astuple(result.calls)[:4]) == lease.requests
    ledger = (tmp_path / "run" / "ledger.jsonl").read_bytes()
    lines = [orjson.loads(line) for line in ledger.splitlines()]
    calls = {(line["call"], line["attempt"]) for line in lines if line["event"] == "call"}
    unsent = {(line["call"], line["attempt"]) for line in lines if line["event"] == "unsent"}
    assert unsent
    assert len(calls - unsent) == lease.requests
    assert crm.linked == result.counts["done"]

    resumed = await resume(tmp_path / "run", connection)
    assert (resumed.state, resumed.counts["done"], crm.linked) == ("finished", EMAILS, EMAILS)


async def test_every_request_asks(tmp_path: Path, crm: LocalCrm, connection: Connection) -> None:
    lease = Lease(requests=1000)
    result = await run(job(tmp_path), connection, environment=lease.environment)
    assert lease.asked == result.credits
    assert crm.linked == EMAILS
