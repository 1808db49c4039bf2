"""Request builders for the Zoho CRM API, version 8."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from operator import add
from urllib.parse import quote

import orjson

from bulklink.models import Message
from bulklink.zoho.error_policy import LAYOUTS_SCOPE, PIPELINE_SCOPE
from bulklink.zoho.http import CallKind, Request

MAX_MESSAGES_PER_CALL = 20
"""Maximum emails in one link or unlink call (OpenAPI, maxItems)."""
MAX_MESSAGE_IDS_LENGTH = 2000
"""Maximum characters of the comma-joined message_ids of one unlink call."""
MAX_DEAL_IDS_LENGTH = 1024
"""Maximum characters of the comma-joined ids of one look-up of deals."""
ADDRESS_FIELDS = ("Email", "Secondary_Email")
"""API names of the fields with the email addresses of a contact."""
_ROOT = "/crm/v8"
_DEAL_FIELDS = "Deal_Name,Stage,Contact_Name,Owner,Closing_Date,Created_Time,Modified_Time"


def link_request(
    messages: Sequence[Message],
    deals: Sequence[tuple[str, str | None]],
    module_id: str,
    *,
    include_names: bool = True,
) -> Request:
    """Build the request to link messages of one contact, at the many-emails endpoint.

    Args:
        messages: 1 to 20 messages of one contact.
        deals: (id, name) of the deal of each message; a name of None is left out.
        module_id: the org's id of the Deals module.
        include_names: False to send only ids.
    """
    message_ids = _json_ids(messages)
    targets = _targets(messages, deals, module_id, include_names=include_names)
    emails = '},{"message_id":'.join(map(add, message_ids, targets))
    path = f"{_emails_path(messages[0])}/actions/link_record"
    return _post_links(path, f'{{"message_id":{emails}}}', message_ids)


def single_link_request(
    message: Message, deal: tuple[str, str | None], module_id: str, *, include_names: bool = True
) -> Request:
    """Build the request to link one message, at the single-email endpoint.

    Args:
        message: the message.
        deal: (id, name) of the deal; a name of None is left out.
        module_id: the org's id of the Deals module.
        include_names: False to send only ids.
    """
    (target,) = _targets([message], [deal], module_id, include_names=include_names)
    path = f"{_emails_path(message)}/{message.message_id}/actions/link_record"
    return _post_links(path, f"{{{target.removeprefix(',')}}}")


def unlink_request(messages: Sequence[Message]) -> Request:
    """Build the request to unlink messages of one contact and owner (many-emails endpoint)."""
    ids = ",".join(message.message_id for message in messages)
    query = f"owner_id={messages[0].owner_id}&message_ids={ids}"
    target = f"{_emails_path(messages[0])}/actions/link_record?{query}"
    return Request(CallKind.UNLINK, "DELETE", target, message_ids=_json_ids(messages))


def single_unlink_request(message: Message) -> Request:
    """Build the request to unlink one message, at the single-email endpoint."""
    query = f"owner_id={message.owner_id}"
    target = f"{_emails_path(message)}/{message.message_id}/actions/link_record?{query}"
    return Request(CallKind.UNLINK, "DELETE", target)


def emails_page_request(contact_id: str, index: str | None) -> Request:
    """Build the request for a page of a contact's emails.

    Args:
        contact_id: id of the contact.
        index: `next_index` of the previous page, None for the first page.
    """
    query = f"?index={quote(index, safe='')}" if index else ""
    return Request(CallKind.READ, "GET", f"{_ROOT}/Contacts/{contact_id}/Emails{query}")


def org_request() -> Request:
    """Build the look-up of the org: its id, name, type and licence."""
    return Request(CallKind.LOOKUP, "GET", f"{_ROOT}/org")


def deals_module_request() -> Request:
    """Build the look-up of the Deals module, whose id differs between orgs."""
    return Request(CallKind.LOOKUP, "GET", f"{_ROOT}/settings/modules/Deals")


def deals_request(ids: Sequence[str]) -> Request:
    """Build the look-up of deals: names, contacts, stages.

    Args:
        ids: ids of deals, at most 1,024 characters when joined by commas.
    """
    query = f"ids={','.join(ids)}&fields=Deal_Name,Contact_Name,Stage"
    return Request(CallKind.LOOKUP, "GET", f"{_ROOT}/Deals?{query}")


def users_request(page: int) -> Request:
    """Build the look-up of a page of up to 200 users; pages start at 1."""
    query = f"type=AllUsers&per_page=200&page={page}"
    return Request(CallKind.LOOKUP, "GET", f"{_ROOT}/users?{query}")


def contact_roles_request(deal_id: str, page: int) -> Request:
    """Build the look-up of a page of up to 100 contacts with a role on a deal; pages start at 1.

    The role and the id of the contact come with any `fields`, which are mandatory.
    """
    return _page_request(f"Deals/{deal_id}/Contact_Roles", "fields=Full_Name,Email", page)


def contact_deals_request(
    contact_id: str, page: int, *, more_fields: Sequence[str] = ()
) -> Request:
    """Build the look-up of a page of up to 200 deals of a contact; pages start at 1.

    Args:
        contact_id: id of the contact.
        page: number of the page.
        more_fields: API names of fields besides those of every deal.
    """
    fields = ",".join([_DEAL_FIELDS, *more_fields])
    return _page_request(f"Contacts/{contact_id}/Deals", f"fields={fields}&per_page=200", page)


def deal_records_request(ids: Sequence[str], *, more_fields: Sequence[str] = ()) -> Request:
    """Build the look-up of deals with the fields of `contact_deals_request`.

    Args:
        ids: ids of deals, at most 1,024 characters when joined by commas.
        more_fields: API names of fields besides those of every deal.
    """
    fields = ",".join([_DEAL_FIELDS, *more_fields])
    return Request(CallKind.LOOKUP, "GET", f"{_ROOT}/Deals?ids={','.join(ids)}&fields={fields}")


def contact_addresses_request(ids: Sequence[str]) -> Request:
    """Build the look-up of the email addresses of contacts.

    Args:
        ids: ids of contacts, at most 1,024 characters when joined by commas.
    """
    query = f"ids={','.join(ids)}&fields={','.join(ADDRESS_FIELDS)}"
    return Request(CallKind.LOOKUP, "GET", f"{_ROOT}/Contacts?{query}")


def layouts_request() -> Request:
    """Build the look-up of the layouts of deals."""
    target = f"{_ROOT}/settings/layouts?module=Deals"
    return Request(CallKind.LOOKUP, "GET", target, scope=LAYOUTS_SCOPE)


def pipeline_request(layout_id: str) -> Request:
    """Build the look-up of the pipelines of a layout, which have the stages."""
    target = f"{_ROOT}/settings/pipeline?layout_id={layout_id}"
    return Request(CallKind.LOOKUP, "GET", target, scope=PIPELINE_SCOPE)


def timeline_request(deal_id: str, page_token: str | None) -> Request:
    """Build the look-up of a page of a deal's timeline, up to 200 entries.

    Args:
        deal_id: id of the deal.
        page_token: `next_page_token` of the previous page, None for the first page. Zoho accepts
            no `per_page` with it.
    """
    page = "per_page=200" if page_token is None else f"page_token={quote(page_token, safe='')}"
    target = f"{_ROOT}/Deals/{deal_id}/__timeline?sort_by=audited_time&{page}"
    return Request(CallKind.LOOKUP, "GET", target)


def email_request(contact_id: str, message_id: str, owner_id: str | None) -> Request:
    """Build the look-up of one email with its content.

    Args:
        contact_id: id of the contact.
        message_id: id of the email.
        owner_id: user who owns the email, mandatory for emails shared by others; None for none.
    """
    query = f"?user_id={owner_id}" if owner_id else ""
    target = f"{_ROOT}/Contacts/{contact_id}/Emails/{message_id}{query}"
    return Request(CallKind.LOOKUP, "GET", target)


def _page_request(path: str, query: str, page: int) -> Request:
    number = f"&page={page}" if page > 1 else ""
    return Request(CallKind.LOOKUP, "GET", f"{_ROOT}/{path}?{query}{number}")


def _emails_path(message: Message) -> str:
    return f"{_ROOT}/Contacts/{message.contact_id}/Emails"


def _json_ids(messages: Sequence[Message]) -> list[str]:
    return [orjson.dumps(message.message_id).decode() for message in messages]


def _post_links(target: str, emails: str, message_ids: Sequence[str] = ()) -> Request:
    body = f'{{"Emails":[{emails}]}}'.encode()
    return Request(CallKind.LINK, "POST", target, body, message_ids)


def _targets(
    messages: Sequence[Message],
    deals: Sequence[tuple[str, str | None]],
    module_id: str,
    *,
    include_names: bool,
) -> list[str]:
    """Return what follows the id of each message in a body: a comma, its owner and its deal."""
    targets: list[str] = []
    last, text = None, ""
    for message, deal in zip(messages, deals, strict=True):
        if (target := (message.owner_id, message.owner_name, deal)) != last:
            last, (deal_id, deal_name) = target, deal
            owner_name, deal_name = (
                (message.owner_name, deal_name) if include_names else (None, None)
            )
            text = _target(message.owner_id, owner_name, deal_id, deal_name, module_id)
        targets.append(text)
    return targets


@lru_cache(1024)
def _target(
    owner_id: str, owner_name: str | None, deal_id: str, deal_name: str | None, module_id: str
) -> str:
    """Return an owner and a deal as JSON, without names that are None."""
    target = {
        "owner": {**_name_field(owner_name), "id": owner_id},
        "linked_record": {
            "module": {"api_name": "Deals", "id": module_id},
            **_name_field(deal_name),
            "id": deal_id,
        },
    }
    return f",{orjson.dumps(target).decode()[1:-1]}"


def _name_field(name: str | None) -> dict[str, str]:
    return {} if name is None else {"name": name}
