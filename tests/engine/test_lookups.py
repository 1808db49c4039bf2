"""Look-ups of users: pages requested, and where they end."""

from __future__ import annotations

from typing import Any

import pytest

from bulklink.engine.lookups import MAX_USER_PAGES, look_up_user_names, missing_scope_error
from bulklink.zoho.http import Answer
from tests.engine.fakes import ScriptedCrm, engine_run
from tests.zoho.fakes import answer


def users_page(*numbers: int, more: object = True) -> Answer:
    """Return a page of users with these ids."""
    users = [{"id": f"{number}", "full_name": f"User {number}"} for number in numbers]
    return answer({"users": users, "info": {"more_records": more}})


class EndlessUsers(ScriptedCrm):
    """Lists a new user on every page, and always reports another page."""

    async def send(self, *args: Any) -> Any:
        self.answers = [users_page(len(self.sent) + 1)]
        return await super().send(*args)


async def look_up(crm: ScriptedCrm, *numbers: int) -> dict[str, str | None]:
    names: dict[str, str | None] = {}
    async with engine_run(crm) as run:
        await look_up_user_names(
            run.context.caller,
            {f"{number}" for number in numbers},
            lambda user_id, name: names.update({user_id: name}),
        )
    return names


async def test_pages_are_read_until_all_users_are_named() -> None:
    crm = ScriptedCrm(users_page(1, 2), users_page(3, 4), users_page(5))
    assert await look_up(crm, 2, 4) == {"2": "User 2", "4": "User 4"}
    assert len(crm.sent) == 2


async def test_without_users_no_page_is_read() -> None:
    crm = ScriptedCrm(users_page(1))
    assert await look_up(crm) == {}
    assert crm.sent == []


@pytest.mark.parametrize(
    "repeated",
    [users_page(1, 2), users_page(2), users_page(), Answer(204)],
    ids=["the same", "some of them", "none", "no content"],
)
async def test_a_page_without_new_users_ends_the_look_up(repeated: Answer) -> None:
    crm = ScriptedCrm(users_page(1, 2), repeated)
    assert await look_up(crm, 1, 9) == {"1": "User 1"}
    assert len(crm.sent) == 2


async def test_the_look_up_ends_at_a_maximum_number_of_pages() -> None:
    crm = EndlessUsers(users_page(1))
    assert await look_up(crm, 1, 0) == {"1": "User 1"}
    assert len(crm.sent) == MAX_USER_PAGES


@pytest.mark.parametrize(
    ("profile", "command"),
    [
        (None, "`bulklink auth login`"),
        ("acme", "`bulklink auth login --profile acme --force`"),
    ],
)
def test_the_advice_for_a_missing_scope_signs_in_to_the_profile_in_use(
    profile: str | None, command: str
) -> None:
    error = missing_scope_error("ZohoCRM.coql.READ", "deals", profile)
    assert f"Sign in again with {command}," in error.advice
