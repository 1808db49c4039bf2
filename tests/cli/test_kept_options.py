"""Commands that continue a run or a fetch keep its options, unless they are set again."""

from __future__ import annotations

import inspect
from typing import Any

import click
import pytest

import bulklink
from bulklink import Edition, MaxFailures, WhenCreditsOut
from bulklink.cli.arguments import (
    given_options,
    limit_arguments,
    option_words,
    pace_arguments,
    send_arguments,
)
from bulklink.cli.options import option_key
from bulklink.operations.job import Job
from bulklink.operations.job_options import LIMIT_OPTIONS, PACE_OPTIONS, SEND_OPTIONS
from tests.cli.command_tree import ALL, parse_context

COMMANDS: dict[str, tuple[list[str], Any, frozenset[str]]] = {
    "apply": (["RUN"], limit_arguments, LIMIT_OPTIONS),
    "resume": (["RUN"], limit_arguments, LIMIT_OPTIONS),
    "retry": (["RUN"], limit_arguments, LIMIT_OPTIONS),
    "undo": (["RUN"], send_arguments, SEND_OPTIONS),
    "fetch": (["1", "-o", "f.csv"], pace_arguments, PACE_OPTIONS),
}
"""Commands that continue a run or a fetch: their arguments, and the options of their operation."""

KEPT: dict[str, tuple[str | None, str, object]] = {
    "concurrency": ("3", "concurrency", 3),
    "edition": ("ultimate", "edition", Edition.ULTIMATE),
    "rate": ("7.5", "rate", 7.5),
    "read_back": ("never", "read_back", False),
    "read_pages": ("9", "read_pages", 9),
    "settle_after": ("2", "settle_after", 2.0),
    "credits_per_day": ("50", "credits_per_day", 50),
    "reserve_credits": ("5", "reserve_credits", 5),
    "outage": ("90s", "outage", 90.0),
    "when_credits_out": ("wait", "when_credits_out", WhenCreditsOut.WAIT),
    "max_failures": ("3%", "max_failures", MaxFailures(percent=3.0)),
    "sync": ("off", "sync", False),
    "canary": ("4", "canary", 4),
    "batch_size": ("6", "batch_size", 6),
    "group_by": ("contact", "group_by", "contact"),
    "single_endpoint": (None, "single_endpoint", True),
    "no_names": (None, "names", False),
    "memory": ("64MB", "memory", "64MB"),
}
"""Options that are kept: a text for the command line, the name in `Job`, the value there."""
FOR_ONE_CALL: dict[str, tuple[str | None, str, object]] = {
    "yes": (None, "yes", True),
    "wait_for_org": (None, "wait_for_org", True),
    "expect_org": ("12", "expect_org", "12"),
    "max_credits": ("8", "max_credits", 8),
    "run_dir": ("here", "run_dir", "here"),
    "runs_dir": ("there", "runs_dir", "there"),
}
"""Per-call options of `Job`."""
DEFAULTS_GIVEN = {
    "concurrency": ("auto", None),
    "rate": ("off", None),
    "sync": ("on", True),
    "read_back": ("auto", True),
    "when_credits_out": ("stop", WhenCreditsOut.STOP),
    "max_failures": ("off", MaxFailures(percent=100.0)),
    "settle_after": ("10", 10.0),
    "outage": ("5m", 300.0),
    "batch_size": ("20", 20),
}
"""Words that stand for no limit or for the default: given, they count like any other value."""
NOT_OF_A_JOB = {
    *("json", "debug", "profile", "log", "progress", "verbose", "quiet"),  # display, connection
    *("expect", "code", "dry_run", "include_settled"),  # what this one command does
    "accept_canary",  # of this one command too
    *("from_mapping", "column", "delimiter", "encoding"),  # which contacts: compared by a hash
    *("quote", "escape", "skip_lines"),  # of the mapping that has the contacts
    *("sheet", "hidden_rows"),  # of that mapping too
    *("preset", "allow_round_ids"),  # of the mapping that has the contacts
    *("output", "format", "spreadsheet", "force"),  # the file: see tests/e2e/test_fetch.py
    *("contacts_of_deals", "deals_where", "contacts_where", "roles"),  # which contacts
    "queue",  # sends nothing
    *("emails_on", "on_no_deal", "since", "until", "candidates"),  # which emails, what of them
}
"""Options that a run, or the reading of a fetch, is not begun with."""
OPTIONS = KEPT | FOR_ONE_CALL
NOT_KEPT_BY_FETCH = ("yes", "memory")
"""About the cost of one command, and of its selection, which is made once."""


def _params(command: str) -> dict[str, click.Option]:
    options = [p for p in ALL[f"bulklink {command}"].params if isinstance(p, click.Option)]
    return {option_key(param): param for param in options}


def _passed_on(command: str, *words: str) -> dict[str, Any]:
    """Return the options that a command line passes on to the operation."""
    arguments, convert, _ = COMMANDS[command]
    with parse_context(["bulklink", command, *arguments, *words]) as ctx:
        passed_on: dict[str, Any] = convert(given_options(ctx.params))
    return passed_on


PAIRS = [
    (command, key)
    for command in COMMANDS
    for key in OPTIONS
    if key in _params(command) and not (command == "fetch" and key in NOT_KEPT_BY_FETCH)
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_continuing_command_is_in_the_table(command: str) -> None:
    assert _params(command).keys() <= OPTIONS.keys() | NOT_OF_A_JOB


@pytest.mark.parametrize("command", COMMANDS)
def test_unset_options_are_not_passed_on(command: str) -> None:
    assert _passed_on(command) == {}


@pytest.mark.parametrize(("command", "key"), PAIRS)
def test_only_options_set_on_the_command_line_are_passed_on(command: str, key: str) -> None:
    text, name, value = OPTIONS[key]
    words = [f"--{key.replace('_', '-')}", *([text] if text is not None else [])]
    passed_on = _passed_on(command, *words)
    assert passed_on.keys() == {name}
    assert getattr(Job(mappings=(), **passed_on), name) == getattr(
        Job(mappings=(), **{name: value}),  # type: ignore[arg-type]
        name,
    )


QUEUED = [
    (command, key, text)
    for command, key in PAIRS
    if command in ("apply", "resume")
    for text in dict.fromkeys([OPTIONS[key][0], DEFAULTS_GIVEN.get(key, OPTIONS[key])[0]])
]


@pytest.mark.parametrize(("command", "key", "text"), QUEUED)
def test_the_words_of_a_queued_run_mean_what_was_given(
    command: str, key: str, text: str | None
) -> None:
    words = [f"--{key.replace('_', '-')}", *([text] if text is not None else [])]
    arguments, convert, _ = COMMANDS[command]
    with parse_context(["bulklink", command, *arguments, *words]) as ctx:
        queued = option_words([key])
        given = convert(given_options(ctx.params))
    assert given.keys() == {OPTIONS[key][1]}
    assert _passed_on(command, *queued) == given


@pytest.mark.parametrize(("command", "key"), PAIRS)
def test_only_options_set_in_the_environment_are_passed_on(
    command: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, name, _ = OPTIONS[key]
    monkeypatch.setenv(f"BULKLINK_{key.upper()}", text or "1")
    words = [f"--{key.replace('_', '-')}", *([text] if text is not None else [])]
    by_environment = _passed_on(command)
    monkeypatch.delenv(f"BULKLINK_{key.upper()}")
    assert by_environment == _passed_on(command, *words)
    assert by_environment.keys() == {name}


@pytest.mark.parametrize(("command", "key"), [p for p in PAIRS if p[1] in DEFAULTS_GIVEN])
def test_a_default_value_that_is_set_explicitly_is_passed_on(command: str, key: str) -> None:
    text, value = DEFAULTS_GIVEN[key]
    assert _passed_on(command, f"--{key.replace('_', '-')}", text) == {OPTIONS[key][1]: value}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_operation_of_a_command_accepts_all_options_passed_on(command: str) -> None:
    _, _, taken = COMMANDS[command]
    function = getattr(bulklink, command)
    (options,) = (
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is inspect.Parameter.VAR_KEYWORD
    )
    assert {OPTIONS[key][1] for cmd, key in PAIRS if cmd == command} <= taken
    assert options.annotation.startswith("Unpack")


def test_all_sending_options_are_in_the_table() -> None:
    assert {name for _, name, _ in OPTIONS.values()} == SEND_OPTIONS
