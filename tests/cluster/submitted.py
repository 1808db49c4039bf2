"""Commands of a cluster that submit, send and show runs."""

from __future__ import annotations

from typing import Any

import orjson

from tests.e2e.command import Command


def submit(command: Command, *words: str, run: str = "july") -> dict[str, Any]:
    result = command("cluster", "submit", run, "--yes", *words, "--json")
    assert result.code == 0, result
    (submitted,) = result.object["submitted"]
    return dict(submitted)


def drain(command: Command) -> dict[str, object]:
    """Run a worker until nothing can be sent any more."""
    result = command.run_in_subprocess("cluster", "worker", "--drain", "--json")
    read: dict[str, object] = orjson.loads(result.out)
    return read


def shown_runs(command: Command) -> list[dict[str, str]]:
    result = command("status", "--cluster", "--json")
    assert result.code == 0, result
    runs: list[dict[str, str]] = result.object["runs"]
    return runs
