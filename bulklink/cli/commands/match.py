"""`bulklink match`: another system's list of emails, joined to the message ids of Zoho."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from bulklink.cli.completion import FileName
from bulklink.cli.connection import connection_from_options, connection_options
from bulklink.cli.console import show_error
from bulklink.cli.help import OUTPUT, Command
from bulklink.cli.options import (
    column_option,
    combine_options,
    common_options,
    credit_options,
    csv_options,
    encoding_option,
    hidden_rows_option,
    memory_option_for,
    option,
    outage_option,
    pace_options,
    progress_option,
    quiet_option,
    sheet_option,
)
from bulklink.cli.output_file import output_file_arguments, output_format_options
from bulklink.cli.output_types import OutputFile
from bulklink.cli.param_types import Duration, OneOf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bulklink.zoho.connection import Connection

_JOIN = "Find deals and emails"
_NAMES = (
    *("deals", "deal_key", "within", "tz", "from_system", "columns", "delimiter", "quote"),
    *("escape", "skip_lines", "encoding", "sheet", "hidden_rows", "memory"),
)


@click.command("match", cls=Command)
@click.argument("wanted", type=FileName())
@option(
    "--fetched",
    required=True,
    type=FileName(),
    metavar="FILE",
    help="Emails in Zoho: a file that `bulklink fetch` wrote.",
)
@option(
    "--output",
    "-o",
    required=True,
    type=OutputFile(),
    metavar="MAPPING",
    help="Mapping to write: .csv, .jsonl, .csv.gz, .jsonl.gz, .parquet or .xlsx. Beside it, with"
    " its stem: .ambiguous.csv and .missing.csv.",
)
@option(
    "--from",
    "from_system",
    type=OneOf(["hubspot", "salesforce", "pipedrive"]),
    help="Also accept the headers of this system.",
)
@option(
    "--deals",
    group=_JOIN,
    type=FileName(),
    metavar="FILE",
    help="Table with the columns deal_key and deal_id, if WANTED names deals by their keys in the"
    " other system.",
)
@option(
    "--deal-key",
    group=_JOIN,
    metavar="FIELD",
    help="API name of the field of Zoho's deals that holds these keys: the deals are read from"
    " the CRM.",
)
@option(
    "--within",
    group=_JOIN,
    type=Duration("within"),
    default="2m",
    show_default=True,
    metavar="TIME",
    help="Greatest difference between the times that both systems show for one email.",
)
@option(
    "--tz",
    group=_JOIN,
    metavar="ZONE",
    help="Time zone of times without one, such as Europe/Berlin or +02:00.",
)
@combine_options(column_option, csv_options, encoding_option, sheet_option, hidden_rows_option)
@memory_option_for("comparing", "the folder of the mapping")
@output_format_options
@option("--force", group=OUTPUT, is_flag=True, help="Replace existing files.")
@combine_options(
    connection_options,
    pace_options,
    outage_option,
    credit_options,
    progress_option,
    quiet_option,
    common_options,
)
def match(wanted: str, output: str, *, as_json: bool, **options: Any) -> int:
    """Find the emails of another system's list in Zoho, for a mapping.

    \b
    Examples:
      bulklink match emails.csv --fetched zoho.parquet -o mapping.csv
      bulklink match emails.csv --from salesforce --deals deals.csv --fetched zoho.csv -o m.csv
      bulklink match emails.csv --from pipedrive --tz UTC --deal-key Key --fetched zoho.csv -o m.csv
      bulklink match emails.xlsx --column time="Sent at" --tz +01:00 --fetched zoho.csv -o m.csv

    Use it after a migration: the other system knows the deal of each email, but not Zoho's message
    ids. WANTED is its list, in any format of a mapping, with the columns from_address,
    to_addresses, subject, time and deal_id. An email is found by who wrote to whom, its subject,
    and its time. MAPPING has the emails that are not on their deals yet. Beside it are those that
    may be several emails of Zoho, and those that Zoho does not have. The CRM is not changed:
    `bulklink run` sends the mapping. Exit code 1: some emails are ambiguous or missing, or
    on two deals in the fetched file.
    """
    from bulklink.cli.arguments import pace_arguments  # noqa: PLC0415 - not for --help
    from bulklink.cli.match_summary import show_match  # noqa: PLC0415 - not for --help
    from bulklink.cli.progress import run_with_progress  # noqa: PLC0415 - not for --help
    from bulklink.operations.match import (  # noqa: PLC0415 - not for --help
        match as match_emails,
    )

    work = partial(
        match_emails,
        wanted,
        options["fetched"],
        output,
        _connection(options),
        **{name: options[name] for name in _NAMES},
        **output_file_arguments(options),
        **pace_arguments(options),
    )
    result, reason = run_with_progress(work, options)
    if reason is not None:
        show_error(reason, as_json=False)
    show_match(result, output, as_json=as_json)
    return result.exit_code


def _connection(options: Mapping[str, Any]) -> Connection | None:
    """Return the connection if the command needs one."""
    return None if options["deal_key"] is None else connection_from_options(options)
