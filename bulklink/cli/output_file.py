"""Output file options and checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

from bulklink.cli.console import stdout_stream
from bulklink.cli.help import OUTPUT
from bulklink.cli.options import combine_options, option
from bulklink.cli.output_types import OutputFile
from bulklink.cli.param_types import OneOf
from bulklink.cli.standard_streams import is_stdout_closed
from bulklink.errors import UsageError

output_format_options = combine_options(
    option(
        "--format",
        "format_",
        group=OUTPUT,
        type=OneOf(["csv", "jsonl", "parquet", "xlsx"]),
        help="Format, if the file name does not show it.",
    ),
    option(
        "--spreadsheet",
        group=OUTPUT,
        is_flag=True,
        help="Write CSV that is safe to open in a spreadsheet: ids stay text, and no cell runs"
        " as a formula. bulklink can read such a file back unchanged.",
    ),
)
output_file_options = combine_options(
    option(
        "--output",
        "-o",
        required=True,
        type=OutputFile(stdout=True),
        metavar="FILE",
        help="Output file: .csv, .jsonl, .csv.gz, .jsonl.gz, .parquet or .xlsx; - is standard"
        " output.",
    ),
    output_format_options,
    option("--force", group=OUTPUT, is_flag=True, help="Replace an existing file."),
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
            advice="Name a file, or omit one of the two.",
        )
    if is_stdout_closed():
        raise UsageError("Standard output is closed.", where="-", advice="Name a file, or open it.")
    return stdout_stream()


def output_file_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments of a command's output file options."""
    return {name: options[name] for name in ("format_", "spreadsheet", "force")}
