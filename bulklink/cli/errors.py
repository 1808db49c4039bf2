"""Errors at the command line: exit codes, one form of message, what click finds, likely typos."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from difflib import get_close_matches

import click
from click.core import ParameterSource

from bulklink.cli.completion import completes, quietly
from bulklink.cli.console import colour, note, show_error, warn
from bulklink.cli.param_types import BadChoice
from bulklink.errors import BulklinkError, ExitCode, OutputError, UsageError

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


_OURS = "BULKLINK_"
CONNECTION = (
    "BULKLINK_DC",
    "BULKLINK_ENVIRONMENT",
    "BULKLINK_CLIENT_ID",
    "BULKLINK_CLIENT_SECRET",
    "BULKLINK_REFRESH_TOKEN",
    "BULKLINK_GRANT_CODE",
    "BULKLINK_ACCESS_TOKEN",
    "BULKLINK_DEALS_MODULE_ID",
    "BULKLINK_API_URL",
    "BULKLINK_ACCOUNTS_URL",
)
"""The variables that say where the CRM is and how to sign in."""


def misspelt(names: Iterable[str], cli: click.Command) -> Iterator[str]:
    """Yield a sentence for each name that is like a variable of bulklink's and is none.

    Args:
        names: of the variables of the environment.
        cli: the tree of commands, whose options have variables.
    """
    found = [name.removeprefix(_OURS) for name in names if name.startswith(_OURS)]
    variables = {*CONNECTION, *_of_options(cli)} if found else set()
    known = {name.removeprefix(_OURS) for name in variables}
    for name in found:
        near = likely(name, known)[:1] if name not in known else []
        if near:
            yield f"The variable {_OURS}{name} is not known. {meant([_OURS + near[0]])}".rstrip()


def _of_options(command: click.Command) -> Iterator[str]:
    for param in command.params:
        if isinstance(param.envvar, str):
            yield param.envvar
    if isinstance(command, click.Group):
        for one in command.commands.values():
            yield from _of_options(one)


_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
_TRUE = ("1", "true", "t", "yes", "y", "on")


def exit_code_of(cli: click.Command, pressed: Sequence[int]) -> int:
    """Run a command line to its end, and say what is wrong if something is.

    Args:
        cli: the tree of commands; what they are given stands in `sys.argv`.
        pressed: the signals that a person has sent so far.

    Returns:
        The exit code.
    """
    _show_every_sign()
    if completes(os.environ):
        return quietly(cli)
    if not _wants("--quiet", "BULKLINK_QUIET") and "-q" not in sys.argv:
        for sentence in misspelt(os.environ, cli):
            warn(sentence)
    try:
        result = cli.main(prog_name="bulklink", standalone_mode=False, color=colour())
    except click.exceptions.NoArgsIsHelpError as error:
        return _without_a_command(error, cli)
    except click.ClickException as error:
        return _failed(usage_error(error, cli, sys.argv[1:]))
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except SystemExit:  # how click ends when nobody reads standard output any more
        _let_go()
        return ExitCode.OUTPUT_CLOSED
    except BulklinkError as error:
        return _failed(error)
    except Exception as error:  # the last resort: no traceback for users
        return ExitCode.INTERRUPTED if pressed else _failed(_told(error))
    return result if isinstance(result, int) else ExitCode.OK


def _failed(error: BulklinkError) -> int:
    """Show an error, as JSON where the command was asked for that, and return its exit code."""
    if _wants("--debug", "BULKLINK_DEBUG"):
        import traceback  # noqa: PLC0415 - seldom needed

        traceback.print_exception(error)
    readable = not isinstance(error, OutputError)
    try:
        show_error(error, as_json=readable and _wants("--json", "BULKLINK_JSON"))
    except OSError:  # standard output cannot take the JSON object either
        show_error(error, as_json=False)
        _let_go()
    return error.exit_code


def _without_a_command(error: click.exceptions.NoArgsIsHelpError, cli: click.Command) -> int:
    if _wants("--json", "BULKLINK_JSON"):
        return _failed(usage_error(error, cli, sys.argv[1:]))
    note(error.format_message())
    return ExitCode.REFUSED


def _told(error: Exception) -> BulklinkError:
    if isinstance(error, OSError) and error.filename is None and error.errno in _UNWRITABLE:
        told: BulklinkError = OutputError(
            f"It cannot be written: {error.strerror}.",
            where="standard output",
            advice="Make room, or send it elsewhere. What the command did besides stands:"
            " `bulklink status` shows where a run is.",
        )
        _let_go()
    else:
        told = BulklinkError(
            f"A mistake in bulklink: {type(error).__name__}: {error}",
            where="bulklink itself",
            advice="Run it again with --debug and report what it shows. A run folder can be looked"
            " at with `bulklink status`.",
        )
    told.__cause__ = error
    return told


def _wants(option: str, variable: str) -> bool:
    """Tell whether an option is set, also where the command line could not be understood."""
    return option in sys.argv[1:] or os.environ.get(variable, "").strip().lower() in _TRUE


def _show_every_sign() -> None:
    """Have signs that a terminal's encoding lacks shown by their code, not end the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _let_go() -> None:
    """Have nothing more written to standard output, whose end Python flushes when it exits."""
    with suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)
