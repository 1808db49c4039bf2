"""Generator of docs/reference.md from the commands; `make docs` runs it.

What no command says of itself is defined here: exit codes, variables of a connection, the states of
a run, and why a run stops.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from bulklink import errors
from bulklink.cli.app import SECTIONS
from bulklink.cli.errors import examples_of
from bulklink.cli.help import options_by_group, subcommands
from bulklink.errors import BulklinkError, ExitCode, StoppedBy
from bulklink.models import Status
from bulklink.runs.record import RunState
from tests.cli.command_tree import ALL

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "docs" / "reference.md"
CONNECTION = {
    "BULKLINK_DC": "the org's data centre: us eu in au cn jp ca sa uk; there is no default",
    "BULKLINK_ENVIRONMENT": "`production`, `sandbox` or `developer`",
    "BULKLINK_CLIENT_ID": "the client id of the self client",
    "BULKLINK_CLIENT_SECRET": "the client secret of the self client",
    "BULKLINK_REFRESH_TOKEN": "the token that access tokens are requested with",
    "BULKLINK_GRANT_CODE": "the code that `bulklink auth login` exchanges",
    "BULKLINK_ACCESS_TOKEN": "an access token, used until it is refused",
    "BULKLINK_CLUSTER_URL": "the address of the database of [a cluster](cluster.md)",
    "BULKLINK_DEALS_MODULE_ID": "the id of the module Deals in the org; looked up if it is not set",
    "BULKLINK_API_URL": "another address of the API, such as the emulator's",
    "BULKLINK_ACCOUNTS_URL": "another address of the accounts server",
}
EXIT_CODES = {
    ExitCode.OK: "every row is `done`, `unchanged` or a duplicate; there is nothing to undo",
    ExitCode.ROWS_NOT_DONE: (
        "the run reached its end, and some row is `failed`, `in_doubt` or `rejected`; `plan`: some"
        " row is refused; `verify`, `status --check`: something differs; `audit`: it"
        " proposes changes, or could not read everything"
    ),
    ExitCode.REFUSED: "wrong usage, configuration or input, or not confirmed: nothing was changed",
    ExitCode.STOPPED: (
        "stopped before its end, and somebody must look: the message says what stopped it. Then"
        " `bulklink resume` continues"
    ),
    ExitCode.CREDITS: (
        "stopped for credits: `bulklink resume` continues, not before `resume_at` if one is shown"
    ),
    ExitCode.INTERRUPTED: (
        "interrupted by Ctrl-C: calls in flight were finished and recorded; `bulklink resume`"
        " continues. A second Ctrl-C stops at once"
    ),
    ExitCode.OUTPUT_CLOSED: (
        "the program that read the output ended, as `| head` does; what the command did besides"
        " stands"
    ),
    ExitCode.TERMINATED: "as 130, by SIGTERM or a closed terminal",
}
STATES = {
    RunState.PLANNED: "the plan is sealed, nothing was sent",
    RunState.RUNNING: "a process works on it",
    RunState.STOPPED: (
        "it stopped before its end; `stopped_by` says why, and `bulklink resume` continues"
    ),
    RunState.FINISHED: "it reached its end: every row has its result",
    RunState.REFUSED: "rows were refused, and nothing was sent",
}
STOPPED_BY = {
    StoppedBy.INTERRUPTED: "Ctrl-C, also at a question",
    StoppedBy.TERMINATED: "SIGTERM, or SIGHUP from a closed terminal",
    StoppedBy.KILLED: "the process was killed or lost its power; `bulklink status` notices",
    StoppedBy.FATAL: "an answer after which no call can succeed, such as a missing scope",
    StoppedBy.NO_ANSWER: (
        "no answer for as long as `--outage` allows or to the first call, or to five calls in a"
        " row while others are answered"
    ),
    StoppedBy.MAX_FAILURES: "too many emails failed or are in doubt: `--max-failures`",
    StoppedBy.CREDITS: (
        "the credits of the org or of 24 hours are used up; `resume_at` says until when"
    ),
    StoppedBy.MAX_CREDITS: "the credits of the command are used up: `--max-credits`",
    StoppedBy.CANARY: "the first emails are not as the CRM had answered: `--canary`",
    StoppedBy.LEDGER: "the ledger cannot be written, or does not add up",
    StoppedBy.LEASE: (
        "another machine may drive the run now, in [a cluster](cluster.md) or where a program"
        " drives runs on several machines"
    ),
    StoppedBy.INTERNAL: "a bug in bulklink",
}
_HEAD = """# Reference

Every command with its options, and every code. `make docs` writes this page from the commands, and
a test compares it with them. To get started, read the [README](../README.md).

Set an option on the command line, by its environment variable, by its key in a job file (its long
name with `_`), or in a profile; the command line takes precedence, then the variable, and so on. If
a variable has several values, put one on each line. Every command has `--help` (`-h`);
`bulklink --version` shows the version.
"""


def reference() -> str:
    """Return the whole page."""
    parts = [_HEAD, "## Commands\n", *_contents()]
    for names in SECTIONS.values():
        for name in names:
            parts += _command(ALL[f"bulklink {name}"], "bulklink")
    return "\n".join([*parts, *_vocabulary()]).rstrip("\n") + "\n"


def error_codes() -> dict[str, str]:
    """Return the error codes, and when each is raised."""
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind)]
    occasions: dict[str, list[str]] = {}
    for kind in kinds:
        if issubclass(kind, BulklinkError) and "code" in vars(kind):
            docstring = inspect.getdoc(kind) or ""
            when = docstring.partition(".")[0].replace("\n", " ").removeprefix("Raised ")
            occasions.setdefault(kind.code, []).append(when)
    return {
        code: "a bug in bulklink" if code == "internal" else "; ".join(when)
        for code, when in occasions.items()
    }


def _contents() -> Iterator[str]:
    for heading, names in SECTIONS.items():
        links = ", ".join(f"[`{name}`](#bulklink-{name})" for name in names)
        yield f"- {heading}: {links}"
    yield ""


def _command(command: click.Command, parent: str, level: int = 3) -> Iterator[str]:
    path = f"{parent} {command.name}"
    ctx = click.Context(command, info_name=path)
    usage = " ".join([path, *command.collect_usage_pieces(ctx)])
    yield f"{'#' * level} {path}\n"
    yield f"```text\n{usage}\n```\n"
    yield from _help_text(command)
    yield from _options(ctx)
    for subcommand in subcommands(command).values():
        yield from _command(subcommand, path, level + 1)


def _help_text(command: click.Command) -> Iterator[str]:
    """Yield the text of a help; examples and other preformatted lines stay so."""
    for part in (command.help or "").split("\n\n"):
        text = inspect.cleandoc(part)
        if not text.startswith("\b"):
            yield _escaped(" ".join(text.split())) + "\n"
        elif re.match(r"\x08\nExamples?:", text):
            yield "```sh\n" + "\n".join(examples_of(command)) + "\n```\n"
        else:
            yield f"```text\n{text.removeprefix(chr(8)).strip()}\n```\n"


def _escaped(text: str) -> str:
    """Return a text with the special characters of Markdown escaped."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([*<])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def _options(ctx: click.Context) -> Iterator[str]:
    for group, options in options_by_group(ctx.command.params).items():
        if options:
            yield f"{group}:\n"
            rows = [_row(option, ctx) for option in options]
            yield from _table(("option", "what", "default", "variable"), rows)


def _row(option: click.Option, ctx: click.Context) -> tuple[str, str, str, str]:
    value = "" if option.is_flag else " " + option.make_metavar(ctx).strip("[]")
    names = [f"`{name}{value}`" for name in option.opts]
    names += [f"`{name}`" for name in option.secondary_opts]
    variable = f"`{option.envvar}`" if isinstance(option.envvar, str) else ""
    extra = option.get_help_extra(ctx)
    description = _escaped(option.help or "")
    if "range" in extra:
        description += f" {extra['range'].capitalize()}."
    if option.multiple and "several times" not in description and "repeatable" not in description:
        description += " May be given several times."
    default = "required" if option.required else extra.get("default", "")
    default_text = f"`{default}`" if default and not option.required else str(default)
    return ", ".join(names), description, default_text, variable


def _vocabulary() -> Iterator[str]:
    yield "## Environment variables\n"
    yield "In addition to those of the options above:\n"
    yield from _table(("variable", "what"), ((f"`{k}`", v) for k, v in CONNECTION.items()))
    yield "## Exit codes\n"
    yield from _table(("code", "meaning"), ((str(int(c)), EXIT_CODES[c]) for c in ExitCode))
    yield "## Errors\n"
    yield (
        "An error says what is wrong, where, and what to do. With `--json` it is"
        ' `{"error":{"code","where","message","advice"},"exit_code":N}` on standard output, and'
        " nothing else. Once a run has started, its own object is printed there, also if it is"
        " stopped, with `state`, `stopped_by` and `exit_code`; the reason is on standard error."
        " `--debug` shows where in the program an error came from.\n"
    )
    yield from _table(("code", "when"), ((f"`{k}`", v) for k, v in error_codes().items()))
    yield "## Runs\n"
    yield from _table(("`state`", "meaning"), ((f"`{s}`", STATES[s]) for s in RunState))
    yield from _table(("`stopped_by`", "why"), ((f"`{b}`", STOPPED_BY[b]) for b in StoppedBy))
    statuses = ", ".join(f"`{status}`" for status in Status)
    yield (
        f"The rows of a run are {statuses} or `pending`: [what each means](results.md#statuses)."
    )


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    first = list(header)
    lines = [first, ["---"] * len(first), *([_cell(text) for text in row] for row in rows)]
    yield "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cell(text: str) -> str:
    """Return a text for a table cell, with its bars escaped."""
    return text.replace("\\|", "|").replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(reference(), "utf-8")
