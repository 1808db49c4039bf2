"""Output file options and checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

from bulklink.cli.completion import FileName
from bulklink.cli.console import stdout_stream
from bulklink.cli.options import combine_options, option
from bulklink.cli.param_types import OneOf
from bulklink.cli.standard_streams import is_stdout_closed
from bulklink.errors import UsageError

output_file_options = combine_options(
    option(
        "--output",
        "-o",
        required=True,
        type=FileName(),
        metavar="FILE",
        help="The file: .csv, .jsonl, .csv.gz, .jsonl.gz, .parquet or .xlsx; - is standard output.",
    ),
    option(
        "--format",
        "format_",
        type=OneOf(["csv", "jsonl", "parquet", "xlsx"]),
        help="The format, where the name of the file does not tell.",
    ),
    option(
        "--spreadsheet",
        is_flag=True,
        help="CSV for a spreadsheet: ids stay text, and no cell is run as a formula. bulklink reads"
        " such a file back as it was.",
    ),
    option("--force", is_flag=True, help="Replace a file that is there."),
)


def output_target(output: str, *, as_json: bool) -> str | BinaryIO:
    """Return the target of a command's rows: a file, or standard output for `-`.

    Raises:
        UsageError: if standard output is wanted for the JSON object too, or is closed.
    """
    if output != "-":
        return output
    if as_json:
        raise UsageError(
            "Rows and the JSON object cannot both go to standard output.",
            where="--json",
            advice="Name a file, or leave one of them out.",
        )
    if is_stdout_closed():
        raise UsageError("Standard output is closed.", where="-", advice="Name a file, or open it.")
    return stdout_stream()


def output_file_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments of a command's output file options."""
    return {name: options[name] for name in ("format_", "spreadsheet", "force")}
