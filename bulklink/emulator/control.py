"""Control endpoints below /_emulator."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import orjson

from bulklink.emulator.context import ApiRequest, CallContext
from bulklink.emulator.email_records import Interner, encode_email, parse_email
from bulklink.emulator.faults import FaultError, fault_from_object
from bulklink.emulator.http import Answer, json_answer
from bulklink.emulator.link_digest import LinkDigest
from bulklink.emulator.prediction import deal_candidates, predict_deal
from bulklink.emulator.world import Email, parse_timestamp


def answer_control(context: CallContext, api_request: ApiRequest) -> Answer:
    """Answer a call to a control endpoint."""
    match api_request.raw.method, api_request.call.module:
        case "GET", "state":
            return _state_answer(context, with_world=api_request.query.get("world") != "no")
        case "GET", "faults":
            return _faults_answer(context)
        case "POST", "faults":
            return _add_faults(context, api_request.raw.body)
        case "DELETE", "faults":
            context.state.faults.clear()
            return _faults_answer(context)
        case "POST", "receive":
            return _receive_email(context, api_request.raw.body)
        case method, resource:
            return _error_body(f"there is no {method} /_emulator/{resource}", 404)


def _error_body(message: str, status: int = 400) -> Answer:
    return json_answer({"error": message}, status)


def _faults_answer(context: CallContext) -> Answer:
    return json_answer({"faults": context.state.faults.as_dicts()})


def _add_faults(context: CallContext, body: bytes) -> Answer:
    try:
        document = orjson.loads(body)
        faults = [
            fault_from_object(item)
            for item in (document if isinstance(document, list) else [document])
        ]
    except orjson.JSONDecodeError:
        return _error_body("the body is not valid JSON")
    except FaultError as error:
        return _error_body(str(error))
    for fault in faults:
        context.state.faults.add(fault)
    return _faults_answer(context)


def _receive_email(context: CallContext, body: bytes) -> Answer:
    """Add a new email, linked by deal prediction if it was received."""
    try:
        email = parse_email(msgspec.json.decode(body), Interner())
        parse_timestamp(email.time)
    except ValueError as error:
        return _error_body(str(error))
    problem = _email_problem(context, email)
    if problem:
        return _error_body(problem)
    linked_email = msgspec.structs.replace(email, deal_id=_predicted_deal(context, email))
    context.state.add_email(linked_email)
    return Answer(200, encode_email(linked_email))


def _email_problem(context: CallContext, email: Email) -> str | None:
    if email.contact_id not in context.world.contacts:
        return f"there is no contact {email.contact_id}"
    if email.owner_id not in context.world.users:
        return f"there is no user {email.owner_id}"
    if email.message_id in context.state.view(email.contact_id).mailbox.by_id:
        return f"the contact has an email {email.message_id} already"
    return None


def _predicted_deal(context: CallContext, email: Email) -> str | None:
    if not email.received:
        return None
    deals = context.world.deals_by_contact.get(email.contact_id, ())
    return predict_deal(deal_candidates(deals, context.world.stages), context.settings.prediction)


def _state_answer(context: CallContext, *, with_world: bool) -> Answer:
    """Answer with the counters and the current world, in the form of a world file."""
    state = context.state
    digest = LinkDigest()
    body = bytearray(b"{")
    if with_world:
        body += b'"world":'
        _write_world(body, context, digest)
        body += b',"digest":"' + str(digest).encode() + b'",'
    counters = {
        "calls": dict(state.calls),
        "endpoints": dict(state.endpoint_calls),
        "most_in_flight": state.peak_in_flight,
        "answered_429": state.answered_429,
        "credits_used": state.credits.used(context.now),
        "changes": state.change_count,
    }
    body += orjson.dumps(counters)[1:]
    return Answer(200, body)


def _write_world(body: bytearray, context: CallContext, digest: LinkDigest) -> None:
    """Append the world email by email, to avoid a list of a million objects."""
    world = context.world
    lists = {
        "stages": world.stages,
        "users": list(world.users.values()),
        "accounts": list(world.accounts.values()),
        "contacts": list(world.contacts.values()),
        "deals": list(world.deals.values()),
    }
    body += msgspec.json.encode({"module_id": world.module_id, "org": world.org} | lists)[:-1]
    body += b',"emails":['
    separator = b""
    for email in _current_emails(context):
        digest.add(email.contact_id, email.message_id, email.deal_id)
        body += separator + encode_email(email)
        separator = b","
    body += b"]}"


def _current_emails(context: CallContext) -> Iterator[Email]:
    """Yield every email with its current deal."""
    for contact_id, mailbox in context.state.mailboxes.items():
        view = context.state.view(contact_id)
        for email in mailbox.emails:
            deal_id = view.deal_of(email)
            if deal_id == email.deal_id:
                yield email
            else:
                yield msgspec.structs.replace(email, deal_id=deal_id)
