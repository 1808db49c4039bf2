"""Rows whose deal belongs to another contact."""

from __future__ import annotations

from bulklink.mapping.rejects import MAX_FOREIGN_DEALS, ForeignDeals, find_foreign_deals
from tests.mapping.planner import MappingPlanner

HEADER = "contact_id,owner_id,message_id,deal_id,deal_name\n"


def test_rows_with_a_deal_of_another_contact_are_found(planner: MappingPlanner) -> None:
    plan = planner.plan(f"{HEADER}1,9,a,71,D\n1,9,b,72,D\n2,9,c,71,D\n1,9,d,73,D\n").sealed.path
    contacts = [("71", "1"), ("72", "2")]
    assert find_foreign_deals(plan, contacts) == ForeignDeals(2, (2, 3), ("71", "72"))


def test_a_row_whose_contact_has_a_role_on_the_deal_is_left_out(planner: MappingPlanner) -> None:
    plan = planner.plan(f"{HEADER}1,9,a,72,D\n3,9,b,72,D\n").sealed.path
    roles = [("72", "1"), ("72", "2"), ("79", "3")]
    assert find_foreign_deals(plan, [("72", "2")], roles=roles) == ForeignDeals(1, (2,), ("72",))
    assert find_foreign_deals(plan, [("72", "2")], roles=[("72", "1"), ("72", "3")]).rows == 0


def test_only_so_many_deals_are_named_as_are_checked(planner: MappingPlanner) -> None:
    count = 3 * MAX_FOREIGN_DEALS
    rows = "".join(f"1,9,m{number},{1_000 + number},D\n" for number in range(count))
    contacts = [(f"{1_000 + number}", "2") for number in range(count)]
    foreign = find_foreign_deals(planner.plan(HEADER + rows).sealed.path, contacts)
    assert (foreign.rows, len(foreign.deal_ids)) == (count, MAX_FOREIGN_DEALS + 1)
