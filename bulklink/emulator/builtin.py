"""The small world that is served where no world file is given."""

from __future__ import annotations

import hashlib

from bulklink.emulator.world import World
from bulklink.emulator.worldfile import world_from

_BASE = 5843104000000000000
_USERS = ("Patricia Boyle", "Jacob Lindner")
_CONTACTS = ("Ana Ferreira", "Tom Okafor", "Mei Tanaka")
_DEALS = ("Travel Insurance", "Fleet Renewal")
_EMAILS_EACH = 12


def builtin_world() -> World:
    """Return a world of three contacts, each with two deals and twelve emails on no deal."""
    return world_from(
        {
            "module_id": str(_BASE + 3735),
            "users": [
                {"id": _user_id(n), "full_name": name, "email": _address(name, "bulklink.example")}
                for n, name in enumerate(_USERS)
            ],
            "contacts": [
                {"id": _contact_id(n), "name": name, "email": _address(name, "customer.example")}
                for n, name in enumerate(_CONTACTS)
            ],
            "deals": [_deal(n, which) for n in range(len(_CONTACTS)) for which in range(2)],
            "emails": [
                _email(n, which) for n in range(len(_CONTACTS)) for which in range(_EMAILS_EACH)
            ],
        }
    )


def _address(name: str, host: str) -> str:
    return f"{name.lower().replace(' ', '.')}@{host}"


def _user_id(number: int) -> str:
    return str(_BASE + 424672 + number)


def _contact_id(number: int) -> str:
    return str(_BASE + 4382000 + number)


def _deal(contact: int, which: int) -> dict[str, object]:
    return {
        "id": str(_BASE + 4382122 + 10 * contact + which),
        "name": f"{_DEALS[which]} {_CONTACTS[contact].split()[1]}",
        "contact_id": _contact_id(contact),
        "modified_time": f"2026-0{which + 2}-01T09:00:00+00:00",
    }


def _email(contact: int, which: int) -> dict[str, object]:
    return {
        "contact_id": _contact_id(contact),
        "message_id": hashlib.sha256(f"{contact}:{which}".encode()).hexdigest(),
        "owner_id": _user_id(which % 2),
        "subject": f"Question {which + 1}",
        "time": f"2026-03-{which + 1:02}T10:00:00+00:00",
    }
