"""Fixtures of the sign-in tests: the command before and after it, a CRM that exchanges codes."""

from __future__ import annotations

import pytest

from tests.e2e.auth.sign_in_env import REFRESH, SIGN_IN_ENV, api_env
from tests.e2e.command import Command
from tests.e2e.servers import TOKEN, Emulator, ReceivedRequest, Reply, StandIn
from tests.e2e.world import World


@pytest.fixture
def signed_out(bulklink: Command, emulator: Emulator) -> Command:
    """Return the command before the first sign-in, with the address of the emulator."""
    return bulklink.with_env(**api_env(emulator.url))


@pytest.fixture
def signed_in(signed_out: Command) -> Command:
    """Return the command after a sign-in, with nothing in the environment."""
    result = signed_out.with_env(**SIGN_IN_ENV)("auth", "login")
    assert result.code == 0, result
    return Command(signed_out.folder)


@pytest.fixture
def zoho(standin: StandIn, world: World) -> StandIn:
    """Return a scripted CRM that exchanges codes."""
    world.add(free=1)

    async def exchange(request: ReceivedRequest) -> Reply | None:
        if request.path.endswith("/revoke"):
            return Reply(200, {"status": "success"})
        if request.kind != "token":
            return None
        granted = {"access_token": TOKEN, "refresh_token": REFRESH, "api_domain": standin.url}
        return Reply(200, {**granted, "token_type": "Bearer", "expires_in": 3600})

    standin.script = exchange
    return standin


@pytest.fixture
def url(emulator: Emulator) -> str:
    """Return the address of the emulator."""
    return emulator.url
