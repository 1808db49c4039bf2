"""The live view of a run at terminals of 60 and 200 columns."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator

import pytest

from tests.e2e.command import Command, rows, write_mapping
from tests.e2e.servers import Emulator
from tests.e2e.terminals import WatchedCommand, start_watched, watch_to_end
from tests.e2e.world import Contact

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such terminals")
HEAD = re.compile(r"Sending  (━*╸?─*)  (\d+) of 90  (\d+) %(  \d+s left)?")
OPTIONS = ("--batch-size", "1", "--rate", "15", "--canary", "0", "--run-dir", "run")


@pytest.fixture(scope="module")
def watched_commands(
    emulator: Emulator, unused_contacts: Iterator[Contact], tmp_path_factory: pytest.TempPathFactory
) -> dict[int, WatchedCommand]:
    """Link 90 emails, the first 12 of them to somebody else's deal, at 15 calls a second.

    Both at once: what they take is waiting. The wide one has NO_COLOR set.
    """
    runs = []
    for columns in (60, 200):
        command = Command(tmp_path_factory.mktemp(f"at-{columns}")).with_env(**emulator.env())
        first, second, stranger = itertools.islice(unused_contacts, 3)
        mapping_rows = [
            *rows(first.free[:12], stranger.a),
            *rows(first.free[12:], first.a),
            *rows(second.free, second.a),
        ]
        write_mapping(command.folder / "mapping.csv", mapping_rows)
        if columns == 200:
            command = command.with_env(NO_COLOR="1")
        runs.append(start_watched(command, columns, "link", "mapping.csv", *OPTIONS))
    watch_to_end(*runs)
    return {first.columns: first for first in runs}


@pytest.fixture(params=[60, 200], ids=["60 columns", "200 columns"])
def run(
    watched_commands: dict[int, WatchedCommand], request: pytest.FixtureRequest
) -> WatchedCommand:
    """Return a run that was watched to its end."""
    watched_command = watched_commands[request.param]
    assert watched_command.process.returncode == 1, watched_command.last
    return watched_command


def drawn_parts(run: WatchedCommand) -> list[list[str]]:
    """Return the drawn lines in each screen of the run, from the line with the bar on."""
    return [
        picture[index:]
        for picture in run.screens
        for index, line in enumerate(picture)
        if line.startswith("Sending  ")
    ]


def test_the_line_with_the_bar_is_complete_in_every_screen(run: WatchedCommand) -> None:
    heads = [view[0] for view in drawn_parts(run)]
    assert len(heads) > 3
    found = [HEAD.fullmatch(head) for head in heads]
    assert all(found), heads
    done = [int(one[2]) for one in found if one]
    assert done == sorted(done)
    assert len(set(done)) > 3
    assert any(one[4] for one in found if one), "the time left is shown once it is known"
    assert not found[0] or not found[0][4], "and not before"


def test_the_view_has_few_complete_lines(run: WatchedCommand) -> None:
    whole = (
        HEAD,
        re.compile(r"([\d.]+ emails/s · )?\d+ of \d+ (calls )?in flight · \d+ credits? spent"),
        re.compile(r"\d+ failed: \d+ NOT_ALLOWED"),
        re.compile(r"Limited by [\w', ()-]+"),
        re.compile(r"run · bulklink emulator \(Sandbox\) · \d+s elapsed( · Ctrl-C stops safely)?"),
        re.compile("Ctrl-C stops safely"),
    )
    views = drawn_parts(run)
    for view in views:
        assert len(view) <= (6 if run.columns == 60 else 5), view
        assert view[-1].endswith("Ctrl-C stops safely")
        for line in view:
            assert any(form.fullmatch(line) for form in whole), view
    text = "\n".join(line for view in views for line in view)
    assert "emails/s" in text
    assert "failed: " in text
    assert "Limited by" in text


def test_a_warning_appears_once_above_the_view(run: WatchedCommand) -> None:
    screen = "".join(line.ljust(run.columns) for line in run.last)
    text = " ".join(screen.split())
    warning = "warning: 12 rows link an email to a deal of another contact (row 1, 2, 3"
    assert text.count("warning:") == 1
    assert any(line.startswith("warning: 12 rows") for line in run.last), run.last
    assert warning in text.replace("( ", "(")


def test_the_view_disappears_after_the_run(run: WatchedCommand) -> None:
    text = "\n".join(run.last)
    assert "━" not in text
    assert "in flight ·" not in text
    assert "link: finished" in run.last
    assert run.raw.count(b"\x1b[?25l") == run.raw.count(b"\x1b[?25h") == 1, "the cursor is back"


def test_colours_are_used_unless_disabled(
    watched_commands: dict[int, WatchedCommand],
) -> None:
    colour = re.compile(rb"\x1b\[(?:\d+;)*(?:3[0-79]|9[0-7])(?:;\d+)*m")
    assert colour.search(watched_commands[60].raw)
    assert not colour.search(watched_commands[200].raw)
