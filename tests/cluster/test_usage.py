"""Credits of an org in the database: counted by the same rules as on one machine."""

from __future__ import annotations

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulklink.cluster.database import ClusterDatabase
from bulklink.cluster.usage import ClusterUsage
from bulklink.engine.quota.daily_usage import AllowanceRequest, DailyUsageFile

ORG = "https://www.zohoapis.eu 1"
DAY = 24 * 60
requests = st.lists(
    st.builds(
        AllowanceRequest,
        minute=st.sampled_from([0, 1, 5, DAY - 1, DAY, DAY + 1, 2 * DAY, 3 * DAY + 5]),
        wanted=st.integers(0, 60),
        minimum=st.integers(0, 12),
        already_spent=st.integers(0, 30),
        returned=st.integers(0, 40),
        returned_minute=st.sampled_from([0, 1, 5, DAY, 2 * DAY]),
        limit=st.sampled_from([None, 0, 50, 100, 400]),
        org=st.just(ORG),
        window_minutes=st.sampled_from([None, None, None, 10, DAY]),
    ),
    min_size=5,
    max_size=20,
)


async def take_all(
    usage: ClusterUsage, requests: list[AllowanceRequest]
) -> list[tuple[int, list[tuple[int, int]], int]]:
    """Return for each request what was granted, what is counted after it, and the window."""
    return [
        (
            await usage.take(request),
            await usage.spent_by_minute(request.minute),
            await usage.window_minutes(),
        )
        for request in requests
    ]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(requests)
def test_the_database_grants_what_the_file_of_one_machine_grants(
    database: ClusterDatabase, requests: list[AllowanceRequest]
) -> None:
    database.run_script("DELETE FROM spent; DELETE FROM org;")
    database.query("INSERT INTO org (org_key) VALUES (%(org)s)", {"org": ORG})
    file = DailyUsageFile(None, ORG)
    expected = [
        (file.take(request), file.spent_by_minute(request.minute), file.window_minutes())
        for request in requests
    ]
    file.close()
    assert anyio.run(take_all, ClusterUsage(database, ORG, lambda: True), requests) == expected
