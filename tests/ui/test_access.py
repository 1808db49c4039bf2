"""Which requests the page serves: the token, and where the browser says that a request is from."""

from __future__ import annotations

import pytest

from bulklink.ui.access import Access, RequestOrigin

PORT, TOKEN = 8123, "0123456789abcdef0123456789abcdef"
HERE = f"http://127.0.0.1:{PORT}"
ACCESS = Access(PORT, TOKEN)


def status_of(request: RequestOrigin) -> int | None:
    refusal = ACCESS.refuse_origin(request)
    return None if refusal is None else refusal.status


def request(method: str = "GET", host: str = f"127.0.0.1:{PORT}", **more: str) -> RequestOrigin:
    return RequestOrigin(method, (host,), **more)


@pytest.mark.parametrize(
    "served",
    [
        request(),
        request(host=f"localhost:{PORT}"),
        request(host=f"LOCALHOST:{PORT}"),
        request(site="none", mode="navigate"),
        request(site="cross-site", mode="navigate"),
        request(site="same-site", mode="navigate"),
        request(site="same-origin", mode="cors"),
        request("POST", origin=HERE, site="same-origin", mode="cors"),
        request("POST", origin=f"http://localhost:{PORT}", host=f"localhost:{PORT}"),
        request("POST", origin="null", site="same-origin", mode="navigate"),
        request("POST"),
    ],
    ids=[
        "program",
        "localhost",
        "upper case",
        "address bar",
        "file that opens the browser",
        "link of another port",
        "script of the page",
        "fetch of the page",
        "origin by name",
        "form of the page",
        "program that posts",
    ],
)
def test_the_page_and_the_address_bar_are_served(served: RequestOrigin) -> None:
    assert status_of(served) is None


@pytest.mark.parametrize(
    "hosts",
    [
        (),
        ("",),
        ("127.0.0.1",),
        ("127.0.0.1:1",),
        (f"evil.example:{PORT}",),
        (f"127.0.0.1.evil.example:{PORT}",),
        (f"127.0.0.1:{PORT}.evil.example",),
        (f"evil.example@127.0.0.1:{PORT}",),
        (f"[::1]:{PORT}",),
        (f"0.0.0.0:{PORT}",),
        (f"127.0.0.1:{PORT}", f"127.0.0.1:{PORT}"),
    ],
    ids=[
        "none",
        "empty",
        "no port",
        "another port",
        "rebound name",
        "longer name",
        "longer port",
        "user",
        "IPv6",
        "any address",
        "two",
    ],
)
def test_a_foreign_host_is_refused(hosts: tuple[str, ...]) -> None:
    assert status_of(RequestOrigin("GET", hosts)) == 421


@pytest.mark.parametrize(
    "foreign",
    [
        request("POST", origin="https://evil.example"),
        request("POST", origin=f"https://127.0.0.1:{PORT}"),
        request("POST", origin="http://127.0.0.1:1"),
        request("POST", origin="null"),
        request("POST", origin="null", site="cross-site", mode="navigate"),
        request("POST", origin="null", site="none", mode="navigate"),
        request("POST", origin=""),
        request("POST", origin=HERE, site="cross-site"),
        request("POST", site="same-site", mode="navigate"),
        request("POST", site="cross-site", mode="navigate"),
        request(origin="null", site="cross-site", mode="cors"),
        request(site="cross-site", mode="no-cors"),
        request(site="same-site", mode="cors"),
        request(site="cross-site", mode="websocket"),
        request(site="anything else"),
    ],
    ids=[
        "origin",
        "scheme",
        "port",
        "null without a site",
        "null of a sandboxed frame",
        "null of a file",
        "empty origin",
        "site against origin",
        "form of another port",
        "form of another site",
        "fetch of a sandboxed frame",
        "image",
        "fetch of another port",
        "websocket",
        "unknown site",
    ],
)
def test_another_page_is_refused(foreign: RequestOrigin) -> None:
    assert status_of(foreign) == 403


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (TOKEN, None),
        (None, 401),
        ("", 401),
        (TOKEN[:-1], 403),
        (TOKEN + "0", 403),
        (TOKEN.upper(), 403),
        (f" {TOKEN}", 403),
        ("f" * 32, 403),
        ("ключ", 403),
        ("\udcff", 403),
    ],
    ids=[
        "right",
        "none",
        "empty",
        "shorter",
        "longer",
        "upper case",
        "space",
        "yesterday's",
        "other letters",
        "broken letters",
    ],
)
def test_the_token_is_exact(token: str | None, status: int | None) -> None:
    refusal = ACCESS.refuse_token(RequestOrigin("GET", (), token=token))
    assert (None if refusal is None else refusal.status) == status


def test_the_default_port_of_browsers_is_left_out_of_their_hosts() -> None:
    access = Access(80, TOKEN)
    assert access.refuse_origin(RequestOrigin("GET", ("127.0.0.1",))) is None
    assert access.refuse_origin(RequestOrigin("GET", ("127.0.0.1:80",))) is not None


def test_the_token_is_not_in_its_repr() -> None:
    assert TOKEN not in repr(ACCESS)
