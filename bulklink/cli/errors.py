"""How a command ends: the exit code, and what is said of an error."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import click

from bulklink.cli.completion import completes, quietly
from bulklink.cli.console import colour, note, show_error, warn
from bulklink.cli.usage import usage_error
from bulklink.cli.variables import misspelt
from bulklink.errors import BulklinkError, ExitCode, OutputError

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
