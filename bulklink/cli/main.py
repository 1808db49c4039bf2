"""The command `bulklink`: its sub-commands, and how each of them ends."""

from __future__ import annotations

import os
import sys
import traceback

import click

from bulklink.cli.auth import auth
from bulklink.cli.demo import demo
from bulklink.cli.emulator import emulator
from bulklink.cli.export import export
from bulklink.cli.fetch import fetch
from bulklink.cli.forget import forget
from bulklink.cli.generate import generate
from bulklink.cli.history import history
from bulklink.cli.plan import plan
from bulklink.cli.resume import apply_plan, resume, retry
from bulklink.cli.screen import show_error
from bulklink.cli.send import link, relink, run, unlink
from bulklink.cli.status import status
from bulklink.cli.undo import undo
from bulklink.cli.verify import verify
from bulklink.errors import BulklinkError, ExitCode, UsageError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="bulklink", message="%(prog)s %(version)s")
def cli() -> None:
    """Link and unlink the emails of Zoho CRM contacts to deals, in bulk.

    Start with `bulklink demo`: it links the emails of a sample mapping in a local CRM.
    """


for command in (
    link,
    unlink,
    relink,
    run,
    plan,
    apply_plan,
    resume,
    retry,
    undo,
    status,
    verify,
    fetch,
    export,
    history,
    forget,
    auth,
    emulator,
    generate,
    demo,
):
    cli.add_command(command)


def main() -> None:
    """Run the command line and exit with the code that the README lists."""
    sys.exit(_exit_code())


def _exit_code() -> int:
    try:
        result = cli.main(standalone_mode=False)
    except BulklinkError as error:
        return _failed(error)
    except click.UsageError as error:
        return _failed(_usage_error(error))
    except click.ClickException as error:
        return _failed(UsageError(error.format_message()))
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except Exception as error:  # the last resort: no traceback for users
        return _failed(_mistake(error))
    return result if isinstance(result, int) else ExitCode.OK


def _failed(error: BulklinkError) -> int:
    """Show an error, as JSON where the command was asked for that, and return its exit code."""
    if _wants("--debug", "BULKLINK_DEBUG"):
        traceback.print_exception(error)
    show_error(error, as_json=_wants("--json", "BULKLINK_JSON"))
    return error.exit_code


def _usage_error(error: click.UsageError) -> UsageError:
    command = error.ctx.command_path if error.ctx else "bulklink"
    return UsageError(error.format_message(), where=command, advice=f"See `{command} --help`.")


def _mistake(error: Exception) -> BulklinkError:
    found = BulklinkError(
        f"A mistake in bulklink: {type(error).__name__}: {error}",
        advice="Run it again with --debug and report what it shows. A run folder can be looked at"
        " with `bulklink status`.",
    )
    found.__cause__ = error
    return found


def _wants(option: str, variable: str) -> bool:
    """Tell whether an option is set, also where the command line could not be understood."""
    value = os.environ.get(variable, "").strip().lower()
    return option in sys.argv[1:] or value in ("1", "true", "yes", "on")
