"""The command before and after a sign-in, and a scripted CRM that exchanges codes."""

from __future__ import annotations

import pytest

from tests.e2e.auth.sign_in_env import REFRESH, SIGN_IN_ENV, api_env
from tests.e2e.command import Command
from tests.e2e.servers import TOKEN, Emulator, ReceivedRequest, Reply, StandIn
from tests.e2e.world import World


@pytest.fixture
def visitor(bulklink: Command, emulator: Emulator) -> Command:
    """Return the command as it is before the first sign-in, beside the emulator."""
    return bulklink.with_env(**api_env(emulator.url))


@pytest.fixture
def member(visitor: Command) -> Command:
    """Return the command after a sign-in, with nothing in the environment."""
    result = visitor.with_env(**SIGN_IN_ENV)("auth", "login")
    assert result.code == 0, result
    return Command(visitor.folder)


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
    """Return where the emulator is."""
    return emulator.url
