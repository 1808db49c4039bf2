"""Error policy: how a run continues after an error code, and advice for the user."""

from __future__ import annotations

from enum import StrEnum

from bulklink.zoho.error_codes import Code
from bulklink.zoho.http import Answer, NoResponse
from bulklink.zoho.link_response import named_field, parse_flat_error, parse_refusal


class AnswerClass(StrEnum):
    """How a run continues after an answer."""

    ITEM = "item"
    """Refused because of its content: the named message, or the whole call if none is named."""
    THROTTLED = "busy"
    """Refused because of too many requests: nothing was applied; wait and retry."""
    SERVER_ERROR = "again"
    """Failed on Zoho's side: it may have been applied."""
    TOKEN = "token"  # noqa: S105 - a class of answers, no secret
    """Refused because of its access token: renew it once and retry."""
    FATAL = "fatal"
    """No call of this kind can succeed: the run stops."""
    FATAL_IF_COMMON = "fatal-if-common"
    """Refused for this contact; if other contacts are refused too, no such call can succeed."""


_CLASS_BY_CODE = {
    Code.TOO_MANY_REQUESTS: AnswerClass.THROTTLED,
    Code.INTERNAL_ERROR: AnswerClass.SERVER_ERROR,
    Code.INTERNAL_SERVER_ERROR: AnswerClass.SERVER_ERROR,
    Code.INVALID_TOKEN: AnswerClass.TOKEN,
    Code.AUTHENTICATION_FAILURE: AnswerClass.TOKEN,
    Code.OAUTH_SCOPE_MISMATCH: AnswerClass.FATAL,
    Code.FEATURE_NOT_SUPPORTED: AnswerClass.FATAL,
    Code.API_NOT_SUPPORTED: AnswerClass.FATAL,
    Code.INVALID_MODULE: AnswerClass.FATAL,
    Code.AMBIGUITY_DURING_PROCESSING: AnswerClass.FATAL,
    Code.INVALID_REQUEST_METHOD: AnswerClass.FATAL,
    Code.NO_PERMISSION: AnswerClass.FATAL_IF_COMMON,
    Code.INVALID_URL_PATTERN: AnswerClass.FATAL_IF_COMMON,
}

_CLASS_BY_STATUS = {
    401: AnswerClass.TOKEN,
    402: AnswerClass.FATAL_IF_COMMON,
    403: AnswerClass.FATAL_IF_COMMON,
    404: AnswerClass.FATAL_IF_COMMON,
    405: AnswerClass.FATAL,
    406: AnswerClass.FATAL_IF_COMMON,
    407: AnswerClass.FATAL,
    408: AnswerClass.SERVER_ERROR,
    410: AnswerClass.FATAL_IF_COMMON,
    415: AnswerClass.FATAL_IF_COMMON,
    421: AnswerClass.FATAL_IF_COMMON,
    426: AnswerClass.FATAL_IF_COMMON,
    429: AnswerClass.THROTTLED,
    431: AnswerClass.FATAL_IF_COMMON,
    451: AnswerClass.FATAL_IF_COMMON,
}

_DECISIVE_STATUSES = frozenset({408, 429})
_CLASSES_UNDER_SUCCESS = frozenset(
    {AnswerClass.TOKEN, AnswerClass.THROTTLED, AnswerClass.SERVER_ERROR}
)

COQL_SCOPE = "ZohoCRM.coql.READ"
LAYOUTS_SCOPE = "ZohoCRM.settings.layouts.READ"
PIPELINE_SCOPE = "ZohoCRM.settings.pipeline.READ"
SCOPES = (
    "ZohoCRM.modules.emails.ALL",
    "ZohoCRM.modules.contacts.ALL",
    "ZohoCRM.modules.deals.ALL",
    "ZohoCRM.settings.modules.READ",
    "ZohoCRM.users.READ",
    "ZohoCRM.org.READ",
    COQL_SCOPE,
    LAYOUTS_SCOPE,
    PIPELINE_SCOPE,
)
"""Scopes that a sign-in asks for; links and unlinks need the first four."""

_ADVICE = {
    Code.INVALID_DATA: "A value or its type is wrong: check the ids of the row.",
    Code.MANDATORY_NOT_FOUND: "A field is missing; the message names it if the CRM does.",
    Code.INVALID_MODULE: "Emails can only be linked to the module Deals.",
    Code.FEATURE_NOT_SUPPORTED: "The org needs the Standard edition or above.",
    Code.NOT_ALLOWED: (
        "The contact is not on that deal: add it to the deal first, or give it a contact role"
        " there."
    ),
    Code.AMBIGUITY_DURING_PROCESSING: (
        "Module id and API name do not match: unset BULKLINK_DEALS_MODULE_ID to look it up."
    ),
    Code.API_NOT_SUPPORTED: "The call needs version 8 of the API.",
    Code.ALREADY_LINKED: "The email is on another deal: unlink it first, or use relink.",
    Code.OAUTH_SCOPE_MISMATCH: f"Generate a token with these scopes: {', '.join(SCOPES)}.",
    Code.AUTHENTICATION_FAILURE: "The access token is missing or wrong: check the credentials.",
    Code.INVALID_TOKEN: "The access token is wrong or has expired: check the credentials.",
    Code.NO_PERMISSION: (
        "The user's profile needs Crm_Implied_View_Deals and Crm_Implied_View_Contacts."
    ),
    Code.INVALID_URL_PATTERN: "The address or the data centre is wrong, or the contact is gone.",
    Code.INTERNAL_ERROR: "The failure is on Zoho's side: contact its support if it persists.",
    Code.INTERNAL_SERVER_ERROR: "Zoho's side failed: contact its support if it stays.",
    Code.TOO_MANY_REQUESTS: "The org has made more calls than allowed: wait.",
    Code.REQUEST_BODY_IS_EMPTY: "The call arrived without its body: check for a proxy in between.",
    Code.LIMIT_EXCEEDED: "The call had more than Zoho accepts.",
    Code.CANNOT_PROCESS: "Zoho cannot read this mailbox now: check its sync in the CRM.",
    Code.INVALID_REQUEST_METHOD: "The address is not that of the Zoho CRM API: check it.",
}


_CODES_OF_ROWS = frozenset(
    {Code.INVALID_DATA, Code.MANDATORY_NOT_FOUND, Code.NOT_ALLOWED, Code.ALREADY_LINKED}
)
"""Codes whose advice is about a row of a mapping."""
_NAME_FIELDS = ("owner.name", "linked_record.name")
_NAMES_REFUSED = "refuses the name: start a new run with --no-names, which sends only ids."
_NAMES_WANTED = (
    "requires the name: start a new run without --no-names. A name that cannot be looked up must be"
    " in the mapping, as owner_name or deal_name."
)


def classify_error(status: int, code: str) -> AnswerClass:
    """Return how a run continues after an error.

    A status that shows how far the call got takes precedence over any code: 3xx, 408, 429, 5xx and
    invalid statuses. For 2xx and other 4xx statuses the code decides; if it is empty or unknown,
    the status does. An unknown refusal fails the messages of the call (class ITEM), never the run.

    Args:
        status: HTTP status.
        code: Zoho's code; empty if the answer has none.
    """
    if 300 <= status < 400:
        return AnswerClass.FATAL
    if status < 200 or status >= 500:
        return AnswerClass.SERVER_ERROR
    if status in _DECISIVE_STATUSES or code not in _CLASS_BY_CODE:
        return _CLASS_BY_STATUS.get(status, AnswerClass.ITEM)
    return _CLASS_BY_CODE[Code(code)]


def classify_outcome(outcome: Answer | NoResponse) -> AnswerClass | None:
    """Return the class of a refusal; None for a success or without an answer.

    With status 2xx, an error of the whole call counts only if it does not concern the call's
    content: a refused token, too many requests or a server failure. The parsers of the content
    handle all other errors.
    """
    if isinstance(outcome, NoResponse):
        return None
    if not outcome.ok:
        return classify_error(outcome.status, parse_refusal(outcome).code)
    error = parse_flat_error(outcome)
    answer_class = classify_error(outcome.status, error.code) if error else None
    return answer_class if answer_class in _CLASSES_UNDER_SUCCESS else None


def advice_for_code(code: str, text: str = "") -> str:
    """Return advice for the user about a code; empty if there is none.

    The API's documentation calls the names of owner and deal mandatory, but its OpenAPI schema has
    no owner name: a CRM that follows one of them refuses requests that follow the other.

    Args:
        code: Zoho's code.
        text: text of the verdict, which may name a field.
    """
    field = named_field(text)
    if code and field.endswith(_NAME_FIELDS):
        return f"The CRM {_NAMES_WANTED if code == Code.MANDATORY_NOT_FOUND else _NAMES_REFUSED}"
    return _ADVICE.get(code, "")  # type: ignore[call-overload, no-any-return]


def advice_for_look_up(code: str, text: str = "") -> str:
    """Return advice for the user about the code of a refused look-up, which concerns no row.

    Args:
        code: Zoho's code.
        text: text of the verdict.
    """
    return "" if code in _CODES_OF_ROWS else advice_for_code(code, text)
