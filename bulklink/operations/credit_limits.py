"""Credit limits from a job's options and the org's licence. Pure."""

from __future__ import annotations

import hashlib
from urllib.parse import urlsplit

import msgspec

from bulklink.engine.quota.budget import CreditLimits
from bulklink.operations.job import EDITION_LIMITS, Edition, Job, parse_edition
from bulklink.zoho.connection import Connection, is_loopback
from bulklink.zoho.lookup_responses import Org


def edition_credits(edition: Edition | None, users: int) -> int | None:
    """Return the credits of an org in 24 hours; None if its edition is unknown."""
    if edition is None:
        return None
    limits = EDITION_LIMITS[edition]
    total = limits.org_credits + limits.user_credits * users
    return total if limits.max_credits is None else min(total, limits.max_credits)


def daily_quota(job: Job, org: Org) -> int | None:
    """Return the credits of an org in 24 hours, by the job's edition or its licence, if known."""
    return edition_credits(job.edition or parse_edition(org.paid_type), org.users or 0)


def credit_limits(job: Job, quota: int | None = None) -> CreditLimits:
    """Return the credit limits of a job.

    Until the CRM reports the credits left, the reserve is kept by counting: from the org's credits
    or, if they are unknown, from the job's credits per day.

    Args:
        job: options that limit credits.
        quota: the org's credits in 24 hours; None if unknown.
    """
    daily_total = quota if quota is not None else job.credits_per_day
    unreported_limit = (
        max(0, daily_total - job.reserve_credits) if daily_total is not None else None
    )
    return CreditLimits(
        per_invocation=job.max_credits,
        per_day=job.credits_per_day,
        reserve=job.reserve_credits,
        per_day_if_unreported=unreported_limit if job.reserve_credits else None,
    )


def usage_key(api_url: str, org_id: str) -> str:
    """Return the key of an org in the 24-hour usage: its host and id.

    For a loopback address the key includes the port: two local CRMs are two orgs.

    Args:
        api_url: address of the API.
        org_id: id of the org.
    """
    url = urlsplit(api_url)
    host = url.netloc if is_loopback(api_url) else url.hostname or url.netloc
    return f"{host} {org_id}"


def org_key(connection: Connection, org: Org) -> str:
    """Return the key of an org; that of the connection if the org reports no id."""
    return usage_key(connection.api_url, org.id) if org.id else connection_key(connection)


def connection_key(connection: Connection) -> str:
    """Return the key of a connection in the 24-hour usage: a hash of its host and credentials.

    Access tokens change every hour, so a token given alone does not identify the user.
    """
    credentials = connection.credentials
    sign_in = (credentials.client_id, credentials.refresh_token) if credentials else ()
    parts = (usage_key(connection.api_url, ""), *sign_in)
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()
