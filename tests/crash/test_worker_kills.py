"""A worker and its children killed at random moments, and workers that go on: nothing is lost."""

from __future__ import annotations

import os
import random
import sys
import time
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bulklink import Op
from bulklink.runs.folder import RunFolder
from bulklink.runs.status import status
from tests.crash.agreement import compare_with_the_crm, read_lines
from tests.crash.worked_orgs import (
    CONTACTS,
    WorkedOrg,
    find_children,
    kill_child,
    serve_orgs,
    worker,
)
from tests.guard import off_loop

SCENARIOS = max(1, int(os.environ.get("BULKLINK_TEST_KILLS", "2")) // 2)
_OPS = (Op.LINK, Op.RELINK, Op.UNLINK)
_VICTIMS = ("child", "worker", "both")
_CALLS = 4 * CONTACTS
"""Fewer calls than all runs make; a relink makes two for each contact."""

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform == "win32", reason="finds the children by ps"),
]


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep profiles, locks and tokens in the folder of the test, for the workers too."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in os.environ:
        if name.startswith("BULKLINK_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("number", range(SCENARIOS))
async def test_runs_of_several_orgs_survive_kills_of_the_worker_and_of_its_children(
    number: int, tmp_path: Path
) -> None:
    rng = random.Random(number + time.time_ns())
    ops = [_OPS[:2], _OPS[1:], _OPS[:1]]
    async with serve_orgs(ops, tmp_path / "runs") as orgs, AsyncExitStack() as workers:
        working = await workers.enter_async_context(worker(orgs.runs_dir, slots=2))
        for victim in rng.sample(_VICTIMS, len(_VICTIMS)):
            orgs.gate.close_after(rng.randint(1, _CALLS // 3))
            await orgs.gate.reached.wait()
            if victim != "worker":
                kill_child(rng.choice(list(await find_children(orgs.runs_dir))))
            if victim != "child":
                await working.kill()
                working = await workers.enter_async_context(worker(orgs.runs_dir, slots=2))
            orgs.gate.open()
        await working.drain()
        killed = [await _check_org(org, orgs.runs_dir) for org in orgs.orgs]
        assert sum(killed) <= 2, "a child of a killed worker goes on"


async def test_an_orphan_is_left_alone_and_waited_for_by_the_next_worker(tmp_path: Path) -> None:
    async with serve_orgs([(Op.LINK, Op.UNLINK)], tmp_path / "runs") as orgs:
        org, runs_dir = orgs.orgs[0], orgs.runs_dir
        orgs.gate.close_after(CONTACTS // 2)
        async with worker(runs_dir, slots=2) as killed:
            await orgs.gate.reached.wait()
            await killed.kill()
        orphan = await find_children(runs_dir)
        assert list(orphan.values()) == ["org0-link"]
        async with serve_orgs([(Op.LINK,)], runs_dir, first=1) as others:
            async with worker(runs_dir, slots=2) as working:
                await working.reports("org1-link: finished.")
                assert await find_children(runs_dir) == orphan
                orgs.gate.open()
                result = await working.drain()
            assert result["finished"] == 3
            assert await _check_org(others.orgs[0], runs_dir) == 0
        assert await _check_org(org, runs_dir) == 0


async def _check_org(org: WorkedOrg, runs_dir: Path) -> int:
    """Check the runs of an org against its CRM; return how many commands were killed."""
    assert org.crm.state.answered_429 == 0, "two processes would make more calls than it accepts"
    killed, spans = 0, []
    for name, op in org.runs.items():
        folder = RunFolder(runs_dir / name)
        state = await off_loop(status, folder.path)
        assert (state.state, state.counts["done"]) == ("finished", state.rows), name
        lines = read_lines(folder.ledger)
        assert await off_loop(compare_with_the_crm, op, lines, org.crm.url) == state.rows
        _check_nothing_is_sent_again(lines)
        spans.append((lines[0]["ts"], lines[-1]["ts"]))
        killed += _check_invocations(folder)
    assert all(first[1] <= second[0] for first, second in pairwise(spans)), spans
    return killed


def _check_nothing_is_sent_again(lines: list[dict[str, Any]]) -> None:
    settled: set[int] = set()
    for line in lines:
        if line["event"] == "call":
            assert settled.isdisjoint(line.get("rows", ())), line
        elif line["event"] == "result":
            settled.add(line["row"])


def _check_invocations(folder: RunFolder) -> int:
    """Check that the commands of a run did not overlap; return how many were killed."""
    *earlier, last = invocations = folder.read().invocations
    assert last.stopped_by is None
    assert {invocation.stopped_by for invocation in earlier} <= {"killed"}
    for first, second in pairwise(invocations):
        assert first.ended is not None
        assert first.ended <= second.started
    return len(earlier)
