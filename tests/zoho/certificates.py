"""Certificates for test servers, created with openssl."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

HOST = "crm.bulklink.test"


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate and its key."""

    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        """Return a server's TLS context with this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def make_certificate(folder: Path, *, host: str = HOST, expired: bool = False) -> Certificate:
    """Create a certificate for a host, valid or expired."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    key, request, certificate = (folder / name for name in ("key.pem", "request.pem", "cert.pem"))
    extensions = folder / "extensions"
    extensions.write_text(f"subjectAltName=DNS:{host}\nbasicConstraints=CA:TRUE\n", "ascii")
    _run(
        openssl,
        *("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={host}"),
        *("-keyout", key, "-out", request),
    )
    dates = ("-days", "-1") if expired else ("-days", "30000")
    _run(
        openssl,
        *("x509", "-req", "-in", request, "-signkey", key, "-out", certificate),
        *("-extfile", extensions, *dates),
    )
    return Certificate(certificate, key)


def _run(*command: str | Path) -> None:
    subprocess.run([*map(str, command)], check=True, capture_output=True)
