"""Command options as a `Job` and keyword arguments."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, cast

import click
from click.core import ParameterSource

from bulklink.engine.failure_limit import MaxFailures
from bulklink.models import Op
from bulklink.operations.job import Job, OnInvalid
from bulklink.operations.job_options import (
    LIMIT_OPTIONS,
    PACE_OPTIONS,
    PER_CALL_OPTIONS,
    SEND_OPTIONS,
    LimitOptions,
    PaceOptions,
    SendOptions,
)

_GIVEN = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
_CONVERTERS: Mapping[str, Callable[[Any], object]] = {
    "sync": lambda word: word == "on",
    "read_back": lambda word: word == "auto",
    "max_failures": lambda limits: MaxFailures(**limits),
}
_NONE_IS_A_VALUE = {"concurrency": "auto", "rate": "off"}
"""Options with a word for None."""
_VERIFY_OPTIONS = ("in_doubt", "sample", "seed", "read_pages")


def job_from_options(mappings: tuple[str, ...], options: Mapping[str, Any]) -> Job:
    """Return the job of a command's options."""
    op = options.get("op")
    return Job(
        mappings=mappings,
        op=Op(op) if op else None,
        format=options["format_"],
        delimiter=options["delimiter"],
        quote=options["quote"],
        escape=options["escape"],
        skip_lines=options["skip_lines"],
        encoding=options["encoding"],
        sheet=options["sheet"],
        hidden_rows=options["hidden_rows"],
        columns=options["columns"],
        preset=options["preset"],
        defaults=options["defaults"],
        only=options["only"],
        keep=options["keep"] or None,
        allow_round_ids=options["allow_round_ids"],
        on_invalid=OnInvalid(options["on_invalid"]),
        snapshot=options["snapshot"],
        accept_no_put_back=options["accept_no_put_back"],
        **send_arguments(options),
    )


def given_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that the command line or the environment sets for the current command.

    Commands that continue a run or a fetch keep its other options, so only the per-call options
    of the profile apply.
    """
    profile = profile_options(options)
    for_one_call = {name: profile[name] for name in PER_CALL_OPTIONS & profile.keys()}
    return for_one_call | _options_from(options, _GIVEN)


def profile_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that the profile sets for the current command."""
    return _options_from(options, (ParameterSource.DEFAULT_MAP,))


def option_words(names: Collection[str]) -> list[str]:
    """Return the given options of the current command as words of a command line.

    Args:
        names: names of the parameters that count.
    """
    ctx = click.get_current_context()
    given = [
        (param, ctx.params[param.name])
        for param in ctx.command.params
        if param.name in names and ctx.get_parameter_source(param.name) in _GIVEN
    ]
    return [word for param, value in given for word in _words(param, value)]


def _words(param: click.Parameter, value: Any) -> list[str]:
    name = max(param.opts, key=len)
    match value:
        case bool():
            return [name if value else max(param.secondary_opts, key=len)]
        case None:
            return [name, _NONE_IS_A_VALUE[param.name or ""]]
        case {"count": count}:
            return [name, str(count)]
        case {"percent": percent}:
            return [name, f"{percent}%"]
        case _:
            return [name, str(value)]


def _options_from(
    options: Mapping[str, Any], sources: Collection[ParameterSource]
) -> dict[str, Any]:
    source_of = click.get_current_context().get_parameter_source
    return {name: value for name, value in options.items() if source_of(name) in sources}


def send_arguments(options: Mapping[str, Any]) -> SendOptions:
    """Return the options for sending emails, from any source."""
    arguments = _arguments(options, SEND_OPTIONS)
    if "no_names" in options:
        arguments["names"] = not options["no_names"]
    return cast("SendOptions", arguments)


def limit_arguments(options: Mapping[str, Any]) -> LimitOptions:
    """Return the options that affect how a plan is sent, not what is sent."""
    return cast("LimitOptions", _arguments(options, LIMIT_OPTIONS))


def unset_profile_options(run: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the profile's options for the current command that the plan of a run does not set.

    Raises:
        RunDirError: if the folder has no run.
    """
    from bulklink.operations.resume import unset_options  # noqa: PLC0415 - not for every command

    limits = limit_arguments(profile_options(options))
    unset = unset_options(run) if limits else ()
    return {name: value for name, value in limits.items() if name in unset}


def verify_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a verification."""
    return {name: options[name] for name in _VERIFY_OPTIONS} | {**pace_arguments(options)}


def pace_arguments(options: Mapping[str, Any]) -> PaceOptions:
    """Return the options that affect how many calls are made, how fast, and what they may spend."""
    return cast("PaceOptions", _arguments(options, PACE_OPTIONS))


def _arguments(options: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return the named options that are set, converted for a job."""
    values = {
        name: options[name]
        for name in names & options.keys()
        if options[name] is not None or name in _NONE_IS_A_VALUE
    }
    return values | {
        name: convert(values[name]) for name, convert in _CONVERTERS.items() if name in values
    }
