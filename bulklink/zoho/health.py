"""Whether a connection works: one look-up of the org, and at most one new token for it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.zoho import requests
from bulklink.zoho.client import Client
from bulklink.zoho.connection import Connection, secrets_of
from bulklink.zoho.error_policy import AnswerClass, advice_for, class_of
from bulklink.zoho.http import Answer, Silence
from bulklink.zoho.link_response import refusal_of
from bulklink.zoho.lookup_responses import Org, read_org
from bulklink.zoho.tokens import Tokens, TokenStore
from bulklink.zoho.transport import Transport

_STOPPING = (AnswerClass.TOKEN, AnswerClass.AGAIN, AnswerClass.BUSY)


class Found(msgspec.Struct, frozen=True):
    """How a connection does: the org and until when its token lasts, or what is wrong."""

    org: Org | None = None
    ends_at: float | None = None
    problem: RunStoppedError | None = None


async def look(
    connection: Connection, transport: Transport, store: TokenStore, clock: Callable[[], float]
) -> Found:
    """Find out whether a connection works.

    A token that was kept and is refused is renewed; one that was just made is not, since Zoho
    gives ten in ten minutes.

    Args:
        connection: with credentials.
        transport: sends.
        store: keeps the access token.
        clock: seconds since 1970.
    """
    kept = store.load(connection, clock())
    client = Client(Tokens(connection, transport, store, clock), transport, secrets_of(connection))
    try:
        received = await client.send(requests.organisation(), await client.ready())
        if kept is not None and class_of_outcome(received.outcome) is AnswerClass.TOKEN:
            await client.renew(received.token)
            received = await client.send(requests.organisation(), await client.ready())
        org = _org_or_none(received.outcome, connection)
    except RunStoppedError as error:
        return Found(problem=error)
    return Found(org, received.token.ends_at)


def org_of(answer: Answer) -> Org:
    """Return the org that an answer tells.

    Raises:
        RunStoppedError: if what answered is not Zoho CRM.
    """
    org = read_org(answer)
    if org is None:
        raise RunStoppedError(
            StoppedBy.FATAL,
            "What answers the look-up of the org is not the Zoho CRM API.",
            where="BULKLINK_DC, BULKLINK_API_URL",
            advice="Check the data centre, and BULKLINK_API_URL if it is set.",
        )
    return org


def silent(outcome: Silence) -> RunStoppedError:
    """Say that the CRM does not answer."""
    return RunStoppedError(
        StoppedBy.NO_ANSWER,
        f"The CRM does not answer: {outcome.reason}.",
        advice="Check the network, and BULKLINK_API_URL if it is set; then try again.",
    )


def class_of_outcome(outcome: Answer | Silence) -> AnswerClass | None:
    """Return what an outcome that is a refusal means; None for any other."""
    if isinstance(outcome, Silence) or outcome.ok:
        return None
    return class_of(outcome.status, refusal_of(outcome).code)


def _org_or_none(outcome: Answer | Silence, connection: Connection) -> Org:
    """Return the org, of which nothing may be known: a run goes on without it.

    Raises:
        RunStoppedError: if a run could not begin.
    """
    if isinstance(outcome, Silence):
        raise silent(outcome)
    if outcome.ok:
        return org_of(outcome)
    kind, code = class_of_outcome(outcome), refusal_of(outcome).code
    if kind in _STOPPING:
        raise RunStoppedError(
            StoppedBy.FATAL if kind is AnswerClass.TOKEN else StoppedBy.NO_ANSWER,
            f"The CRM refuses: {code or f'HTTP {outcome.status}'}.",
            where=connection.api_url,
            advice=advice_for(code) or "Try again later.",
        )
    return Org()
