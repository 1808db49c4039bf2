"""TLS and proxies over real sockets: untrusted certificates, and CONNECT."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bulklink.zoho.http import Answer, NoResponse
from bulklink.zoho.transport import HttpTransport
from tests.zoho.certificates import HOST, Certificate, make_certificate

PASSWORD = "hush:hush@home"
ENCODED_PASSWORD = "hush%3Ahush%40home"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@asynccontextmanager
async def serve_tls(certificate: Certificate) -> AsyncIterator[int]:
    """Serve `{}` over TLS and yield the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    context = certificate.server_context()
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


class ConnectProxy:
    """A proxy that connects any host to a port of this machine, or refuses with a status."""

    def __init__(self, port: int = 0, status: int = 200) -> None:
        self.port = 0
        self.heads: list[str] = []
        self._target_port = port
        self._status = status

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        if self._status != 200:
            writer.write(
                f"HTTP/1.1 {self._status} No\r\nLocation: http://login.example/\r\n"
                "Content-Length: 0\r\n\r\n".encode()
            )
            writer.close()
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        await asyncio.gather(_copy(reader, target_writer), _copy(target_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while content := await reader.read(65536):
            writer.write(content)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def run_proxy(port: int = 0, status: int = 200) -> AsyncIterator[ConnectProxy]:
    proxy = ConnectProxy(port, status)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    async with server:
        proxy.port = server.sockets[0].getsockname()[1]
        yield proxy


async def send_to(url: str) -> Answer | NoResponse:
    async with HttpTransport() as transport:
        return await transport.send("GET", url, {}, None)


PROGRAM = """
import asyncio, sys
from bulklink.zoho.transport import HttpTransport
async def main():
    async with HttpTransport() as transport:
        print(await transport.send("GET", sys.argv[1], {}, None))
asyncio.run(main())
"""


async def send_from_process(url: str, **env: str) -> str:
    """Send a request from a new process, which reads its certificates at the start."""
    program = [sys.executable, "-c", PROGRAM, url]
    completed = await asyncio.to_thread(
        subprocess.run, program, env=os.environ | env, capture_output=True, text=True, check=True
    )
    assert completed.stderr == ""
    return str(completed.stdout)


async def test_an_unknown_issuer_is_reported_with_advice(
    certificate: Certificate,
) -> None:
    async with serve_tls(certificate) as port:
        outcome = await send_to(f"https://127.0.0.1:{port}/")
    assert isinstance(outcome, NoResponse)
    assert "its issuer is unknown" in outcome.reason
    assert "SSL_CERT_FILE" in outcome.cure
    assert not outcome.sent


async def test_certificates_in_ssl_cert_file_are_trusted(certificate: Certificate) -> None:
    async with serve_tls(certificate) as port, run_proxy(port) as proxy:
        output = await send_from_process(
            f"https://{HOST}/", SSL_CERT_FILE=str(certificate.certificate), HTTPS_PROXY=proxy.url
        )
    assert output.startswith("Answer(status=200")


async def test_a_certificate_of_another_host_is_reported(certificate: Certificate) -> None:
    async with serve_tls(certificate) as port:
        output = await send_from_process(
            f"https://127.0.0.1:{port}/", SSL_CERT_FILE=str(certificate.certificate)
        )
    assert "it is for another host" in output
    assert "SSL_CERT_FILE" not in output


async def test_an_expired_certificate_is_reported(tmp_path: Path) -> None:
    expired = make_certificate(tmp_path, expired=True)
    async with serve_tls(expired) as port, run_proxy(port) as proxy:
        output = await send_from_process(
            f"https://{HOST}/", SSL_CERT_FILE=str(expired.certificate), HTTPS_PROXY=proxy.url
        )
    assert "it has expired" in output


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"])
async def test_a_proxy_in_the_environment_is_used_for_https(
    certificate: Certificate, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve_tls(certificate) as port, run_proxy(port) as proxy:
        monkeypatch.setenv(name, proxy.url)
        outcome = await send_to(f"https://{HOST}/crm")
    assert isinstance(outcome, NoResponse)
    assert "issuer" in outcome.reason  # it reached the server behind the proxy
    assert [head.splitlines()[0] for head in proxy.heads] == [f"CONNECT {HOST}:443 HTTP/1.1"]


async def test_user_and_password_are_sent_to_the_proxy_and_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with run_proxy(status=407) as proxy:
        address = f"127.0.0.1:{proxy.port}"
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:{ENCODED_PASSWORD}@{address}")
        outcome = await send_to(f"https://{HOST}/")
    expected = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
    assert f"Proxy-Authorization: Basic {expected}" in proxy.heads[0]
    assert isinstance(outcome, NoResponse)
    assert address in outcome.reason
    assert "hush" not in repr(outcome)


@pytest.mark.parametrize("status", [302, 307, 400, 403, 407])
async def test_a_refusal_by_the_proxy_is_reported_with_advice(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_proxy(status=status) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        outcome = await send_to(f"https://{HOST}/")
    assert isinstance(outcome, NoResponse)
    assert f"the proxy 127.0.0.1:{proxy.port}" in outcome.reason
    assert f"HTTP {status}" in outcome.reason
    assert "HTTPS_PROXY" in outcome.cure
    assert not outcome.sent


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_server_error_of_the_proxy_can_be_retried(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_proxy(status=status) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        outcome = await send_to(f"https://{HOST}/")
    assert isinstance(outcome, NoResponse)
    assert "the proxy" in outcome.reason
    assert not outcome.cure
    assert not outcome.sent


async def test_an_unreachable_proxy_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    outcome = await send_to(f"https://{HOST}/")
    assert isinstance(outcome, NoResponse)
    assert "the proxy 127.0.0.1:9" in outcome.reason
    assert not outcome.sent


@pytest.mark.parametrize(
    "value", ["socks5://127.0.0.1:1080", "http://", "http://a:b:c", "http://[::1", "http://x:y%3Az"]
)
async def test_an_invalid_proxy_address_is_reported_by_variable(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", value)
    outcome = await send_to(f"https://{HOST}/")
    assert isinstance(outcome, NoResponse)
    assert "HTTPS_PROXY" in outcome.reason
    assert outcome.cure
