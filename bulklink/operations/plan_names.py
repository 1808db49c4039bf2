"""Names of the deals and owners of a plan, for those who approve it."""

from __future__ import annotations

import msgspec

from bulklink.mapping.checked import CheckedMapping
from bulklink.mapping.looked_up_names import RecordEmails
from bulklink.runs.record import OrgRecord

MAX_RECORDS_NAMED = 20
"""Maximum deals, and owners, that a plan with names lists."""


class PlanNames(msgspec.Struct, frozen=True):
    """Names of the deals and owners of a plan, and the org that they come from.

    Args:
        org: the org; None if nothing had to be looked up.
        credits: requests that the look-ups took.
        looked_up: deals and owners that were looked up.
        deals: deals of links and relinks, those with the most emails first.
        deals_in_all: number of deals.
        owners: owners of links and relinks, likewise.
        owners_in_all: number of owners.
    """

    org: OrgRecord | None
    credits: int
    looked_up: int
    deals: tuple[RecordEmails, ...]
    deals_in_all: int
    owners: tuple[RecordEmails, ...]
    owners_in_all: int


def build_plan_names(
    checked: CheckedMapping, org: OrgRecord | None, calls: int, looked_up: int
) -> PlanNames:
    """Return the names of a checked mapping.

    Args:
        checked: the mapping with the looked-up names.
        org: the org; None if nothing had to be looked up.
        calls: requests that the look-ups took.
        looked_up: deals and owners that were looked up.
    """
    return PlanNames(
        org,
        calls,
        looked_up,
        *checked.records_with_most_emails("deal_id", "deal_name", MAX_RECORDS_NAMED),
        *checked.records_with_most_emails("owner_id", "owner_name", MAX_RECORDS_NAMED),
    )
