"""`bulklink ui`: a page on this machine to look at runs, approve, watch and undo them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bulklink.cli.completion import FolderPath
from bulklink.cli.connection import connection_options
from bulklink.cli.help import Command
from bulklink.cli.options import common_options, runs_dir_option
from bulklink.cli.param_types import WholeNumber
from bulklink.errors import ExitCode, StoppedBy

if TYPE_CHECKING:
    from bulklink.engine.shutdown import StopController
    from bulklink.operations.environment import Environment
    from bulklink.ui.commands import Commands
    from bulklink.zoho.connection import Connection


@click.command("ui", cls=Command)
@runs_dir_option
@click.option(
    "--audits-dir",
    type=FolderPath(),
    metavar="DIR",
    help="Folder that contains the mappings of audits. Default: the folder that contains"
    " --runs-dir.",
)
@click.option(
    "--port",
    type=WholeNumber(0, 65535),
    default=0,
    help="Port to serve on. Default: a free one.",
)
@click.option("--no-browser", is_flag=True, help="Print the address, and open no browser.")
@connection_options
@common_options
def ui(
    runs_dir: Path,
    audits_dir: Path | None,
    port: int,
    profile: str | None,
    log: Path | None,
    *,
    no_browser: bool,
    as_json: bool,
) -> int:
    """Look at runs, approve, watch and undo them in a browser.

    \b
    Examples:
      bulklink ui
      bulklink ui --runs-dir runs --no-browser

    The page is served to this machine alone, at an address with a secret token, which is valid
    until the command ends. The first line on standard output is {"url":"http://127.0.0.1:PORT/…"}.
    Ctrl-C ends it; runs that it started are stopped gently first, and can be resumed here or in a
    terminal.
    """
    del as_json  # the output is always JSON; errors read the option themselves
    from bulklink.cli.event_loop import run_in_loop  # noqa: PLC0415 - not for --help
    from bulklink.cli.request_log import start_request_log  # noqa: PLC0415 - not for --help
    from bulklink.cli.signals import run_with_signals  # noqa: PLC0415 - not for --help
    from bulklink.engine.shutdown import StopController  # noqa: PLC0415 - not for --help

    stop = StopController()
    start_request_log(log)
    commands = make_commands(runs_dir, profile, click.get_current_context().find_root())
    work = partial(_serve, commands, audits_dir, port, stop, opens_browser=not no_browser)
    run_in_loop(run_with_signals, work, stop)
    return ExitCode.OK


def make_commands(
    runs_dir: Path,
    profile: str | None,
    root: click.Context,
    environment: Environment | None = None,
) -> Commands:
    """Return the commands of the page.

    Args:
        runs_dir: parent of the run folders.
        profile: profile of commands for which no other is chosen on the page.
        root: context of the command tree.
        environment: network, disk and clock; None for this machine's, others for tests.
    """
    from bulklink.cli.page_options import page_options  # noqa: PLC0415 - not for --help
    from bulklink.operations.environment import real_environment  # noqa: PLC0415 - not for --help
    from bulklink.profiles.resolve import load_connection  # noqa: PLC0415 - not for --help
    from bulklink.ui.commands import Commands  # noqa: PLC0415 - not for --help
    from bulklink.worker.overview import overview  # noqa: PLC0415 - not for --help

    def connect(chosen: str | None) -> Connection:
        return load_connection(chosen or profile)

    def options_of(verb: str, run: Path, chosen: str | None) -> dict[str, Any]:
        return page_options(root, verb, run, chosen or profile)

    environment = environment or real_environment()
    look_at_queue = partial(overview, environment=environment)
    return Commands(runs_dir, connect, environment, look_at_queue, options_of)


async def _serve(
    commands: Commands,
    audits_dir: Path | None,
    port: int,
    stop: StopController,
    *,
    opens_browser: bool,
) -> None:
    """Serve the page until the first signal, then stop the runs that it started."""
    import anyio  # noqa: PLC0415 - not for --help

    from bulklink.cli.browser import show_in_browser  # noqa: PLC0415 - not for --help
    from bulklink.cli.console import print_json  # noqa: PLC0415 - not for --help
    from bulklink.task_group import task_group  # noqa: PLC0415 - not for --help
    from bulklink.ui.audits import Audits  # noqa: PLC0415 - not for --help
    from bulklink.ui.server import serve_page  # noqa: PLC0415 - not for --help

    stopped = anyio.Event()
    stop.on_stop(stopped.set)
    audits = Audits.near(commands.runs_dir, audits_dir)
    async with serve_page(commands, port, audits=audits) as url:
        print_json({"url": url})
        async with task_group() as group:
            if opens_browser:
                group.start_soon(show_in_browser, url, commands.environment.run_blocking)
            await stopped.wait()
            group.cancel_scope.cancel()
        await commands.close(StoppedBy(stop.reason.stopped_by) if stop.reason else None)
