"""Proxy settings in the environment."""

from __future__ import annotations

import pytest

from bulklink.zoho.proxies import find_proxy

HOST = "www.zohoapis.eu"
PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"])
@pytest.mark.parametrize("value", [PROXY, "proxy.example:3128", f" {PROXY}/ "])
def test_a_proxy_is_used_for_https(name: str, value: str) -> None:
    proxy = find_proxy(f"https://{HOST}", {name: value})
    assert proxy is not None
    assert (proxy.url, proxy.address) == (PROXY, "proxy.example:3128")


def test_https_proxy_and_lower_case_take_precedence() -> None:
    env = {"HTTP_PROXY": "http://c", "http_proxy": "http://d", "HTTPS_PROXY": "http://b"}
    for name, address in (("https_proxy", "a:80"), ("", "b:80")):
        proxy = find_proxy(f"https://{HOST}", env | ({name: "http://a"} if name else {}))
        assert proxy is not None
        assert proxy.address == address


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize("value", [HOST, ".zohoapis.eu", "zohoapis.eu", "*", f"a, {HOST} "])
def test_a_host_listed_in_no_proxy_uses_no_proxy(name: str, value: str) -> None:
    assert find_proxy(f"https://{HOST}", {"HTTPS_PROXY": PROXY, name: value}) is None


@pytest.mark.parametrize("value", ["zoho.eu", "apis.eu", "www.zohoapis.com", ""])
def test_other_hosts_listed_in_no_proxy_do_not_matter(value: str) -> None:
    assert find_proxy(f"https://{HOST}", {"HTTPS_PROXY": PROXY, "NO_PROXY": value}) is not None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "[::1]", "LOCALHOST"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_this_machine_uses_no_proxy(scheme: str, host: str) -> None:
    env = {"HTTPS_PROXY": PROXY, "HTTP_PROXY": PROXY}
    assert find_proxy(f"{scheme}://{host}:8080", env) is None


def test_no_text_of_a_proxy_contains_its_password() -> None:
    proxy = find_proxy(f"https://{HOST}", {"HTTPS_PROXY": "http://me:hush@proxy.example"})
    assert proxy is not None
    assert "hush" not in f"{proxy!r} {proxy.url} {proxy.address}"
