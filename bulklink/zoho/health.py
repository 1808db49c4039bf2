"""Connection health check: one org look-up, at most one token refresh."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.zoho import requests
from bulklink.zoho.client import Client
from bulklink.zoho.connection import Connection, secrets_of
from bulklink.zoho.error_policy import AnswerClass, advice_for_code, classify_outcome
from bulklink.zoho.http import Answer, NoResponse, Transport
from bulklink.zoho.link_response import parse_refusal
from bulklink.zoho.lookup_responses import Org, require_org
from bulklink.zoho.tokens import TokenProvider, TokenStore

_STOPPING_CLASSES = (AnswerClass.TOKEN, AnswerClass.SERVER_ERROR, AnswerClass.THROTTLED)


class ConnectionHealth(msgspec.Struct, frozen=True):
    """Result of a connection check.

    Args:
        org: the org; None if the connection does not work.
        token_ends_at: expiry of the access token, seconds since 1970; None if `org` is None.
        problem: why the connection does not work; None if it does.
    """

    org: Org | None = None
    token_ends_at: float | None = None
    problem: RunStoppedError | None = None


async def check_connection(
    connection: Connection,
    transport: Transport,
    store: TokenStore,
    clock: Callable[[], float],
    warn: Callable[[str], None] = lambda text: None,
) -> ConnectionHealth:
    """Check whether a connection works.

    A stored token is renewed if it is refused. A new token is not, since Zoho issues only ten in
    ten minutes.

    Args:
        connection: a connection with credentials.
        transport: sends the requests.
        store: stores the access token.
        clock: returns seconds since 1970.
        warn: called with a warning if the accounts server returns a host that is not Zoho's.
    """
    stored = store.load(connection, clock())
    tokens = TokenProvider(connection, transport, store, clock, warn=warn)
    client = Client(tokens, transport, secrets_of(connection))
    try:
        received = await client.send(requests.org_request(), await client.tokens.current())
        if stored is not None and classify_outcome(received.outcome) is AnswerClass.TOKEN:
            await client.tokens.renew(received.token)
            received = await client.send(requests.org_request(), await client.tokens.current())
        org = _org_or_empty(received.outcome, connection)
    except RunStoppedError as error:
        return ConnectionHealth(problem=error)
    return ConnectionHealth(org, received.token.ends_at)


def no_response_error(outcome: NoResponse) -> RunStoppedError:
    """Return the error for a CRM that does not answer."""
    return RunStoppedError(
        StoppedBy.NO_ANSWER,
        f"The CRM does not answer: {outcome.reason}.",
        advice=outcome.cure
        or "Check the network, and BULKLINK_API_URL if it is set; then try again.",
    )


def _org_or_empty(outcome: Answer | NoResponse, connection: Connection) -> Org:
    """Return the org, or an empty one if the CRM refuses to report it, as a run works without it.

    Raises:
        RunStoppedError: if a run could not start.
    """
    if isinstance(outcome, NoResponse):
        raise no_response_error(outcome)
    answer_class, refusal = classify_outcome(outcome), parse_refusal(outcome)
    if answer_class is None:
        return require_org(outcome)
    if answer_class in _STOPPING_CLASSES:
        raise RunStoppedError(
            StoppedBy.FATAL if answer_class is AnswerClass.TOKEN else StoppedBy.NO_ANSWER,
            f"The CRM refuses the look-up of the org: {refusal.shown_code}.",
            where=connection.api_url,
            advice=advice_for_code(refusal.code) or "Try again later.",
        )
    return Org()
