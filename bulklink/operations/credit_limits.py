"""What a job may spend of an org's credits, by its options and the org's licence. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from bulklink.engine.quota.budget import Limits
from bulklink.operations.job import Edition, Job, edition_of
from bulklink.zoho.connection import is_loopback
from bulklink.zoho.lookup_responses import Org

_DAY_CREDITS = {
    Edition.STANDARD: (50_000, 250, 100_000),
    Edition.PROFESSIONAL: (50_000, 500, 3_000_000),
    Edition.ENTERPRISE: (50_000, 1_000, 5_000_000),
    Edition.ZOHO_ONE: (50_000, 1_000, 5_000_000),
    Edition.ULTIMATE: (50_000, 2_000, None),
    Edition.CRM_PLUS: (50_000, 2_000, None),
}
"""Credits in 24 hours by edition: for the org, for each user, and at most (Zoho's API limits)."""


def credits_a_day(edition: Edition | None, users: int) -> int | None:
    """Return the credits of an org in 24 hours, None where its edition is not known."""
    if edition is None:
        return None
    org, each, most = _DAY_CREDITS[edition]
    found = org + each * users
    return found if most is None else min(found, most)


def quota_of(job: Job, org: Org) -> int | None:
    """Return the credits of an org in 24 hours by its licence or the job's edition, if known."""
    return credits_a_day(job.edition or edition_of(org.paid_type), org.users or 0)


def limits_of(job: Job, quota: int | None = None) -> Limits:
    """Return what a job may spend.

    As long as the CRM does not tell what is left, the reserve is kept by counting, from the org's
    credits or, where they are not known, from what the job may spend a day.

    Args:
        job: what is asked.
        quota: the org's credits in 24 hours; None where they are not known.
    """
    whole = quota if quota is not None else job.credits_per_day
    untold = max(0, whole - job.reserve_credits) if whole is not None else None
    return Limits(
        most=job.max_credits,
        a_day=job.credits_per_day,
        reserve=job.reserve_credits,
        untold=untold if job.reserve_credits else None,
    )


def credits_key(api_url: str, org_id: str | None) -> str:
    """Return what an org's credits are counted under: its host and id, or the host alone.

    On this machine the port belongs to it: two local CRMs are two orgs.
    """
    parts = urlsplit(api_url)
    host = parts.netloc if is_loopback(api_url) else parts.hostname or parts.netloc
    return f"{host} {org_id}" if org_id else host
