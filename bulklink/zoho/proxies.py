"""HTTP proxies set by environment variables."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from bulklink.zoho.connection import is_loopback


class Proxy(msgspec.Struct, frozen=True):
    """An HTTP proxy.

    Args:
        url: scheme, host and port.
        address: host and port, for display.
        authorization: value of the Proxy-Authorization header, never shown; None for no header.
    """

    url: str
    address: str
    authorization: str | None = None

    def __repr__(self) -> str:
        return f"Proxy({self.address!r}, …)"


class ProxyError(ValueError):
    """Raised when a variable is not the address of an HTTP proxy; its text names the variable."""


def find_proxy(url: str, env: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for an address; None to connect directly.

    HTTPS_PROXY takes precedence over HTTP_PROXY, and lower case over upper case. Hosts on this
    machine, hosts listed in NO_PROXY and plain http use no proxy.

    Args:
        url: address of the request.
        env: the environment variables.

    Raises:
        ProxyError: if the variable is not the address of an HTTP proxy.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or is_loopback(url):
        return None
    if _is_excluded(parts, _value(env, "NO_PROXY")):
        return None
    for name in ("HTTPS_PROXY", "HTTP_PROXY"):
        if value := _value(env, name):
            return _parse_proxy(value, name)
    return None


def _is_excluded(parts: SplitResult, hosts: str) -> bool:
    """Return whether NO_PROXY lists a host, a parent domain, either with its port, or `*`."""
    host, port = (parts.hostname or "").lower(), parts.port or 443
    for entry in hosts.lower().replace(",", " ").split():
        name = entry.removeprefix("*").lstrip(".")
        if entry == "*" or any(
            f".{address}".endswith(f".{name}") for address in (host, f"{host}:{port}") if name
        ):
            return True
    return False


def _value(env: Mapping[str, str], name: str) -> str:
    return (env.get(name.lower()) or env.get(name) or "").strip()


def _parse_proxy(value: str, name: str) -> Proxy:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        port, host = parts.port, parts.hostname
    except ValueError:
        raise ProxyError(name) from None
    if parts.scheme not in ("http", "https") or not host or not value.isprintable():
        raise ProxyError(name)
    host = f"[{host}]" if ":" in host else host
    address = f"{host}:{port or (80 if parts.scheme == 'http' else 443)}"
    return Proxy(f"{parts.scheme}://{address}", address, _authorization(parts, name))


def _authorization(parts: SplitResult, name: str) -> str | None:
    if parts.username is None:
        return None
    user, password = unquote(parts.username), unquote(parts.password or "")
    if ":" in user:  # cannot be expressed in HTTP basic authentication
        raise ProxyError(name)
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()
