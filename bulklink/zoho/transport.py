"""HTTP transport: sends each request exactly once; the only user of aiohttp's client.

HTTP/1.1 matches answers to requests only by their order on a connection. If a server or proxy sends
an answer late or twice, it would be taken as the answer to the next request. A connection that
receives unrequested data is therefore not reused; links, unlinks, reads and queries use separate
connections, so none is taken for another; and an answer that repeats the previous one is marked.
"""

from __future__ import annotations

import os
import selectors
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp.client_proto import ResponseHandler
from multidict import CIMultiDictProxy
from yarl import URL

from bulklink.zoho.connect_errors import (
    certificate_failure,
    invalid_proxy,
    proxy_refusal,
    unreachable_proxy,
)
from bulklink.zoho.coql import COQL_TARGET
from bulklink.zoho.http import Answer, NoResponse
from bulklink.zoho.proxies import Proxy, ProxyError, find_proxy
from bulklink.zoho.throttling import parse_credit_window, parse_retry_after

CONNECT_TIMEOUT_SECONDS = 5.0
ANSWER_TIMEOUT_SECONDS = 40.0
_MAX_BODY_BYTES = 8 * 1024 * 1024
_MAX_HEAD_BYTES = 1024 * 1024
_MAX_HEADER_BYTES = 64 * 1024
_MAX_HEADERS = 1_000
_WINDOW_HEADER = "X-Bulklink-Credit-Window"
"""Header of our emulator, with which days of credits can be simulated in minutes."""
_METHODS = ("GET", "POST", "DELETE")
_CLOSED_AFTERWARDS = "close"
_QUERIES = "query"
# A selector without its own file descriptor, as each connection has one.
_Selector: type[selectors.BaseSelector] = getattr(
    selectors, "PollSelector", selectors.SelectSelector
)
_CONNECT_ERRORS = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientSSLError,
    aiohttp.ConnectionTimeoutError,
)


class HttpTransport:
    """The connections of a run; use it with `async with`.

    Proxies are read from the environment. aiohttp could do this itself (`trust_env`), but would
    also read passwords from .netrc and send requests to loopback addresses through a proxy.

    Args:
        answer_timeout: seconds from a request to the end of its answer.
        may_leave: called when a request has its connection, which may take seconds, with no `await`
            before it is written; what it raises is raised by `send`.
    """

    def __init__(
        self,
        answer_timeout: float = ANSWER_TIMEOUT_SECONDS,
        may_leave: Callable[[], None] = lambda: None,
    ) -> None:
        self._answer_timeout = answer_timeout
        self._may_leave = may_leave
        self._stack = AsyncExitStack()
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._proxies: dict[str, Proxy | None] = {}

    async def __aenter__(self) -> Self:
        for name in (*_METHODS, _CLOSED_AFTERWARDS, _QUERIES):
            session = self._make_session(force_close=name == _CLOSED_AFTERWARDS)
            self._sessions[name] = await self._stack.enter_async_context(session)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def _make_session(self, *, force_close: bool) -> aiohttp.ClientSession:
        session = aiohttp.ClientSession(
            # The limiter is the limit.
            connector=_Connector(self._may_leave, limit=0, force_close=force_close),
            timeout=aiohttp.ClientTimeout(
                total=self._answer_timeout, sock_connect=CONNECT_TIMEOUT_SECONDS
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            response_class=_Response,
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
            max_headers=_MAX_HEADERS,
        )
        # aiohttp resends an idempotent request when a kept-alive connection drops, and offers no
        # public switch. The ledger would not record the second DELETE.
        session._retry_connection = False  # noqa: SLF001
        return session

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | NoResponse:
        """Send a request exactly once, without redirects or retries.

        Errors of aiohttp become a NoResponse without their texts, which can contain addresses with
        secrets.
        """
        if not self._sessions:
            raise RuntimeError("the transport is not open")
        target = URL(url, encoded=True)
        session = self._sessions[_connections(method, target, headers)]
        try:
            proxy = self._proxy_for(target)
            async with session.request(
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
                    retry_after=_retry_after(response.headers),
                    credits_left=_credits_left(response.headers),
                    credit_window=parse_credit_window(
                        response.headers.get(_WINDOW_HEADER, ""), url
                    ),
                    repeated=_is_repeated(response, content),
                )
        except ProxyError as error:
            return invalid_proxy(error)
        except UnicodeError:  # a label of the host name is not valid
            return NoResponse("the host name is unknown", sent=False)
        except aiohttp.ClientConnectorCertificateError as error:
            return certificate_failure(error.certificate_error)
        except aiohttp.ClientHttpProxyError as error:
            return proxy_refusal(self._proxy_address(target), error.status)
        except aiohttp.ClientProxyConnectionError:
            return unreachable_proxy(self._proxy_address(target))
        except _CONNECT_ERRORS as error:
            return NoResponse(self._reason(error), sent=False)
        except (TimeoutError, aiohttp.ClientError, OSError, _TooLongError) as error:
            return NoResponse(self._reason(error), timed_out=isinstance(error, TimeoutError))

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

    def _reason(self, error: BaseException) -> str:
        return next(
            (reason for kind, reason in _REASONS if isinstance(error, kind)),
            f"no answer within {self._answer_timeout:.0f} seconds"
            if isinstance(error, TimeoutError)
            else "the connection broke",
        )


def _connections(method: str, target: URL, headers: Mapping[str, str]) -> str:
    """Return the name of the connections for a request: links and queries are both POSTs."""
    if headers.get("Connection") == _CLOSED_AFTERWARDS:
        return _CLOSED_AFTERWARDS
    return _QUERIES if target.raw_path.endswith(COQL_TARGET) else method


class _HeadTooLongError(aiohttp.ClientError):
    """Raised when the headers of an answer are implausibly long."""


class _Received:
    """Identity of an answer received on a connection."""

    def __init__(self, response: aiohttp.ClientResponse, content: bytes) -> None:
        self._url = response.url
        self._answer = (response.status, hash(content))

    def is_same_to_another(self, other: _Received) -> bool:
        """Return whether two different addresses got the same answer."""
        return self._url != other._url and self._answer == other._answer


class _Handler(ResponseHandler):
    """A connection that closes itself when it receives unrequested data.

    Attributes:
        idle: whether it waits in the pool for its next request.
        previous: the previous answer.
    """

    idle = False
    previous: _Received | None = None
    _head_bytes: int | None = 0
    _selector: selectors.BaseSelector | None = None

    def begin_request(self) -> None:
        """Treat the next bytes as the answer to a request."""
        self.idle, self._head_bytes = False, 0

    def end_request(self) -> None:
        """Treat any further bytes as unsolicited."""
        self.idle = True

    def end_head(self) -> None:
        """Record that the headers of the answer are read."""
        self._head_bytes = None

    def has_unread(self) -> bool:
        """Return whether anything was received since the last answer.

        Data that the event loop has not processed yet is still in the socket.
        """
        if self.transport is None or self.should_close:
            return True
        if self._selector is None:
            self._selector = _Selector()
            self._selector.register(self.transport.get_extra_info("socket"), selectors.EVENT_READ)
        return bool(self._selector.select(0))

    def data_received(self, data: bytes) -> None:
        """Receive bytes of an answer; close the connection if none is expected."""
        if self.idle and data:
            self.close()
            return
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES:
                self.set_exception(_HeadTooLongError())
                self.close()
                return
        super().data_received(data)


class _Response(aiohttp.ClientResponse):
    """An answer with a reference to its connection."""

    handler: _Handler | None = None

    async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        """Read the headers."""
        handler = connection.protocol
        self.handler = handler if isinstance(handler, _Handler) else None
        started = await super().start(connection)
        if self.handler is not None:
            self.handler.end_head()
        return started


class _Connector(aiohttp.TCPConnector):
    """Connection pool that discards connections with unread bytes.

    Args:
        may_leave: called when a request has its connection; raises if it may not leave.
        limit: connections at most; 0 for any number.
        force_close: whether a connection serves one request only.
    """

    def __init__(self, may_leave: Callable[[], None], *, limit: int, force_close: bool) -> None:
        super().__init__(limit=limit, force_close=force_close)
        self._may_leave = may_leave
        # The class of connections has no public switch.
        make: type[ResponseHandler] = _Handler
        self._factory = partial(make, loop=self._loop)

    async def connect(self, *args: Any, **kwargs: Any) -> aiohttp.connector.Connection:
        """Return a new connection, or a pooled one that has received nothing since."""
        connection = await super().connect(*args, **kwargs)
        while (handler := _handler_of(connection)).idle and handler.has_unread():
            connection.close()
            connection = await super().connect(*args, **kwargs)
        try:
            self._may_leave()
        except BaseException:
            connection.close()
            raise
        handler.begin_request()
        connection.add_callback(handler.end_request)
        return connection


def _handler_of(connection: aiohttp.connector.Connection) -> _Handler:
    handler = connection.protocol
    if not isinstance(handler, _Handler):
        raise TypeError("a connection that another connector made")
    return handler


def _is_repeated(response: aiohttp.ClientResponse, content: bytes) -> bool:
    """Return whether an answer repeats the previous one on its connection, to another address.

    If so, the connection is not reused, as the real answer may still arrive.
    """
    handler = response.handler if isinstance(response, _Response) else None
    if handler is None:
        return False
    previous, handler.previous = handler.previous, _Received(response, content)
    repeated = previous is not None and previous.is_same_to_another(handler.previous)
    if repeated:
        handler.force_close()
    return repeated


def _proxy_headers(proxy: Proxy | None) -> dict[str, str] | None:
    authorization = proxy and proxy.authorization
    return {"Proxy-Authorization": authorization} if authorization else None


class _TooLongError(Exception):
    """Raised when an answer is longer than any answer of Zoho's."""


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    while chunk := await response.content.readany():
        size += len(chunk)
        if size > _MAX_BODY_BYTES:
            raise _TooLongError
        chunks.append(chunk)
    return b"".join(chunks)


def _retry_after(headers: CIMultiDictProxy[str]) -> float | None:
    """Return the longest wait of all Retry-After headers; Zoho does not document any."""
    values = headers.getall("Retry-After", ())
    waits = [parse_retry_after(value, headers.get("Date", "")) for value in values]
    return max((wait for wait in waits if wait is not None), default=None)


def _credits_left(headers: CIMultiDictProxy[str]) -> int | None:
    """Return the credits left according to the header; the lowest of several."""
    values = [value.strip() for value in headers.getall("X-API-CREDITS-REMAINING", ())]
    counts = [int(v) for v in values if v.isascii() and v.isdigit() and len(v) <= 15]
    return min(counts, default=None)


_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (aiohttp.ClientConnectorDNSError, "the host name is unknown"),
    (aiohttp.ClientSSLError, "no secure connection (TLS) could be made"),
    (aiohttp.ClientConnectorError, "nothing accepts connections there"),
    (aiohttp.ConnectionTimeoutError, "the connection timed out"),
    (_HeadTooLongError, "an answer whose headers are longer than 1 MB"),
    (_TooLongError, "an answer of more than 8 MB"),
    (
        aiohttp.ClientResponseError,
        "an answer that is not HTTP/1.1, or has a header of more than 64 KB or more than 1,000",
    ),
)
