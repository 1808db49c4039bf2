"""The forecast of a plan is that of its run, and covers what the run spends."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import Command, free_rows, rows, write_mapping
from tests.e2e.servers import Emulator, serve_world
from tests.e2e.world import MODULE, World


@pytest.fixture
def local_emulator(tmp_path: Path) -> Iterator[Emulator]:
    world = World()
    for _ in range(8):
        world.add(free=2)
    with serve_world(world, tmp_path) as server:
        yield server


def recorded_forecast(folder: Path, run: str) -> dict[str, Any]:
    forecast = json.loads((folder / run / "run.json").read_text("utf-8"))["forecast"]
    assert isinstance(forecast, dict)
    return forecast


@pytest.mark.parametrize("module_id", [None, MODULE], ids=["unknown", "set"])
def test_a_plan_and_its_run_have_the_same_forecast(
    bulklink: Command, local_emulator: Emulator, module_id: str | None
) -> None:
    env = local_emulator.env(**({"BULKLINK_DEALS_MODULE_ID": module_id} if module_id else {}))
    command, folder = bulklink.with_env(**env), bulklink.folder
    write_mapping(folder / "m.csv", free_rows(local_emulator.world.contacts))
    planned = command("plan", "m.csv", "--op", "link", "--json").object
    sealed = command("plan", "m.csv", "--op", "link", "--run-dir", "sealed", "--json").object
    assert command("link", "m.csv", "--run-dir", "sent", "--json").code in (0, 1)
    assert planned["credits"] == sealed["credits"]
    for run in ("sealed", "sent"):
        forecast = recorded_forecast(folder, run)
        assert forecast["credit_range"] == planned["credits"]
        assert forecast["seconds_range"] == planned["seconds"]
        assert forecast["lookup"] == planned["calls"]["lookup_at_least"]


def test_a_sealed_plan_keeps_the_assumed_latency(bulklink: Command) -> None:
    contact = World().add(free=3)
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    words = ("plan", "m.csv", "--op", "link", "--latency", "7", "--run-dir", "sealed", "--json")
    planned = bulklink(*words).object
    assert recorded_forecast(bulklink.folder, "sealed")["seconds_range"] == planned["seconds"]


def test_the_forecast_covers_the_reads_of_contact_roles(
    bulklink: Command, local_emulator: Emulator
) -> None:
    command, contacts = bulklink.with_env(**local_emulator.env()), local_emulator.world.contacts
    pairs = zip(contacts, [*contacts[1:], contacts[0]], strict=True)
    mapping_rows = [line for contact, other in pairs for line in rows(contact.free, other.a)]
    write_mapping(bulklink.folder / "m.csv", mapping_rows)
    planned = command("plan", "m.csv", "--op", "link", "--json").object
    text = command("plan", "m.csv", "--op", "link").out
    assert planned["calls"]["roles_at_most"] == len(contacts)
    assert re.search(r"contact roles, at most +8\n", text)
    assert "their contact roles are read, up to 8 calls" in text
    sent = command("link", "m.csv", "--run-dir", "sent", "--max-failures", "off", "--json").object
    assert planned["credits"]["least"] <= sum_calls(sent) <= planned["credits"]["most"]


def test_a_plan_without_look_ups_reads_no_contact_roles(bulklink: Command) -> None:
    contact = World().add(free=3)
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    planned = bulklink("plan", "m.csv", "--op", "link", "--no-names", "--json").object
    assert planned["calls"]["roles_at_most"] == 0


def sum_calls(result: dict[str, Any]) -> int:
    return sum(result["calls"][kind] for kind in ("link", "unlink", "read", "lookup"))
