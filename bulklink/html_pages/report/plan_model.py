"""Values of the report about a plan: its counts, sample rows and comparison."""

from __future__ import annotations

from collections import Counter

import msgspec


class NamedRecord(msgspec.Struct, frozen=True):
    """A deal or an owner.

    Args:
        id: its id.
        name: its name, if known.
    """

    id: str
    name: str | None = None


class EmailCount(msgspec.Struct, frozen=True, kw_only=True):
    """Emails of a plan for one deal or owner.

    Args:
        record: the deal or owner; None in a report without ids and names.
        emails: number of emails.
        contacts: number of their contacts.
    """

    record: NamedRecord | None
    emails: int
    contacts: int


class DealOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """Emails that move to a deal from another, or from no deal.

    Args:
        record: their previous deal; None for no deal, and in a report without ids and names.
        linked: whether they are on no deal.
        emails: number of emails.
    """

    record: NamedRecord | None
    linked: bool
    emails: int


class DealOrigins(msgspec.Struct, frozen=True, kw_only=True):
    """Previous deals of the emails of a deal.

    Args:
        right: emails that are already on the deal.
        largest: previous deals of the most emails.
        others: number of further previous deals.
    """

    right: int
    largest: tuple[DealOrigin, ...]
    others: int


class MoveCount(msgspec.Struct, frozen=True, kw_only=True):
    """Emails that move from one deal to another, from no deal to a deal, or off their deal.

    Args:
        from_deal: previous deal; None for no deal.
        to_deal: wanted deal; None for no deal.
        emails: number of emails.
    """

    from_deal: NamedRecord | None
    to_deal: NamedRecord | None
    emails: int


class PlanComparison(msgspec.Struct, frozen=True, kw_only=True):
    """Changes of a plan to emails that were fetched before it was sealed.

    Args:
        results: emails by the result of the comparison: `moved`, `right` and so on.
        unknown: emails whose deal was not fetched.
        moves: pairs of previous and wanted deals with the most emails; none in a report without
            ids and names.
        total_moves: number of all pairs.
        origins: previous deals for each listed deal of the plan, in its order.
    """

    results: Counter[str]
    unknown: int
    moves: tuple[MoveCount, ...]
    total_moves: int
    origins: tuple[DealOrigins, ...]


class OpCount(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one op of a plan.

    Args:
        op: the op.
        emails: number of emails.
        contacts: number of contacts.
        owners: number of owners.
        deals: number of target deals.
    """

    op: str
    emails: int
    contacts: int
    owners: int
    deals: int


class SampleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A sample row of the plan.

    Args:
        row: number of the row in the mapping.
        op: planned operation.
        contact_id: contact of the email.
        owner: owner of the mailbox.
        message_id: message id of the email.
        deal: target deal; None for an unlink.
        from_deal_id: guard of the row, if it has one.
        fetched: fetched deal of the email; None for no deal, and if unknown.
        on_no_deal: whether the fetched email was on no deal.
    """

    row: int
    op: str
    contact_id: str
    owner: NamedRecord
    message_id: str
    deal: NamedRecord | None
    from_deal_id: str | None
    fetched: NamedRecord | None
    on_no_deal: bool


class PlanSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Counts and sample rows of a plan.

    Args:
        ops: counts by op.
        contacts: number of contacts.
        guarded: number of rows with a guard.
        deals: the deals with most emails.
        total_deals: number of deals.
        owners: the owners with most emails.
        total_owners: number of owners.
        sample: sample rows; none in a report without ids and names.
        comparison: changes to fetched emails; None if the plan was not compared.
    """

    ops: tuple[OpCount, ...]
    contacts: int
    guarded: int
    deals: tuple[EmailCount, ...]
    total_deals: int
    owners: tuple[EmailCount, ...]
    total_owners: int
    sample: tuple[SampleRow, ...]
    comparison: PlanComparison | None
