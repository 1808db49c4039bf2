"""What a person sees of a run while it goes on, at terminals of 60 and of 200 columns."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator

import pytest

from .command import Command, rows, write_mapping
from .servers import Emulator
from .watched import Watched, start, watch
from .world import Contact

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such terminals")
HEAD = re.compile(r"Sending  (━*╸?─*)  (\d+) of 90  (\d+) %(  \d+s left)?")
OPTIONS = ("--batch-size", "1", "--rate", "15", "--canary", "0", "--run-dir", "run")


@pytest.fixture(scope="module")
def seen(
    emulator: Emulator, untaken: Iterator[Contact], tmp_path_factory: pytest.TempPathFactory
) -> dict[int, Watched]:
    """Link 90 emails, the first 12 of them to somebody else's deal, at 15 calls a second.

    Both at once: what they take is waiting. The wide one has NO_COLOR set.
    """
    runs = []
    for columns in (60, 200):
        command = Command(tmp_path_factory.mktemp(f"at-{columns}")).given(**emulator.env())
        one, two, other = itertools.islice(untaken, 3)
        given = [*rows(one.free[:12], other.a), *rows(one.free[12:], one.a), *rows(two.free, two.a)]
        write_mapping(command.folder / "mapping.csv", given)
        if columns == 200:
            command = command.given(NO_COLOR="1")
        runs.append(start(command, columns, "link", "mapping.csv", *OPTIONS))
    watch(*runs)
    return {one.columns: one for one in runs}


@pytest.fixture(params=[60, 200], ids=["60 columns", "200 columns"])
def run(seen: dict[int, Watched], request: pytest.FixtureRequest) -> Watched:
    """Return a run that was watched to its end."""
    found = seen[request.param]
    assert found.process.returncode == 1, found.last
    return found


def drawn(run: Watched) -> list[list[str]]:
    """Return what was drawn in each picture of the run: from the line with the bar on."""
    return [
        picture[place:]
        for picture in run.pictures
        for place, line in enumerate(picture)
        if line.startswith("Sending  ")
    ]


def test_the_line_with_the_bar_is_whole_in_every_picture(run: Watched) -> None:
    heads = [view[0] for view in drawn(run)]
    assert len(heads) > 3
    found = [HEAD.fullmatch(head) for head in heads]
    assert all(found), heads
    done = [int(one[2]) for one in found if one]
    assert done == sorted(done)
    assert len(set(done)) > 3
    assert any(one[4] for one in found if one), "the time left is told once it is known"
    assert not found[0] or not found[0][4], "and not before"


def test_it_is_no_more_than_a_few_lines_each_whole(run: Watched) -> None:
    whole = (
        HEAD,
        re.compile(r"([\d.]+ emails/s · )?\d+ of \d+ (calls )?in flight · \d+ credits? spent"),
        re.compile(r"\d+ failed: \d+ NOT_ALLOWED"),
        re.compile(r"Limited by [\w', ()-]+"),
    )
    views = drawn(run)
    for view in views:
        assert len(view) <= 4, view
        for line in view:
            assert any(form.fullmatch(line) for form in whole), view
    text = "\n".join(line for view in views for line in view)
    assert "emails/s" in text
    assert "failed: " in text
    assert "Limited by" in text


def test_a_warning_stands_above_it_whole_and_once(run: Watched) -> None:
    screen = "".join(line.ljust(run.columns) for line in run.last)
    said = " ".join(screen.split())
    warning = "warning: 12 rows link an email to a deal of another contact (row 1, 2, 3"
    assert said.count("warning:") == 1
    assert any(line.startswith("warning: 12 rows") for line in run.last), run.last
    assert warning in said.replace("( ", "(")


def test_nothing_of_it_is_left_when_the_run_is_over(run: Watched) -> None:
    text = "\n".join(run.last)
    assert "━" not in text
    assert "in flight ·" not in text
    assert "link: finished" in run.last
    assert run.raw.count(b"\x1b[?25l") == run.raw.count(b"\x1b[?25h") == 1, "the cursor is back"


def test_there_are_colours_unless_they_are_not_wanted(seen: dict[int, Watched]) -> None:
    colour = re.compile(rb"\x1b\[(?:\d+;)*(?:3[0-79]|9[0-7])(?:;\d+)*m")
    assert colour.search(seen[60].raw)
    assert not colour.search(seen[200].raw)
