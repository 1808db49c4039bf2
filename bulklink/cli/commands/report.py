"""`bulklink report`: the page of a run."""

from __future__ import annotations

from pathlib import Path

import click

from bulklink.cli.completion import FileName, RunPath
from bulklink.cli.console import note, print_json, print_line
from bulklink.cli.options import common_options, option
from bulklink.cli.output_file import output_target
from bulklink.errors import ExitCode


@click.command("report")
@click.argument("run", type=RunPath())
@option(
    "--counts-only",
    is_flag=True,
    help="Leave out all ids, names, file names and what the CRM said: counts, codes, times and"
    " hashes of whole files stay. Safe to send on.",
)
@option(
    "--output",
    "-o",
    type=FileName(),
    metavar="FILE",
    help="Write the page there instead of RUN/report.html; - is standard output.",
)
@option("--force", is_flag=True, help="Replace a file that is there; RUN/report.html always is.")
@common_options
def report(run: Path, output: str | None, *, counts_only: bool, force: bool, as_json: bool) -> int:
    """Write a page about a run that needs no network.

    It is RUN/report.html. Of a planned run it is the page that a customer approves: what will be
    done, its cost, the digest and the command that sends exactly that. Of any other: the
    accounting, failures by code, deal and owner with their rows, calls and credits, what happened
    over time, settings and hashes. Works at any time, also while the run goes on. The page has ids
    and names, for your eyes only (0600); --counts-only leaves them out.

    \b
    Examples:
      bulklink report runs/20261122T101500Z-link-3f2a
      bulklink report runs/20261122T101500Z-link-3f2a --counts-only -o counts.html
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
            note("It has ids and names: --counts-only makes one that is safe to send on.")
    return ExitCode.OK
