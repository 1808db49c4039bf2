"""HTTP transport: sends each request exactly once; the only user of aiohttp's client."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from bulklink.zoho.http import Answer, NoResponse
from bulklink.zoho.throttling import parse_retry_after

CONNECT_TIMEOUT_SECONDS = 5.0
ANSWER_TIMEOUT_SECONDS = 40.0
_MAX_BODY_BYTES = 8 * 1024 * 1024
_CONNECT_ERRORS = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientSSLError,
    aiohttp.ConnectionTimeoutError,
)


class Transport(Protocol):
    """Sends requests; the tests replace it by one without a network."""

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | NoResponse:
        """Send a request exactly once and return its outcome."""
        ...


class HttpTransport:
    """One aiohttp session for all requests of a run; use it with `async with`."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # the limiter is the limit
            timeout=aiohttp.ClientTimeout(
                total=ANSWER_TIMEOUT_SECONDS, sock_connect=CONNECT_TIMEOUT_SECONDS
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        # aiohttp repeats an idempotent request by itself when a kept-alive connection drops, and
        # offers no public switch. The ledger would not know of the second DELETE.
        self._session._retry_connection = False  # noqa: SLF001
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | NoResponse:
        """Send a request exactly once: without redirects, without retries.

        Errors of aiohttp become a NoResponse without their texts, which can hold addresses with
        secrets.
        """
        if self._session is None:
            raise RuntimeError("the transport is not open")
        target = URL(url, encoded=True)
        try:
            async with self._session.request(
                method, target, headers=headers, data=body, allow_redirects=False
            ) as response:
                content = await _read_body(response)
                return Answer(
                    response.status,
                    content,
                    retry_after=_retry_after(response.headers),
                    credits_left=_credits_left(response.headers),
                )
        except UnicodeError:  # an address with a label that no host name can have
            return NoResponse("the host name is not known", sent=False)
        except _CONNECT_ERRORS as error:
            return NoResponse(_reason(error), sent=False)
        except (TimeoutError, aiohttp.ClientError, OSError, _TooLongError) as error:
            return NoResponse(_reason(error), timed_out=isinstance(error, TimeoutError))


class _TooLongError(Exception):
    """Raised when an answer is longer than any of Zoho's."""


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_chunked(65536):
        size += len(chunk)
        if size > _MAX_BODY_BYTES:
            raise _TooLongError
        chunks.append(chunk)
    return b"".join(chunks)


def _retry_after(headers: CIMultiDictProxy[str]) -> float | None:
    """Return the longest wait of the headers Retry-After; Zoho documents none."""
    values = headers.getall("Retry-After", ())
    waits = [parse_retry_after(value, headers.get("Date", "")) for value in values]
    return max((wait for wait in waits if wait is not None), default=None)


def _credits_left(headers: CIMultiDictProxy[str]) -> int | None:
    """Return the credits left by the header that tells them, the fewest of several."""
    values = [value.strip() for value in headers.getall("X-API-CREDITS-REMAINING", ())]
    counts = [int(v) for v in values if v.isascii() and v.isdigit() and len(v) <= 15]
    return min(counts, default=None)


def _reason(error: BaseException) -> str:
    reasons: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
        (aiohttp.ClientConnectorDNSError, "the host name is not known"),
        (aiohttp.ClientSSLError, "no secure connection (TLS) could be made"),
        (aiohttp.ClientConnectorError, "nothing accepts connections there"),
        (aiohttp.ConnectionTimeoutError, "no connection in time"),
        (asyncio.TimeoutError, f"no answer within {ANSWER_TIMEOUT_SECONDS:.0f} seconds"),
        (_TooLongError, "an answer of more than 8 MB"),
    )
    return next(
        (reason for kind, reason in reasons if isinstance(error, kind)), "the connection broke"
    )
