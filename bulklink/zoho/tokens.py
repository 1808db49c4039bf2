"""Access tokens: the one given, then fresh ones, asked for once for all callers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import anyio
import msgspec
import orjson

from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.zoho.answers import json_of
from bulklink.zoho.connection import Connection
from bulklink.zoho.exchange import Answer, Silence
from bulklink.zoho.transport import Transport

_SPARE_SECONDS = 60.0
_PAUSE_SECONDS = 2.0
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Token(msgspec.Struct, frozen=True):
    """An access token, the API address to use it at and when it ends (seconds since 1970)."""

    access_token: str
    api_url: str
    ends_at: float

    def __repr__(self) -> str:
        return "Token(…)"


class TokenStore:
    """Keeps the access token in a file that only its owner can read, from run to run.

    Zoho gives ten tokens per refresh token in ten minutes; short runs in a row must share one.

    Args:
        folder: where the files are; made if missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, connection: Connection, now: float) -> Token | None:
        """Return the stored token of these credentials if it has not ended."""
        try:
            token = msgspec.json.decode(self._file(connection).read_bytes(), type=Token)
        except (OSError, msgspec.DecodeError):
            return None
        return token if token.ends_at > now + _SPARE_SECONDS else None

    def save(self, connection: Connection, token: Token) -> None:
        """Store a token; a folder that cannot be written costs only the next run a refresh."""
        target = self._file(connection)
        fresh = target.with_name(f"{target.name}.{os.getpid()}")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as f:
                f.write(msgspec.json.encode(token))
            fresh.replace(target)
        except OSError:
            fresh.unlink(missing_ok=True)

    def _file(self, connection: Connection) -> Path:
        key = orjson.dumps([connection.accounts_url, connection.api_url, connection.environment])
        secret = msgspec.json.encode(connection.credentials)
        return self._folder / f"{hashlib.sha256(key + secret).hexdigest()[:32]}.json"


class Tokens:
    """The access token of a run, renewed at most once for all who find it refused.

    Args:
        connection: where and with what a token is asked for.
        transport: sends the request for one.
        store: keeps it between runs; None keeps nothing.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        connection: Connection,
        transport: Transport,
        store: TokenStore | None,
        clock: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._transport = transport
        self._store = store
        self._clock = clock
        self._lock = anyio.Lock()
        self._token: Token | None = None
        if connection.access_token is not None:
            self._token = Token(connection.access_token, connection.api_url, float("inf"))

    async def current(self) -> Token:
        """Return a token to send with: the one in use, a stored one, or a fresh one.

        Raises:
            RunStoppedError: if none can be had.
        """
        if self._token is None or self._ended(self._token):
            async with self._lock:
                if self._token is None or self._ended(self._token):
                    self._token = self._stored() or await self._fresh()
        return self._token

    async def renew(self, refused: Token) -> None:
        """Replace a token that the CRM refused; callers that come late find it replaced already.

        Raises:
            RunStoppedError: if no other can be had.
        """
        async with self._lock:
            if self._token == refused:
                self._token = await self._fresh()

    def _ended(self, token: Token) -> bool:
        renewable = self._connection.credentials is not None
        return renewable and token.ends_at <= self._clock() + _SPARE_SECONDS

    def _stored(self) -> Token | None:
        return self._store.load(self._connection, self._clock()) if self._store else None

    async def _fresh(self) -> Token:
        credentials, accounts = self._connection.credentials, self._connection.accounts_url
        if credentials is None or accounts is None:
            raise RunStoppedError(
                StoppedBy.FATAL,
                "The access token was refused, and there is nothing to ask for a new one with.",
                where="BULKLINK_ACCESS_TOKEN",
                advice="Set a fresh token, or client id, client secret and refresh token.",
            )
        form = {**msgspec.structs.asdict(credentials), "grant_type": "refresh_token"}
        token = self._read(await self._ask(f"{accounts}/oauth/v2/token", urlencode(form).encode()))
        if self._store is not None:
            self._store.save(self._connection, token)
        return token

    async def _ask(self, url: str, form: bytes) -> Answer | Silence:
        """Ask for a token, and once more where the accounts server fails; a refusal stands."""
        outcome = await self._transport.send("POST", url, _FORM, form)
        if isinstance(outcome, Silence) or outcome.status >= 500:
            await anyio.sleep(_PAUSE_SECONDS)
            outcome = await self._transport.send("POST", url, _FORM, form)
        return outcome

    def _read(self, answer: Answer | Silence) -> Token:
        """Read a token's answer; an error comes with HTTP 200 too, so the body decides."""
        where = f"{self._connection.accounts_url}/oauth/v2/token"
        if isinstance(answer, Silence):
            raise RunStoppedError(
                StoppedBy.NO_ANSWER,
                f"No access token could be asked for: {answer.reason}.",
                where=where,
                advice="Check the data centre or BULKLINK_ACCOUNTS_URL and the network.",
            )
        content = json_of(answer.body)
        access_token = content.get("access_token") if isinstance(content, dict) else None
        if not answer.ok or not isinstance(access_token, str) or not access_token:
            raise RunStoppedError(
                StoppedBy.FATAL,
                f"No access token was given: {_error(content, answer.status)}.",
                where=where,
                advice="Check client id, client secret, refresh token and data centre.",
            )
        lasts = content.get("expires_in")
        seconds = float(lasts) if isinstance(lasts, int | float) else 3600.0
        api_url = self._connection.api_url_from(content.get("api_domain"))
        return Token(access_token, api_url, self._clock() + seconds)


def _error(content: Any, status: int) -> str:
    if not isinstance(content, dict):
        return f"the answer (HTTP {status}) is not one of Zoho's accounts server"
    said = [content.get(key) for key in ("error", "error_description")]
    return ": ".join(text[:200] for text in said if isinstance(text, str)) or f"HTTP {status}"
