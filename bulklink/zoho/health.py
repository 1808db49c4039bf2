"""Whether a connection works: one look-up of the org, and at most one new token for it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.zoho import requests
from bulklink.zoho.client import Client
from bulklink.zoho.connection import Connection, secrets_of
from bulklink.zoho.error_policy import AnswerClass, advice_for_code, classify_error
from bulklink.zoho.http import Answer, NoResponse
from bulklink.zoho.link_response import parse_refusal
from bulklink.zoho.lookup_responses import Org, parse_org
from bulklink.zoho.tokens import TokenProvider, TokenStore
from bulklink.zoho.transport import Transport

_STOPPING_CLASSES = (AnswerClass.TOKEN, AnswerClass.SERVER_ERROR, AnswerClass.THROTTLED)


class ConnectionHealth(msgspec.Struct, frozen=True):
    """How a connection does: the org and until when its token lasts, or what is wrong."""

    org: Org | None = None
    token_ends_at: float | None = None
    problem: RunStoppedError | None = None


async def check_connection(
    connection: Connection, transport: Transport, store: TokenStore, clock: Callable[[], float]
) -> ConnectionHealth:
    """Find out whether a connection works.

    A token that was kept and is refused is renewed; one that was just made is not, since Zoho
    gives ten in ten minutes.

    Args:
        connection: with credentials.
        transport: sends.
        store: keeps the access token.
        clock: seconds since 1970.
    """
    stored = store.load(connection, clock())
    client = Client(
        TokenProvider(connection, transport, store, clock), transport, secrets_of(connection)
    )
    try:
        received = await client.send(requests.org_request(), await client.current_token())
        if stored is not None and classify_outcome(received.outcome) is AnswerClass.TOKEN:
            await client.renew_token(received.token)
            received = await client.send(requests.org_request(), await client.current_token())
        org = _org_or_empty(received.outcome, connection)
    except RunStoppedError as error:
        return ConnectionHealth(problem=error)
    return ConnectionHealth(org, received.token.ends_at)


def require_org(answer: Answer) -> Org:
    """Return the org that an answer tells.

    Raises:
        RunStoppedError: if what answered is not Zoho CRM.
    """
    org = parse_org(answer)
    if org is None:
        raise RunStoppedError(
            StoppedBy.FATAL,
            "What answers the look-up of the org is not the Zoho CRM API.",
            where="BULKLINK_DC, BULKLINK_API_URL",
            advice="Check the data centre, and BULKLINK_API_URL if it is set.",
        )
    return org


def no_response_error(outcome: NoResponse) -> RunStoppedError:
    """Say that the CRM does not answer."""
    return RunStoppedError(
        StoppedBy.NO_ANSWER,
        f"The CRM does not answer: {outcome.reason}.",
        advice="Check the network, and BULKLINK_API_URL if it is set; then try again.",
    )


def classify_outcome(outcome: Answer | NoResponse) -> AnswerClass | None:
    """Return what an outcome that is a refusal means; None for any other."""
    if isinstance(outcome, NoResponse) or outcome.ok:
        return None
    return classify_error(outcome.status, parse_refusal(outcome).code)


def _org_or_empty(outcome: Answer | NoResponse, connection: Connection) -> Org:
    """Return the org, of which nothing may be known: a run goes on without it.

    Raises:
        RunStoppedError: if a run could not begin.
    """
    if isinstance(outcome, NoResponse):
        raise no_response_error(outcome)
    if outcome.ok:
        return require_org(outcome)
    answer_class, code = classify_outcome(outcome), parse_refusal(outcome).code
    if answer_class in _STOPPING_CLASSES:
        raise RunStoppedError(
            StoppedBy.FATAL if answer_class is AnswerClass.TOKEN else StoppedBy.NO_ANSWER,
            f"The CRM refuses: {code or f'HTTP {outcome.status}'}.",
            where=connection.api_url,
            advice=advice_for_code(code) or "Try again later.",
        )
    return Org()
