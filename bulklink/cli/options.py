"""Shared command options; each has an environment variable `BULKLINK_<OPTION>`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from bulklink.cli.completion import FileName, FolderPath
from bulklink.cli.param_types import (
    ColumnPair,
    Duration,
    FailureTolerance,
    LineSeparatedText,
    MemorySize,
    Number,
    NumberOrWord,
    OneOf,
    WholeNumber,
)

F = TypeVar("F", bound=Callable[..., Any])
EDITIONS = ("standard", "professional", "enterprise", "zoho-one", "ultimate", "crm-plus")
"""Editions accepted by --edition."""


def option(name: str, *other_names: str, **attributes: Any) -> Callable[[F], F]:
    """Return a click option that its own environment variable can set too."""
    variable = "BULKLINK_" + name.lstrip("-").split("/")[0].replace("-", "_").upper()
    return click.option(name, *other_names, envvar=variable, **attributes)


def option_key(param: click.Option) -> str:
    """Return the key of an option in job files and profiles: its first long name, with `_`."""
    long_name = next(name for name in param.opts if name.startswith("--"))
    return long_name.removeprefix("--").replace("-", "_")


def combine_options(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Return one decorator for several options, listed in this order."""

    def decorate(function: F) -> F:
        for add_option in reversed(options):
            function = add_option(function)
        return function

    return decorate


common_options = combine_options(
    option("--json", "as_json", is_flag=True, help="Print one JSON object, nothing else."),
    option(
        "--debug",
        is_flag=True,
        expose_value=False,  # read where errors are shown
        help="Show where in the program an error came from.",
    ),
)

csv_options = combine_options(
    option(
        "--delimiter",
        metavar="CHARACTER",
        help="What parts the cells of CSV: ',' ';' tab '|' or another; else it is found.",
    ),
    option(
        "--quote",
        metavar="CHARACTER|none",
        help="What is around cells of CSV that hold delimiters; none if quotes are ordinary"
        ' characters. Else it is ", or found.',
    ),
    option(
        "--escape",
        metavar="CHARACTER",
        help="What stands before a quote that is part of a cell of CSV, such as a backslash; else"
        " such a quote is doubled.",
    ),
    option(
        "--skip-lines",
        type=WholeNumber(0, 1_000_000),
        default=0,
        metavar="N",
        help="Pass over the first N lines, or rows of a sheet, such as a title above the headers.",
    ),
)
encoding_option = option(
    "--encoding",
    metavar="NAME",
    help="Encoding of the mapping where it is not UTF-8, such as utf-16 or cp1252.",
)
sheet_option = option(
    "--sheet",
    metavar="NAME|N",
    help="The sheet of a workbook, by its name or by its number among the tabs that are shown.",
)
hidden_rows_option = option(
    "--hidden-rows",
    type=OneOf(["include", "skip"]),
    help="Take the rows that a sheet hides, or leave them out.",
)
column_option = option(
    "--column",
    "columns",
    type=ColumnPair(),
    multiple=True,
    metavar="COLUMN=HEADER",
    help='A column under another header: --column contact_id="Contact Id".',
)
preset_option = option(
    "--preset",
    type=OneOf(["zoho"]),
    help="Take the headers of Zoho's own exports too, such as 'Contact Name.id'.",
)
allow_round_ids_option = option(
    "--allow-round-ids",
    is_flag=True,
    help="Take ids that look rounded by a program that read them as numbers.",
)
memory_option = option(
    "--memory",
    type=MemorySize(),
    default="512MB",
    show_default=True,
    help="What planning holds in memory at most; the rest goes to the run folder for a time.",
)

mapping_options = combine_options(
    option(
        "--format",
        "format_",
        type=OneOf(["csv", "jsonl"]),
        help="Format of a mapping if neither its name nor its content tells.",
    ),
    csv_options,
    encoding_option,
    sheet_option,
    hidden_rows_option,
    column_option,
    preset_option,
    option(
        "--default",
        "defaults",
        type=ColumnPair(),
        multiple=True,
        metavar="COLUMN=VALUE",
        help="Fill a column where it is missing or empty.",
    ),
    option(
        "--only",
        type=ColumnPair(value_optional=True),
        multiple=True,
        metavar="COLUMN[=VALUE]",
        help="Take only rows with this value, or with any, in a column; all given must hold.",
    ),
    option(
        "--keep",
        type=LineSeparatedText(),
        multiple=True,
        metavar="HEADER[,HEADER]",
        help="Of your own columns, take only these into the run folder; '' takes none.",
    ),
    allow_round_ids_option,
    option(
        "--on-invalid",
        type=OneOf(["stop", "skip"]),
        default="stop",
        show_default=True,
        help="At refused rows, stop before anything is sent, or leave them out.",
    ),
    memory_option,
)

plan_options = combine_options(
    option(
        "--batch-size",
        type=WholeNumber(1, 20),
        default=20,
        show_default=True,
        help="Most emails a call.",
    ),
    option(
        "--group-by",
        type=OneOf(["contact,owner", "contact"]),
        default="contact,owner",
        show_default=True,
        help="What the emails of one link call have in common. By contact, several owners share a"
        " call: the API's schema allows it, no page of Zoho's shows it. plan tells what it saves.",
    ),
    option(
        "--single-endpoint",
        is_flag=True,
        help="Send a batch of one to the single-email endpoint.",
    ),
    option("--no-names", is_flag=True, help="Send ids alone: no names, no look-ups of names."),
)

look_up_names_option = option(
    "--look-up-names",
    is_flag=True,
    help="Look up the names of owners and deals that the mapping lacks, for credits, and make them"
    " part of the plan: who approves it sees them, and the run looks none up. Nothing else makes a"
    " plan open a connection.",
)
compare_with_option = option(
    "--compare-with",
    type=FileName(),
    metavar="FILE",
    help="Emails that bulklink fetch wrote, in any format: tell what the mapping would change, from"
    " which deal to which, and make that part of the plan.",
)
page_options = combine_options(look_up_names_option, compare_with_option)
"""What makes the page of a plan say more to who approves it."""

snapshot_options = combine_options(
    option(
        "--snapshot/--no-snapshot",
        default=None,
        help="Read the deal that each email is on before it is changed: what is as wanted is left"
        " alone, and `bulklink undo` can put the rest back. On for unlink and relink; links are"
        " else read first only where the canary shows that it is cheaper.",
    ),
    option(
        "--accept-no-put-back",
        is_flag=True,
        help="Relink also what no page of the contact's emails lists, or all with --no-snapshot:"
        " if the link is refused, it cannot be put back.",
    ),
)

pace_options = combine_options(
    option(
        "--concurrency",
        type=NumberOrWord("auto", whole=True, maximum=1000),
        default="auto",
        show_default=True,
        help="Most calls in flight; auto is what the edition or the org's licence allows.",
    ),
    option(
        "--edition",
        type=OneOf(EDITIONS),
        help="The org's edition, for --concurrency auto.",
    ),
    option(
        "--rate",
        type=NumberOrWord("off", whole=False, maximum=100_000),
        default="50",
        show_default=True,
        help="Most calls a second, or off.",
    ),
)

_CREDIT_COUNT = WholeNumber(1, 10**12)
credit_options = combine_options(
    option(
        "--max-credits",
        type=_CREDIT_COUNT,
        metavar="N",
        help="Most requests that this command makes, reads, look-ups and retries included; only"
        " relinks that are begun are finished beyond it.",
    ),
    option(
        "--credits-per-day",
        type=_CREDIT_COUNT,
        metavar="N",
        help="Most requests in any 24 hours, by all runs on this org from this machine.",
    ),
    option(
        "--reserve-credits",
        type=_CREDIT_COUNT,
        metavar="N",
        help="Leave so many of the org's credits to others.",
    ),
)

run_dir_option = option(
    "--run-dir",
    type=FolderPath(),
    metavar="DIR",
    help="The run folder, missing or empty; else one is made below --runs-dir.",
)
runs_dir_option = option(
    "--runs-dir",
    type=FolderPath(),
    metavar="DIR",
    default=Path("runs"),
    show_default=True,
    help="Where run folders are.",
)

settle_after_option = option(
    "--settle-after",
    type=Number(0, 3600),
    default=10.0,
    show_default=True,
    help="Seconds after a call before a read is believed that shows it not applied.",
)

outage_option = option(
    "--outage",
    type=Duration(),
    metavar="TIME",
    help="How long to wait while no call is answered, such as 30s, 5m (the default) or 1h; then the"
    " command stops and can be resumed. 0 does not wait.",
)

limit_options = combine_options(
    pace_options,
    option("--yes", is_flag=True, help="Change an org that is not a sandbox without a question."),
    option(
        "--read-back",
        type=OneOf(["auto", "never"]),
        default="auto",
        show_default=True,
        help="Settle what is in doubt by reading links back; never leaves it in doubt.",
    ),
    option(
        "--read-pages",
        type=WholeNumber(1, 100_000),
        default=200,
        show_default=True,
        help="Most pages of a contact's emails that are read, 10 emails each.",
    ),
    settle_after_option,
    outage_option,
    credit_options,
    option(
        "--when-credits-out",
        type=OneOf(["stop", "wait"]),
        help="Where credits are out, stop to be resumed later (the default), or wait.",
    ),
    option(
        "--max-failures",
        type=FailureTolerance(),
        metavar="N|N%|off",
        help="Stop when more emails than N failed or are in doubt, or more than N % of at least"
        " 200, counted per command: 0 stops at the first, 100% and off never. Default: stop if the"
        " first 20 all failed, or at 25 % of at least 200.",
    ),
    option(
        "--sync",
        type=OneOf(["on", "off"]),
        default="on",
        show_default=True,
        help="Have the ledger on disk before each call; off is for load runs.",
    ),
)

progress_option = option(
    "--progress",
    type=OneOf(["auto", "bar", "lines", "none"]),
    default="auto",
    show_default=True,
    help="bar is a live view, drawn in place; lines is a line every 10 seconds. auto is a bar at a"
    " terminal that can draw it, else lines.",
)
quiet_option = option("--quiet", "-q", is_flag=True, help="Show errors and the summary alone.")

canary_option = option(
    "--canary",
    type=WholeNumber(0, 10_000),
    metavar="N",
    help="Send the first N emails, in whole batches, and read them back before the rest; 0 is"
    " none. Default: 20 where there are more than 200. It goes on by itself if all are as recorded,"
    " else it asks, whatever --yes says.",
)

display_options = combine_options(
    progress_option,
    option("--verbose", "-v", is_flag=True, help="Name each email that fails, as it does."),
    quiet_option,
)

send_options = combine_options(
    option("--dry-run", is_flag=True, help="Do what `bulklink plan` does: send nothing."),
    run_dir_option,
    runs_dir_option,
    limit_options,
    canary_option,
    display_options,
)
