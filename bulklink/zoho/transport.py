"""HTTP transport: sends each request exactly once; the only user of aiohttp's client."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

import aiohttp
from yarl import URL

from bulklink.zoho.connect_errors import (
    certificate_failure,
    invalid_proxy,
    proxy_refusal,
    unreachable_proxy,
)
from bulklink.zoho.http import Answer, NoResponse
from bulklink.zoho.proxies import Proxy, ProxyError, find_proxy

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
    """One aiohttp session for all requests of a run; use it with `async with`.

    Proxies are those of the environment. aiohttp could read them itself (`trust_env`), but would
    also take passwords from .netrc, and send loopback addresses through a proxy.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._proxies: dict[str, Proxy | None] = {}

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
            proxy = self._proxy_for(target)
            async with self._session.request(
                method,
                target,
                headers=headers,
                data=body,
                allow_redirects=False,
                proxy=proxy.url if proxy else None,
                proxy_headers=_proxy_headers(proxy),
            ) as response:
                content = await _read_body(response)
                return Answer(
                    response.status,
                    content,
                    retry_after=_number(response.headers, "Retry-After"),
                    credits_left=_number(response.headers, "X-API-CREDITS-REMAINING"),
                )
        except ProxyError as error:
            return invalid_proxy(error)
        except UnicodeError:  # an address with a label that no host name can have
            return NoResponse("the host name is not known", sent=False)
        except aiohttp.ClientConnectorCertificateError as error:
            return certificate_failure(error.certificate_error)
        except aiohttp.ClientHttpProxyError as error:
            return proxy_refusal(self._proxy_address(target), error.status)
        except aiohttp.ClientProxyConnectionError:
            return unreachable_proxy(self._proxy_address(target))
        except _CONNECT_ERRORS as error:
            return NoResponse(_reason(error), sent=False)
        except (TimeoutError, aiohttp.ClientError, OSError, _TooLongError) as error:
            return NoResponse(_reason(error), timed_out=isinstance(error, TimeoutError))

    def _proxy_for(self, target: URL) -> Proxy | None:
        """Return the proxy for an address, looked up once for each host.

        Raises:
            ProxyError: if a variable is not the address of a proxy.
        """
        origin = f"{target.scheme}://{target.raw_authority}"
        if origin not in self._proxies:
            self._proxies[origin] = find_proxy(origin, os.environ)
        return self._proxies[origin]

    def _proxy_address(self, target: URL) -> str:
        proxy = self._proxy_for(target)
        return proxy.address if proxy is not None else ""


def _proxy_headers(proxy: Proxy | None) -> dict[str, str] | None:
    authorization = proxy and proxy.authorization
    return {"Proxy-Authorization": authorization} if authorization else None


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


def _number(headers: Mapping[str, str], name: str) -> int | None:
    """Return a header's whole number; a date in Retry-After is ignored (Zoho documents neither)."""
    value = headers.get(name, "").strip()
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 15 else None


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
