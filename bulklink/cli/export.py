"""`bulklink export`: the results of a run joined to the user's own columns."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from bulklink.cli.completing import RunPath
from bulklink.cli.options import option, output_options
from bulklink.cli.output import check_output, file_options
from bulklink.cli.screen import note, print_json, table
from bulklink.cli.types import Lines, OneOf
from bulklink.errors import ExitCode

_STATUSES = ("done", "unchanged", "failed", "in_doubt", "rejected", "duplicate", "pending")


@click.command("export")
@click.argument("run", type=RunPath())
@file_options
@option(
    "--status",
    "statuses",
    type=OneOf(_STATUSES),
    multiple=True,
    help="Only rows with this status; may be given several times.",
)
@option(
    "--code",
    "codes",
    type=Lines(),
    multiple=True,
    metavar="CODE",
    help="Only rows with this code; may be given several times.",
)
@output_options
def export(run: Path, output: str, *, as_json: bool, **options: Any) -> int:
    """Write the results of RUN joined to your own columns.

    Every row of the mapping in its order, with your columns as they were, then bulklink_status,
    bulklink_code and more. Works at any time; what has no result yet is pending. The file is a
    mapping again.

    \b
    Examples:
      bulklink export runs/20261122T101500Z-link-3f2a -o results.xlsx
      bulklink export runs/20261122T101500Z-link-3f2a --status failed -o again.csv
    """
    from bulklink.job.exporting import export as write  # noqa: PLC0415 - not for --help
    from bulklink.runs.folder import RunFolder  # noqa: PLC0415 - not for --help
    from bulklink.tables import Kind, form_of, printing, writing  # noqa: PLC0415 - not for --help
    from bulklink.tables.workbook import check_rows  # noqa: PLC0415 - not for --help

    form = form_of(output, options["format_"], spreadsheet=options["spreadsheet"])
    check_output(output, as_json=as_json, force=options["force"])
    if output == "-":
        opening: Any = partial(printing, sys.stdout.buffer, form)
    else:
        opening = partial(writing, Path(output), form)
    folder = RunFolder(run)
    if form.kind is Kind.XLSX and not options["statuses"] and not options["codes"]:
        check_rows(Path(output), folder.read().rows)  # rather than after a minute
    told = write(folder, opening, statuses=options["statuses"], codes=options["codes"])
    if told.ids_only:
        note("The columns of this run were forgotten: ids and results alone are left.")
    if as_json:
        said = {"file": output, "format": form.kind, "rows": told.rows, "counts": told.counts}
        print_json(said | {"exit_code": 0})
    else:
        note(f"{told.rows:,} rows written{'' if output == '-' else f' to {output}'}")
        if told.counts:
            note(table(told.counts))
    return ExitCode.OK
