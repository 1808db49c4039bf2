"""Sign-in with Zoho's self client, and a check of the token's scopes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.errors import BulklinkError, ConfigError, RunStoppedError, StoppedBy
from bulklink.zoho import requests
from bulklink.zoho.client import Client
from bulklink.zoho.connection import (
    Connection,
    Credentials,
    check_sign_in_text,
    no_accounts_url_error,
    secrets_of,
)
from bulklink.zoho.coql import coql_request, select_first_deal
from bulklink.zoho.error_codes import Code
from bulklink.zoho.error_policy import (
    COQL_SCOPE,
    LAYOUTS_SCOPE,
    PIPELINE_SCOPE,
    SCOPES,
    AnswerClass,
    classify_outcome,
)
from bulklink.zoho.health import no_response_error
from bulklink.zoho.http import Answer, NoResponse, Request, Transport
from bulklink.zoho.link_response import parse_refusal
from bulklink.zoho.lookup_responses import Org, require_org
from bulklink.zoho.oauth import AccountsServer, TokenGrant, TokenRefusal, TokenRefusalReason
from bulklink.zoho.tokens import Token, TokenProvider, token_from_grant

_EMAILS, _CONTACTS, _DEALS, _MODULES, _USERS, _ORG = SCOPES[:6]
_MISSING_ID = "1"
_SCOPE_PROBES: tuple[tuple[Request, tuple[str, ...]], ...] = (
    (requests.org_request(), (_ORG,)),
    (requests.deals_module_request(), (_MODULES,)),
    (requests.users_request(1), (_USERS,)),
    (requests.deals_request([_MISSING_ID]), (_DEALS,)),
    (requests.emails_page_request(_MISSING_ID, None), (_EMAILS, _CONTACTS)),
    (coql_request(select_first_deal()), (COQL_SCOPE,)),
    (requests.layouts_request(), (LAYOUTS_SCOPE,)),
    (requests.pipeline_request(_MISSING_ID), (PIPELINE_SCOPE,)),
)
"""Look-ups that require each scope. Zoho checks scopes first, so the records need not exist."""
OPTIONAL_SCOPES = {
    _USERS: "names of owners must be in the mapping, or names be left out",
    _ORG: "a run cannot show the org, recognise a sandbox, or know its edition",
    COQL_SCOPE: "deals and contacts cannot be selected by a condition, a name or an address",
    LAYOUTS_SCOPE: "it is unknown which stages of deals are open, won or lost",
    PIPELINE_SCOPE: "it is unknown which stages of deals are open, won or lost",
}
"""What is lost without each optional scope."""
_ADVICE = {
    TokenRefusalReason.INVALID_CODE: (
        "A code works once, for the 3 to 10 minutes chosen when it was generated, and only with its"
        " client and data centre: generate another code and use it right away."
    ),
    TokenRefusalReason.INVALID_CLIENT: (
        "It belongs to another data centre or has a typo. The address of your CRM shows the data"
        " centre: crm.zoho.com is us, crm.zoho.eu is eu, and so on."
    ),
    TokenRefusalReason.INVALID_SECRET: (
        "Copy the client secret again; it is next to the client id."
    ),
    TokenRefusalReason.THROTTLED: (
        "Zoho issues ten tokens in ten minutes. Wait ten minutes without another attempt, which"
        " would extend the wait; then generate another code."
    ),
    TokenRefusalReason.FOREIGN: (
        "Another server answered in its place: check the network, any proxy, and"
        " BULKLINK_ACCOUNTS_URL if it is set."
    ),
    TokenRefusalReason.OTHER: (
        "Check data centre, client id and client secret, and generate another code."
    ),
}
_MESSAGES = {
    TokenRefusalReason.INVALID_CODE: "The code or refresh token is not valid, or no longer valid",
    TokenRefusalReason.INVALID_CLIENT: "The client id is unknown there",
    TokenRefusalReason.INVALID_SECRET: "The client secret does not belong to this client id",
    TokenRefusalReason.THROTTLED: "Too many tokens were requested",
    TokenRefusalReason.FOREIGN: "No tokens were issued",
    TokenRefusalReason.OTHER: "No tokens were given",
}


class SelfClient(msgspec.Struct, frozen=True):
    """A self client of Zoho's API console, with a code or a refresh token.

    Args:
        client_id: id of the self client.
        client_secret: secret of the self client.
        code: code to exchange for tokens; None with a refresh token.
        refresh_token: an existing refresh token; None with a code.
    """

    client_id: str
    client_secret: str
    code: str | None = None
    refresh_token: str | None = None

    def __repr__(self) -> str:
        return "SelfClient(…)"


class SignInResult(msgspec.Struct, frozen=True):
    """A working connection, its token, org and scopes.

    Args:
        connection: the connection, with credentials.
        token: an access token.
        org: the org; fields are None if a scope is missing.
        scopes: scopes of the token.
        missing_scopes: optional scopes that the token lacks, with the consequence of each.
    """

    connection: Connection
    token: Token
    org: Org
    scopes: tuple[str, ...]
    missing_scopes: dict[str, str]

    def __repr__(self) -> str:
        return "SignInResult(…)"


def missing_optional_scopes(granted: Iterable[str]) -> dict[str, str]:
    """Return the optional scopes that a token lacks, with what is lost without each.

    Args:
        granted: scopes of the token; `ZohoCRM.settings.ALL` includes all scopes of settings.
    """
    granted = tuple(granted)
    return {
        scope: consequence
        for scope, consequence in OPTIONAL_SCOPES.items()
        if not any(_includes(other, scope) for other in granted)
    }


def _includes(granted: str, scope: str) -> bool:
    granted_area, _, granted_operation = granted.casefold().rpartition(".")
    area, _, operation = scope.casefold().rpartition(".")
    return granted_operation in ("all", operation) and f"{area}.".startswith(f"{granted_area}.")


async def sign_in(
    endpoint: Connection,
    self_client: SelfClient,
    transport: Transport,
    clock: Callable[[], float],
    warn: Callable[[str], None] = lambda text: None,
) -> SignInResult:
    """Request tokens, and check each of their scopes with a look-up.

    Nothing is stored. The token issued for a code is revoked if it lacks a required scope.

    Args:
        endpoint: addresses of the CRM.
        self_client: self client of Zoho's API console.
        transport: sends the requests.
        clock: returns seconds since 1970.
        warn: called with a warning if the accounts server returns a host that is not Zoho's.

    Raises:
        ConfigError: if code, token, client or environment is refused or contains invalid
            characters, or a scope is missing.
        RunStoppedError: if there is no answer, or too many tokens were requested.
    """
    if endpoint.accounts_url is None:
        raise no_accounts_url_error()
    _check_texts(self_client)
    accounts = AccountsServer(endpoint.accounts_url, transport)
    grant = await _request_grant(accounts, self_client)
    refresh_token = self_client.refresh_token or grant.refresh_token
    if not refresh_token:
        raise ConfigError(
            "The answer has no refresh token, so the sign-in would end within an hour.",
            where=accounts.token_url,
            advice="Generate a code with the self client, in the tab Generate Code.",
        )
    credentials = Credentials(self_client.client_id, self_client.client_secret, refresh_token)
    connection = msgspec.structs.replace(endpoint, credentials=credentials)
    token = token_from_grant(grant, connection, clock(), warn)
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
    return SignInResult(
        connection, token, org, grant.scopes or scopes, missing_optional_scopes(scopes)
    )


def _check_texts(self_client: SelfClient) -> None:
    """Refuse invalid credentials before the code, which works once, is sent."""
    texts = {
        "client id": self_client.client_id,
        "client secret": self_client.client_secret,
        "code": self_client.code,
        "refresh token": self_client.refresh_token,
    }
    for name, text in texts.items():
        check_sign_in_text(text or "", name)


async def _request_grant(accounts: AccountsServer, self_client: SelfClient) -> TokenGrant:
    """Return the tokens that the accounts server issues.

    Raises:
        ConfigError: if it refuses.
        RunStoppedError: if it does not answer, or too many tokens were requested.
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
            advice=outcome.cure
            or "Check the data centre and the network, and generate another code.",
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
    """Return the org and the scopes that no look-up reports missing."""
    org, missing = Org(), set[str]()
    for request, scopes in _SCOPE_PROBES:
        outcome = (await client.send(request, await client.tokens.current())).outcome
        if isinstance(outcome, NoResponse):
            raise no_response_error(outcome)
        if not outcome.ok and parse_refusal(outcome).code == Code.OAUTH_SCOPE_MISMATCH:
            missing |= {*scopes}
        elif classify_outcome(outcome) is AnswerClass.TOKEN:
            raise ConfigError(
                "The CRM does not accept the token that was just issued.",
                where=Advice("{}, BULKLINK_ENVIRONMENT", Keyword("environment")),
                advice="Check that the environment (production, sandbox, developer) is the one"
                " that the code was generated for.",
            )
        elif request is _SCOPE_PROBES[0][0]:
            org = _org_or_empty(outcome)
    return org, tuple(scope for scope in SCOPES if scope not in missing)


def _org_or_empty(answer: Answer) -> Org:
    """Return the org, or an empty one if the CRM refuses to report it.

    Raises:
        RunStoppedError: if the CRM fails to answer, or the answer is not from the CRM.
    """
    answer_class = classify_outcome(answer)
    if answer_class in (AnswerClass.SERVER_ERROR, AnswerClass.THROTTLED):
        raise RunStoppedError(
            StoppedBy.NO_ANSWER,
            f"The CRM fails to answer the look-up of the org: {parse_refusal(answer).shown_code}.",
            advice="Try again later. A code works once: generate another one then.",
        )
    return require_org(answer) if answer_class is None else Org()


def _check_scopes(scopes: tuple[str, ...]) -> None:
    missing = [scope for scope in SCOPES if scope not in scopes]
    if any(scope not in OPTIONAL_SCOPES for scope in missing):
        raise ConfigError(
            "The code was generated without these required scopes"
            f" (OAUTH_SCOPE_MISMATCH): {', '.join(missing)}.",
            where="the code",
            advice=f"Generate another code with all of them, in one line: {','.join(SCOPES)}",
        )


async def _revoke_quietly(accounts: AccountsServer, refresh_token: str) -> None:
    """Revoke an unused token; ignore a failure."""
    try:
        await accounts.revoke(refresh_token)
    except RunStoppedError:
        return
