"""The org of a synthetic world: users and mailboxes, stages, products, nights of mass updates."""

from __future__ import annotations

from dataclasses import dataclass

from bulklink.emulator.conversations.knobs import ConversationRecipe, Knobs
from bulklink.emulator.conversations.moments import DAY, HOUR, WORLD_END, ZONES, Zone, iso_time
from bulklink.emulator.conversations.randomness import Draws
from bulklink.emulator.conversations.texts import LANGUAGES, Language
from bulklink.emulator.world import Stage

_STREAM = 2
_HOME_LANGUAGES = ("en", "de", "fr", "es", "it", "nl", "pl", "ja")
_HOME_WEIGHTS = (50, 14, 8, 8, 6, 6, 5, 3)
_OPEN_STAGES = (
    "Qualification",
    "Needs Analysis",
    "Value Proposition",
    "Proposal/Price Quote",
    "Negotiation/Review",
    "Verbal Agreement",
)
_LOST_STAGES = ("Closed Lost", "Closed-Lost to Competition", "No Budget", "Duplicate")
_RENAMED = {
    "Qualification": "New",
    "Needs Analysis": "In talks",
    "Value Proposition": "Demo done",
    "Proposal/Price Quote": "Offer sent",
    "Negotiation/Review": "Final round",
    "Verbal Agreement": "Handshake",
    "Closed Won": "Signed",
    "Closed Lost": "Dead",
    "Closed-Lost to Competition": "Went elsewhere",
    "No Budget": "Closed - no money",
    "Duplicate": "Entered twice",
}
_FIRST_SHARED = 10**9
"""Number of the first shared mailbox, beyond any number of users."""
_NUMBER_FORMATS = ("Q-{}", "2{:06}", "ANG/{}")
_NUMBER_FIELDS = ("Quote_Number", "Deal_Number", "Reference")


def record_id(kind: int, number: int) -> str:
    """Return the id of a record, whose last digit is not 0, as such ids may look rounded."""
    return str(5 * 10**18 + kind * 10**17 + number * 10 + number % 9 + 1)


@dataclass(frozen=True, slots=True)
class OrgUser:
    """A user, or a mailbox that all users share.

    Args:
        id: id of the user.
        name: full name.
        email: address of the mailbox.
        zone: time zone.
        connected: when the mailbox was connected.
        local_prefixes: whether the mail program writes replies with the prefix of its language.
        uses_deal_page: whether the user sends mail from the pages of deals.
        corrects: whether the user corrects links by hand.
        shared: whether all users share the mailbox.
    """

    id: str
    name: str
    email: str
    zone: Zone
    connected: int
    local_prefixes: bool
    uses_deal_page: bool
    corrects: bool
    shared: bool

    def as_entry(self) -> dict[str, object]:
        """Return the user as in a world file."""
        return {
            "id": self.id,
            "full_name": self.name,
            "email": self.email,
            "connected_time": iso_time(self.connected, self.zone.offset_at(self.connected)),
        }


@dataclass(frozen=True, slots=True)
class OrgPlan:
    """The org of a world.

    Args:
        recipe: what is asked of the world.
        knobs: its knobs.
        zone: time zone of the org.
        language: the language of its users.
        start: the moment from which it uses its CRM.
        users: users with a mailbox of their own.
        shared: mailboxes that they share.
        open_stages: stages that are forecast Open, from the first to the last.
        won_stage: the stage of won deals.
        lost_stages: stages that are Closed Lost.
        products: what it sells.
        mass_updates: nights in which a program touches most deals.
        pipelines: names of the pipelines.
    """

    recipe: ConversationRecipe
    knobs: Knobs
    zone: Zone
    language: Language
    language_code: str
    start: int
    users: tuple[OrgUser, ...]
    shared: tuple[OrgUser, ...]
    open_stages: tuple[Stage, ...]
    won_stage: Stage
    lost_stages: tuple[Stage, ...]
    products: tuple[str, ...]
    mass_updates: tuple[int, ...]
    pipelines: tuple[str, ...]

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All stages."""
        return (*self.open_stages, self.won_stage, *self.lost_stages)

    @property
    def number_field(self) -> str:
        """API name of the field with the number of a deal."""
        return _NUMBER_FIELDS[self.knobs.number_style]

    def deal_number(self, number: int) -> str:
        """Return the number that the org gives its nth deal."""
        return _NUMBER_FORMATS[self.knobs.number_style].format(10_000 + number)


def plan_org(recipe: ConversationRecipe, knobs: Knobs) -> OrgPlan:
    """Return the org of a world."""
    draws = Draws(recipe.key, _STREAM)
    code = draws.weighted(_HOME_LANGUAGES, _HOME_WEIGHTS)
    zone = _home_zone(draws, code)
    language = LANGUAGES[code]
    start = WORLD_END - knobs.days * DAY
    open_stages, won_stage, lost_stages = _plan_stages(draws, knobs)
    first_product = draws.below(len(language.products))
    return OrgPlan(
        recipe=recipe,
        knobs=knobs,
        zone=zone,
        language=language,
        language_code=code,
        start=start,
        users=tuple(
            _plan_user(Draws(recipe.key, _STREAM, 1, n), knobs, zone, language, start, n)
            for n in range(knobs.users)
        ),
        shared=tuple(_plan_shared(knobs, zone, start, n) for n in range(knobs.shared_mailboxes)),
        open_stages=open_stages,
        won_stage=won_stage,
        lost_stages=lost_stages,
        products=tuple(
            language.products[(first_product + n) % len(language.products)]
            for n in range(knobs.products)
        ),
        mass_updates=tuple(
            sorted(
                start + draws.between(30, knobs.days - 1) * DAY + draws.below(5 * HOUR)
                for _ in range(knobs.mass_updates)
            )
        ),
        pipelines=("Standard", "Partners", "Existing customers")[: knobs.pipelines],
    )


def _home_zone(draws: Draws, language_code: str) -> Zone:
    zones = {zone.name: zone for zone in ZONES}
    match language_code:
        case "en":
            names = ("Europe/London", "America/New_York", "America/Los_Angeles", "Asia/Kolkata")
            return zones[draws.pick((*names, "Australia/Brisbane"))]
        case "es":
            return zones[draws.pick(("Europe/Berlin", "America/Bogota"))]
        case "pl":
            return zones["Europe/Warsaw"]
        case "ja":
            return zones["Asia/Tokyo"]
        case _:
            return zones["Europe/Berlin"]


def _plan_stages(draws: Draws, knobs: Knobs) -> tuple[tuple[Stage, ...], Stage, tuple[Stage, ...]]:
    def display(actual: str) -> str:
        return _RENAMED[actual] if draws.chance(knobs.renamed_stages) else actual

    open_stages = tuple(Stage(display(a), a, "Open") for a in _OPEN_STAGES[: knobs.open_stages])
    won_stage = Stage(display("Closed Won"), "Closed Won", "Closed Won")
    lost = tuple(Stage(display(a), a, "Closed Lost") for a in _LOST_STAGES[: knobs.lost_stages])
    return open_stages, won_stage, lost


def _plan_user(
    draws: Draws, knobs: Knobs, zone: Zone, language: Language, start: int, number: int
) -> OrgUser:
    name = f"{draws.pick(language.first_names)} {draws.pick(language.last_names)}"
    is_late = draws.chance(knobs.late_mailboxes)
    delay = draws.between(20, knobs.days * 2 // 3) * DAY + draws.between(8, 16) * HOUR
    return OrgUser(
        id=record_id(2, number),
        name=name,
        email=f"user{number + 1}@our-org.example",
        zone=draws.pick(ZONES) if draws.chance(knobs.distant_users) else zone,
        connected=start + delay if is_late else start,
        local_prefixes=draws.chance(knobs.local_prefixes),
        uses_deal_page=draws.chance(600),
        corrects=draws.chance(knobs.correctors),
        shared=False,
    )


def _plan_shared(knobs: Knobs, zone: Zone, start: int, number: int) -> OrgUser:
    return OrgUser(
        id=record_id(2, _FIRST_SHARED + number),
        name=("Sales Team", "Back Office", "Service Desk")[number],
        email=("sales", "office", "service")[number] + "@our-org.example",
        zone=zone,
        connected=start,
        local_prefixes=bool(knobs.local_prefixes > 500),
        uses_deal_page=True,
        corrects=True,
        shared=True,
    )
