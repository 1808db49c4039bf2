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
from bulklink.zoho.health import classify_outcome, no_response_error, require_org
from bulklink.zoho.http import NoResponse, Request
from bulklink.zoho.link_response import parse_refusal
from bulklink.zoho.lookup_responses import Org
from bulklink.zoho.oauth import AccountsServer, TokenGrant, TokenRefusal, TokenRefusalReason
from bulklink.zoho.tokens import Token, TokenProvider, token_from_grant
from bulklink.zoho.transport import Transport

_EMAILS, _CONTACTS, _DEALS, _MODULES, _USERS, _ORG = SCOPES
_MISSING_ID = "1"
_SCOPE_PROBES: tuple[tuple[Request, tuple[str, ...]], ...] = (
    (requests.org_request(), (_ORG,)),
    (requests.deals_module_request(), (_MODULES,)),
    (requests.users_request(1), (_USERS,)),
    (requests.deals_request([_MISSING_ID]), (_DEALS,)),
    (requests.emails_page_request(_MISSING_ID, None), (_EMAILS, _CONTACTS)),
)
"""A look-up for each scope. A scope is checked first, so records that do not exist serve too."""
_OPTIONAL_SCOPES = {
    _USERS: "names of owners have to be in the mapping, or --no-names be given",
    _ORG: "a run cannot name the org, nor tell a sandbox, nor know its edition",
}
"""What is lost without the scopes that a run can do without."""
_ADVICE = {
    TokenRefusalReason.INVALID_CODE: (
        "A code works once, for the 3 to 10 minutes chosen when it was made, with its client and in"
        " its data centre: generate another and give it at once."
    ),
    TokenRefusalReason.INVALID_CLIENT: (
        "It belongs to another data centre, or has a typo. The address of your CRM tells the data"
        " centre: crm.zoho.com is us, crm.zoho.eu is eu, and so on."
    ),
    TokenRefusalReason.INVALID_SECRET: (
        "Copy the client secret again; it stands beside the client id."
    ),
    TokenRefusalReason.THROTTLED: (
        "Zoho gives ten tokens in ten minutes. Wait that long without asking, which makes it"
        " longer; then generate another code."
    ),
    TokenRefusalReason.OTHER: (
        "Check data centre, client id and client secret, and generate another code."
    ),
}
_MESSAGES = {
    TokenRefusalReason.INVALID_CODE: "The code, or the refresh token, is not valid (any more)",
    TokenRefusalReason.INVALID_CLIENT: "The client id is not known there",
    TokenRefusalReason.INVALID_SECRET: "The client secret is not the one of this client id",
    TokenRefusalReason.THROTTLED: "Too many tokens were asked for",
    TokenRefusalReason.OTHER: "No tokens were given",
}


class SelfClient(msgspec.Struct, frozen=True):
    """What a person brings from Zoho's API console; a code or a refresh token is there."""

    client_id: str
    client_secret: str
    code: str | None = None
    refresh_token: str | None = None

    def __repr__(self) -> str:
        return "SelfClient(…)"


class SignInResult(msgspec.Struct, frozen=True):
    """A connection that works, the token at hand, the org, and what the token may do.

    `missing_scopes` tells of each scope that is not there, but can be done without, what is lost.
    """

    connection: Connection
    token: Token
    org: Org
    scopes: tuple[str, ...]
    missing_scopes: dict[str, str]

    def __repr__(self) -> str:
        return "SignedIn(…)"


async def sign_in(
    endpoint: Connection, self_client: SelfClient, transport: Transport, clock: Callable[[], float]
) -> SignInResult:
    """Have tokens made, and try with a look-up for each scope what they may do.

    Nothing is stored. What was made for a code and turns out to lack a scope is revoked.

    Args:
        endpoint: where the CRM is.
        self_client: from Zoho's API console.
        transport: sends.
        clock: seconds since 1970.

    Raises:
        ConfigError: if something that was given is refused, or a scope is missing.
        RunStoppedError: if there is no answer, or too many tokens were asked for.
    """
    if endpoint.accounts_url is None:
        raise ConfigError(
            "A token cannot be asked for: the accounts address is not known.",
            where="BULKLINK_DC, BULKLINK_ACCOUNTS_URL",
            advice="Set one of them.",
        )
    accounts = AccountsServer(endpoint.accounts_url, transport)
    grant = await _request_grant(accounts, self_client)
    refresh_token = self_client.refresh_token or grant.refresh_token
    if not refresh_token:
        raise ConfigError(
            "The answer brought no refresh token, so the sign-in would end with the hour.",
            where=accounts.token_url,
            advice="Generate a code with the self client, in the tab Generate Code.",
        )
    credentials = Credentials(self_client.client_id, self_client.client_secret, refresh_token)
    connection = msgspec.structs.replace(endpoint, credentials=credentials)
    token = token_from_grant(grant, connection, clock())
    client = Client(
        TokenProvider(connection, transport, None, clock, token), transport, secrets_of(connection)
    )
    try:
        org, scopes = await _probe_scopes(client)
        _check_scopes(scopes)
    except BulklinkError:
        if self_client.code:
            await _revoke_quietly(accounts, refresh_token)
        raise
    missing_scopes = {scope: _OPTIONAL_SCOPES[scope] for scope in SCOPES if scope not in scopes}
    return SignInResult(connection, token, org, grant.scopes or scopes, missing_scopes)


async def _request_grant(accounts: AccountsServer, self_client: SelfClient) -> TokenGrant:
    """Return what the accounts server gives.

    Raises:
        ConfigError: if it refuses.
        RunStoppedError: if it does not answer, or was asked too often.
    """
    if self_client.code:
        outcome = await accounts.exchange_code(
            self_client.client_id, self_client.client_secret, self_client.code
        )
    else:
        token = self_client.refresh_token or ""
        outcome = await accounts.refresh(self_client.client_id, self_client.client_secret, token)
    if isinstance(outcome, TokenGrant):
        return outcome
    if isinstance(outcome, NoResponse):
        raise RunStoppedError(
            StoppedBy.NO_ANSWER,
            f"The accounts server does not answer: {outcome.reason}.",
            where=accounts.token_url,
            advice="Check the data centre and the network, and generate another code.",
        )
    raise _refusal_error(outcome, accounts)


def _refusal_error(
    refusal: TokenRefusal, accounts: AccountsServer
) -> ConfigError | RunStoppedError:
    message = f"{_MESSAGES[refusal.reason]}: {refusal.message}."
    advice = _ADVICE[refusal.reason]
    if refusal.reason is TokenRefusalReason.THROTTLED:
        stopped_by = StoppedBy.NO_ANSWER
        return RunStoppedError(stopped_by, message, where=accounts.token_url, advice=advice)
    return ConfigError(message, where=accounts.token_url, advice=advice)


async def _probe_scopes(client: Client) -> tuple[Org, tuple[str, ...]]:
    """Return the org, and the scopes that no look-up shows to be missing."""
    org, missing = Org(), set[str]()
    for request, scopes in _SCOPE_PROBES:
        outcome = (await client.send(request, await client.current_token())).outcome
        if isinstance(outcome, NoResponse):
            raise no_response_error(outcome)
        if not outcome.ok and parse_refusal(outcome).code == Code.OAUTH_SCOPE_MISMATCH:
            missing |= {*scopes}
        elif classify_outcome(outcome) is AnswerClass.TOKEN:
            raise ConfigError(
                "The CRM does not take the token that was just made.",
                where="--environment, BULKLINK_ENVIRONMENT",
                advice="Check that the environment (production, sandbox, developer) is the one"
                " that the code was generated for.",
            )
        elif outcome.ok and request is _SCOPE_PROBES[0][0]:
            org = require_org(outcome)
    return org, tuple(scope for scope in SCOPES if scope not in missing)


def _check_scopes(scopes: tuple[str, ...]) -> None:
    missing = [scope for scope in SCOPES if scope not in scopes]
    if any(scope not in _OPTIONAL_SCOPES for scope in missing):
        raise ConfigError(
            f"The code was made with too few scopes; what needs these is refused"
            f" (OAUTH_SCOPE_MISMATCH): {', '.join(missing)}.",
            where="the code",
            advice=f"Generate another code with all of them, in one line: {','.join(SCOPES)}",
        )


async def _revoke_quietly(accounts: AccountsServer, refresh_token: str) -> None:
    """Revoke a token that nobody will use; where that fails, it only lies idle."""
    try:
        await accounts.revoke(refresh_token)
    except RunStoppedError:
        return
