"""A world with every record that a probe can use, and each way in which an org can answer it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from bulklink.emulator.like import PROBED_SETTINGS
from bulklink.emulator.settings import MixedAnswer, Settings

PATRICIA, JACOB, MAX = "5843104000000424672", "5843104000000424673", "5843104000000424674"
ANA, TOM = "5843104000004382000", "5843104000004382001"
TRAVEL, FLEET = "5843104000004382122", "5843104000004382123"
TOMS, ROLE = "5843104000004382132", "5843104000004382133"
SHARED, PRIVATE = f"{77:064x}", f"{88:064x}"


def message(number: int) -> str:
    """Return the id of an email of Ana."""
    return f"{number:064x}"


def world_file(*, deals: dict[str, str | None] | None = None) -> dict[str, Any]:
    """Return Ana, whose emails are probed, and Tom, who has one email and a deal with her.

    Args:
        deals: the deal of each email of Ana that is on one at first, by its id.
    """
    first_deals = {message(2): FLEET} if deals is None else deals
    owners = {message(1): PATRICIA, message(2): PATRICIA, message(3): JACOB, SHARED: PATRICIA}
    owners[PRIVATE] = MAX
    emails = [
        {
            "contact_id": ANA,
            "message_id": message_id,
            "owner_id": owner_id,
            "deal_id": first_deals.get(message_id),
            "subject": "A secret subject",
        }
        for message_id, owner_id in owners.items()
    ]
    emails.append({"contact_id": TOM, "message_id": SHARED, "owner_id": PATRICIA})
    return {
        "module_id": "5843104000000003735",
        "users": [
            {"id": PATRICIA, "full_name": "Patricia Boyle", "email": "p@us.example"},
            {"id": JACOB, "full_name": "Jacob Lindner", "email": "j@us.example"},
            {"id": MAX, "full_name": "Max Private", "email": "m@us.example"},
        ],
        "contacts": [
            {"id": ANA, "name": "Ana Ferreira", "email": "ana@customer.example"},
            {"id": TOM, "name": "Tom Okafor", "email": "tom@customer.example"},
        ],
        "deals": [
            {"id": TRAVEL, "name": "Travel Insurance", "contact_id": ANA},
            {"id": FLEET, "name": "Fleet Renewal", "contact_id": ANA},
            {"id": TOMS, "name": "Tom's deal", "contact_id": TOM},
            {"id": ROLE, "name": "Deal of both", "contact_id": TOM, "contact_roles": [ANA]},
        ],
        "emails": emails,
    }


_TOGETHER: dict[str, dict[str, Any]] = {
    "link_source": {"link_timeline": "both"},
    "link_touches": {"link_timeline": "both"},
    "private_links": {"private_mailboxes": (MAX,)},
}
"""Settings that show only together with others, or are harder to tell apart then."""
_NOT_BY_CHOICE = frozenset({"too_many_body", "retry_after", "link_credits", "read_credits"})
"""Settings that show only if the org refuses calls or reports its credits."""
_OTHER_VALUES = {"link_source": ("crm_api", "workflow")}


def setting_variants() -> Iterator[tuple[str, Settings]]:
    """Yield the key of a question with settings for each answer that an org can give to it."""
    hints = get_type_hints(Settings)
    for name in sorted(PROBED_SETTINGS - _NOT_BY_CHOICE):
        values = get_args(hints[name]) if get_origin(hints[name]) is Literal else ()
        for value in values or _OTHER_VALUES[name]:
            changes: dict[str, Any] = {**_TOGETHER.get(name, {}), name: value}
            yield name.replace("_", "-"), Settings(**changes)


def mixed_variants() -> Iterator[tuple[str, Settings]]:
    """Yield the key of a question about mixed calls with settings for each answer to it."""
    hints = get_type_hints(MixedAnswer)
    for part in fields(MixedAnswer):
        for value in get_args(hints[part.name]):
            mixed = {"applied": "yes", "good": "success", part.name: value}
            if value in ("no", "call"):
                mixed |= {"applied": "no", "good": "omitted"}
            yield f"mixed-{part.name}", Settings(mixed_answer=MixedAnswer(**mixed))
            if part.name == "order":  # the position of empty entries is all that shows it
                mixed |= {"named": "none", "applied": "no", "good": "empty"}
                yield "mixed-order", Settings(mixed_answer=MixedAnswer(**mixed))


def wanted_answer(key: str, settings: Settings) -> str:
    """Return the answer to a question that an org with these settings gives."""
    name = key.replace("-", "_")
    if hasattr(settings, name):
        return str(getattr(settings, name))
    return str(getattr(settings.mixed_answer, key.removeprefix("mixed-")))
