"""Contact roles are read before the warning about deals of other contacts."""

from __future__ import annotations

import pytest

from bulklink.mapping.rejects import MAX_FOREIGN_DEALS, ForeignDeals
from bulklink.operations.foreign_deals import RoleCheck, check_roles, foreign_deals_warning
from bulklink.zoho.http import Answer
from tests.engine.fakes import ScriptedCrm, engine_run, refusal
from tests.virtual import run_virtual
from tests.zoho.fakes import answer

FOREIGN = ForeignDeals(4, (1, 2, 3), ("71", "72"))


def roles(*contacts: str) -> Answer:
    return answer({"data": [{"id": contact_id} for contact_id in contacts]})


def check(crm: ScriptedCrm, *deal_ids: str) -> RoleCheck:
    async def run() -> RoleCheck:
        async with engine_run(crm) as engine:
            return await check_roles(engine.context.caller, deal_ids, at_once=10)

    return run_virtual(run())


def test_the_contacts_with_a_role_are_read_deal_by_deal() -> None:
    crm = ScriptedCrm(roles("1", "2"), Answer(204))
    assert check(crm, "71", "72") == RoleCheck((("71", "1"), ("71", "2")))
    assert ["/Deals/71/Contact_Roles" in crm.sent[0].url, len(crm.sent)] == [True, 2]


def test_without_such_deals_nothing_is_read() -> None:
    crm = ScriptedCrm(Answer(204))
    assert check(crm) == RoleCheck()
    assert crm.sent == []


def test_the_roles_of_too_many_deals_are_not_read() -> None:
    crm = ScriptedCrm(Answer(204))
    result = check(crm, *(f"{number}" for number in range(MAX_FOREIGN_DEALS + 1)))
    assert "not checked: more than 100 deals" in result.unchecked
    assert crm.sent == []


@pytest.mark.parametrize(
    ("code", "status", "calls"),
    [
        ("OAUTH_SCOPE_MISMATCH", 401, 1),
        ("NO_PERMISSION", 403, 5),
        ("INVALID_URL_PATTERN", 404, 5),
        ("INVALID_DATA", 400, 5),
    ],
)
def test_a_refusal_never_stops_a_run(code: str, status: int, calls: int) -> None:
    crm = ScriptedCrm(refusal(code, status))
    expected = RoleCheck((), f"Contact roles could not be read ({code}).")
    assert check(crm, "71", "72", "73", "74", "75") == expected
    assert len(crm.sent) == calls


def test_deals_that_can_be_read_count_although_another_cannot() -> None:
    result = check(ScriptedCrm(roles("1"), answer({})), "71", "72")
    assert result.roles == (("71", "1"),)
    assert result.unchecked == (
        "Contact roles could not be read (The answer is not to this request)."
    )


def test_the_warning_says_that_a_contact_role_is_enough() -> None:
    assert foreign_deals_warning(FOREIGN, RoleCheck()) == (
        "4 rows link an email to a deal of another contact (row 1, 2, 3, …): Zoho is likely to"
        " refuse them as NOT_ALLOWED, as the contact has no role on that deal. Give it one first:"
        " a contact role is enough."
    )


def test_the_warning_says_what_was_not_checked() -> None:
    warning = foreign_deals_warning(ForeignDeals(1, (7,)), RoleCheck(unchecked="Not read (X)."))
    assert warning == (
        "1 row links an email to a deal of another contact (row 7): Zoho is likely to refuse it as"
        " NOT_ALLOWED, unless the contact has a role on that deal. Not read (X)."
    )
