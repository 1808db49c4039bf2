"""The emulator's own calls, below /_emulator: what a person or a test asks of it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from bulklink.emulator.desk import Asked, Desk
from bulklink.emulator.wire import Answer, json_answer


def answer_control(desk: Desk, asked: Asked) -> Answer:
    """Answer a call of the emulator's own."""
    match asked.request.method, asked.call.module:
        case "GET", "state":
            return json_answer(state_shape(desk))
        case _:
            return json_answer({"error": f"there is no /_emulator/{asked.call.module}"}, 404)


def state_shape(desk: Desk) -> dict[str, object]:
    """Return the world as it is now, in the form of a world file, and the counters."""
    state = desk.state
    return {
        "world": world_shape(desk),
        "calls": dict(state.calls),
        "most_in_flight": state.most_in_flight,
        "answered_429": state.answered_429,
    }


def world_shape(desk: Desk) -> dict[str, object]:
    """Return the world as it is now, in the form of a world file."""
    world = desk.world
    return {
        "module_id": world.module_id,
        "org": msgspec.to_builtins(world.org),
        "stages": msgspec.to_builtins(world.stages),
        "users": msgspec.to_builtins(list(world.users.values())),
        "contacts": msgspec.to_builtins(list(world.contacts.values())),
        "deals": msgspec.to_builtins(list(world.deals.values())),
        "emails": list(_emails(desk)),
    }


def _emails(desk: Desk) -> Iterator[dict[str, object]]:
    for contact_id, mailbox in desk.state.mailboxes().items():
        view = desk.state.view(contact_id)
        for email in mailbox.emails:
            shape: dict[str, object] = msgspec.to_builtins(email)
            shape["deal_id"] = view.deal_of(email)
            yield shape
