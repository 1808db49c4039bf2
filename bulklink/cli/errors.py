"""Errors and exit codes of a command line, usage errors, warnings about misspelt variables."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence

import click
from click.core import ParameterSource

from bulklink.cli.completion import is_completion_request, run_completion
from bulklink.cli.console import colour_setting, is_option_set, note_lines, show_error, warn
from bulklink.cli.help import subcommands
from bulklink.cli.param_types import BadChoice
from bulklink.cli.standard_streams import discard_stdout, prepare_streams
from bulklink.errors import BulklinkError, ExitCode, OutputError, UsageError
from bulklink.suggestions import close_matches, did_you_mean

MIN_SIMILARITY = 0.7
"""Minimum similarity at which a command, an option or a variable is suggested."""
_EXAMPLES = re.compile(r"^\s*Examples?:\n((?:[ \t]+bulklink.*\n?)+)", re.MULTILINE)


def usage_error(error: click.ClickException, cli: click.Command, args: list[str]) -> UsageError:
    """Return an error of click as a bulklink error.

    Args:
        error: the error of click.
        cli: the command tree.
        args: the words after `bulklink`, which name the command if the error does not.
    """
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    command = ctx.command_path if ctx else _command_path(cli, args)
    return UsageError(
        _message(error), where=_where(error, ctx, command), advice=_advice(error, ctx, command)
    )


def examples_of(command: click.Command) -> list[str]:
    """Return the example commands in the help of a command."""
    return [
        line.strip()
        for block in _EXAMPLES.findall((command.help or "") + "\n")
        for line in block.splitlines()
        if line.strip()
    ]


def _command_path(cli: click.Command, args: Iterable[str]) -> str:
    path, command, ctx = "bulklink", cli, click.Context(cli)
    for word in args:
        subcommand = isinstance(command, click.Group) and command.get_command(ctx, word)
        if not subcommand:
            break
        path, command = f"{path} {word}", subcommand
    return path


_BOOLEAN_VALUES = " Recognized values: "
"""Beginning of click's list of booleans, which has an empty text in it."""


def _message(error: click.ClickException) -> str:
    match error:
        case click.exceptions.NoArgsIsHelpError():
            return "A command is missing."
        case click.MissingParameter(param=click.Parameter() as param):
            return f"{_param_name(param)} is missing."
        case click.BadParameter(param=click.Parameter(type=click.types.BoolParamType())):
            return f"{error.message.partition(_BOOLEAN_VALUES)[0]} Use yes or no."
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
    """Return the environment variable of a bad value, else the command and the parameter."""
    match error:
        case click.MissingParameter():
            return command
        case click.BadParameter(param=click.Parameter() as param):
            source = ctx.get_parameter_source(param.name or "") if ctx else None
            if source is ParameterSource.ENVIRONMENT and isinstance(param.envvar, str):
                return param.envvar
            return f"{command} {_param_name(param)}"
        case _:
            return command


def _advice(error: click.ClickException, ctx: click.Context | None, command: str) -> str:
    see_help = f"See `{command} --help`."
    match error:
        case click.NoSuchCommand() if ctx and isinstance(ctx.command, click.Group):
            names = ctx.command.list_commands(ctx)
            matches = close_matches(error.command_name, names, cutoff=MIN_SIMILARITY)
            return did_you_mean(matches) + see_help
        case click.NoSuchOption() if ctx:
            names = [name for param in ctx.command.get_params(ctx) for name in _option_names(param)]
            suggestions = close_matches(error.option_name, names, cutoff=MIN_SIMILARITY)
            if suggestions or not isinstance(ctx.command, click.Group):
                return did_you_mean(suggestions) + see_help
            return f"Options follow the command: `{command} COMMAND --help` lists them."
        case BadChoice():
            return did_you_mean(error.suggestions) + see_help
        case click.MissingParameter() if ctx and examples_of(ctx.command):
            return f"For example: {examples_of(ctx.command)[0]}"
        case _:
            return see_help


def _option_names(param: click.Parameter) -> list[str]:
    """Return the names of an option as they are typed; none of an argument."""
    return [*param.opts, *param.secondary_opts] if isinstance(param, click.Option) else []


def _param_name(param: click.Parameter) -> str:
    """Return the long name of an option, or an argument as in the usage line."""
    if isinstance(param, click.Option):
        return max(param.opts, key=len)
    return param.human_readable_name


_PREFIX = "BULKLINK_"
CONNECTION_VARIABLES = (
    "BULKLINK_DC",
    "BULKLINK_ENVIRONMENT",
    "BULKLINK_CLIENT_ID",
    "BULKLINK_CLIENT_SECRET",
    "BULKLINK_REFRESH_TOKEN",
    "BULKLINK_GRANT_CODE",
    "BULKLINK_ACCESS_TOKEN",
    "BULKLINK_CLUSTER_URL",
    "BULKLINK_DEALS_MODULE_ID",
    "BULKLINK_API_URL",
    "BULKLINK_ACCOUNTS_URL",
)
"""Environment variables of the connection."""


def misspelling_warnings(names: Iterable[str], cli: click.Command) -> Iterator[str]:
    """Yield a warning for each environment variable that resembles a known one.

    Args:
        names: names of the environment variables.
        cli: the command tree, whose options have variables.
    """
    names = [name for name in names if name.startswith(_PREFIX)]
    if set(names).issubset(CONNECTION_VARIABLES):
        return  # saves the import of all commands
    variables = {*CONNECTION_VARIABLES, *_option_variables(cli)}
    known_suffixes = {name.removeprefix(_PREFIX) for name in variables}
    for suffix in (name.removeprefix(_PREFIX) for name in names if name not in variables):
        for match in close_matches(suffix, known_suffixes, limit=1, cutoff=MIN_SIMILARITY):
            suggestion = did_you_mean([_PREFIX + match])
            yield f"The variable {_PREFIX}{suffix} is unknown. {suggestion}".rstrip()


def _option_variables(command: click.Command) -> Iterator[str]:
    for param in command.params:
        if isinstance(param.envvar, str):
            yield param.envvar
    for subcommand in subcommands(command).values():
        yield from _option_variables(subcommand)


_WRITE_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def run_command_line(cli: click.Command, received_signals: Sequence[int]) -> int:
    """Run the command line in `sys.argv`, report any error and return the exit code.

    Args:
        cli: the command tree.
        received_signals: signals received so far; a signal handler appends to it.

    Returns:
        The exit code.
    """
    prepare_streams()
    if is_completion_request(os.environ):
        return run_completion(cli)
    if not is_option_set("--quiet", "BULKLINK_QUIET") and "-q" not in sys.argv:
        for text in misspelling_warnings(os.environ, cli):
            warn(text)
    try:
        result = cli.main(prog_name="bulklink", standalone_mode=False, color=colour_setting())
    except click.exceptions.NoArgsIsHelpError as error:
        return _report_missing_command(error, cli)
    except click.ClickException as error:
        return _report_error(usage_error(error, cli, sys.argv[1:]))
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except SystemExit:  # click exits when standard output has no reader any more
        discard_stdout()
        return ExitCode.OUTPUT_CLOSED
    except BulklinkError as error:
        return _report_error(error)
    except Exception as error:  # the last resort: no traceback for users
        return ExitCode.INTERRUPTED if received_signals else _report_error(_wrap_error(error))
    return result if isinstance(result, int) else ExitCode.OK


def _report_error(error: BulklinkError) -> int:
    """Show an error, as JSON with --json, and return its exit code."""
    if is_option_set("--debug", "BULKLINK_DEBUG"):
        import traceback  # noqa: PLC0415 - seldom needed

        note_lines("".join(traceback.format_exception(error)).rstrip("\n"))
    stdout_usable = not isinstance(error, OutputError)
    try:
        show_error(error, as_json=stdout_usable and is_option_set("--json", "BULKLINK_JSON"))
    except OSError:  # the JSON object cannot be written either
        show_error(error, as_json=False)
        discard_stdout()
    return error.exit_code


def _report_missing_command(error: click.exceptions.NoArgsIsHelpError, cli: click.Command) -> int:
    if is_option_set("--json", "BULKLINK_JSON"):
        return _report_error(usage_error(error, cli, sys.argv[1:]))
    note_lines(click.unstyle(error.format_message()))
    return ExitCode.REFUSED


def _wrap_error(error: Exception) -> BulklinkError:
    if isinstance(error, OSError) and error.filename is None and error.errno in _WRITE_ERRNOS:
        bulklink_error: BulklinkError = OutputError(
            f"Cannot write: {error.strerror}.",
            where="standard output",
            advice="Free some space, or send the output elsewhere. Only output was lost:"
            " `bulklink status` shows the state of a run.",
        )
        discard_stdout()
    else:
        bulklink_error = BulklinkError(
            f"Bug in bulklink: {type(error).__name__}: {error}",
            where="bulklink",
            advice="Run the command again with --debug and report the output. `bulklink"
            " status` shows the state of a run.",
        )
    bulklink_error.__cause__ = error
    return bulklink_error
