"""Options that select contacts and emails, for the commands that read them."""

from __future__ import annotations

from collections.abc import Callable

from bulklink.cli.completion import FileName
from bulklink.cli.help import SELECTION
from bulklink.cli.options import F, combine_options, option
from bulklink.cli.param_types import LineSeparatedText, PointInTime

contact_options = combine_options(
    option(
        "--from-mapping",
        group=SELECTION,
        type=FileName(),
        multiple=True,
        metavar="FILE",
        help="Add the contacts of a mapping, or of any table with a column contact_id. Repeatable.",
    ),
    option(
        "--contacts-of-deals",
        group=SELECTION,
        multiple=True,
        metavar="DEAL|@FILE",
        help="Add the contacts of these deals, and those with a role on them. Repeatable.",
    ),
    option(
        "--deals-where",
        group=SELECTION,
        type=LineSeparatedText(),
        multiple=True,
        metavar="CONDITION",
        help="Add the contacts of the deals that meet a condition in COQL, such as"
        " \"Stage = 'Negotiation'\". Repeatable.",
    ),
    option(
        "--contacts-where",
        group=SELECTION,
        type=LineSeparatedText(),
        multiple=True,
        metavar="CONDITION",
        help="Add the contacts that meet a condition in COQL. Repeatable.",
    ),
)


def filter_options(purpose: str) -> Callable[[F], F]:
    """Return the options that filter emails.

    Args:
        purpose: what the emails are filtered for, such as `Keep only emails`.
    """
    return combine_options(
        option(
            "--emails-on",
            group=SELECTION,
            multiple=True,
            metavar="DEAL|@FILE",
            help=f"Add the contacts of these deals. {purpose} on them. Repeatable.",
        ),
        option(
            "--on-no-deal",
            group=SELECTION,
            is_flag=True,
            help=f"{purpose} on no deal; with --emails-on, these as well.",
        ),
        option(
            "--since",
            group=SELECTION,
            type=PointInTime(),
            metavar="TIME",
            help=f"{purpose} from this time on, such as 2026-01-31 or 2026-01-31T09:00+01:00.",
        ),
        option(
            "--until",
            group=SELECTION,
            type=PointInTime(end_of_day=True),
            metavar="TIME",
            help=f"{purpose} before this time; a date includes its day.",
        ),
    )


spending_option = option(
    "--yes", is_flag=True, help="Spend more than 1,000 credits without asking."
)
CONTACT_NAMES = ("from_mapping", "contacts_of_deals", "deals_where", "contacts_where")
"""Keywords of the options that add contacts."""
FILTER_NAMES = ("emails_on", "on_no_deal", "since", "until")
"""Keywords of the options that filter emails."""
READING_NAMES = (
    *("columns", "preset", "allow_round_ids", "delimiter", "quote", "escape"),
    *("skip_lines", "encoding", "sheet", "hidden_rows"),
)
"""Keywords of the options for reading mappings."""
