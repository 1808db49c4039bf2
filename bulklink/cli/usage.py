"""What click finds wrong with a command line, said as every error is: what, where, what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import click
from click.core import ParameterSource

from bulklink.cli.param_types import BadChoice
from bulklink.errors import UsageError

_EXAMPLES = re.compile(r"^\s*Examples?:\n((?:[ \t]+bulklink.*\n?)+)", re.MULTILINE)


def usage_error(error: click.ClickException, cli: click.Command, typed: list[str]) -> UsageError:
    """Return an error of click's as one of bulklink's.

    Args:
        error: what click found.
        cli: the tree of commands.
        typed: the words behind `bulklink`, which tell the command where the error does not.
    """
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    command = ctx.command_path if ctx else _path(cli, typed)
    return UsageError(
        _message(error), where=_where(error, ctx, command), advice=_advice(error, ctx, command)
    )


def examples_of(command: click.Command) -> list[str]:
    """Return the commands that the help of a command gives as examples."""
    return [
        line.strip()
        for block in _EXAMPLES.findall((command.help or "") + "\n")
        for line in block.splitlines()
        if line.strip()
    ]


def likely(written: str, known: Iterable[str]) -> list[str]:
    """Return what was probably meant by a word that is not known, the likeliest first."""
    return get_close_matches(written, list(known), n=2, cutoff=0.7)


def meant(words: Sequence[str]) -> str:
    """Return the question for what was meant, and a space; empty if there is nothing to ask."""
    return f"Did you mean {' or '.join(words)}? " if words else ""


def _path(cli: click.Command, typed: Iterable[str]) -> str:
    path, command = "bulklink", cli
    for word in typed:
        if not isinstance(command, click.Group) or word not in command.commands:
            break
        path, command = f"{path} {word}", command.commands[word]
    return path


def _message(error: click.ClickException) -> str:
    match error:
        case click.exceptions.NoArgsIsHelpError():
            return "No command is named."
        case click.MissingParameter(param=click.Parameter() as param):
            return f"{_name(param)} is missing."
        case click.BadParameter():
            return error.message
        case click.NoSuchCommand():
            return f"There is no command {error.command_name!r}."
        case click.NoSuchOption():
            return f"There is no option {error.option_name!r}."
        case click.BadOptionUsage():
            return f"{error.option_name} needs a value."
        case _:
            return error.format_message()


def _where(error: click.ClickException, ctx: click.Context | None, command: str) -> str:
    """Return the environment variable that a value came from; else the command and its part."""
    match error:
        case click.MissingParameter():
            return command
        case click.BadParameter(param=click.Parameter() as param):
            source = ctx.get_parameter_source(param.name or "") if ctx else None
            if source is ParameterSource.ENVIRONMENT and isinstance(param.envvar, str):
                return param.envvar
            return f"{command} {_name(param)}"
        case _:
            return command


def _advice(error: click.ClickException, ctx: click.Context | None, command: str) -> str:
    see = f"See `{command} --help`."
    match error:
        case click.NoSuchCommand() if ctx and isinstance(ctx.command, click.Group):
            return meant(likely(error.command_name, ctx.command.commands)) + see
        case click.NoSuchOption() if ctx:
            names = [name for param in ctx.command.get_params(ctx) for name in _names(param)]
            near = likely(error.option_name, names)
            if near or not isinstance(ctx.command, click.Group):
                return meant(near) + see
            return f"Options stand behind the command: `{command} COMMAND --help` lists them."
        case BadChoice():
            return meant(error.likely) + see
        case click.MissingParameter() if ctx and examples_of(ctx.command):
            return f"For example: {examples_of(ctx.command)[0]}"
        case _:
            return see


def _names(param: click.Parameter) -> list[str]:
    """Return the names of an option as they are typed."""
    return [*param.opts, *param.secondary_opts] if isinstance(param, click.Option) else []


def _name(param: click.Parameter) -> str:
    """Return an option by its long name, an argument as the usage line has it."""
    if isinstance(param, click.Option):
        return max(param.opts, key=len)
    return param.human_readable_name
