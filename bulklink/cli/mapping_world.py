"""World file made from a mapping, for load tests of a local CRM."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from bulklink.models import Message

_MODULE_ID = "5843104000000003735"
_TIME = "2026-01-01T00:00:00+00:00"


def write_mapping_world(
    chunks: Iterable[Sequence[Message]], path: Path, *, linked: bool = False
) -> None:
    """Write a world that has the contacts, owners, deals and emails of a sealed plan.

    Memory: the ids of contacts, owners and deals; emails are streamed.

    Args:
        chunks: the messages, as `SealedPlan.chunks` streams them.
        path: the file to write.
        linked: whether each email is on its deal; otherwise it is on none.
    """
    contacts: dict[str, None] = {}
    owners: dict[str, str] = {}
    deals: dict[str, dict[str, Any]] = {}
    with path.open("wb") as file:
        file.write(b'{"emails":[')
        separator = b""
        for message in _messages(chunks):
            deal_id = message.deal_id or f"{message.contact_id}1"
            contacts[message.contact_id] = None
            owners.setdefault(message.owner_id, message.owner_name or "An owner")
            deal = deals.setdefault(deal_id, _deal(deal_id, message))
            if message.contact_id not in (deal["contact_id"], *deal["contact_roles"]):
                deal["contact_roles"].append(message.contact_id)
            file.write(separator + orjson.dumps(_email(message, deal_id if linked else None)))
            separator = b","
        rest = {
            "module_id": _MODULE_ID,
            "users": [_user(ident, name) for ident, name in owners.items()],
            "contacts": [_contact(ident) for ident in contacts],
            "deals": list(deals.values()),
        }
        file.write(b"]," + orjson.dumps(rest)[1:])


def _messages(chunks: Iterable[Sequence[Message]]) -> Iterator[Message]:
    for chunk in chunks:
        yield from chunk


def _email(message: Message, deal_id: str | None) -> dict[str, Any]:
    return {
        "contact_id": message.contact_id,
        "message_id": message.message_id,
        "owner_id": message.owner_id,
        "subject": "An email of the mapping",
        "time": _TIME,
        "received": True,
        "deal_id": deal_id,
    }


def _deal(deal_id: str, message: Message) -> dict[str, Any]:
    return {
        "id": deal_id,
        "name": message.deal_name or "A deal",
        "contact_id": message.contact_id,
        "contact_roles": [],
        "stage": "Qualification",
        "created_time": _TIME,
        "modified_time": _TIME,
    }


def _user(user_id: str, name: str) -> dict[str, str]:
    return {"id": user_id, "full_name": name, "email": f"user-{user_id}@example.com"}


def _contact(contact_id: str) -> dict[str, str]:
    return {
        "id": contact_id,
        "name": f"Contact {contact_id}",
        "email": f"contact-{contact_id}@example.com",
    }
