"""`bulklink fetch`: the emails of contacts with their deals."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from bulklink.cli.calls_line import calls_line
from bulklink.cli.connection import connection_from_options, connection_options
from bulklink.cli.console import count_lines, note, print_json, show_error
from bulklink.cli.help import SELECTION, Command
from bulklink.cli.options import (
    allow_round_ids_option,
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
    preset_option,
    progress_option,
    quiet_option,
    sheet_option,
)
from bulklink.cli.output_file import output_file_arguments, output_file_options, output_target
from bulklink.cli.param_types import OneOf
from bulklink.cli.selection_options import (
    CONTACT_NAMES,
    FILTER_NAMES,
    READING_NAMES,
    contact_options,
    filter_options,
    spending_option,
)
from bulklink.cli.unread import unread_lines, unresolved_lines

if TYPE_CHECKING:
    from bulklink.errors import RunStoppedError
    from bulklink.operations.fetching.emails import FetchResult

_NAMES = (
    *(*CONTACT_NAMES, "roles", *FILTER_NAMES, "candidates", "yes", *READING_NAMES),
    "memory",
)

_roles_option = option(
    "--roles",
    group=SELECTION,
    type=OneOf(["named", "yes", "no"]),
    help="Deals whose contact roles are read, one call each: those named by their ids (the"
    " default), those that meet --deals-where too, or none.",
)
_candidates_option = option(
    "--candidates",
    group=SELECTION,
    is_flag=True,
    help="Read the deals of each contact, one call each, and add them as a column.",
)


@click.command("fetch", cls=Command)
@click.argument("contacts", nargs=-1)
@combine_options(
    contact_options,
    _roles_option,
    filter_options("Keep only emails"),
    _candidates_option,
    spending_option,
)
@memory_option_for("selecting contacts", "the folder of the output file")
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

    \b
    Examples:
      bulklink fetch 5843104000000424162 5843104000000424163 -o emails.csv
      bulklink fetch @contacts.txt -o emails.xlsx
      bulklink fetch --from-mapping mapping.csv -o emails.parquet
      bulklink fetch ann@example.com --since 2026-01-01 -o emails.csv
      bulklink fetch --deals-where "Stage = 'Negotiation'" --on-no-deal -o emails.csv

    Use it to make a mapping, or to record which deals emails are on before you change them.
    CONTACTS are ids, addresses, or names of at least two words; @FILE is a file with one per line,
    and - such a list from standard input. Other options select contacts by their deals or by
    conditions; all of them add up. The file appears once everything is read. If the command is
    stopped or killed, run it again to continue; options default to those of the first command.
    With deal_id filled in, the file is a mapping, and from_deal_id guards each row (none: on no
    deal).
    """
    from bulklink.cli.arguments import (  # noqa: PLC0415 - not for --help
        given_options,
        pace_arguments,
    )
    from bulklink.cli.progress import run_with_progress  # noqa: PLC0415 - not for --help
    from bulklink.operations.fetch import (  # noqa: PLC0415 - not for --help
        fetch as fetch_emails,
    )
    from bulklink.operations.fetching.emails import (  # noqa: PLC0415 - not for --help
        check_fetch_files,
        has_unfinished_fetch,
    )

    target = output_target(output, as_json=as_json)
    # A missing file is reported before a missing profile.
    check_fetch_files(
        target,
        lists=(*contacts, *options["contacts_of_deals"], *options["emails_on"]),
        from_mapping=options["from_mapping"],
        **output_file_arguments(options),
    )
    continues = not options["force"] and has_unfinished_fetch(target)
    work = partial(
        fetch_emails,
        contacts,
        target,
        connection_from_options(options),
        **{name: options[name] for name in _NAMES},
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
    for text in unread_lines(result.unread_contacts, result.unread):
        note(text)
    for text in unresolved_lines(result.unresolved):
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
        "left out by the filters": result.filtered_out,
        "of them without a known time": result.undated,
    }
    for line in count_lines(counts, always=("contacts", "emails")):
        note(line)
    note(calls_line(result.calls, result.credits))
    if reason is not None:
        if output == "-" or not (result.read or result.contacts == 0):
            note("Not finished: nothing was written.")
        else:
            note(
                f"Not finished: what was read is in {output}.fetching. Run the same command again"
                " to continue."
            )
    elif output != "-":
        note(f"Written to {output}")
