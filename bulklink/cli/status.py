"""`bulklink status`: where runs stand."""

from __future__ import annotations

from pathlib import Path

import click

from bulklink.cli.options import output_options, runs_dir_option
from bulklink.errors import ExitCode


@click.command("status")
@click.argument("run", required=False, type=click.Path(path_type=Path))
@runs_dir_option
@output_options
def status(run: Path | None, runs_dir: Path, as_json: bool, debug: bool) -> int:  # noqa: FBT001
    """Show where RUN stands, or all runs: also while it runs and after it was killed.

    \b
    Example:
      bulklink status
    """
    del debug  # read where errors are shown
    from bulklink.cli.summary import show_run, show_runs  # noqa: PLC0415 - not for --help
    from bulklink.runs.folder import RunFolder, run_folders  # noqa: PLC0415 - not for --help
    from bulklink.runs.status import status_of  # noqa: PLC0415 - not for --help

    if run is not None:
        show_run(status_of(RunFolder(run)), None, as_json=as_json)
    else:
        show_runs([status_of(folder) for folder in run_folders(runs_dir)], as_json=as_json)
    return ExitCode.OK
