"""Client of Zoho's accounts server, which issues, refreshes and revokes OAuth tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeGuard
from urllib.parse import urlencode

import anyio
import msgspec

from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.zoho.connection import is_sign_in_text
from bulklink.zoho.http import Answer, NoResponse, Transport
from bulklink.zoho.request_log import log_request
from bulklink.zoho.secret_mask import SecretMask

_RETRY_DELAY_SECONDS = 2.0
_MAX_TEXT_LENGTH = 300
_DEFAULT_LIFETIME_SECONDS = 3600.0
_MIN_LIFETIME_SECONDS = 60.0
MAX_LIFETIME_SECONDS = 86_400.0
"""Longest time that an access token is used; Zoho's tokens are valid for an hour."""
_FORM_HEADERS = {"Content-Type": "application/x-www-form-urlencoded", "Connection": "close"}
"""Token requests are rare; each uses its own connection, so it cannot get another's answer."""


class TokenGrant(msgspec.Struct, frozen=True):
    """Tokens issued by the accounts server.

    Args:
        access_token: the access token.
        api_domain: address of the API as returned by the server; may be of any type.
        lifetime: seconds for which the access token is valid.
        refresh_token: refresh token; only issued in exchange for a code.
        scopes: scopes of the token; empty if the server names none.
    """

    access_token: str
    api_domain: object
    lifetime: float
    refresh_token: str | None = None
    scopes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "TokenGrant(…)"


class TokenRefusalReason(StrEnum):
    """Reason the accounts server refused a token."""

    INVALID_CODE = "invalid_code"
    INVALID_CLIENT = "invalid_client"
    INVALID_SECRET = "invalid_client_secret"  # noqa: S105 - an error code, no secret
    THROTTLED = "throttled"
    FOREIGN = "foreign"
    """The answer is not from Zoho's accounts server, and says nothing about the credentials."""
    OTHER = "other"


class TokenRefusal(msgspec.Struct, frozen=True):
    """A refused token request.

    Args:
        reason: why it was refused.
        message: the server's message, with secrets removed.
    """

    reason: TokenRefusalReason
    message: str


@dataclass(slots=True)
class AccountsServer:
    """The accounts server of a data centre.

    Args:
        address: scheme, host and port.
        transport: sends the requests.
    """

    address: str
    transport: Transport

    @property
    def token_url(self) -> str:
        """Address of the token endpoint."""
        return f"{self.address}/oauth/v2/token"

    async def refresh(
        self, client_id: str, client_secret: str, refresh_token: str
    ) -> TokenGrant | TokenRefusal | NoResponse:
        """Request an access token; retry once if the server fails, never after a refusal."""
        form = {"client_id": client_id, "client_secret": client_secret}
        form |= {"refresh_token": refresh_token, "grant_type": "refresh_token"}
        outcome = await self._post(self.token_url, form)
        if not outcome.cure if isinstance(outcome, NoResponse) else outcome.status >= 500:
            await anyio.sleep(_RETRY_DELAY_SECONDS)
            outcome = await self._post(self.token_url, form)
        return _parse_token_answer(outcome)

    async def exchange_code(
        self, client_id: str, client_secret: str, code: str
    ) -> TokenGrant | TokenRefusal | NoResponse:
        """Exchange a code for tokens; never retried, because a code works once."""
        form = {"client_id": client_id, "client_secret": client_secret}
        form |= {"code": code, "grant_type": "authorization_code"}
        return _parse_token_answer(await self._post(self.token_url, form))

    async def revoke(self, refresh_token: str) -> None:
        """Revoke a refresh token and its access tokens; an invalid token counts as revoked.

        Raises:
            RunStoppedError: if the server cannot be reached or does not confirm it.
        """
        url = f"{self.token_url}/revoke"
        outcome = await self._post(url, {"token": refresh_token})
        if isinstance(outcome, NoResponse):
            reason = outcome.reason
        else:
            content = outcome.content
            error = content.get("error") if isinstance(content, dict) else None
            if error == "invalid_token" or (outcome.ok and isinstance(content, dict) and not error):
                return
            reason = _error_text(content, outcome)
        raise RunStoppedError(
            StoppedBy.NO_ANSWER,
            f"The token could not be revoked: {reason}.",
            where=url,
            advice="Try again later, or revoke it in Zoho's API console.",
        )

    async def _post(self, url: str, form: Mapping[str, str]) -> Answer | NoResponse:
        started = anyio.current_time()
        outcome = await self.transport.send("POST", url, _FORM_HEADERS, urlencode(form).encode())
        log_request("POST", url, outcome, anyio.current_time() - started)
        if isinstance(outcome, NoResponse):
            return outcome
        secrets = (text for name, text in form.items() if name != "grant_type")
        return msgspec.structs.replace(outcome, mask=SecretMask(*secrets))


def _parse_token_answer(outcome: Answer | NoResponse) -> TokenGrant | TokenRefusal | NoResponse:
    """Parse a token answer; the body decides, as errors can have HTTP status 200."""
    if isinstance(outcome, NoResponse):
        return outcome
    content = outcome.content
    if outcome.status >= 500:  # it says nothing about the credentials
        return NoResponse(f"the accounts server fails with HTTP {outcome.status}")
    access_token = content.get("access_token") if isinstance(content, dict) else None
    if not outcome.ok or not isinstance(access_token, str) or not access_token:
        message = _error_text(content, outcome)
        return TokenRefusal(_refusal_reason(content, outcome.status), message)
    if not is_sign_in_text(access_token):
        message = "the access token in the answer has characters that no token has"
        return TokenRefusal(TokenRefusalReason.OTHER, message)
    refresh_token, scope = content.get("refresh_token"), content.get("scope")
    return TokenGrant(
        access_token,
        content.get("api_domain"),
        _parse_lifetime(content.get("expires_in")),
        refresh_token if _is_token(refresh_token) else None,
        tuple(scope.replace(",", " ").split()) if isinstance(scope, str) else (),
    )


def _is_token(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and is_sign_in_text(value)


def _parse_lifetime(value: object) -> float:
    """Return the seconds for which a token is valid, whatever the server reports.

    With a lifetime of only seconds, every call would request another token, and Zoho issues only
    ten in ten minutes.
    """
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 15:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _DEFAULT_LIFETIME_SECONDS
    return float(max(_MIN_LIFETIME_SECONDS, min(value, MAX_LIFETIME_SECONDS)))


def _refusal_reason(content: Any, status: int) -> TokenRefusalReason:
    """Return why no token was issued."""
    if not isinstance(content, dict):
        return TokenRefusalReason.THROTTLED if status == 429 else TokenRefusalReason.FOREIGN
    error, description = (str(content.get(key, "")) for key in ("error", "error_description"))
    if status == 429 or error == "Access Denied" or "too many requests" in description.lower():
        return TokenRefusalReason.THROTTLED
    return (
        TokenRefusalReason(error) if error in list(TokenRefusalReason) else TokenRefusalReason.OTHER
    )


def _error_text(content: Any, answer: Answer) -> str:
    """Return the server's error message with secrets masked."""
    if not isinstance(content, dict):
        return f"the answer (HTTP {answer.status}) is not from Zoho's accounts server"
    texts = [content.get(key) for key in ("error", "error_description")]
    message = ": ".join(text for text in texts if isinstance(text, str))
    masked = answer.mask(message[: 2 * _MAX_TEXT_LENGTH])[:_MAX_TEXT_LENGTH]
    return masked.rstrip(". ") or f"HTTP {answer.status}"
