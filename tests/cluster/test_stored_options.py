"""Only what a submission may store reaches the command line of a driver."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bulklink.cluster.database import ClusterDatabase
from bulklink.cluster.driver_command import driver_command
from bulklink.cluster.runs import ClusterRun, RunTable
from bulklink.errors import RunDirError
from tests.cluster.single_runs import add_named_run


@pytest.fixture
def run(database: ClusterDatabase) -> ClusterRun:
    """Return a run without options."""
    table = RunTable(database)
    add_named_run(table, "org")
    (run,) = table.all()
    return run


@pytest.mark.parametrize(
    "words", [["--rate", "off"], ["--no-read-back"], ["--max-failures", "5%"], []], ids=str
)
def test_options_of_sending_reach_the_driver(run: ClusterRun, words: list[str]) -> None:
    command = driver_command(msgspec.structs.replace(run, options=words), None)
    assert command[len(command) - len(words) :] == words


@pytest.mark.parametrize(
    "word", ["--log", "--log=x", "-q", "--profile", "--expect-org", "--driver", "--sync", "--"]
)
def test_other_options_are_refused(run: ClusterRun, word: str, tmp_path: Path) -> None:
    changed = msgspec.structs.replace(run, options=["--rate", "off", word, str(tmp_path / "x")])
    with pytest.raises(RunDirError, match="which no submission stores"):
        driver_command(changed, None)
