"""The emulator's own calls, below /_emulator: what a person or a test asks of it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import orjson

from bulklink.emulator.desk import Asked, Desk
from bulklink.emulator.faults import FaultError, fault_of
from bulklink.emulator.prediction import candidates, predict
from bulklink.emulator.truth import Digest
from bulklink.emulator.wire import Answer, json_answer
from bulklink.emulator.world import Email, moment


def answer_control(desk: Desk, asked: Asked) -> Answer:
    """Answer a call of the emulator's own."""
    match asked.request.method, asked.call.module:
        case "GET", "state":
            return _state(desk, with_world=asked.query.get("world") != "no")
        case "GET", "faults":
            return _faults(desk)
        case "POST", "faults":
            return _order_faults(desk, asked.request.body)
        case "DELETE", "faults":
            desk.state.faults.clear()
            return _faults(desk)
        case "POST", "receive":
            return _receive(desk, asked.request.body)
        case method, what:
            return _refused(f"there is no {method} /_emulator/{what}", 404)


def _refused(why: str, status: int = 400) -> Answer:
    return json_answer({"error": why}, status)


def _faults(desk: Desk) -> Answer:
    return json_answer({"faults": desk.state.faults.shape()})


def _order_faults(desk: Desk, body: bytes) -> Answer:
    try:
        told = orjson.loads(body)
        faults = [fault_of(one) for one in (told if isinstance(told, list) else [told])]
    except orjson.JSONDecodeError:
        return _refused("the body is not valid JSON")
    except FaultError as error:
        return _refused(str(error))
    for fault in faults:
        desk.state.faults.add(fault)
    return _faults(desk)


def _receive(desk: Desk, body: bytes) -> Answer:
    """Take in a new email; one that was received is linked by the prediction rule."""
    try:
        email = msgspec.json.decode(body, type=Email)
        moment(email.time)
    except (msgspec.DecodeError, ValueError) as error:
        return _refused(str(error))
    problem = _misplaced(desk, email)
    if problem:
        return _refused(problem)
    predicted = msgspec.structs.replace(email, deal_id=_predicted(desk, email))
    desk.state.receive(predicted)
    return json_answer(msgspec.to_builtins(predicted))


def _misplaced(desk: Desk, email: Email) -> str | None:
    if email.contact_id not in desk.world.contacts:
        return f"there is no contact {email.contact_id}"
    if email.owner_id not in desk.world.users:
        return f"there is no user {email.owner_id}"
    if email.message_id in desk.state.view(email.contact_id).mailbox.by_id:
        return f"the contact has an email {email.message_id} already"
    return None


def _predicted(desk: Desk, email: Email) -> str | None:
    if not email.received:
        return None
    deals = desk.world.deals_of.get(email.contact_id, ())
    return predict(candidates(deals, desk.world.stages), desk.settings.prediction)


def _state(desk: Desk, *, with_world: bool) -> Answer:
    """Answer the counters and the world as it is now, in the form of a world file."""
    state = desk.state
    digest = Digest()
    body = bytearray(b"{")
    if with_world:
        body += b'"world":'
        _write_world(body, desk, digest)
        body += b',"digest":"' + str(digest).encode() + b'",'
    counters = {
        "calls": dict(state.calls),
        "most_in_flight": state.most_in_flight,
        "answered_429": state.answered_429,
        "credits_used": state.credits.used(desk.now),
        "changes": state.changes,
    }
    body += orjson.dumps(counters)[1:]
    return Answer(200, body)


def _write_world(body: bytearray, desk: Desk, digest: Digest) -> None:
    """Append the world email by email: a million of them leave no room for a list of objects."""
    world = desk.world
    lists = {
        "stages": world.stages,
        "users": list(world.users.values()),
        "contacts": list(world.contacts.values()),
        "deals": list(world.deals.values()),
    }
    body += msgspec.json.encode({"module_id": world.module_id, "org": world.org} | lists)[:-1]
    body += b',"emails":['
    comma = b""
    for email in _emails(desk):
        digest.add(email.contact_id, email.message_id, email.deal_id)
        body += comma + msgspec.json.encode(email)
        comma = b","
    body += b"]}"


def _emails(desk: Desk) -> Iterator[Email]:
    """Yield every email with the deal it is on now."""
    for contact_id, mailbox in desk.state.mailboxes().items():
        view = desk.state.view(contact_id)
        for email in mailbox.emails:
            deal_id = view.deal_of(email)
            if deal_id == email.deal_id:
                yield email
            else:
                yield msgspec.structs.replace(email, deal_id=deal_id)
