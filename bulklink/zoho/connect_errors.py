"""Reasons for failed connections, and what to do about them."""

from __future__ import annotations

import ssl
from http import HTTPStatus

from bulklink.zoho.http import NoResponse
from bulklink.zoho.proxies import ProxyError

_UNKNOWN_ISSUER = "its issuer is unknown"
_CERTIFICATE_REASONS = {
    9: "it is not valid yet",
    10: "it has expired",
    18: _UNKNOWN_ISSUER,
    19: _UNKNOWN_ISSUER,
    20: _UNKNOWN_ISSUER,
    21: _UNKNOWN_ISSUER,
    23: "it was revoked",
    62: "it is for another host",
    64: "it is for another host",
}
"""Reasons by OpenSSL's error number (`X509_V_ERR_…`)."""
_CERTIFICATE_CURES = {
    9: "Check the clock of this machine.",
    10: "Check the clock of this machine, and any proxy between it and the host.",
    62: "Check the address: something else may be answering in place of the host.",
    64: "Check the address: something else may answer in place of the host.",
}
_ISSUER_CURE = (
    "If a proxy inspects connections, set SSL_CERT_FILE to a PEM file of the trusted"
    " certificates, including that of its issuer."
)
_SIGN_IN_CURE = "Put user and password into HTTPS_PROXY: http://USER:PASSWORD@HOST:PORT."
_PROXY_CURE = "Check HTTPS_PROXY and NO_PROXY: the proxy must allow CONNECT to Zoho's hosts."


def certificate_failure(error: Exception) -> NoResponse:
    """Return the outcome for a host whose certificate is not trusted; a retry cannot help."""
    number = error.verify_code if isinstance(error, ssl.SSLCertVerificationError) else 0
    reason = _CERTIFICATE_REASONS.get(number, "it is not valid")
    return NoResponse(
        f"the certificate of the host is not trusted: {reason}",
        sent=False,
        cure=_CERTIFICATE_CURES.get(number, _ISSUER_CURE),
    )


def proxy_refusal(address: str, status: int) -> NoResponse:
    """Return the outcome for a proxy that refuses to connect.

    Args:
        address: host and port of the proxy.
        status: HTTP status of its answer; only after 5xx can a retry help.
    """
    cure = _SIGN_IN_CURE if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED else _PROXY_CURE
    return NoResponse(
        f"the proxy {address} does not connect to the host (HTTP {status})",
        sent=False,
        cure="" if status >= 500 else cure,
    )


def invalid_proxy(error: ProxyError) -> NoResponse:
    """Return the outcome for a variable that is not the address of an HTTP proxy."""
    return NoResponse(
        f"{error} is not the address of an HTTP proxy",
        sent=False,
        cure="Write it like http://proxy.example.com:3128, or unset it.",
    )


def unreachable_proxy(address: str) -> NoResponse:
    """Return the outcome for a proxy, by host and port, that accepts no connection."""
    return NoResponse(f"the proxy {address} accepts no connection", sent=False)
