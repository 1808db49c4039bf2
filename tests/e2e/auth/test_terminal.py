"""Sign-in at a terminal: prompts and messages, and Ctrl-C at every prompt."""

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
from tests.e2e.command import Command
from tests.e2e.servers import SECRET, StandIn
from tests.e2e.terminals import at_terminal

pytestmark = posix_only


def test_prompts_guide_the_user_through_the_self_client(signed_out: Command, zoho: StandIn) -> None:
    command = signed_out.with_env(**api_env(zoho.url))
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


def test_the_data_centre_is_prompted_for_and_decides_the_console(bulklink: Command) -> None:
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
def test_ctrl_c_at_any_prompt_exits_with_130_and_stores_nothing(
    signed_out: Command, answers: int
) -> None:
    with at_terminal(signed_out, "auth", "login") as screen:
        for question in ("Client ID: ", "Client Secret (not shown): ", "Code: ")[:answers]:
            screen.expect(question)
            screen.type("demo")
        screen.expect(("Client ID: ", "Client Secret (not shown): ", "Code: ")[answers])
        assert screen.interrupt() == 130
    assert stored_kinds(signed_out.folder) == set()
    assert "Traceback" not in screen.output


@pytest.mark.parametrize(("reply", "code"), [("n", 2), ("y", 0)], ids=["no", "yes"])
def test_replacing_a_profile_needs_confirmation_at_a_terminal(
    signed_in: Command, url: str, reply: str, code: int
) -> None:
    before = refresh_token(signed_in.folder)
    with at_terminal(signed_in.with_env(**api_env(url), **SIGN_IN_ENV), "auth", "login") as screen:
        screen.expect("Replace it?")
        screen.type(reply)
        assert screen.end() == code
    assert (refresh_token(signed_in.folder) == before) is (reply == "n")
