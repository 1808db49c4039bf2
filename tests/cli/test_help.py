"""The help of every command has its purpose and valid examples, and is fast."""

from __future__ import annotations

import inspect
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pytest

from bulklink.cli.app import SECTIONS, cli
from bulklink.cli.errors import examples_of
from bulklink.cli.help import HelpContext, options_by_group
from tests.cli.command_tree import ALL, LEAVES, parse_context
from tests.e2e.command import Command

HEAVY = (
    *("aiohttp", "anyio", "asyncio", "duckdb", "filelock", "keyring", "msgspec", "orjson", "rich"),
    *("jinja2", "procrastinate", "psycopg", "ssl", "tomli_w"),
)
LONG = [path for path, command in LEAVES.items() if len(command.params) > 15]
TYPED = ("bulklink link m.csv --on", "bulklink resume ", "bulklink undo run --profile ")
ASKED = (
    *("--help", "link --help", "auth login --help", "report --help", "cluster worker --help"),
    *("--version", "lnk", ""),
)
_IMPORTED = """
import json, os, sys
from contextlib import suppress
from bulklink.cli.main import main
asked, typed = json.loads(sys.argv[1]), json.loads(sys.argv[2])
for words in asked:
    sys.argv[1:] = words.split()
    with suppress(SystemExit):
        main()
os.environ["_BULKLINK_COMPLETE"] = "bash_complete"
for words in typed:
    os.environ |= {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    with suppress(SystemExit):
        main()
print("\\n" + json.dumps(sorted(sys.modules)))
"""


@pytest.fixture(autouse=True)
def no_user_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the developer's own profiles."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@pytest.mark.parametrize("path", ALL)
def test_every_command_has_valid_examples(path: str) -> None:
    examples = examples_of(ALL[path])
    assert examples, f"the help of {path} has no example"
    for example in examples:
        words = shlex.split(example.partition(" <")[0].partition(" >")[0])
        ctx = parse_context(words)
        assert ctx.command_path.startswith(path), example


@pytest.mark.parametrize("path", list(ALL)[1:])
def test_the_command_list_does_not_truncate_sentences_at_80_columns(path: str) -> None:
    command = ALL[path]
    parent = path.rpartition(" ")[0]
    names = [name.rpartition(" ")[2] for name in ALL if name.rpartition(" ")[0] == parent]
    width = 80 - 6 - max(map(len, names))
    assert not command.get_short_help_str(width).endswith("...")
    assert "..." not in help_of("bulklink", 80).partition("Getting started:")[2]


@pytest.mark.parametrize("path", LEAVES)
def test_every_command_and_option_has_a_help_text(path: str) -> None:
    command = LEAVES[path]
    sentence, examples, *rest = inspect.cleandoc(command.help or "").split("\n\n")
    assert sentence.endswith(".")
    assert examples.startswith("\b\nExample"), "the examples come first"
    assert rest, "when to use it"
    for param in command.params:
        assert not isinstance(param, click.Option) or param.help, param.name


def test_the_help_lists_all_commands_in_sections() -> None:
    help_text = cli.get_help(click.Context(cli, info_name="bulklink"))
    assert help_text.index("bulklink demo") < help_text.index("Options:")
    headings = [help_text.index(f"{heading}:") for heading in SECTIONS]
    assert headings == sorted(headings)


@pytest.mark.parametrize("path", LONG)
def test_a_long_help_begins_with_the_common_options_and_has_each_once(path: str) -> None:
    command = ALL[path]
    groups = options_by_group(command.params)
    common, *others = groups
    assert common == "Common options"
    assert len(groups[common]) <= 12
    assert others[-1] == "Show and record"
    listed = [option for options in groups.values() for option in options]
    assert sorted(map(str, listed)) == sorted(
        str(param) for param in command.params if isinstance(param, click.Option)
    )
    lines = help_of(path, 80).splitlines()
    assert [line.removesuffix(":") for line in lines if line.removesuffix(":") in groups] == [
        *groups
    ]


@pytest.mark.parametrize("path", [path for path in LEAVES if path not in LONG])
def test_a_short_help_lists_all_options_together(path: str) -> None:
    assert "\nOptions:\n" in help_of(path, 80)
    assert "Common options" not in help_of(path, 80)


@pytest.mark.parametrize("columns", [40, 50, 80, 120, 200])
def test_the_help_fills_the_terminal_and_is_no_wider(columns: int) -> None:
    text, options = help_of("bulklink link", columns).split("Common options:")
    widths = [len(line) for line in options.splitlines() if "[standard|" not in line]
    assert columns - 12 < max(widths) <= columns
    use = text.partition("  Use it for")[2]
    assert max(map(len, use.splitlines())) <= min(columns, 100)


def test_columns_of_all_groups_begin_at_the_same_place() -> None:
    lines = help_of("bulklink link", 80).partition("Common options:")[2].splitlines()
    indents = {len(line) - len(line.lstrip()) for line in lines if line.startswith("    ")}
    assert indents == {30}


def test_headings_are_bold_at_a_terminal_only(tmp_path: Path) -> None:
    assert "\x1b[1mOptions\x1b[0m:" in ALL["bulklink"].get_help(HelpContext(cli))
    for printed in (Command(tmp_path)("--help").out, Command(tmp_path).run_at_terminal("").err):
        assert "\nOptions:\n" in printed


def help_of(path: str, columns: int) -> str:
    """Return the help of a command at a terminal of this width."""
    command = ALL[path]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(columns))
        return click.unstyle(command.get_help(command.context_class(command, info_name=path)))


def test_help_usage_errors_and_completion_import_no_heavy_modules() -> None:
    output, modules = run_and_list_modules(ASKED, TYPED)
    assert b"Usage: bulklink link" in output
    assert b"--on-invalid\n" in output
    assert "bulklink.cli.commands.send" in modules
    assert {name for name in modules if name.partition(".")[0] in HEAVY} == set()


def test_a_command_imports_no_other_command() -> None:
    _, modules = run_and_list_modules(["status --help"], [])
    assert {name for name in modules if name.startswith("bulklink.cli.commands.")} == {
        "bulklink.cli.commands.status"
    }


def test_commands_without_a_connection_do_not_import_the_http_client(tmp_path: Path) -> None:
    mapping, run = tmp_path / "m.csv", tmp_path / "run"
    mapping.write_text("contact_id,owner_id,message_id,deal_id\n1,2,m,3\n")
    command_lines = (
        f"plan --op link {mapping} --run-dir {run}",
        f"status {run}",
        f"export {run} -o {tmp_path / 'rows.csv'}",
        f"report {run}",
        f"history m --runs-dir {tmp_path}",
    )
    output, modules = run_and_list_modules(command_lines, ())
    assert (tmp_path / "rows.csv").exists(), output
    assert (run / "report.html").exists(), output
    assert "aiohttp" not in modules


def test_planning_without_a_terminal_does_not_import_what_draws_a_bar(tmp_path: Path) -> None:
    mapping = tmp_path / "m.csv"
    mapping.write_text("contact_id,owner_id,message_id,deal_id\n1,2,m,3\n")
    output, modules = run_and_list_modules([f"plan --op link {mapping}"], ())
    assert b"Digest" in output
    assert {"rich.console", "rich.live", "rich.text"} & modules == set()


def run_and_list_modules(
    command_lines: Sequence[str], typed: Sequence[str]
) -> tuple[bytes, set[str]]:
    """Run commands and completions in one process; return its output and imported modules."""
    process = subprocess.run(
        [sys.executable, "-c", _IMPORTED, json.dumps(command_lines), json.dumps(typed)],
        capture_output=True,
        timeout=50,
        check=True,
    )
    return process.stdout, set(json.loads(process.stdout.splitlines()[-1]))
