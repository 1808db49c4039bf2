"""`bulklink export`: the results of a run joined to the user's own columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bulklink.cli.completion import RunPath
from bulklink.cli.console import note, print_json, table_lines
from bulklink.cli.help import Command
from bulklink.cli.options import common_options, option
from bulklink.cli.output_file import output_file_arguments, output_file_options, output_target
from bulklink.cli.param_types import LineSeparatedText, OneOf
from bulklink.counts import count_of
from bulklink.errors import ExitCode

_STATUSES = ("done", "unchanged", "failed", "in_doubt", "rejected", "duplicate", "pending")


@click.command("export", cls=Command)
@click.argument("run", type=RunPath())
@output_file_options
@option(
    "--status",
    "statuses",
    type=OneOf(_STATUSES),
    multiple=True,
    help="Only rows with this status. Repeatable.",
)
@option(
    "--code",
    "codes",
    type=LineSeparatedText(),
    multiple=True,
    metavar="CODE",
    help="Only rows with this code. Repeatable.",
)
@common_options
def export(run: Path, output: str, *, as_json: bool, **options: Any) -> int:
    """Write the results of RUN, joined to your own columns.

    \b
    Examples:
      bulklink export runs/20261122T101500Z-link-3f2a -o results.xlsx
      bulklink export runs/20261122T101500Z-link-3f2a --status failed -o again.csv

    The file has every row of the mapping in its order, with your columns unchanged, followed by
    bulklink_status, bulklink_code and more. You can export at any time: rows without a result are
    pending. The file is itself a mapping.
    """
    from bulklink.operations.export import export as write  # noqa: PLC0415 - not for --help

    result = write(
        run,
        output_target(output, as_json=as_json),
        status=options["statuses"],
        code=options["codes"],
        **output_file_arguments(options),
    )
    if result.ids_only:
        note("The columns of this run were forgotten: only ids and results are left.")
    if as_json:
        content = {
            "file": output,
            "format": result.format,
            "rows": result.rows,
            "counts": result.counts,
        }
        print_json(content | {"exit_code": 0})
    else:
        note(f"{count_of(result.rows, 'row')} written{'' if output == '-' else f' to {output}'}")
        for line in table_lines(result.counts):
            note(line)
    return ExitCode.OK
