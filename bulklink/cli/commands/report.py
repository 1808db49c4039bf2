"""`bulklink report`: a web page about a run."""

from __future__ import annotations

from pathlib import Path

import click

from bulklink.cli.completion import RunPath
from bulklink.cli.console import note, print_json, print_line
from bulklink.cli.help import Command
from bulklink.cli.options import common_options, option
from bulklink.cli.output_file import output_target
from bulklink.cli.output_types import OutputFile
from bulklink.errors import ExitCode


@click.command("report", cls=Command)
@click.argument("run", type=RunPath())
@option(
    "--counts-only",
    is_flag=True,
    help="Leave out all ids, names, file names and texts of the CRM. Counts, codes, times and"
    " hashes of whole files stay. Safe to share.",
)
@option(
    "--output",
    "-o",
    type=OutputFile(stdout=True),
    metavar="FILE",
    help="Write the page to this file instead of RUN/report.html; - is standard output.",
)
@option(
    "--force", is_flag=True, help="Replace an existing file. RUN/report.html is always replaced."
)
@common_options
def report(run: Path, output: str | None, *, counts_only: bool, force: bool, as_json: bool) -> int:
    """Write an offline web page about a run.

    \b
    Examples:
      bulklink report runs/20261122T101500Z-link-3f2a
      bulklink report runs/20261122T101500Z-link-3f2a --counts-only -o counts.html

    The page is RUN/report.html. For a planned run it is for approval: the changes, their cost, the
    digest, and the command that sends exactly this plan. For any other run it has the row counts,
    failures by code, deal and owner with their rows, calls and credits, activity over time,
    settings and hashes. For a job it has the sums over its shards, and a line for each. You can
    write it at any time, even during a run. The page has ids and names and is readable only by you
    (mode 0600); --counts-only leaves them out.
    """
    from bulklink.operations.report.write import report as write  # noqa: PLC0415 - not for --help

    target = None if output is None else output_target(output, as_json=as_json)
    result = write(run, target, counts_only=counts_only, force=force)
    if as_json:
        content = {"report": result.path, "bytes": result.bytes, "counts_only": counts_only}
        print_json(content | {"exit_code": 0})
    elif result.path is not None:
        print_line(str(result.path))
        if not counts_only:
            note("The page has ids and names; --counts-only makes one that is safe to share.")
    return ExitCode.OK
