"""Files that commands write for users: their options, and what is checked beforehand."""

from __future__ import annotations

from pathlib import Path

from bulklink.cli.completing import FileName
from bulklink.cli.options import apply, option
from bulklink.cli.types import OneOf
from bulklink.errors import UsageError

file_options = apply(
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


def check_output(output: str, *, as_json: bool, force: bool) -> None:
    """Refuse a file that cannot be written, before anything is done for it.

    Raises:
        UsageError: if it is there already or has no folder, or standard output is wanted twice.
    """
    path = Path(output)
    if output == "-":
        if as_json:
            raise UsageError(
                "Rows and the JSON object cannot both go to standard output.",
                where="--json",
                advice="Name a file, or leave one of them out.",
            )
    elif not path.parent.is_dir():
        raise UsageError(
            "There is no such folder.", where=str(path.parent), advice="Make it, or name another."
        )
    elif path.is_dir():
        raise UsageError("It is a folder.", where=output, advice="Name a file.")
    elif path.exists() and not force:
        raise UsageError(
            "The file is there already.",
            where=output,
            advice="Add --force to replace it, or name another.",
        )
