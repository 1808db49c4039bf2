"""Summary of a sealed plan: counts and sample rows."""
# ruff: noqa: S608

from __future__ import annotations

import msgspec

from bulklink.html_pages.report.plan_model import (
    EmailCount,
    NamedRecord,
    OpCount,
    PlanSummary,
    SampleRow,
)
from bulklink.mapping.database import Database, open_database, spill_folder
from bulklink.models import NO_DEAL
from bulklink.operations.report.comparison import collect_plan_comparison
from bulklink.operations.report.failures import messages_relation
from bulklink.runs.folder import RunFolder

MAX_DEALS_LISTED = 25
"""Maximum deals, and owners, to list: those with the most emails."""
_SAMPLE_ROWS = 20
_MEMORY = "256MB"
_NO_RECORD = (None, NO_DEAL)


def read_plan_summary(folder: RunFolder) -> PlanSummary | None:
    """Return the summary of a run's plan, with ids and names; None if it has no plan. Blocks."""
    with open_database(spill_folder(folder.plan), memory=_MEMORY) as database:
        return collect_plan_summary(database, folder, full=True)


def collect_plan_summary(
    database: Database, folder: RunFolder, *, full: bool
) -> PlanSummary | None:
    """Return the summary of a run's plan; None if it has no plan.

    Args:
        database: database to query with.
        folder: run folder.
        full: whether to include ids, names and sample rows; otherwise only counts.
    """
    if not folder.plan.is_file():
        return None
    plan = messages_relation(database, folder)
    database.execute(_CREATE_PLANNED.format(plan=plan))
    emails, contacts, guarded, deals, owners = database.fetch_one(_SELECT_TOTALS)
    deal_counts, owner_counts = _counts(database, "deal"), _counts(database, "owner")
    return PlanSummary(
        ops=tuple(
            OpCount(op=op, emails=emails, contacts=contacts, owners=owners, deals=deals)
            for op, emails, contacts, owners, deals in database.rows(_SELECT_BY_OP)
        ),
        contacts=contacts,
        guarded=guarded,
        deals=deal_counts if full else _anonymous(deal_counts),
        total_deals=deals,
        owners=owner_counts if full else _anonymous(owner_counts),
        total_owners=owners,
        sample=_sample(database, plan, emails) if full else (),
        comparison=collect_plan_comparison(
            database, [deal.record.id for deal in deal_counts if deal.record], full=full
        ),
    )


def _counts(database: Database, field: str) -> tuple[EmailCount, ...]:
    query = (
        f"SELECT {field}, min({field}_name), count(*), count(DISTINCT contact) FROM planned "
        f"WHERE {field} IS NOT NULL GROUP BY {field} ORDER BY count(*) DESC, {field} "
        f"LIMIT {MAX_DEALS_LISTED}"
    )
    return tuple(
        EmailCount(record=NamedRecord(record_id, name), emails=emails, contacts=contacts)
        for record_id, name, emails, contacts in database.rows(query)
    )


def _anonymous(counts: tuple[EmailCount, ...]) -> tuple[EmailCount, ...]:
    return tuple(msgspec.structs.replace(count, record=None) for count in counts)


def _sample(database: Database, plan: str, emails: int) -> tuple[SampleRow, ...]:
    """Return evenly spaced rows, in the order in which they are sent."""
    step = max(1, -(-emails // _SAMPLE_ROWS))
    rows = database.rows(_SELECT_SAMPLE.format(plan=plan, step=step))
    return tuple(
        SampleRow(
            row=row,
            op=op,
            contact_id=contact,
            owner=NamedRecord(owner, owner_name),
            message_id=message,
            deal=NamedRecord(deal, deal_name) if deal else None,
            from_deal_id=guard,
            fetched=NamedRecord(fetched, fetched_name) if fetched not in _NO_RECORD else None,
            on_no_deal=fetched == NO_DEAL,
        )
        for (
            *(row, op, contact, owner, owner_name, message, deal, deal_name, guard),
            fetched,
            fetched_name,
        ) in rows
    )


_CREATE_PLANNED = """
CREATE TABLE planned AS SELECT bulklink_op AS op, bulklink_contact_id AS contact,
    bulklink_owner_id AS owner, bulklink_owner_name AS owner_name, bulklink_deal_id AS deal,
    bulklink_deal_name AS deal_name, bulklink_from_deal_id AS guard,
    bulklink_fetched_deal_id AS fetched, bulklink_fetched_deal_name AS fetched_name
FROM {plan}
"""
_SELECT_TOTALS = """
SELECT count(*), count(DISTINCT contact), count(guard), count(DISTINCT deal),
    count(DISTINCT owner)
FROM planned
"""
_SELECT_BY_OP = """
SELECT op, count(*), count(DISTINCT contact), count(DISTINCT owner), count(DISTINCT deal)
FROM planned GROUP BY op ORDER BY op
"""
_SELECT_SAMPLE = """
SELECT bulklink_row, bulklink_op, bulklink_contact_id, bulklink_owner_id, bulklink_owner_name,
    bulklink_message_id, bulklink_deal_id, bulklink_deal_name, bulklink_from_deal_id,
    bulklink_fetched_deal_id, bulklink_fetched_deal_name
FROM (SELECT *, row_number() OVER () AS place FROM {plan}) WHERE (place - 1) % {step} = 0
"""
