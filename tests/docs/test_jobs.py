"""The example in docs/jobs.md can be planned, and the error it shows is the real one."""

from __future__ import annotations

import re
from pathlib import Path

from tests.e2e.command import Command, rows, write_mapping
from tests.e2e.world import World

DOCS = (Path(__file__).parents[2] / "docs" / "jobs.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    match = re.search(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)
    assert match
    return match[1]


def command(folder: Path, job: str) -> Command:
    contact = World().add(free=3)
    write_mapping(folder / "mapping.csv", rows(contact.free, contact.a))
    (folder / "job.toml").write_text(job, "utf-8")
    return Command(folder)


def test_the_example_can_be_planned(tmp_path: Path) -> None:
    planned = command(tmp_path, block("toml"))("run", "job.toml", "--dry-run", "--json")
    assert (planned.code, planned.object["messages"]) == (0, 3)


def test_the_documented_error_of_a_wrong_key_is_the_real_one(tmp_path: Path) -> None:
    result = command(tmp_path, 'op = "link"\nmapping = "m.csv"\nbtch_size = 2\n')("run", "job.toml")
    assert result.code == 2
    assert result.err.strip().startswith(block("text").strip().removesuffix("…"))
