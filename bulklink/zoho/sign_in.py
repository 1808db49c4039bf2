"""Signing in by Zoho's self client: a code for tokens, the org behind them, what they may do."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from bulklink.errors import BulklinkError, ConfigError, RunStoppedError, StoppedBy
from bulklink.zoho import requests
from bulklink.zoho.client import Client
from bulklink.zoho.connection import Connection, Credentials, secrets_of
from bulklink.zoho.error_codes import Code
from bulklink.zoho.error_policy import SCOPES, AnswerClass
from bulklink.zoho.health import class_of_outcome, org_of, silent
from bulklink.zoho.http import Request, Silence
from bulklink.zoho.link_response import refusal_of
from bulklink.zoho.lookup_responses import Org
from bulklink.zoho.oauth import Accounts, Grant, Refusal, Refused
from bulklink.zoho.tokens import Token, Tokens, token_of
from bulklink.zoho.transport import Transport

_EMAILS, _CONTACTS, _DEALS, _MODULES, _USERS, _ORG = SCOPES
_NOBODY = "1"
_TRIALS: tuple[tuple[Request, tuple[str, ...]], ...] = (
    (requests.organisation(), (_ORG,)),
    (requests.deals_module(), (_MODULES,)),
    (requests.users(1), (_USERS,)),
    (requests.deals([_NOBODY]), (_DEALS,)),
    (requests.emails_page(_NOBODY, None), (_EMAILS, _CONTACTS)),
)
"""A look-up for each scope. A scope is checked first, so records that do not exist serve too."""
_WITHOUT = {
    _USERS: "names of owners have to be in the mapping, or --no-names be given",
    _ORG: "a run cannot name the org, nor tell a sandbox, nor know its edition",
}
"""What is lost without the scopes that a run can do without."""
_ADVICE = {
    Refusal.CODE: (
        "A code works once, for the 3 to 10 minutes chosen when it was made, with its client and in"
        " its data centre: generate another and give it at once."
    ),
    Refusal.CLIENT: (
        "It belongs to another data centre, or has a typo. The address of your CRM tells the data"
        " centre: crm.zoho.com is us, crm.zoho.eu is eu, and so on."
    ),
    Refusal.SECRET: "Copy the client secret again; it stands beside the client id.",
    Refusal.THROTTLED: (
        "Zoho gives ten tokens in ten minutes. Wait that long without asking, which makes it"
        " longer; then generate another code."
    ),
    Refusal.OTHER: "Check data centre, client id and client secret, and generate another code.",
}
_MESSAGES = {
    Refusal.CODE: "The code, or the refresh token, is not valid (any more)",
    Refusal.CLIENT: "The client id is not known there",
    Refusal.SECRET: "The client secret is not the one of this client id",
    Refusal.THROTTLED: "Too many tokens were asked for",
    Refusal.OTHER: "No tokens were given",
}


class SelfClient(msgspec.Struct, frozen=True):
    """What a person brings from Zoho's API console; a code or a refresh token is there."""

    client_id: str
    client_secret: str
    code: str | None = None
    refresh_token: str | None = None

    def __repr__(self) -> str:
        return "SelfClient(…)"


class SignedIn(msgspec.Struct, frozen=True):
    """A connection that works, the token at hand, the org, and what the token may do.

    `lacking` tells of each scope that is not there, but can be done without, what is lost.
    """

    connection: Connection
    token: Token
    org: Org
    scopes: tuple[str, ...]
    lacking: dict[str, str]

    def __repr__(self) -> str:
        return "SignedIn(…)"


async def sign_in(
    place: Connection, given: SelfClient, transport: Transport, clock: Callable[[], float]
) -> SignedIn:
    """Have tokens made, and try with a look-up for each scope what they may do.

    Nothing is stored. What was made for a code and turns out to lack a scope is revoked.

    Args:
        place: where the CRM is.
        given: from Zoho's API console.
        transport: sends.
        clock: seconds since 1970.

    Raises:
        ConfigError: if something that was given is refused, or a scope is missing.
        RunStoppedError: if there is no answer, or too many tokens were asked for.
    """
    if place.accounts_url is None:
        raise ConfigError(
            "A token cannot be asked for: the accounts address is not known.",
            where="BULKLINK_DC, BULKLINK_ACCOUNTS_URL",
            advice="Set one of them.",
        )
    accounts = Accounts(place.accounts_url, transport)
    grant = await _granted(accounts, given)
    refresh_token = given.refresh_token or grant.refresh_token
    if not refresh_token:
        raise ConfigError(
            "The answer brought no refresh token, so the sign-in would end with the hour.",
            where=accounts.token_url,
            advice="Generate a code with the self client, in the tab Generate Code.",
        )
    credentials = Credentials(given.client_id, given.client_secret, refresh_token)
    connection = msgspec.structs.replace(place, credentials=credentials)
    token = token_of(grant, connection, clock())
    client = Client(
        Tokens(connection, transport, None, clock, token), transport, secrets_of(connection)
    )
    try:
        org, scopes = await _tried(client)
        _check(scopes)
    except BulklinkError:
        if given.code:
            await _taken_back(accounts, refresh_token)
        raise
    lacking = {scope: _WITHOUT[scope] for scope in SCOPES if scope not in scopes}
    return SignedIn(connection, token, org, grant.scopes or scopes, lacking)


async def _granted(accounts: Accounts, given: SelfClient) -> Grant:
    """Return what the accounts server gives.

    Raises:
        ConfigError: if it refuses.
        RunStoppedError: if it does not answer, or was asked too often.
    """
    if given.code:
        outcome = await accounts.exchange(given.client_id, given.client_secret, given.code)
    else:
        token = given.refresh_token or ""
        outcome = await accounts.refresh(given.client_id, given.client_secret, token)
    if isinstance(outcome, Grant):
        return outcome
    if isinstance(outcome, Silence):
        raise RunStoppedError(
            StoppedBy.NO_ANSWER,
            f"The accounts server does not answer: {outcome.reason}.",
            where=accounts.token_url,
            advice="Check the data centre and the network, and generate another code.",
        )
    raise _refused(outcome, accounts)


def _refused(outcome: Refused, accounts: Accounts) -> ConfigError | RunStoppedError:
    message = f"{_MESSAGES[outcome.why]}: {outcome.said}."
    advice = _ADVICE[outcome.why]
    if outcome.why is Refusal.THROTTLED:
        by = StoppedBy.NO_ANSWER
        return RunStoppedError(by, message, where=accounts.token_url, advice=advice)
    return ConfigError(message, where=accounts.token_url, advice=advice)


async def _tried(client: Client) -> tuple[Org, tuple[str, ...]]:
    """Return the org, and the scopes that no look-up shows to be missing."""
    org, missing = Org(), set[str]()
    for request, scopes in _TRIALS:
        outcome = (await client.send(request, await client.ready())).outcome
        if isinstance(outcome, Silence):
            raise silent(outcome)
        if not outcome.ok and refusal_of(outcome).code == Code.OAUTH_SCOPE_MISMATCH:
            missing |= {*scopes}
        elif class_of_outcome(outcome) is AnswerClass.TOKEN:
            raise ConfigError(
                "The CRM does not take the token that was just made.",
                where="--environment, BULKLINK_ENVIRONMENT",
                advice="Check that the environment (production, sandbox, developer) is the one"
                " that the code was generated for.",
            )
        elif outcome.ok and request is _TRIALS[0][0]:
            org = org_of(outcome)
    return org, tuple(scope for scope in SCOPES if scope not in missing)


def _check(scopes: tuple[str, ...]) -> None:
    missing = [scope for scope in SCOPES if scope not in scopes]
    if any(scope not in _WITHOUT for scope in missing):
        raise ConfigError(
            f"The code was made with too few scopes; what needs these is refused"
            f" (OAUTH_SCOPE_MISMATCH): {', '.join(missing)}.",
            where="the code",
            advice=f"Generate another code with all of them, in one line: {','.join(SCOPES)}",
        )


async def _taken_back(accounts: Accounts, refresh_token: str) -> None:
    """Revoke a token that nobody will use; where that fails, it only lies idle."""
    try:
        await accounts.revoke(refresh_token)
    except RunStoppedError:
        return
