"""The CRM as the engine sees it: a request goes in, signed, and what came back comes out."""

from __future__ import annotations

import time

import msgspec

from bulklink.zoho.http import Answer, NoResponse, Request
from bulklink.zoho.request_log import CallReference, log_request
from bulklink.zoho.tokens import Token, TokenProvider
from bulklink.zoho.transport import Transport

_JSON_HEADERS = {"Content-Type": "application/json"}


class ClientResponse(msgspec.Struct, frozen=True):
    """What came back, and the token it was asked with (to renew it if it was refused)."""

    outcome: Answer | NoResponse
    token: Token


class Client:
    """Sends requests to the API host with the access token of the run.

    Args:
        tokens: gives and renews the access token.
        transport: sends.
        secrets: what no answer may carry further, beside the access token.
    """

    def __init__(
        self, tokens: TokenProvider, transport: Transport, secrets: tuple[str, ...] = ()
    ) -> None:
        self._tokens = tokens
        self._transport = transport
        self._secrets = secrets

    async def current_token(self) -> Token:
        """Return a token to send with, good for a minute or a tenth of its life at least.

        Raises:
            RunStoppedError: if no token can be had.
        """
        return await self._tokens.current()

    async def send(
        self, request: Request, token: Token, reference: CallReference | None = None
    ) -> ClientResponse:
        """Send a request exactly once; it leaves before anything else is waited for.

        Args:
            request: what to send.
            token: that `current_token` returned a moment ago.
            reference: where the request stands in the ledger, for the log.
        """
        headers = {"Authorization": f"Zoho-oauthtoken {token.access_token}"}
        if request.body is not None:
            headers |= _JSON_HEADERS
        url = f"{token.api_url}{request.target}"
        started = time.monotonic()
        outcome = await self._transport.send(request.method, url, headers, request.body)
        log_request(request.method, url, outcome, time.monotonic() - started, reference)
        secrets = (token.access_token, *self._secrets)
        return ClientResponse(_redact(secrets, outcome), token)

    async def renew_token(self, refused: Token) -> None:
        """Have a refused token replaced, once for all who were refused with it.

        Raises:
            RunStoppedError: if no other can be had.
        """
        await self._tokens.renew(refused)


def _redact(secrets: tuple[str, ...], outcome: Answer | NoResponse) -> Answer | NoResponse:
    """Blot out secrets where a server repeats them, so that no file or screen shows one."""
    if isinstance(outcome, NoResponse):
        return outcome
    body = outcome.body
    for secret in secrets:
        body = body.replace(secret.encode(), b"[secret]")
    return outcome if body is outcome.body else msgspec.structs.replace(outcome, body=body)
