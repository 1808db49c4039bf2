"""What a sealed plan does, counted and with rows to look at."""
# ruff: noqa: S608

from __future__ import annotations

from bulklink.html_report.model import Count, Named, OpCount, Planned, Sample
from bulklink.mapping.database import Database
from bulklink.operations.report.failures import messages
from bulklink.runs.folder import RunFolder

MOST_LISTED = 25
"""Deals, and owners, of a plan that are listed: those with most emails."""
_SAMPLE = 20


def planned(database: Database, folder: RunFolder, *, full: bool) -> Planned | None:
    """Return what the plan of a run does; None where it came to none.

    Args:
        database: to ask.
        folder: of the run.
        full: with ids, names and sample rows; else only counts.
    """
    if not folder.plan.is_file():
        return None
    plan = messages(database, folder)
    database.run(_PLANNED.format(plan=plan))
    emails, contacts, guarded, deals, owners = database.one(_WHOLE)
    return Planned(
        ops=tuple(
            OpCount(op=op, emails=emails, contacts=contacts, owners=owners, deals=deals)
            for op, emails, contacts, owners, deals in database.rows(_BY_OP)
        ),
        contacts=contacts,
        guarded=guarded,
        deals=_counts(database, "deal", full=full),
        deals_in_all=deals,
        owners=_counts(database, "owner", full=full),
        owners_in_all=owners,
        sample=_sample(database, plan, emails) if full else (),
    )


def _counts(database: Database, kind: str, *, full: bool) -> tuple[Count, ...]:
    query = (
        f"SELECT {kind}, min({kind}_name), count(*), count(DISTINCT contact) FROM planned "
        f"WHERE {kind} IS NOT NULL GROUP BY {kind} ORDER BY count(*) DESC, {kind} "
        f"LIMIT {MOST_LISTED}"
    )
    return tuple(
        Count(of=Named(ident, name) if full else None, emails=emails, contacts=contacts)
        for ident, name, emails, contacts in database.rows(query)
    )


def _sample(database: Database, plan: str, emails: int) -> tuple[Sample, ...]:
    """Return rows that are equally far from each other in the order in which they are sent."""
    step = max(1, -(-emails // _SAMPLE))
    found = database.rows(_ROWS.format(plan=plan, step=step))
    return tuple(
        Sample(
            row=row,
            op=op,
            contact_id=contact,
            owner=Named(owner, owner_name),
            message_id=message,
            deal=Named(deal, deal_name) if deal else None,
            from_deal_id=guard,
        )
        for row, op, contact, owner, owner_name, message, deal, deal_name, guard in found
    )


_PLANNED = """
CREATE TABLE planned AS SELECT bulklink_op AS op, bulklink_contact_id AS contact,
    bulklink_owner_id AS owner, bulklink_owner_name AS owner_name, bulklink_deal_id AS deal,
    bulklink_deal_name AS deal_name, bulklink_from_deal_id IS NOT NULL AS guarded
FROM {plan}
"""
_WHOLE = """
SELECT count(*), count(DISTINCT contact), count(*) FILTER (guarded), count(DISTINCT deal),
    count(DISTINCT owner)
FROM planned
"""
_BY_OP = """
SELECT op, count(*), count(DISTINCT contact), count(DISTINCT owner), count(DISTINCT deal)
FROM planned GROUP BY op ORDER BY op
"""
_ROWS = """
SELECT bulklink_row, bulklink_op, bulklink_contact_id, bulklink_owner_id, bulklink_owner_name,
    bulklink_message_id, bulklink_deal_id, bulklink_deal_name, bulklink_from_deal_id
FROM (SELECT *, row_number() OVER () AS place FROM {plan}) WHERE (place - 1) % {step} = 0
"""
