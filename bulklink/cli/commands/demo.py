"""`bulklink demo`: link a sample mapping in a local CRM."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from bulklink.cli.console import note
from bulklink.cli.help import Command
from bulklink.cli.local_crm import demo_variables, serve_world
from bulklink.cli.options import common_options


@click.command("demo", cls=Command)
@common_options
@click.pass_context
def demo(ctx: click.Context, /, *, as_json: bool) -> int:
    """Link the emails of a sample mapping in a local CRM.

    \b
    Example:
      bulklink demo

    Start here. The command starts a local CRM and stops it at the end; nothing leaves this
    machine. The run folder stays below runs for you to inspect.
    """
    from bulklink.cli.commands.send import run  # noqa: PLC0415 - not for --help
    from bulklink.cli.run_summary import HIDE_NEXT_STEPS  # noqa: PLC0415 - not for --help

    jobs = _jobs_folder()
    with serve_world(jobs / "demo" / "world.json") as url:
        note(f"A local CRM serves a sample world at {url}.")
        os.environ.update(demo_variables(url))
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
