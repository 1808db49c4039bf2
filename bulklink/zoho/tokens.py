"""Access tokens: cached on disk, refreshed once for all callers."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import filelock
import msgspec
import orjson

from bulklink.atomic_files import atomic_replace
from bulklink.decoding import decode_json
from bulklink.errors import RunDirError, RunStoppedError, StoppedBy
from bulklink.private_files import make_folder_private
from bulklink.shell import auth_command
from bulklink.zoho.connection import Connection, Credentials, is_sign_in_text
from bulklink.zoho.http import NoResponse, Transport
from bulklink.zoho.oauth import (
    MAX_LIFETIME_SECONDS,
    AccountsServer,
    TokenGrant,
    TokenRefusal,
    TokenRefusalReason,
)

_EXPIRY_MARGIN_SECONDS = 60.0
_MIN_USE_SECONDS = 60.0
_MAX_DOMAIN_LENGTH = 100
_LOCK_ATTEMPTS = 300
_LOCK_PAUSE = 0.1
_ADVICE = {
    TokenRefusalReason.INVALID_CLIENT: (
        "The client id belongs to another data centre or has a typo: check both."
    ),
    TokenRefusalReason.INVALID_SECRET: "Copy the client secret again from Zoho's API console.",
    TokenRefusalReason.THROTTLED: (
        "Zoho issues ten tokens in ten minutes: wait that long without another request, which"
        " would extend it."
    ),
    TokenRefusalReason.FOREIGN: (
        "Another server answered in its place: check the network, any proxy, and"
        " BULKLINK_ACCOUNTS_URL if it is set."
    ),
    TokenRefusalReason.OTHER: "Check client id, client secret, refresh token and data centre.",
}


class TokenUnavailableError(RunStoppedError):
    """Raised when the accounts server does not answer, which says nothing about the credentials.

    Args:
        reason: why not, for the user.
        where: address of the token endpoint.
    """

    def __init__(self, reason: str, *, where: str) -> None:
        self.reason = f"no access token could be requested, {reason}"
        super().__init__(
            StoppedBy.NO_ANSWER,
            f"No access token could be requested: {reason}.",
            where=where,
            advice="Check the data centre or BULKLINK_ACCOUNTS_URL and the network.",
        )


class Token(msgspec.Struct, frozen=True):
    """An access token.

    Args:
        access_token: the token.
        api_url: scheme, host and port of the API to use it at.
        ends_at: when to stop using it, seconds since 1970.
    """

    access_token: str
    api_url: str
    ends_at: float

    def __repr__(self) -> str:
        return "Token(…)"


@dataclass(slots=True)
class TokenStore:
    """Cache of access tokens on disk, in files that only their owner can read.

    Zoho issues ten tokens per refresh token in ten minutes, so consecutive short runs must share
    one.

    Args:
        folder: folder of the files; created if missing.
    """

    folder: Path

    def load(self, connection: Connection, now: float) -> Token | None:
        """Return the stored token of these credentials; None if there is no usable token.

        A token is not usable if it has expired, or if its file was not written by bulklink: it
        names a host that must not receive the token, or expires too far in the future.

        Args:
            connection: a connection with credentials.
            now: seconds since 1970.
        """
        try:
            token = decode_json(self._file(connection).read_bytes(), Token)
        except (OSError, ValueError, RecursionError):
            return None
        usable = is_sign_in_text(token.access_token) and connection.accepts_api_url(token.api_url)
        return token if usable and now < token.ends_at <= now + MAX_LIFETIME_SECONDS else None

    def remove(self, connection: Connection) -> None:
        """Remove the stored token of these credentials, if there is one."""
        with suppress(OSError):
            self._file(connection).unlink(missing_ok=True)

    def save(self, connection: Connection, token: Token) -> None:
        """Store a token, unless others could read it.

        A failure is ignored, as it only costs the next run a refresh.
        """
        with suppress(OSError, RunDirError):
            self._make_folder()
            if make_folder_private(self.folder):
                with atomic_replace(self._file(connection)) as temporary:
                    temporary.write_bytes(msgspec.json.encode(token))

    @asynccontextmanager
    async def refresh_lock(self, connection: Connection) -> AsyncIterator[None]:
        """Hold the lock for token refreshes; continue without it after 30 seconds."""
        lock = filelock.FileLock(self._file(connection).with_suffix(".lock"), mode=0o600)
        with suppress(OSError):
            self._make_folder()
            for _ in range(_LOCK_ATTEMPTS):
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
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _file(self, connection: Connection) -> Path:
        key = orjson.dumps([connection.accounts_url, connection.api_url, connection.environment])
        secret = msgspec.json.encode(connection.credentials)
        return self.folder / f"{hashlib.sha256(key + secret).hexdigest()[:32]}.json"


class TokenProvider:
    """Access token of a run, renewed at most once per refusal.

    Args:
        connection: addresses and credentials.
        transport: sends the requests for tokens.
        store: stores the token between runs; None to store nothing.
        clock: returns seconds since 1970.
        initial_token: an existing token, used until it is refused or expires.
        warn: called with a warning if the accounts server returns a host that must not receive the
            token.
    """

    def __init__(
        self,
        connection: Connection,
        transport: Transport,
        store: TokenStore | None,
        clock: Callable[[], float],
        initial_token: Token | None = None,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._connection = connection
        self._transport = transport
        self._store = store
        self._clock = clock
        self._lock = anyio.Lock()
        self._error: RunStoppedError | None = None
        self._refused: Token | None = None
        self._failures = 0
        self._last_failure: TokenUnavailableError | None = None
        self._warn = warn
        self._token = initial_token
        if connection.access_token is not None:
            self._token = Token(connection.access_token, connection.api_url, float("inf"))

    @property
    def profile(self) -> str | None:
        """Name of the stored profile with the credentials; None if they are from elsewhere."""
        return self._connection.profile

    async def current(self) -> Token:
        """Return the token for the next request: the current one, a stored one, or a new one.

        It is valid for another minute, or a tenth of its lifetime if that is less.

        Raises:
            RunStoppedError: if there is none.
        """
        token = self._token
        if token is None or self._has_ended(token):
            return await self._replace(token or self._refused)
        return token

    async def renew(self, refused: Token) -> None:
        """Replace a token that the CRM refused, once for all callers that used it.

        Raises:
            RunStoppedError: if there is no other token.
        """
        await self._replace(refused)

    def _has_ended(self, token: Token) -> bool:
        return self._connection.credentials is not None and token.ends_at <= self._clock()

    async def _replace(self, refused: Token | None) -> Token:
        """Return a token other than `refused`.

        A refusal is raised for all later callers, as another request would extend the server's
        penalty. A missing answer is only raised for the callers that wait at that time.
        """
        failures = self._failures
        async with self._lock:
            if self._error is not None:
                raise self._error
            if self._last_failure is not None and failures != self._failures:
                raise self._last_failure
            if self._token is None or self._token == refused:
                try:
                    self._token = await self._load_or_request(refused)
                except TokenUnavailableError as error:
                    self._token, self._refused = None, refused
                    self._failures, self._last_failure = self._failures + 1, error
                    raise
                except RunStoppedError as error:
                    self._error = error
                    raise
            return self._token

    async def _load_or_request(self, refused: Token | None) -> Token:
        credentials, accounts_url = self._connection.credentials, self._connection.accounts_url
        if credentials is None or accounts_url is None:
            raise RunStoppedError(
                StoppedBy.FATAL,
                "The access token was refused, and there are no credentials to request a new one.",
                where="BULKLINK_ACCESS_TOKEN",
                advice="Set a new token, or set client id, client secret and refresh token.",
            )
        if self._store is None:
            return await self._request(credentials, accounts_url)
        async with self._store.refresh_lock(self._connection):
            stored = self._store.load(self._connection, self._clock())
            if stored is not None and (
                refused is None or stored.access_token != refused.access_token
            ):
                return stored
            token = await self._request(credentials, accounts_url)
            self._store.save(self._connection, token)
            return token

    async def _request(self, credentials: Credentials, accounts_url: str) -> Token:
        server = AccountsServer(accounts_url, self._transport)
        outcome = await server.refresh(
            credentials.client_id, credentials.client_secret, credentials.refresh_token
        )
        if isinstance(outcome, NoResponse) and not outcome.cure:
            raise TokenUnavailableError(outcome.reason, where=server.token_url)
        if isinstance(outcome, NoResponse):
            raise RunStoppedError(
                StoppedBy.NO_ANSWER,
                f"No access token could be requested: {outcome.reason}.",
                where=server.token_url,
                advice=outcome.cure,
            )
        if isinstance(outcome, TokenRefusal):
            raise RunStoppedError(
                StoppedBy.FATAL,
                f"No access token was issued: {outcome.message}.",
                where=server.token_url,
                advice=_refusal_advice(outcome.reason, self.profile),
            )
        return token_from_grant(outcome, self._connection, self._clock(), self._warn)


def token_from_grant(
    grant: TokenGrant, connection: Connection, now: float, warn: Callable[[str], None]
) -> Token:
    """Return the token of a grant, with an expiry slightly earlier than the server's.

    It is used for at least a minute, as Zoho issues only ten tokens in ten minutes.

    Args:
        grant: tokens issued by the accounts server.
        connection: the connection of the request.
        now: seconds since 1970.
        warn: called with a warning if the grant names a host that must not receive the token.
    """
    if connection.is_foreign_api_domain(grant.api_domain):
        warn(
            f"The accounts server names {_excerpt(grant.api_domain)} as the API, which is not a"
            f" host of Zoho: the token is sent only to {connection.api_url}."
        )
    usable_seconds = grant.lifetime - min(_EXPIRY_MARGIN_SECONDS, grant.lifetime / 10)
    usable_seconds = max(_MIN_USE_SECONDS, usable_seconds)
    return Token(
        grant.access_token, connection.api_url_from(grant.api_domain), now + usable_seconds
    )


def _refusal_advice(reason: TokenRefusalReason, profile: str | None) -> str:
    if reason is not TokenRefusalReason.INVALID_CODE:
        return _ADVICE[reason]
    revoked = "The refresh token was revoked, or belongs to another client or data centre"
    if profile is None:
        return (
            f"{revoked}: sign in again with {auth_command('login', None)}, or set another"
            " BULKLINK_REFRESH_TOKEN."
        )
    return f"{revoked}: sign in again with {auth_command('login', profile, replaces=True)}."


def _excerpt(api_domain: object) -> str:
    return repr(api_domain)[:_MAX_DOMAIN_LENGTH]
