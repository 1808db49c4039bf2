"""Errors name settings and next steps, and each interface words them in its own terms."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import bulklink
from bulklink.advice import Advice, Keyword, NextCall
from bulklink.cli.app import cli
from bulklink.cli.console import command_words
from bulklink.cli.help import subcommands
from bulklink.errors import UsageError

PACKAGE = Path(bulklink.__file__).parent
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
_PACKAGES_OF_COMMANDS = ("cli", "emulator")
_SIGN_IN = ("profiles/profile.py", "profiles/secrets.py", "shell.py")
"""Signing in happens at a terminal, so these texts name options."""
_WORDS_OF_THE_PAGE = (
    *("operations/report/commands.py", "operations/auditing/commands.py", "operations/wording.py"),
)
"""Pages show commands that are typed at a terminal."""
_WORDS_OF_ROWS = ("zoho/error_policy.py", "mapping/faults.py", "mapping/input/csv_reader.py")
"""Reasons of refused rows name options: readers of a ledger or of rejected rows type them."""

_COMMAND_OF_A_CHILD = ("worker/children.py", "cluster/driver_command.py")
"""The worker starts processes with options."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.split("/")[0] not in _PACKAGES_OF_COMMANDS:
            yield name, ast.parse(path.read_text())


def texts_of(module: ast.Module) -> Iterator[str]:
    """Yield the texts of a module, without its docstrings."""
    docstrings = {
        id(statement.value)
        for node in ast.walk(module)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        for statement in node.body
        if isinstance(statement, ast.Expr)
    }
    for node in ast.walk(module):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in docstrings:
                yield text


def named_settings() -> Iterator[tuple[str, str]]:
    for name, module in modules():
        for node in ast.walk(module):
            match node:
                case ast.Call(func=ast.Name("Keyword"), args=[ast.Constant(str(setting)), *_]):
                    yield name, setting


def options_of(command: click.Command) -> Iterator[str]:
    for param in command.params:
        yield from (*param.opts, *param.secondary_opts)
    for sub in subcommands(command).values():
        yield from options_of(sub)


def test_texts_of_the_library_name_no_options() -> None:
    exempt = (*_SIGN_IN, *_WORDS_OF_THE_PAGE, *_WORDS_OF_ROWS, *_COMMAND_OF_A_CHILD)
    violations = [
        f"{name}: {text}"
        for name, module in modules()
        if name not in exempt
        for text in texts_of(module)
        if _OPTION.search(text)
    ]
    assert violations == []


def test_each_setting_that_advice_names_is_an_option() -> None:
    settings, options = list(named_settings()), set(options_of(cli))
    assert settings
    unknown = [
        (name, setting)
        for name, setting in settings
        if command_words(Keyword(setting)) not in options
    ]
    assert unknown == []


@pytest.mark.parametrize(
    ("part", "python", "typed"),
    [
        (Keyword("memory"), "memory", "--memory"),
        (Keyword("on_invalid", "skip"), "on_invalid='skip'", "--on-invalid skip"),
        (Keyword("names", value=False), "names=False", "--no-names"),
        (Keyword("yes", value=True), "yes=True", "--yes"),
        (Keyword("format_", "csv"), "format_='csv'", "--format csv"),
        (
            Keyword("columns", (("deal_id", "Deal Id"), ("op", "Do"))),
            "columns=(('deal_id', 'Deal Id'), ('op', 'Do'))",
            "--column 'deal_id=Deal Id' --column op=Do",
        ),
        (NextCall("resume", "my run"), "`resume('my run')`", "`bulklink resume 'my run'`"),
        (
            NextCall("retry", "r", settings=[Keyword("accept_canary", value=True)]),
            "`retry('r', accept_canary=True)`",
            "`bulklink retry r --accept-canary`",
        ),
    ],
    ids=str,
)
def test_a_program_reads_python_and_a_terminal_shows_commands(
    part: Keyword | NextCall, python: str, typed: str
) -> None:
    error = UsageError("It is wrong.", advice=Advice("Use {}.", part))
    assert error.advice == f"Use {python}."
    assert str(error) == f"It is wrong.\nUse {python}."
    assert error.guidance.worded(command_words) == f"Use {typed}."


def test_braces_in_texts_and_names_are_kept() -> None:
    error = UsageError("{}", where="{0}.csv", advice=Advice("See {}: {{}}.", "{x}"))
    assert str(error) == "{0}.csv: {}\nSee {x}: {}."


def test_pieces_of_advice_are_joined_without_empty_ones() -> None:
    joined = Advice.join("\n", ["a {}", "", Advice("b {}", Keyword("rate")), Advice("")])
    assert joined.worded(command_words) == "a {}\nb --rate"
