"""What is shown of a command where nothing can be drawn, and where nothing is wanted."""

from __future__ import annotations

import io
import sys

import pytest

from bulklink.cli.console import note
from bulklink.cli.progress import ScreenWatch
from bulklink.engine.shutdown import Stopping
from bulklink.mapping.interrupt import Stage
from bulklink.models import Status
from bulklink.operations.callbacks import Gauge, Progress, Reading

HALF = dict.fromkeys(Status, 0) | {Status.DONE: 50}


class Terminal(io.StringIO):
    """A terminal's screen."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Told:
    """A screen that is told how far a run is, twice a second."""

    def __init__(self, style: str, *, quiet: bool = False) -> None:
        self.now = 0.0
        self.watch = ScreenWatch(
            style, verbose=False, quiet=quiet, stopping=Stopping(), clock=lambda: self.now
        )

    def go_on(self, seconds: int) -> None:
        for _ in range(2 * seconds):
            self.now += 0.5
            self.watch.progress(Progress(100, HALF, gauge=Gauge(spent=3)))


def test_without_a_terminal_a_line_comes_every_ten_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = Told("auto")
    with told.watch:
        told.watch.phase("Sending")
        told.go_on(65)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["Sending: 50 of 100, 50 %, 3 credits spent"] * 6


def test_checking_and_reading_have_lines_too(capsys: pytest.CaptureFixture[str]) -> None:
    told = Told("lines")
    with told.watch as watch:
        told.now = 11.0
        watch.planning(Stage("Sorting the plan", 0.456))
        told.now = 22.0
        watch.phase("Fetching")
        told.now = 33.0
        watch.read(Reading("contacts", 1, 4))
    assert capsys.readouterr().err.splitlines() == [
        "Sorting the plan: 45 %",
        "Fetching",
        "Fetching: 1 of 4, 25 %",
    ]


def test_a_wait_for_credits_is_said_once_however_long_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = Told("lines")
    with told.watch as watch:
        watch.waits(1_800_000_000.0)
        told.go_on(3600)
        watch.waits(None)
        told.go_on(11)
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.startswith("Waiting for credits until 2027-01-15")
    assert rest[-1].endswith("50 of 100, 50 %, 3 credits spent")
    assert len(rest) <= 2


@pytest.mark.parametrize(("style", "quiet"), [("none", False), ("bar", True), ("lines", True)])
def test_where_nothing_is_wanted_nothing_is_shown(
    style: str, quiet: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Told(style, quiet=quiet)
    with told.watch:
        told.go_on(60)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("term", "encoding"), [("dumb", "utf-8"), ("unknown", "utf-8"), ("xterm", "ascii")]
)
def test_a_terminal_that_cannot_draw_a_bar_gets_lines(
    term: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal()
    screen.encoding = encoding
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", term)
    told = Told("bar")
    with told.watch:
        told.go_on(10)
    assert screen.getvalue() == "Starting: 50 of 100, 50 %, 3 credits spent\n"


def test_notes_are_said_above_what_is_drawn_and_never_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "30")
    path = "/a/path/" + "that-is-longer-than-the-terminal-is-wide/" * 3
    told = Told("bar")
    with told.watch:
        told.go_on(1)
        note(f"See {path} there")
        told.go_on(1)
    assert f"See {path} there\n" in screen.getvalue()
    note("after")
    assert screen.getvalue().endswith("after\n")


def test_nobody_who_looks_any_more_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(Terminal):
        def write(self, text: str, /) -> int:
            raise OSError(5, "Input/output error")

    told = Told("lines")
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    drawing = Told("bar")
    monkeypatch.setattr(sys, "stderr", Gone())
    for one in (told, drawing):
        with one.watch:
            one.go_on(20)
            note("Nobody reads this.")


def test_a_picture_is_drawn_once_a_second_and_at_once_when_something_else_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    told = Told("bar")
    with told.watch as watch:
        told.go_on(60)
        assert 55 <= screen.getvalue().count("50 of 100") <= 65
        watch.phase("Reading them back")
        assert "Reading them back" in screen.getvalue()
