"""Access tokens: the one given, then fresh ones, asked for once for all callers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import anyio
import filelock
import msgspec
import orjson

from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.zoho.answers import json_of
from bulklink.zoho.connection import Connection, Credentials
from bulklink.zoho.exchange import Answer, Silence
from bulklink.zoho.transport import Transport

_SPARE_SECONDS = 60.0
_PAUSE_SECONDS = 2.0
_LOCK_TRIES = 300
_LOCK_PAUSE = 0.1
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Token(msgspec.Struct, frozen=True):
    """An access token, the API address to use it at and until when (seconds since 1970)."""

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
        except (OSError, ValueError, RecursionError):
            return None
        return token if token.ends_at > now else None

    def save(self, connection: Connection, token: Token) -> None:
        """Store a token; a folder that cannot be written costs only the next run a refresh."""
        target = self._file(connection)
        fresh = target.with_name(f"{target.name}.{os.getpid()}")
        try:
            self._make_folder()
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as f:
                f.write(msgspec.json.encode(token))
            fresh.replace(target)
        except OSError:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)

    @asynccontextmanager
    async def alone(self, connection: Connection) -> AsyncIterator[None]:
        """Ask for a token while no other process does; after half a minute, do so all the same."""
        lock = filelock.FileLock(self._file(connection).with_suffix(".lock"), mode=0o600)
        with suppress(OSError):
            self._make_folder()
            for _ in range(_LOCK_TRIES):
                try:
                    lock.acquire(timeout=0)
                    break
                except filelock.Timeout:
                    await anyio.sleep(_LOCK_PAUSE)
        try:
            yield
        finally:
            lock.release()

    def _make_folder(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

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
        self._failed: RunStoppedError | None = None
        self._token: Token | None = None
        if connection.access_token is not None:
            self._token = Token(connection.access_token, connection.api_url, float("inf"))

    async def current(self) -> Token:
        """Return a token to send with: the one in use, a stored one, or a fresh one.

        Raises:
            RunStoppedError: if none can be had.
        """
        token = self._token
        if token is None or self._ended(token):
            return await self._another(token)
        return token

    async def renew(self, refused: Token) -> None:
        """Replace a token that the CRM refused; callers that come late find it replaced already.

        Raises:
            RunStoppedError: if no other can be had.
        """
        await self._another(refused)

    def _ended(self, token: Token) -> bool:
        return self._connection.credentials is not None and token.ends_at <= self._clock()

    async def _another(self, than: Token | None) -> Token:
        """Return another token than this one.

        A failure is one for all who wait: to ask again would lengthen the server's penalty.
        """
        async with self._lock:
            if self._failed is not None:
                raise self._failed
            if self._token is None or self._token == than:
                try:
                    self._token = await self._stored_or_fresh(than)
                except RunStoppedError as error:
                    self._failed = error
                    raise
            return self._token

    async def _stored_or_fresh(self, than: Token | None) -> Token:
        credentials, accounts = self._connection.credentials, self._connection.accounts_url
        if credentials is None or accounts is None:
            raise RunStoppedError(
                StoppedBy.FATAL,
                "The access token was refused, and there is nothing to ask for a new one with.",
                where="BULKLINK_ACCESS_TOKEN",
                advice="Set a fresh token, or client id, client secret and refresh token.",
            )
        if self._store is None:
            return await self._fresh(credentials, accounts)
        async with self._store.alone(self._connection):
            stored = self._store.load(self._connection, self._clock())
            if stored is not None and (than is None or stored.access_token != than.access_token):
                return stored
            token = await self._fresh(credentials, accounts)
            self._store.save(self._connection, token)
            return token

    async def _fresh(self, credentials: Credentials, accounts: str) -> Token:
        form = {**msgspec.structs.asdict(credentials), "grant_type": "refresh_token"}
        answer = await self._ask(f"{accounts}/oauth/v2/token", urlencode(form).encode())
        return self._read(answer, credentials)

    async def _ask(self, url: str, form: bytes) -> Answer | Silence:
        """Ask for a token, and once more where the accounts server fails; a refusal stands."""
        outcome = await self._transport.send("POST", url, _FORM, form)
        if isinstance(outcome, Silence) or outcome.status >= 500:
            await anyio.sleep(_PAUSE_SECONDS)
            outcome = await self._transport.send("POST", url, _FORM, form)
        return outcome

    def _read(self, answer: Answer | Silence, credentials: Credentials) -> Token:
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
                f"No access token was given: {_error(content, answer.status, credentials)}.",
                where=where,
                advice="Check client id, client secret, refresh token and data centre.",
            )
        lasts = content.get("expires_in")
        seconds = float(lasts) if isinstance(lasts, int | float) else 3600.0
        api_url = self._connection.api_url_from(content.get("api_domain"))
        lasts_for_us = seconds - min(_SPARE_SECONDS, seconds / 10)
        return Token(access_token, api_url, self._clock() + lasts_for_us)


def _error(content: Any, status: int, credentials: Credentials) -> str:
    """Return what the accounts server says, without the secrets that it may repeat."""
    if not isinstance(content, dict):
        return f"the answer (HTTP {status}) is not one of Zoho's accounts server"
    texts = [content.get(key) for key in ("error", "error_description")]
    said = ": ".join(text for text in texts if isinstance(text, str))
    for secret in msgspec.structs.astuple(credentials):
        said = said.replace(secret, "[secret]")
    return said[:300] or f"HTTP {status}"
