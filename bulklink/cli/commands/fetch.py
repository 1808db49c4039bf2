"""`bulklink fetch`: the emails of contacts, with the deal that each is on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from bulklink.cli.completion import FileName
from bulklink.cli.connection import connection_from, connection_options
from bulklink.cli.console import note, print_json, show_error, table
from bulklink.cli.options import (
    apply,
    column_option,
    credit_options,
    delimiter_option,
    encoding_option,
    option,
    output_options,
    pace_options,
    progress_option,
    quiet_option,
)
from bulklink.cli.output_file import file_options, output_options_of, target_of

if TYPE_CHECKING:
    from bulklink.errors import RunStoppedError
    from bulklink.operations.fetch import Fetched

_MOST_SHOWN = 20
_TABLES = ("from_mapping", "columns", "delimiter", "encoding")


@click.command("fetch")
@click.argument("contacts", nargs=-1)
@option(
    "--from-mapping",
    type=FileName(),
    multiple=True,
    metavar="FILE",
    help="The contacts of a mapping, or of any table with a column contact_id; repeatable.",
)
@apply(file_options, column_option, delimiter_option, encoding_option)
@apply(
    connection_options, pace_options, credit_options, progress_option, quiet_option, output_options
)
def fetch(contacts: tuple[str, ...], output: str, *, as_json: bool, **options: Any) -> int:
    """Write the emails of CONTACTS to a file, with their deals.

    For making a mapping, and for knowing where emails were before they are changed. CONTACTS are
    ids, @FILE for a file with an id a line, or - for such a list from standard input. The file
    appears when all is read. Stopped or killed, the same command goes on. With deal_id filled in,
    the file is a mapping; from_deal_id (none: on no deal) guards it.

    \b
    Examples:
      bulklink fetch 5843104000000424162 5843104000000424163 -o emails.csv
      bulklink fetch @contacts.txt -o emails.xlsx
      bulklink fetch --from-mapping mapping.csv -o emails.parquet
    """
    from bulklink.cli.arguments import pace_of  # noqa: PLC0415 - not for --help
    from bulklink.cli.progress import on_screen  # noqa: PLC0415 - not for --help
    from bulklink.operations.fetch import fetch as read  # noqa: PLC0415 - not for --help

    target = target_of(output, as_json=as_json)
    connection, pace = connection_from(options), pace_of(options)
    told, reason = on_screen(
        lambda watch, stopping: read(
            contacts,
            target,
            connection,
            **{name: options[name] for name in _TABLES},
            **output_options_of(options),
            watch=watch,
            stopping=stopping,
            **pace,
        ),
        options | _screen(output, options["progress"]),
    )
    _show(told, reason, output, as_json=as_json)
    return told.exit_code


def _screen(output: str, progress: str) -> dict[str, str]:
    """Draw nothing where the rows themselves go to the terminal."""
    rows_are_seen = output == "-" and sys.stdout.isatty()
    return {"progress": "lines"} if rows_are_seen and progress != "none" else {}


def _show(told: Fetched, reason: RunStoppedError | None, output: str, *, as_json: bool) -> None:
    import msgspec  # noqa: PLC0415 - not for --help

    if reason is not None:
        show_error(reason, as_json=False)
    for line in _unread(told):
        note(line)
    if as_json:
        print_json({"file": output, **msgspec.to_builtins(told)})
        return
    counts = {
        "contacts": told.contacts,
        "read": told.read,
        "could not be read": told.unread,
        "emails": told.emails,
        "on no deal": told.on_no_deal,
        "deal not told": told.not_told,
        "left out, without a message id": told.nameless,
    }
    note(table({name: n for name, n in counts.items() if n or name in ("contacts", "emails")}))
    if reason is not None:
        if output == "-" or not told.read:
            note("Not finished: nothing is kept.")
        else:
            note(f"Not finished: what was read is in {output}.fetching; the same command goes on.")
    elif output != "-":
        note(f"Written to {output}")


def _unread(told: Fetched) -> Iterator[str]:
    for one in told.unread_contacts[:_MOST_SHOWN]:
        yield f"contact {one.contact_id}: {one.code}: {one.message}"
    if told.unread > _MOST_SHOWN:
        yield f"… and {told.unread - _MOST_SHOWN:,} more contacts that could not be read"
