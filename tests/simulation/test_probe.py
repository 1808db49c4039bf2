"""A probe finds out each way in which an org can answer, and leaves its links as they were."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest

from bulklink.emulator.crm import Crm
from bulklink.emulator.faults import Fault
from bulklink.emulator.http import Request as WireRequest
from bulklink.emulator.like import read_probe_file
from bulklink.emulator.settings import Settings
from bulklink.emulator.worldfile import parse_world
from bulklink.engine.shutdown import StopController
from bulklink.operations.callbacks import ProbeConfirmation, RunCallbacks
from bulklink.operations.environment import Environment
from bulklink.operations.probe import probe
from bulklink.operations.probing.result import ProbeResult
from bulklink.zoho.http import Answer, NoResponse, Transport
from tests.probed_world import (
    ANA,
    ROLE,
    TOM,
    mixed_variants,
    setting_variants,
    wanted_answer,
    world_file,
)
from tests.simulation.environment import simulated_environment
from tests.simulation.simulator import CONNECTION
from tests.virtual import now, run_virtual

Variant = tuple[str, Settings]
VARIANTS = [*setting_variants(), *mixed_variants()]
KEYS = sorted({key for key, _ in VARIANTS})


class Interrupter:
    """Counts the requests of a probe, and acts once one was executed, before its answer arrives.

    Args:
        at: number of the request, from 1; 0 for none.
        action: called then.
    """

    def __init__(self, at: int = 0, action: Callable[[], None] = lambda: None) -> None:
        self.requests = 0
        self._at = at
        self._action = action

    def wrap(self, environment: Environment) -> Environment:
        """Return the environment with a transport that is watched."""

        @asynccontextmanager
        async def transport() -> AsyncIterator[Transport]:
            async with environment.transport() as inner:
                yield _WatchedTransport(inner, self)

        return msgspec.structs.replace(environment, transport=transport)

    async def count(self) -> None:
        """Count a request that was executed."""
        self.requests += 1
        if self.requests == self._at:
            self._action()
            await anyio.lowlevel.checkpoint()


class _WatchedTransport:
    def __init__(self, inner: Transport, interrupter: Interrupter) -> None:
        self._inner = inner
        self._interrupter = interrupter

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | NoResponse:
        outcome = await self._inner.send(method, url, headers, body)
        await self._interrupter.count()
        return outcome


class User(RunCallbacks):
    """A user who confirms everything."""

    can_ask = True

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.price = 0

    def on_warning(self, text: str) -> None:
        self.warnings.append(text)

    def on_probe(self, request: ProbeConfirmation) -> None:
        self.price = request.credits

    def confirm_probe(self, request: ProbeConfirmation) -> bool:
        return True

    def confirm_experiment(self, title: str, sends: str) -> bool:
        return True


def make_crm(settings: Settings, *faults: Fault, **world: Any) -> Crm:
    return Crm(parse_world(world_file(**world)), settings, faults, clock=now)


async def links(crm: Crm) -> str:
    """Return the digest of which email is on which deal."""
    answer = await crm.handle(WireRequest("GET", "/_emulator/state", "", {}, b""))
    return str(json.loads(bytes(answer.body))["digest"])


async def run_probe(
    crm: Crm,
    folder: Path,
    *,
    interrupter: Interrupter | None = None,
    stop: StopController | None = None,
    put_back: bool = False,
    callbacks: User | None = None,
) -> ProbeResult:
    """Probe a CRM with all records that it has, into `probe.json` of a folder."""
    async with simulated_environment(crm) as environment:
        return await probe(
            ANA,
            folder / "probe.json",
            CONNECTION,
            other_contact=TOM,
            role_deal=ROLE,
            put_back=put_back,
            force=True,
            callbacks=callbacks or User(),
            stop=stop,
            environment=(interrupter or Interrupter()).wrap(environment),
        )


def answers_of(result: ProbeResult) -> dict[str, str | None]:
    return {row.key: row.answer for row in result.answers}


@pytest.mark.parametrize("key", KEYS)
async def test_a_probe_finds_each_answer_and_the_emulator_then_gives_it(
    key: str, tmp_path: Path
) -> None:
    for _, settings in (variant for variant in VARIANTS if variant[0] == key):
        wanted = wanted_answer(key, settings)
        crm, user = make_crm(settings), User()
        before = await links(crm)
        result = await run_probe(crm, tmp_path, callbacks=user)
        assert answers_of(result)[key] == wanted, (key, wanted, result)
        assert await links(crm) == before, wanted
        assert result.credits <= user.price, wanted
        org = read_probe_file(tmp_path / "probe.json")
        assert org.unsupported == (), wanted
        liked = org.apply(Settings(), frozenset())
        assert wanted_answer(key, liked) == wanted
        again = await run_probe(make_crm(liked), tmp_path)
        assert answers_of(again) == answers_of(result), wanted


def test_links_are_as_before_after_ctrl_c_at_any_request(tmp_path: Path) -> None:
    for at in _every_request(tmp_path):
        run_virtual(_stop_at(at, tmp_path))


async def _stop_at(at: int, folder: Path) -> None:
    crm, stop = make_crm(Settings()), StopController()
    before = await links(crm)
    result = await run_probe(crm, folder, interrupter=Interrupter(at, stop.interrupt), stop=stop)
    assert await links(crm) == before, at
    assert (result.not_restored, result.exit_code) == (0, 130), at
    assert os.listdir(folder) == [], at


def test_a_later_command_puts_back_what_a_kill_at_any_request_left(tmp_path: Path) -> None:
    left = sum(run_virtual(_kill_at(at, tmp_path)) for at in _every_request(tmp_path))
    assert left > 20


async def _kill_at(at: int, folder: Path) -> bool:
    """Kill a probe once a request was executed; return whether it left links changed."""
    crm = make_crm(Settings())
    before = await links(crm)
    with anyio.CancelScope() as scope:
        await run_probe(crm, folder, interrupter=Interrupter(at, scope.cancel))
    is_changed = await links(crm) != before
    result = await run_probe(crm, folder, put_back=True)
    assert await links(crm) == before, at
    assert (result.not_restored, result.exit_code) == (0, 0), at
    assert os.listdir(folder) == [], at
    return is_changed


def _every_request(folder: Path) -> Iterator[int]:
    """Yield the number of each request of a whole probe."""
    interrupter = Interrupter()
    run_virtual(_probe_once(folder, interrupter))
    assert interrupter.requests > 50
    (folder / "probe.json").unlink()
    yield from range(1, interrupter.requests + 1)


async def _probe_once(folder: Path, interrupter: Interrupter) -> None:
    await run_probe(make_crm(Settings()), folder, interrupter=interrupter)
