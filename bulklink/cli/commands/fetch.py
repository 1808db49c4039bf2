"""`bulklink fetch`: the emails of contacts with their deals."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from bulklink.cli.completion import FileName
from bulklink.cli.connection import connection_from_options, connection_options
from bulklink.cli.console import count_lines, note, print_json, show_error
from bulklink.cli.options import (
    allow_round_ids_option,
    column_option,
    combine_options,
    common_options,
    credit_options,
    csv_options,
    encoding_option,
    hidden_rows_option,
    option,
    outage_option,
    pace_options,
    preset_option,
    progress_option,
    quiet_option,
    sheet_option,
)
from bulklink.cli.output_file import output_file_arguments, output_file_options, output_target

if TYPE_CHECKING:
    from bulklink.errors import RunStoppedError
    from bulklink.operations.fetch import FetchResult

_MAX_CONTACTS_SHOWN = 20
_MAPPING_OPTIONS = (
    *("from_mapping", "columns", "preset", "allow_round_ids", "delimiter", "quote", "escape"),
    *("skip_lines", "encoding", "sheet", "hidden_rows"),
)


@click.command("fetch")
@click.argument("contacts", nargs=-1)
@option(
    "--from-mapping",
    type=FileName(),
    multiple=True,
    metavar="FILE",
    help="Mapping, or any table with a column contact_id, whose contacts to fetch. Repeatable.",
)
@combine_options(output_file_options, column_option, preset_option, allow_round_ids_option)
@combine_options(csv_options, encoding_option, sheet_option, hidden_rows_option)
@combine_options(
    connection_options,
    pace_options,
    outage_option,
    credit_options,
    progress_option,
    quiet_option,
    common_options,
)
def fetch(contacts: tuple[str, ...], output: str, *, as_json: bool, **options: Any) -> int:
    """Write the emails of CONTACTS to a file, with their deals.

    Use it to make a mapping, or to record which deals emails are on before you change them.
    CONTACTS are ids, @FILE for a file with one id per line, or - for such a list from standard
    input. The file appears once everything is read. If the command is stopped or killed, run it
    again to continue; options default to those of the first command. With deal_id filled in, the
    file is a mapping, and from_deal_id guards each row (none: on no deal).

    \b
    Examples:
      bulklink fetch 5843104000000424162 5843104000000424163 -o emails.csv
      bulklink fetch @contacts.txt -o emails.xlsx
      bulklink fetch --from-mapping mapping.csv -o emails.parquet
    """
    from bulklink.cli.arguments import (  # noqa: PLC0415 - not for --help
        given_options,
        pace_arguments,
    )
    from bulklink.cli.progress import run_with_progress  # noqa: PLC0415 - not for --help
    from bulklink.operations.fetch import (  # noqa: PLC0415 - not for --help
        fetch as fetch_emails,
    )
    from bulklink.operations.fetch import (  # noqa: PLC0415 - not for --help
        has_unfinished_fetch,
    )

    target = output_target(output, as_json=as_json)
    continues = not options["force"] and has_unfinished_fetch(target)
    work = partial(
        fetch_emails,
        contacts,
        target,
        connection_from_options(options),
        **{name: options[name] for name in _MAPPING_OPTIONS},
        **output_file_arguments(options),
        **pace_arguments(given_options(options) if continues else options),
    )
    options |= _progress_override(output, options["progress"])
    result, reason = run_with_progress(work, options)
    _show_result(result, reason, output, as_json=as_json)
    return result.exit_code


def _progress_override(output: str, progress: str) -> dict[str, str]:
    """Replace the bar with lines if the rows go to the terminal."""
    rows_on_terminal = output == "-" and sys.stdout.isatty()
    return {"progress": "lines"} if rows_on_terminal and progress != "none" else {}


def _show_result(
    result: FetchResult, reason: RunStoppedError | None, output: str, *, as_json: bool
) -> None:
    import msgspec  # noqa: PLC0415 - not for --help

    if reason is not None:
        show_error(reason, as_json=False)
    for text in _unread_lines(result):
        note(text)
    if as_json:
        print_json({"file": output, **msgspec.to_builtins(result)})
        return
    counts = {
        "contacts": result.contacts,
        "read": result.read,
        "could not be read": result.unread,
        "emails": result.emails,
        "on no deal": result.on_no_deal,
        "deal unknown": result.not_told,
        "left out, without a message id": result.nameless,
    }
    for line in count_lines(counts, always=("contacts", "emails")):
        note(line)
    if reason is not None:
        if output == "-" or not result.read:
            note("Not finished: nothing was written.")
        else:
            note(
                f"Not finished: the emails read are in {output}.fetching. Run the same command"
                " again to continue."
            )
    elif output != "-":
        note(f"Written to {output}")


def _unread_lines(result: FetchResult) -> Iterator[str]:
    for contact in result.unread_contacts[:_MAX_CONTACTS_SHOWN]:
        yield f"contact {contact.contact_id}: {contact.code}: {contact.message}"
    if result.unread > _MAX_CONTACTS_SHOWN:
        yield f"… and {result.unread - _MAX_CONTACTS_SHOWN:,} more contacts that could not be read"
