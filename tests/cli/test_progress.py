"""Progress of a command without a live view."""

from __future__ import annotations

import io
import sys

import pytest

from bulklink.cli.console import note
from bulklink.cli.progress import ProgressDisplay
from bulklink.engine.outage import Outage
from bulklink.engine.shutdown import StopController
from bulklink.mapping.interrupt import PlanningStage
from bulklink.models import Status
from bulklink.operations.callbacks import (
    ChosenEmail,
    Metrics,
    ProbeConfirmation,
    ReadProgress,
    RunProgress,
)

HALF = dict.fromkeys(Status, 0) | {Status.DONE: 50}


class Terminal(io.StringIO):
    """A terminal's screen."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def open_terminal(monkeypatch: pytest.MonkeyPatch, columns: int | None = None) -> Terminal:
    """Make standard error a terminal, and return its screen."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    if columns is not None:
        monkeypatch.setenv("COLUMNS", str(columns))
    return screen


class ProgressScreen:
    """A progress display that is updated twice a second."""

    def __init__(self, style: str, *, quiet: bool = False) -> None:
        self.now = 0.0
        self.stop = StopController()
        self.callbacks = ProgressDisplay(
            style, verbose=False, quiet=quiet, stop=self.stop, clock=lambda: self.now
        )

    def advance(self, seconds: int) -> None:
        for _ in range(2 * seconds):
            self.now += 0.5
            self.callbacks.on_progress(RunProgress(100, HALF, metrics=Metrics(credits_spent=3)))


def test_without_a_terminal_a_line_is_printed_every_ten_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress_screen = ProgressScreen("auto")
    with progress_screen.callbacks:
        progress_screen.callbacks.on_phase("Sending")
        progress_screen.advance(65)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["Sending: 50 of 100, 50 %, 3 credits spent"] * 6


def test_checking_and_reading_print_lines_too(capsys: pytest.CaptureFixture[str]) -> None:
    progress_screen = ProgressScreen("lines")
    with progress_screen.callbacks as callbacks:
        progress_screen.now = 11.0
        callbacks.on_planning(PlanningStage("Sorting the plan", 0.456))
        progress_screen.now = 22.0
        callbacks.on_phase("Fetching")
        progress_screen.now = 33.0
        callbacks.on_read(ReadProgress("contacts", 1, 4))
    assert capsys.readouterr().err.splitlines() == [
        "Sorting the plan: 45 %",
        "Fetching",
        "Fetching: 1 of 4, 25 %",
    ]


def test_a_wait_for_credits_is_noted_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress_screen = ProgressScreen("lines")
    with progress_screen.callbacks as callbacks:
        callbacks.on_wait(1_800_000_000.0)
        progress_screen.advance(3600)
        callbacks.on_wait(None)
        progress_screen.advance(11)
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.startswith("Waiting for credits until 2027-01-15")
    assert rest[-1].endswith("50 of 100, 50 %, 3 credits spent")
    assert len(rest) <= 2


def test_an_outage_is_noted_at_its_start_and_end_and_in_every_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress_screen = ProgressScreen("lines")
    with progress_screen.callbacks as callbacks:
        callbacks.on_outage(Outage("the connection broke", 1_800_000_000.0))
        progress_screen.advance(11)
        callbacks.on_outage(None)
        progress_screen.advance(11)
    first, *during, last = capsys.readouterr().err.splitlines()
    assert first.startswith("No answer (the connection broke): waiting until 2027-01-15")
    assert "Ctrl-C" in first
    assert any("No answer (the connection broke)" in line for line in during)
    assert "The CRM is answering again." in during
    assert "No answer" not in last


@pytest.mark.parametrize("quiet", [False, True])
def test_what_a_probe_changes_is_shown_before_it_is_asked_for(
    quiet: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ProbeConfirmation(
        "Acme", "Sandbox", (ChosenEmail("7", "a1", "A \x1b[31mred", "Big deal"),), 60
    )
    progress_screen = ProgressScreen("lines", quiet=quiet)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\ny\n"))
    with progress_screen.callbacks as callbacks:
        callbacks.on_probe(request)
        assert callbacks.confirm_probe(request)
        assert callbacks.confirm_experiment("another owner", "Links an email.")
    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert shown.count("at most 60 credits. It links and unlinks 1 email, and puts") == 1
    assert "  A \\x1b[31mred (on Big deal)" in shown
    assert "    contact 7, email a1" in shown
    assert "Probe Acme (Sandbox) with these emails? [y/N]" in shown
    assert "another owner: Links an email. Send it? [y/N]" in shown


@pytest.mark.parametrize(("style", "quiet"), [("none", False), ("bar", True), ("lines", True)])
def test_quiet_and_no_progress_show_nothing(
    style: str, quiet: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    progress_screen = ProgressScreen(style, quiet=quiet)
    with progress_screen.callbacks:
        progress_screen.advance(60)
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
    progress_screen = ProgressScreen("bar")
    with progress_screen.callbacks:
        progress_screen.advance(10)
    assert screen.getvalue() == "Starting: 50 of 100, 50 %, 3 credits spent\n"


def test_notes_are_printed_above_the_view_and_never_wrapped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = open_terminal(monkeypatch, 30)
    path = "/a/path/" + "that-is-longer-than-the-terminal-is-wide/" * 3
    progress_screen = ProgressScreen("bar")
    with progress_screen.callbacks:
        progress_screen.advance(1)
        note(f"See {path} there")
        progress_screen.advance(1)
    assert f"See {path} there\n" in screen.getvalue()
    note("after")
    assert screen.getvalue().endswith("after\n")


def test_the_view_shows_run_folder_org_and_time_and_how_to_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = open_terminal(monkeypatch, 80)
    progress_screen = ProgressScreen("bar")
    with progress_screen.callbacks as callbacks:
        callbacks.on_start("change")
        callbacks.on_org("Acme", "production")
        progress_screen.advance(9)
        assert "change · Acme (production) · 8s elapsed · Ctrl-C stops safely" in screen.getvalue()
        progress_screen.stop.interrupt()
        progress_screen.advance(2)
        assert "change · Acme (production) · 10s elapsed · finishing the calls" in screen.getvalue()


@pytest.mark.parametrize(
    ("org", "expected_text"),
    [((None, None), "2s"), (("Acme", None), "Acme · 2s"), ((None, "sandbox"), "(sandbox) · 2s")],
)
def test_what_is_unknown_of_the_org_is_left_out(
    org: tuple[str | None, str | None], expected_text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = open_terminal(monkeypatch)
    progress_screen = ProgressScreen("bar")
    with progress_screen.callbacks as callbacks:
        callbacks.on_org(*org)
        progress_screen.advance(2)
    assert f"m{expected_text} elapsed" in screen.getvalue()


def test_a_closed_terminal_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(Terminal):
        def write(self, text: str, /) -> int:
            raise OSError(5, "Input/output error")

    progress_screen = ProgressScreen("lines")
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    drawing = ProgressScreen("bar")
    monkeypatch.setattr(sys, "stderr", Gone())
    for display in (progress_screen, drawing):
        with display.callbacks:
            display.advance(20)
            note("Nobody reads this.")


def test_the_view_is_redrawn_once_a_second_and_immediately_on_a_new_phase(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = open_terminal(monkeypatch)
    progress_screen = ProgressScreen("bar")
    with progress_screen.callbacks as callbacks:
        progress_screen.advance(60)
        assert 55 <= screen.getvalue().count("50 of 100") <= 65
        callbacks.on_phase("Reading them back")
        assert "Reading them back" in screen.getvalue()
