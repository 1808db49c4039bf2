"""What an audit reads of the CRM, what it costs, and what is kept for the next one."""

from __future__ import annotations

from pathlib import Path

from tests.operations.auditing.audit_world import (
    OWNER,
    AuditWorld,
    deal_id,
    read,
    serve,
)


async def test_each_contact_comes_with_its_emails_deals_and_the_histories_that_matter(
    tmp_path: Path,
) -> None:
    world = AuditWorld()
    several = world.add_contact(deals=2, emails=3)
    single = world.add_contact(deals=1, emails=1)
    world.add_contact(deals=2)
    without = world.add_contact(emails=2)
    world.add_email(several, day=2, minute=30, deal_id=deal_id(0))
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        result = await read(file, crm)
    assert [contact.id for contact in result.contacts] == [several, single, without]
    facts, one = result.contacts[:2]
    assert [len(contact.emails) for contact in result.contacts] == [4, 1, 2]
    assert [len(contact.deals) for contact in result.contacts] == [2, 1, 0]
    assert facts.emails[-1].deal_id == deal_id(0)
    deal = facts.deals[0]
    assert (deal.id, deal.name, deal.stage, deal.owner_id) == (
        deal_id(0),
        "Deal 0",
        "Proposal",
        OWNER,
    )
    assert [(change.field, change.old, change.new) for change in deal.history or ()] == [
        ("Stage", "Qualification", "Proposal"),
        (None, None, None),
    ]
    assert deal.history is not None
    assert deal.history[-1].source == "workflow"
    assert deal.history[-1].time == deal.modified
    assert one.deals[0].history is None
    # one query for all contacts, two timelines
    assert crm.count("coql") == 1
    assert crm.count("__timeline") == 2
    assert result.inputs.header is not None
    assert result.inputs.header.stages["Closed Lost"] == "lost"
