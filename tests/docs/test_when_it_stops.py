"""docs/when-it-stops.md has every way in which a run stops, with the exit code that it gives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bulklink import errors
from bulklink.errors import ExitCode, RefusedError, StoppedBy
from bulklink.models import Status
from bulklink.runs.record import RunState
from bulklink.runs.status import run_exit_code
from tests.docs.reference import ROOT

TEXT = (ROOT / "docs" / "when-it-stops.md").read_text("utf-8")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the rows of the table under a heading, without the header."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip(" `") for cell in cells] for cells in table[2:]]


def refusals() -> Iterator[str]:
    """Yield the codes of the errors that end a command before anything is changed."""
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, RefusedError) and kind is not RefusedError:
            yield kind.code


def test_every_exit_code_has_its_row() -> None:
    assert [int(row[0]) for row in rows("By exit code")] == sorted(ExitCode)


def test_every_reason_to_stop_has_its_row() -> None:
    assert [row[0] for row in rows("Why it stopped")] == [str(reason) for reason in StoppedBy]


@pytest.mark.parametrize("row", rows("Why it stopped"), ids=lambda row: row[0])
def test_the_exit_code_of_a_reason_is_that_of_the_run(row: list[str]) -> None:
    assert int(row[1]) == run_exit_code(RunState.STOPPED, row[0], {})


def test_every_status_that_gives_exit_code_1_has_its_row() -> None:
    not_done = {
        status
        for status in Status
        if run_exit_code(RunState.FINISHED, None, {**dict.fromkeys(Status, 0), status: 1})
        is ExitCode.ROWS_NOT_DONE
    }
    assert {row[0] for row in rows("Some rows are not done")} == not_done


def test_every_refusal_has_its_row() -> None:
    assert [row[0] for row in rows("It was refused")] == list(dict.fromkeys(refusals()))
