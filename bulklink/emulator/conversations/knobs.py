"""Knobs of a synthetic org: how its people, deals, mail and links are, drawn for each world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bulklink.emulator.conversations.randomness import Draws
from bulklink.emulator.settings import PredictionMode
from bulklink.emulator.synthetic import splitmix64

_STREAM = 1


@dataclass(frozen=True, slots=True)
class KnobRange:
    """What a knob may be.

    Args:
        low: the lowest value.
        high: the highest value.
        never: thousandths of the worlds in which it is 0 instead.
        meaning: what it says of the org; shares are thousandths.
    """

    low: int
    high: int
    meaning: str
    never: int = 0

    def draw(self, draws: Draws) -> int:
        """Return a value."""
        is_zero = draws.chance(self.never)
        value = draws.between(self.low, self.high)
        return 0 if is_zero else value


KNOB_RANGES: Mapping[str, KnobRange] = MappingProxyType(
    {
        "users": KnobRange(4, 14, "users with a mailbox of their own"),
        "shared_mailboxes": KnobRange(0, 1, "mailboxes shared by all users"),
        "days": KnobRange(450, 800, "days that the org has used its CRM"),
        "late_mailboxes": KnobRange(100, 500, "mailboxes connected later than that"),
        "distant_users": KnobRange(0, 250, "users in another time zone"),
        "offset_style": KnobRange(
            0, 2, "offset of the times of emails: of the org (0), UTC (1), of the writer (2)"
        ),
        "foreign_companies": KnobRange(0, 150, "companies that write another language"),
        "open_stages": KnobRange(3, 6, "stages that are forecast Open"),
        "lost_stages": KnobRange(1, 4, "stages that are Closed Lost"),
        "renamed_stages": KnobRange(
            200, 1000, "stages with another name than their actual value", never=250
        ),
        "actual_names": KnobRange(0, 1, "histories name stages by their actual value"),
        "pipelines": KnobRange(1, 3, "pipelines"),
        "roles_count": KnobRange(
            1, 1, "the rule considers deals on which a contact only has a role", never=830
        ),
        "contacts_per_company": KnobRange(1, 4, "contacts of a company, on average"),
        "key_companies": KnobRange(30, 120, "companies with three times as many contacts"),
        "two_accounts": KnobRange(20, 100, "contacts with deals of a second account"),
        "bystanders": KnobRange(100, 250, "contacts without a deal"),
        "merged_contacts": KnobRange(10, 60, "contacts with deals who were two records once"),
        "products": KnobRange(4, 10, "products"),
        "deals_per_contact": KnobRange(11, 38, "deals of a contact, on average, in tenths"),
        "deal_days": KnobRange(40, 180, "days until a deal is closed, on average"),
        "won_deals": KnobRange(300, 550, "deals that are won in the end"),
        "lost_deals": KnobRange(150, 350, "deals that are lost in the end"),
        "reopened_deals": KnobRange(20, 100, "closed deals that are opened once more"),
        "renewed_deals": KnobRange(100, 400, "won deals that are followed by a renewal"),
        "owner_changes": KnobRange(30, 200, "deals that change their owner"),
        "equal_names": KnobRange(20, 120, "deals with the name of another of their contact"),
        "name_style": KnobRange(0, 6, "how most deals are named"),
        "odd_names": KnobRange(50, 300, "deals that are named in another way"),
        "numbered_deals": KnobRange(700, 1000, "deals with a number of their own", never=450),
        "number_style": KnobRange(0, 2, "how these numbers look"),
        "deals_with_roles": KnobRange(150, 450, "deals with further contacts in a role"),
        "automation_days": KnobRange(
            3, 30, "days between two touches of a deal by nightly workflows", never=100
        ),
        "automation_hour": KnobRange(1, 5, "hour at which workflows start"),
        "automation_on_closed": KnobRange(0, 500, "deals that they touch after closing too"),
        "mass_updates": KnobRange(0, 4, "nights in which a program touches most deals"),
        "reminder_days": KnobRange(
            10, 40, "days without a change after which a workflow touches a deal", never=500
        ),
        "notes": KnobRange(100, 400, "emails after which somebody edits their deal"),
        "stray_note_days": KnobRange(15, 80, "days between two edits of a deal without an email"),
        "threads_per_deal": KnobRange(12, 35, "conversations about a deal, in tenths"),
        "emails_per_thread": KnobRange(20, 60, "emails of a conversation, in tenths"),
        "reply_hours": KnobRange(4, 40, "hours until a reply, on average"),
        "long_gaps": KnobRange(20, 90, "replies that come after one to six weeks"),
        "sent_emails": KnobRange(350, 500, "emails of a conversation that users send"),
        "inquiries": KnobRange(100, 450, "deals created after the first email about them"),
        "after_close": KnobRange(150, 400, "conversations that begin after their deal is closed"),
        "role_writers": KnobRange(
            50, 250, "conversations led by a contact in a role, where there is one"
        ),
        "cc_colleagues": KnobRange(100, 350, "emails with a copy to people without a record"),
        "cc_contacts": KnobRange(40, 150, "emails with a copy to another contact"),
        "hijacked_threads": KnobRange(20, 80, "conversations later used for another topic"),
        "full_names": KnobRange(100, 350, "subjects with the name of the deal"),
        "part_names": KnobRange(150, 350, "subjects with a word of the name"),
        "numbers": KnobRange(150, 600, "subjects with the number of a deal that has one"),
        "one_word": KnobRange(40, 150, "subjects of one word"),
        "vague": KnobRange(60, 200, "subjects that say nothing"),
        "changed_subjects": KnobRange(10, 60, "replies with another subject"),
        "local_prefixes": KnobRange(300, 900, "people whose mail program writes AW:, SV:, …"),
        "forwards": KnobRange(10, 60, "emails that are forwarded"),
        "known_threads": KnobRange(600, 1000, "emails with a thread_id", never=250),
        "summaries": KnobRange(200, 1000, "emails with a summary", never=300),
        "no_deal_mail": KnobRange(120, 180, "emails about no deal"),
        "bystander_mail": KnobRange(250, 750, "emails about no deal from contacts without deals"),
        "decoys": KnobRange(20, 200, "emails about no deal whose subject names a product"),
        "crm_mail": KnobRange(50, 400, "other sent emails written in the CRM"),
        "shared_threads": KnobRange(50, 250, "conversations through a shared mailbox"),
        "copies": KnobRange(0, 60, "received emails of these that are in two mailboxes"),
        "from_deal_page": KnobRange(100, 500, "sent emails sent from a deal's page", never=200),
        "wrong_page": KnobRange(0, 40, "emails of these sent from the page of another deal"),
        "corrected": KnobRange(
            20, 250, "conversations whose wrong links are corrected by hand", never=300
        ),
        "correctors": KnobRange(200, 800, "users who correct or attach at all"),
        "attached": KnobRange(
            20, 250, "conversations whose unlinked emails are linked by hand", never=300
        ),
        "detached": KnobRange(
            30, 300, "emails about no deal that are taken off a deal by hand", never=300
        ),
        "hand_errors": KnobRange(5, 50, "corrections by hand that are wrong"),
        "bulk_companies": KnobRange(
            300, 900, "companies whose unlinked emails a program linked once", never=700
        ),
        "bulk_right": KnobRange(650, 950, "conversations that it linked rightly"),
    }
)
"""The range of each knob in a plain world."""

_NONE = KnobRange(0, 0, "")
_ALL = KnobRange(1000, 1000, "")
KIND_RANGES: Mapping[str, Mapping[str, KnobRange]] = MappingProxyType(
    {
        "plain": {},
        "no-names": {"full_names": _NONE, "part_names": _NONE, "numbers": _NONE, "decoys": _NONE},
        "hijacked": {"hijacked_threads": KnobRange(250, 450, "")},
        "one-product": {
            "products": KnobRange(1, 1, ""),
            "equal_names": KnobRange(100, 350, ""),
            "deals_per_contact": KnobRange(20, 50, ""),
        },
        "no-automation": {
            "automation_days": _NONE,
            "mass_updates": _NONE,
            "reminder_days": _NONE,
        },
        "no-linked-sent": {"from_deal_page": _NONE},
        "shared-mailboxes": {
            "shared_mailboxes": KnobRange(1, 3, ""),
            "shared_threads": KnobRange(650, 950, ""),
            "copies": KnobRange(30, 150, ""),
        },
        "corrected-by-hand": {
            "corrected": KnobRange(400, 750, ""),
            "attached": KnobRange(250, 600, ""),
            "detached": KnobRange(200, 600, ""),
            "correctors": KnobRange(700, 1000, ""),
        },
        "all-right": {
            "bystanders": KnobRange(250, 400, ""),
            "bystander_mail": _ALL,
            "automation_days": KnobRange(3, 30, ""),
            "wrong_page": _NONE,
            "corrected": _NONE,
            "detached": _NONE,
            "hand_errors": _NONE,
            "bulk_companies": _NONE,
        },
        "languages": {
            "foreign_companies": KnobRange(400, 800, ""),
            "distant_users": KnobRange(200, 600, ""),
            "offset_style": KnobRange(2, 2, ""),
        },
        "merged": {"merged_contacts": KnobRange(400, 700, "")},
        "renewals": {
            "days": KnobRange(900, 1200, ""),
            "renewed_deals": KnobRange(700, 950, ""),
            "won_deals": KnobRange(550, 750, ""),
            "lost_deals": KnobRange(80, 200, ""),
        },
    }
)
"""What the ranges of a kind of world are, where they differ from a plain world's."""


@dataclass(frozen=True, slots=True)
class ConversationRecipe:
    """What is asked of a world.

    Args:
        messages: number of emails.
        kind: one of `KIND_RANGES`.
        reading: how the rule links received mail.
        users: users with a mailbox of their own; None to draw their number.
        seed: determines all random choices.
    """

    messages: int
    kind: str = "plain"
    reading: PredictionMode = "strict"
    users: int | None = None
    seed: int = 1

    @property
    def key(self) -> int:
        """What the randomness of the world starts from.

        Worlds of two kinds have nothing in common, even with one seed, so that a kind can be
        kept back. Worlds that differ in the reading have the same deals and emails.
        """
        return splitmix64(self.seed & (1 << 64) - 1, 11, list(KIND_RANGES).index(self.kind))


class Knobs:
    """The knobs of one world, as attributes.

    Args:
        values: the value of each knob, by name.
    """

    def __init__(self, values: Mapping[str, int]) -> None:
        self.values = values

    def __getattr__(self, name: str) -> int:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None


def draw_knobs(recipe: ConversationRecipe) -> Knobs:
    """Return the knobs of a world."""
    ranges = dict(KNOB_RANGES) | dict(KIND_RANGES[recipe.kind])
    values = {
        name: ranges[name].draw(Draws(recipe.key, _STREAM, number))
        for number, name in enumerate(KNOB_RANGES)
    }
    if recipe.users is not None:
        values["users"] = recipe.users
    return Knobs(values)
