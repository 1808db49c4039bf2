"""The CRM as the engine sees it: a request goes in, signed, and what came back comes out."""

from __future__ import annotations

import time

import msgspec

from bulklink.zoho.http import Answer, Request, Silence
from bulklink.zoho.request_log import Mark, note
from bulklink.zoho.tokens import Token, Tokens
from bulklink.zoho.transport import Transport

_JSON = {"Content-Type": "application/json"}


class Received(msgspec.Struct, frozen=True):
    """What came back, and the token it was asked with (to renew it if it was refused)."""

    outcome: Answer | Silence
    token: Token


class Client:
    """Sends requests to the API host with the access token of the run.

    Args:
        tokens: gives and renews the access token.
        transport: sends.
        secrets: what no answer may carry further, beside the access token.
    """

    def __init__(self, tokens: Tokens, transport: Transport, secrets: tuple[str, ...] = ()) -> None:
        self._tokens = tokens
        self._transport = transport
        self._secrets = secrets

    async def ready(self) -> Token:
        """Return a token to send with, good for a minute or a tenth of its life at least.

        Raises:
            RunStoppedError: if no token can be had.
        """
        return await self._tokens.current()

    async def send(self, request: Request, token: Token, mark: Mark | None = None) -> Received:
        """Send a request exactly once; it leaves before anything else is waited for.

        Args:
            request: what to send.
            token: that `ready` returned a moment ago.
            mark: where the request stands in the ledger, for the log.
        """
        headers = {"Authorization": f"Zoho-oauthtoken {token.access_token}"}
        if request.body is not None:
            headers |= _JSON
        url = f"{token.api_url}{request.target}"
        started = time.monotonic()
        outcome = await self._transport.send(request.method, url, headers, request.body)
        note(request.method, url, outcome, time.monotonic() - started, mark)
        secrets = (token.access_token, *self._secrets)
        return Received(_without(secrets, outcome), token)

    async def renew(self, refused: Token) -> None:
        """Have a refused token replaced, once for all who were refused with it.

        Raises:
            RunStoppedError: if no other can be had.
        """
        await self._tokens.renew(refused)


def _without(secrets: tuple[str, ...], outcome: Answer | Silence) -> Answer | Silence:
    """Blot out secrets where a server repeats them, so that no file or screen shows one."""
    if isinstance(outcome, Silence):
        return outcome
    body = outcome.body
    for secret in secrets:
        body = body.replace(secret.encode(), b"[secret]")
    return outcome if body is outcome.body else msgspec.structs.replace(outcome, body=body)
