"""A world in which the prediction rule put emails on the wrong deal, and people corrected some."""

from __future__ import annotations

from typing import Any

PAT, LEE = "5843104000000424672", "5843104000000424673"
NAMES = (
    ("Harbour Cranes", "Orchard Pumps"),
    ("Silver Lanterns", "Copper Ladders"),
    ("Meadow Fences", "Quartz Counters"),
    ("Velvet Curtains", "Timber Stairs"),
)
STAGES = [
    {"display_value": "Talks", "actual_value": "Qualification", "forecast_type": "Open"},
    {"display_value": "Won", "actual_value": "Closed Won", "forecast_type": "Closed Won"},
    {"display_value": "Lost", "actual_value": "Closed Lost", "forecast_type": "Closed Lost"},
]


def contact_id(number: int) -> str:
    return str(5843104000001000000 + number)


def deal_id(number: int, which: int) -> str:
    """Return one of the two deals of a contact; the rule prefers deal 1, which changed last."""
    return str(5843104000002000000 + 2 * number + which)


def message_id(number: int, which: int) -> str:
    return f"{number:032x}{which:032x}"


WITNESSES = 12
"""Contacts, numbered after the others, whose only email shows that the mailbox was connected."""


def all_contacts(contacts: int) -> tuple[str, ...]:
    """Return the ids of all contacts of a world, those of its witnesses too."""
    return tuple(map(contact_id, range(contacts + WITNESSES)))


def count_emails(contacts: int) -> int:
    """Return the emails of a world."""
    return 5 * contacts + WITNESSES


def mixed_up_world(contacts: int = 4, *, tidy: bool = False) -> dict[str, Any]:
    """Return a world file.

    Each contact has two deals and five emails: one to move to deal 0, one sent from deal 0, one to
    attach to it, one that is rightly on deal 1, and one of no deal.

    Args:
        contacts: number of contacts, without witnesses.
        tidy: whether every email is right already.
    """
    everybody = range(contacts + WITNESSES)
    return {
        "module_id": "5843104000000003735",
        "stages": STAGES,
        "users": [
            {
                "id": PAT,
                "full_name": "Patricia Boyle",
                "email": "pat@us.example",
                "connected_time": "2025-06-01T00:00:00Z",
            }
        ],
        "contacts": [
            {"id": contact_id(number), "name": f"Ann Contact {number}"} for number in everybody
        ],
        "deals": [
            _deal(number, which, name)
            for number in everybody
            for which, name in enumerate(NAMES[number % len(NAMES)])
        ],
        "emails": [
            *(email for number in range(contacts) for email in _emails(number, tidy=tidy)),
            *map(_witness, everybody[contacts:], range(WITNESSES)),
        ],
    }


def _witness(number: int, day: int) -> dict[str, Any]:
    """Return an email of January that the rule put on the right deal."""
    pumps = NAMES[number % len(NAMES)][1]
    email = _email(number, 0, f"{pumps}: prices", 1, deal_id(number, 1))
    return email | {"time": f"2026-01-{12 + day}T09:00:00Z"}


def _deal(number: int, which: int, name: str) -> dict[str, Any]:
    day = 5 + 5 * which
    return {
        "id": deal_id(number, which),
        "name": name,
        "contact_id": contact_id(number),
        "owner_id": PAT,
        "stage": "Talks",
        "created_time": "2026-01-02T00:00:00Z",
        "history": [{"time": f"2026-01-{day:02}T00:00:00Z", "field": None, "source": "workflow"}],
    }


def _emails(number: int, *, tidy: bool) -> list[dict[str, Any]]:
    cranes, pumps = NAMES[number % len(NAMES)]
    right, other = deal_id(number, 0), deal_id(number, 1)
    first = _email(number, 0, f"{cranes}: first offer", 1, right if tidy else other)
    sent = _email(number, 1, f"Re: {cranes}: first offer", 2, right)
    sent |= {"received": False, "sent_from_deal": True}
    last = _email(number, 2, f"Re: {cranes}: first offer", 3, right if tidy else None)
    last |= {"received": False}
    return [
        first,
        sent,
        last,
        _email(number, 3, f"{pumps}: delivery", 5, other),
        _email(number, 4, "Lunch", 6, None) | {"received": False},
    ]


def _email(number: int, which: int, subject: str, day: int, deal: str | None) -> dict[str, Any]:
    person = {"user_name": f"Ann {number}", "email": f"ann{number}@customer.example"}
    pat = {"user_name": "Patricia Boyle", "email": "pat@us.example"}
    is_sent = which in (1, 2, 4)
    return {
        "contact_id": contact_id(number),
        "message_id": message_id(number, which),
        "owner_id": PAT,
        "subject": subject,
        "time": f"2026-02-{day:02}T09:00:00Z",
        "received": True,
        "deal_id": deal,
        "from": pat if is_sent else person,
        "to": [person if is_sent else pat],
    }
