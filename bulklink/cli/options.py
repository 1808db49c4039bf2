"""Shared command options; each has an environment variable `BULKLINK_<OPTION>`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from bulklink.cli.completion import FileName, FolderPath
from bulklink.cli.help import CALLS, DISPLAY, INPUT, LIMITS, SAFETY, GroupedOption
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
    return click.option(name, *other_names, cls=GroupedOption, envvar=variable, **attributes)


def with_option_names(text: str, names: Iterable[str]) -> str:
    """Return a text with the names of parameters as their options are typed.

    Args:
        text: the text.
        names: names of the parameters.
    """
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})\b")
    return pattern.sub(lambda match: f"--{match[0].replace('_', '-')}", text)


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
        group=DISPLAY,
        is_flag=True,
        expose_value=False,  # read where errors are shown
        help="Show a traceback with each error, and which event loop is used.",
    ),
)

csv_options = combine_options(
    option(
        "--delimiter",
        group=INPUT,
        metavar="CHARACTER",
        help="CSV delimiter: ',' ';' tab '|' or another character. Detected by default.",
    ),
    option(
        "--quote",
        group=INPUT,
        metavar="CHARACTER|none",
        help='CSV quote character; none if quotes are ordinary characters. By default ", or'
        " detected.",
    ),
    option(
        "--escape",
        group=INPUT,
        metavar="CHARACTER",
        help="CSV escape character before a quote within a cell, such as a backslash. By"
        " default such quotes are doubled.",
    ),
    option(
        "--skip-lines",
        group=INPUT,
        type=WholeNumber(0, 1_000_000),
        default=0,
        metavar="N",
        help="Skip the first N lines, or rows of a sheet, such as a title above the headers.",
    ),
)
encoding_option = option(
    "--encoding",
    group=INPUT,
    metavar="NAME",
    help="Encoding of the mapping if it is not UTF-8, such as utf-16 or cp1252.",
)
sheet_option = option(
    "--sheet",
    group=INPUT,
    metavar="NAME|N",
    help="Sheet of a workbook, by name or by its number among the visible tabs.",
)
hidden_rows_option = option(
    "--hidden-rows",
    group=INPUT,
    type=OneOf(["include", "skip"]),
    help="Whether to include or skip rows that a sheet hides.",
)
column_option = option(
    "--column",
    "columns",
    group=INPUT,
    type=ColumnPair(),
    multiple=True,
    metavar="COLUMN=HEADER",
    help='Read a column from another header: --column contact_id="Contact Id". Repeatable.',
)
preset_option = option(
    "--preset",
    group=INPUT,
    type=OneOf(["zoho"]),
    help="Also accept the headers of Zoho's own exports, such as 'Contact Name.id'.",
)
allow_round_ids_option = option(
    "--allow-round-ids",
    group=INPUT,
    is_flag=True,
    help="Accept ids that look rounded by a spreadsheet.",
)


def memory_option_for(work: str, folder: str) -> Callable[[F], F]:
    """Return the option that limits the memory of some work, with its help.

    Args:
        work: what is limited.
        folder: where temporary files hold the rest.
    """
    return option(
        "--memory",
        group=INPUT,
        type=MemorySize(),
        default="512MB",
        show_default=True,
        help=f"Memory limit of {work}. Temporary files in {folder} hold the rest.",
    )


memory_option = memory_option_for("planning", "the run folder")

mapping_options = combine_options(
    option(
        "--format",
        "format_",
        group=INPUT,
        type=OneOf(["csv", "jsonl"]),
        help="Format of a mapping if its name and content do not show it.",
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
        group=INPUT,
        type=ColumnPair(),
        multiple=True,
        metavar="COLUMN=VALUE",
        help="Value for a column where it is missing or empty. Repeatable.",
    ),
    option(
        "--only",
        type=ColumnPair(value_optional=True),
        multiple=True,
        metavar="COLUMN[=VALUE]",
        help="Use only rows with this value, or any value, in a column. Repeatable; all must"
        " match.",
    ),
    option(
        "--keep",
        group=INPUT,
        type=LineSeparatedText(),
        multiple=True,
        metavar="HEADER[,HEADER]",
        help="Keep only these of your own columns in the run folder; '' keeps none.",
    ),
    allow_round_ids_option,
    option(
        "--on-invalid",
        type=OneOf(["stop", "skip"]),
        default="stop",
        show_default=True,
        help="If rows are refused: stop before anything is sent, or skip these rows.",
    ),
    memory_option,
)

plan_options = combine_options(
    option(
        "--batch-size",
        group=CALLS,
        type=WholeNumber(1, 20),
        default=20,
        show_default=True,
        help="Maximum emails per call.",
    ),
    option(
        "--group-by",
        group=CALLS,
        type=OneOf(["contact,owner", "contact"]),
        default="contact,owner",
        show_default=True,
        help="What the emails of a link call have in common. With contact, several owners"
        " share a call: Zoho's API schema allows it, but its documentation does not show it."
        " `bulklink plan` shows what it saves.",
    ),
    option(
        "--single-endpoint",
        group=CALLS,
        is_flag=True,
        help="Send batches of one email to the single-email endpoint.",
    ),
    option(
        "--no-names",
        group=CALLS,
        is_flag=True,
        help="Send ids only: no names and no look-ups of names.",
    ),
)

look_up_names_option = option(
    "--look-up-names",
    group=CALLS,
    is_flag=True,
    help="Look up missing names of owners and deals, which costs credits, and put them into"
    " the plan: whoever approves it sees them, and the run does not look them up again. A"
    " plan opens a connection only for this.",
)
compare_with_option = option(
    "--compare-with",
    group=CALLS,
    type=FileName(),
    metavar="FILE",
    help="File of emails from `bulklink fetch`, in any format: show what the mapping would"
    " change, from which deal to which, and put that into the plan.",
)
page_options = combine_options(look_up_names_option, compare_with_option)
"""Options that add details to a plan for its approval."""

snapshot_options = combine_options(
    option(
        "--snapshot/--no-snapshot",
        group=SAFETY,
        default=None,
        help="Read the deal that each email is on before changing it: emails already as wanted"
        " are left alone, and `bulklink undo` can restore the others. On for unlink and"
        " relink. By default, links are read first only if the canary shows that this"
        " is cheaper.",
    ),
    option(
        "--accept-no-put-back",
        group=SAFETY,
        is_flag=True,
        help="Also relink emails that no page of the contact lists, or with --no-snapshot all"
        " emails, although they cannot be put back if their link is refused.",
    ),
)

pace_options = combine_options(
    option(
        "--concurrency",
        group=LIMITS,
        type=NumberOrWord("auto", whole=True, maximum=1000),
        default="auto",
        show_default=True,
        help="Maximum calls in flight. auto: what the edition or the org's licence allows.",
    ),
    option(
        "--edition",
        group=LIMITS,
        type=OneOf(EDITIONS),
        help="The org's edition, for --concurrency auto.",
    ),
    option(
        "--rate",
        group=LIMITS,
        type=NumberOrWord("off", whole=False, maximum=100_000),
        default="50",
        show_default=True,
        help="Maximum calls per second, or off.",
    ),
)

_CREDIT_COUNT = WholeNumber(1, 10**12)
credit_options = combine_options(
    option(
        "--max-credits",
        type=_CREDIT_COUNT,
        metavar="N",
        help="Maximum requests of this command, including reads, look-ups and retries. Only"
        " the completion of relinks already started may exceed it.",
    ),
    option(
        "--credits-per-day",
        group=LIMITS,
        type=_CREDIT_COUNT,
        metavar="N",
        help="Maximum requests in any 24 hours, over all runs on this org from this machine.",
    ),
    option(
        "--reserve-credits",
        group=LIMITS,
        type=_CREDIT_COUNT,
        metavar="N",
        help="Number of the org's credits to leave for others.",
    ),
)

run_dir_option = option(
    "--run-dir",
    type=FolderPath(),
    metavar="DIR",
    help="Run folder, new or empty. Default: a new folder below --runs-dir.",
)
runs_dir_option = option(
    "--runs-dir",
    group=DISPLAY,
    type=FolderPath(),
    metavar="DIR",
    default=Path("runs"),
    show_default=True,
    help="Folder that contains the run folders.",
)

settle_after_option = option(
    "--settle-after",
    group=SAFETY,
    type=Number(0, 3600),
    default=10.0,
    show_default=True,
    help="Seconds to wait after a call before trusting a read that shows no change.",
)

outage_option = option(
    "--outage",
    group=LIMITS,
    type=Duration(),
    metavar="TIME",
    help="How long to wait while no call is answered, such as 30s, 5m (the default) or 1h."
    " Then the command stops and can be resumed. 0: do not wait.",
)

limit_options = combine_options(
    pace_options,
    option("--yes", is_flag=True, help="Change an org that is not a sandbox without asking."),
    option(
        "--wait-for-org",
        is_flag=True,
        help="If another run is being sent to the org from this machine, wait until it ends.",
    ),
    option(
        "--expect-org",
        group=SAFETY,
        metavar="ID",
        help="Refuse to change any org but the one with this id.",
    ),
    option(
        "--read-back",
        group=SAFETY,
        type=OneOf(["auto", "never"]),
        default="auto",
        show_default=True,
        help="Whether to settle emails in doubt by reading their links back. never: leave them"
        " in doubt.",
    ),
    option(
        "--read-pages",
        group=SAFETY,
        type=WholeNumber(1, 100_000),
        default=200,
        show_default=True,
        help="Maximum pages of a contact's emails to read, 10 emails each.",
    ),
    settle_after_option,
    outage_option,
    credit_options,
    option(
        "--when-credits-out",
        group=LIMITS,
        type=OneOf(["stop", "wait"]),
        help="When credits run out: stop, to be resumed later (the default), or wait.",
    ),
    option(
        "--max-failures",
        group=SAFETY,
        type=FailureTolerance(),
        metavar="N|N%|off",
        help="Stop if more than N emails, or N % of at least 200, failed or are in doubt,"
        " counted per command. 0: stop at the first. 100% and off: never. Default: stop if"
        " the first 20 all failed, or at 25 % of at least 200.",
    ),
    option(
        "--sync",
        group=SAFETY,
        type=OneOf(["on", "off"]),
        default="on",
        show_default=True,
        help="Whether to flush the ledger to disk before each call. off: for load runs.",
    ),
)

progress_option = option(
    "--progress",
    group=DISPLAY,
    type=OneOf(["auto", "bar", "lines", "none"]),
    default="auto",
    show_default=True,
    help="bar: a live view. lines: one line every 10 seconds. auto: bar at a terminal that can"
    " draw it, otherwise lines.",
)
quiet_option = option("--quiet", "-q", is_flag=True, help="Show only errors and the summary.")

canary_option = option(
    "--canary",
    group=SAFETY,
    type=WholeNumber(0, 10_000),
    metavar="N",
    help="Send the first N emails, in whole batches, and read them back before the rest. 0:"
    " none. Default: 20 of more than 200. If all are as recorded, the run continues;"
    " otherwise it asks, even with --yes.",
)

display_options = combine_options(
    progress_option,
    option("--verbose", "-v", group=DISPLAY, is_flag=True, help="Name each email as it fails."),
    quiet_option,
)

send_options = combine_options(
    option("--dry-run", is_flag=True, help="Plan only, like `bulklink plan`: send nothing."),
    run_dir_option,
    runs_dir_option,
    limit_options,
    canary_option,
    display_options,
)
