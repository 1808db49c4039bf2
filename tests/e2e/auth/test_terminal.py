"""At a terminal: what a person is told and asked, and Ctrl-C at every question."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest

from tests.e2e.auth.sign_in_env import (
    REFRESH,
    SCOPES,
    SIGN_IN_ENV,
    api_env,
    posix_only,
    refresh_token,
    stored_kinds,
)
from tests.e2e.auth.terminal import at_terminal
from tests.e2e.command import Command
from tests.e2e.servers import SECRET, StandIn

pytestmark = posix_only


def test_a_person_is_led_through_the_self_client(visitor: Command, zoho: StandIn) -> None:
    command = visitor.with_env(**api_env(zoho.url))
    with at_terminal(command, "auth", "login", "--dc", "eu") as screen:
        screen.expect("https://api-console.zoho.eu")
        screen.expect(",".join(SCOPES))
        screen.expect("Client ID: ")
        screen.type("demo")
        screen.expect("Client Secret (not shown): ")
        screen.type(SECRET)
        screen.expect("Code: ")
        screen.type("demo")
        screen.expect("Signed in to")
        assert screen.end() == 0
    assert SECRET not in screen.output
    assert REFRESH not in screen.output
    assert parse_qs(zoho.requests_of("token")[0].body)["client_secret"] == [SECRET]


def test_the_data_centre_is_asked_for_and_decides_the_console(bulklink: Command) -> None:
    with at_terminal(bulklink, "auth", "login") as screen:
        screen.expect("Data centre")
        screen.type("au")
        screen.expect("Environment")
        screen.type("sandbox")
        screen.expect("https://api-console.zoho.com.au")
        screen.expect("(sandbox)")
        screen.expect("Client ID: ")
        assert screen.interrupt() == 130
    assert stored_kinds(bulklink.folder) == set()


@pytest.mark.parametrize("answers", range(3), ids=["client-id", "client-secret", "code"])
def test_ctrl_c_at_any_question_ends_with_130_and_stores_nothing(
    visitor: Command, answers: int
) -> None:
    with at_terminal(visitor, "auth", "login") as screen:
        for question in ("Client ID: ", "Client Secret (not shown): ", "Code: ")[:answers]:
            screen.expect(question)
            screen.type("demo")
        screen.expect(("Client ID: ", "Client Secret (not shown): ", "Code: ")[answers])
        assert screen.interrupt() == 130
    assert stored_kinds(visitor.folder) == set()
    assert "Traceback" not in screen.output


@pytest.mark.parametrize(("said", "code"), [("n", 2), ("y", 0)], ids=["no", "yes"])
def test_replacing_a_profile_is_asked_at_a_terminal(
    member: Command, url: str, said: str, code: int
) -> None:
    before = refresh_token(member.folder)
    with at_terminal(member.with_env(**api_env(url), **SIGN_IN_ENV), "auth", "login") as screen:
        screen.expect("Replace it?")
        screen.type(said)
        assert screen.end() == code
    assert (refresh_token(member.folder) == before) is (said == "n")
