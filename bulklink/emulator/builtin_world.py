"""Small built-in world, served unless a world file is named."""

from __future__ import annotations

import hashlib

from bulklink.emulator.world import World
from bulklink.emulator.worldfile import parse_world

_BASE_ID = 5843104000000000000
_USERS = ("Patricia Boyle", "Jacob Lindner")
_CONTACTS = ("Ana Ferreira", "Tom Okafor", "Mei Tanaka")
_DEALS = ("Travel Insurance", "Fleet Renewal")
_EMAILS_PER_CONTACT = 12


def builtin_world() -> World:
    """Return a world of three contacts, each with two deals and twelve unlinked emails."""
    return parse_world(
        {
            "module_id": str(_BASE_ID + 3735),
            "users": [
                {"id": _user_id(n), "full_name": name, "email": _address(name, "bulklink.example")}
                for n, name in enumerate(_USERS)
            ],
            "contacts": [
                {"id": _contact_id(n), "name": name, "email": _address(name, "customer.example")}
                for n, name in enumerate(_CONTACTS)
            ],
            "deals": [_deal(n, index) for n in range(len(_CONTACTS)) for index in range(2)],
            "emails": [
                _email(n, index)
                for n in range(len(_CONTACTS))
                for index in range(_EMAILS_PER_CONTACT)
            ],
        }
    )


def _address(name: str, host: str) -> str:
    return f"{name.lower().replace(' ', '.')}@{host}"


def _user_id(number: int) -> str:
    return str(_BASE_ID + 424672 + number)


def _contact_id(number: int) -> str:
    return str(_BASE_ID + 4382000 + number)


def _deal(contact: int, index: int) -> dict[str, object]:
    return {
        "id": str(_BASE_ID + 4382122 + 10 * contact + index),
        "name": f"{_DEALS[index]} {_CONTACTS[contact].split()[1]}",
        "contact_id": _contact_id(contact),
        "modified_time": f"2026-0{index + 2}-01T09:00:00+00:00",
    }


def _email(contact: int, index: int) -> dict[str, object]:
    return {
        "contact_id": _contact_id(contact),
        "message_id": hashlib.sha256(f"{contact}:{index}".encode()).hexdigest(),
        "owner_id": _user_id(index % 2),
        "subject": f"Question {index + 1}",
        "time": f"2026-03-{index + 1:02}T10:00:00+00:00",
    }
