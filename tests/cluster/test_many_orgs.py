"""Many orgs and several workers: each org has one driver at any time, and all finish."""

from __future__ import annotations

import os

import pytest

from bulklink.cluster.database import ClusterDatabase
from tests.cluster.conftest import TIMEOUT
from tests.cluster.fake_drivers import FakeDrivers, add_runs, check_ledgers, real_queues, work

ORGS = int(os.environ.get("BULKLINK_TEST_ORGS", "24"))

pytestmark = pytest.mark.timeout(TIMEOUT)


async def test_many_orgs_are_sent_by_three_workers(url: str, database: ClusterDatabase) -> None:
    await add_runs(database, ORGS, 2)
    drivers = FakeDrivers(url, calls=4)
    async with real_queues(url, 3) as queues:
        results = await work(url, drivers.start, queues, slots=6)
    assert drivers.overlaps == []
    assert 1 < drivers.most <= 3 * 6
    assert sum(result.finished for result in results) == 2 * ORGS
    assert all(result.finished for result in results)
    await check_ledgers(database, runs=2 * ORGS)
