"""Credit limits follow from a job's options and the org's licence, as in zoho-api.md."""

from __future__ import annotations

from typing import Any

import pytest

from bulklink.engine.quota.budget import CreditLimits
from bulklink.operations.credit_limits import connection_key, credit_limits, daily_quota, usage_key
from bulklink.operations.job import Edition, Job
from bulklink.zoho.connection import Connection
from bulklink.zoho.lookup_responses import Org


@pytest.mark.parametrize(
    ("options", "quota", "limits"),
    [
        ({}, 50_000, CreditLimits()),
        ({"max_credits": 9}, None, CreditLimits(per_invocation=9)),
        ({"credits_per_day": 100}, 50_000, CreditLimits(per_day=100)),
        ({"reserve_credits": 10}, None, CreditLimits(reserve=10)),
        ({"reserve_credits": 10}, 50_000, CreditLimits(reserve=10, per_day_if_unreported=49_990)),
        (
            {"reserve_credits": 10, "credits_per_day": 100},
            None,
            CreditLimits(per_day=100, reserve=10, per_day_if_unreported=90),
        ),
        (
            {"reserve_credits": 10, "credits_per_day": 100},
            50_000,
            CreditLimits(per_day=100, reserve=10, per_day_if_unreported=49_990),
        ),
        (
            {"reserve_credits": 99_999},
            50_000,
            CreditLimits(reserve=99_999, per_day_if_unreported=0),
        ),
    ],
)
def test_the_reserve_is_kept_from_the_orgs_credits_or_else_from_credits_per_day(
    options: dict[str, Any], quota: int | None, limits: CreditLimits
) -> None:
    assert credit_limits(Job(mappings=(), **options), quota) == limits


def test_the_orgs_credits_are_those_of_its_edition_and_users() -> None:
    job = Job(mappings=())
    assert daily_quota(job, Org(paid_type="enterprise", users=10)) == 60_000
    assert daily_quota(job, Org(paid_type="enterprise")) == 50_000
    assert daily_quota(job, Org(users=10)) is None
    job_with_edition = Job(mappings=(), edition=Edition.STANDARD)
    assert daily_quota(job_with_edition, Org(users=1_000)) == 100_000


@pytest.mark.parametrize(
    ("url", "org_id", "key"),
    [
        ("https://www.zohoapis.eu", "77", "www.zohoapis.eu 77"),
        ("https://www.zohoapis.eu:443", "77", "www.zohoapis.eu 77"),
        ("https://sandbox.zohoapis.eu", "77", "sandbox.zohoapis.eu 77"),
        ("http://127.0.0.1:8080", "77", "127.0.0.1:8080 77"),
    ],
)
def test_an_org_is_counted_under_its_host_and_id(url: str, org_id: str, key: str) -> None:
    assert usage_key(url, org_id) == key


def test_a_connection_is_identified_by_host_and_credentials() -> None:
    options = {"client_id": "id", "client_secret": "secret", "refresh_token": "token"}
    connections = [
        Connection.from_values(dc="eu", **options),
        Connection.from_values(dc="us", **options),
        Connection.from_values(dc="eu", **options | {"client_id": "other"}),
        Connection.from_values(dc="eu", **options | {"refresh_token": "other"}),
        Connection.from_values(dc="eu", access_token="short-lived"),
    ]
    assert len({connection_key(connection) for connection in connections}) == len(connections)
    assert not any("token" in connection_key(connection) for connection in connections)
    changed = Connection.from_values(dc="eu", **options | {"client_secret": "renewed"})
    assert connection_key(changed) == connection_key(connections[0])
