"""`bulklink demo`: link a sample mapping in a local CRM."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from bulklink.cli.console import note
from bulklink.cli.options import common_options
from bulklink.errors import BulklinkError

_STOP_SECONDS = 10


@click.command("demo")
@common_options
@click.pass_context
def demo(ctx: click.Context, /, *, as_json: bool) -> int:
    """Link the emails of a sample mapping in a local CRM.

    Start here. The command starts a local CRM and stops it at the end; nothing leaves this
    machine. The run folder stays below runs for you to inspect.

    \b
    Example:
      bulklink demo
    """
    from bulklink.cli.commands.send import run  # noqa: PLC0415 - not for --help
    from bulklink.cli.run_summary import HIDE_NEXT_STEPS  # noqa: PLC0415 - not for --help

    jobs = _jobs_folder()
    with _run_emulator(jobs / "demo" / "world.json") as url:
        note(f"A local CRM serves a sample world at {url}.")
        os.environ.update(_connection_variables(url))
        ctx.meta[HIDE_NEXT_STEPS] = True  # they need the local CRM
        args = [str(jobs / "demo.toml"), *(["--json"] if as_json else [])]
        result: Any = run.main(args, standalone_mode=False, parent=ctx)
    note("The local CRM is stopped. Next, try: bulklink plan --help")
    return int(result)


def _jobs_folder() -> Path:
    """Return the folder of sample jobs in the installed package or the checkout."""
    package = Path(__file__).resolve().parents[2]
    installed = package / "_jobs"
    return installed if installed.is_dir() else package.parent / "jobs"


def _connection_variables(url: str) -> dict[str, str]:
    return {
        "BULKLINK_API_URL": url,
        "BULKLINK_ACCOUNTS_URL": url,
        "BULKLINK_CLIENT_ID": "demo",
        "BULKLINK_CLIENT_SECRET": "demo",
        "BULKLINK_REFRESH_TOKEN": "demo",
        "BULKLINK_ACCESS_TOKEN": "",
        "BULKLINK_DEALS_MODULE_ID": "",
        "BULKLINK_PROFILE": "",
    }


@contextmanager
def _run_emulator(world: Path) -> Iterator[str]:
    """Serve a world in a separate process, which Ctrl-C at the terminal does not reach."""
    import subprocess  # noqa: PLC0415 - not for --help

    import orjson  # noqa: PLC0415 - not for --help

    from bulklink.shell import format_command  # noqa: PLC0415 - not for --help

    command = [sys.executable, "-m", "bulklink", "emulator", "--world", str(world)]
    with subprocess.Popen(  # noqa: S603 - our own command
        command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, process_group=0
    ) as process:
        try:
            line = process.stdout.readline() if process.stdout else b""
            if not line:
                raise BulklinkError(
                    "The local CRM did not start.",
                    where=format_command(*command),
                    advice="Run that command to see the error.",
                )
            yield orjson.loads(line)["url"]
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS)
