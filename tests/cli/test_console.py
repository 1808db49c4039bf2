"""Every command prints through the console, which escapes control characters."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bulklink
from bulklink.cli import console
from bulklink.cli.console import (
    Styled,
    format_columns,
    note,
    print_json,
    print_line,
    show_error,
    stdout_stream,
    table_lines,
    warn,
)
from bulklink.errors import ConfigError, InvalidRowsError
from tests.hostile_text import HOSTILE, HOSTILE_TEXTS, find_acting_characters, without_styles

CLI = Path(bulklink.__file__).parent / "cli"
PRINTING = {"echo", "secho", "echo_via_pager", "confirm", "prompt", "style", "print_exception"}
PRINTERS = {
    "console.py",
    "commands/completion.py",  # prints a script of its own to standard output
}


class Terminal(io.TextIOWrapper):
    """A terminal that records its output."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", newline="")

    def isatty(self) -> bool:
        return True

    @property
    def text(self) -> str:
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode()


@contextlib.contextmanager
def terminal() -> Iterator[Terminal]:
    """Use a terminal as standard output and standard error."""
    made = Terminal()
    with contextlib.redirect_stdout(made), contextlib.redirect_stderr(made):
        yield made


def printing_calls(path: Path) -> set[str]:
    """Return the calls of a module that print or style text."""
    calls = set[str]()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id="print")):
                calls.add("print")
            case ast.Call(func=ast.Attribute(value=ast.Name(id="click" | "traceback"), attr=name)):
                calls |= {name} & PRINTING
            case _:
                pass
    return calls


def test_only_the_console_module_prints() -> None:
    printing = {
        str(path.relative_to(CLI)): calls
        for path in CLI.rglob("*.py")
        if (calls := printing_calls(path))
    }
    assert printing.keys() == PRINTERS, printing


@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS)
def test_control_characters_are_escaped_in_every_kind_of_line(text: str) -> None:
    with terminal() as screen:
        error = ConfigError(f"It is {text}.", where=f"a{text}", advice=f"Do {text}.")
        rows = InvalidRowsError("They are refused.", faults=(f"row 1: {text}",))
        print_line(f"a{text}b")
        print_line(Styled(text, "red", bold=True))
        note(text)
        warn(text)
        show_error(error, as_json=False)
        show_error(error, as_json=True)
        show_error(rows, as_json=False)
        for line in (*table_lines({text: 5, "b": text}), *format_columns([[text, "b"]], ())):
            print_line(line)
        assert find_acting_characters(without_styles(screen.text)) == []


def test_a_text_never_leaves_its_line() -> None:
    with terminal() as screen:
        print_line(f"a{HOSTILE}")
        note(HOSTILE)
        warn(HOSTILE)
        assert len(screen.text.splitlines()) == 3


def test_our_own_colours_are_kept() -> None:
    with terminal() as screen:
        print_line((Styled("error:", "red"), " \x1b[31mfaked"))
        assert screen.text == "\x1b[31merror:\x1b[0m \\x1b[31mfaked\n"


def test_json_is_exact_and_escapes_control_characters() -> None:
    with terminal() as screen:
        print_json({"text": HOSTILE, "plain": "Žluťoučký"})
        assert json.loads(screen.text) == {"text": HOSTILE, "plain": "Žluťoučký"}
        assert find_acting_characters(screen.text) == []
        assert "Žluťoučký" in screen.text


def test_control_characters_are_escaped_in_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal() as screen:
        monkeypatch.setattr(sys, "stdin", io.StringIO("y\nus\n"))
        assert console.confirm(f"Change {HOSTILE}?")
        assert console.ask(f"Centre of {HOSTILE}") == "us"
        assert find_acting_characters(without_styles(screen.text)) == []


def test_rows_at_a_terminal_are_escaped_in_chunks_of_any_size() -> None:
    with terminal() as screen:
        stream = stdout_stream()
        for byte in f'1,"{HOSTILE}"\r\n2,é\r\n'.encode():
            stream.write(bytes([byte]))
        stream.flush()
        assert find_acting_characters(screen.text) == []
        assert screen.text.endswith("\n2,é\n")


def test_rows_in_a_file_are_written_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", file)
    assert stdout_stream() is file.buffer
