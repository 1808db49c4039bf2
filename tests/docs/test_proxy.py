"""docs/proxy.md names the messages and the variables that the program has."""

from __future__ import annotations

import re

import pytest

from bulklink.zoho.connect_errors import (
    certificate_failure,
    invalid_proxy,
    proxy_refusal,
    unreachable_proxy,
)
from bulklink.zoho.proxies import ProxyError, find_proxy
from tests.docs.reference import ROOT

TEXT = (ROOT / "docs" / "proxy.md").read_text("utf-8")
ADDRESS = "proxy.example.com:3128"


@pytest.mark.parametrize(
    "detail",
    [
        unreachable_proxy(ADDRESS).reason,
        proxy_refusal(ADDRESS, 407).reason,
        proxy_refusal(ADDRESS, 403).reason,
        certificate_failure(OSError()).reason,
        invalid_proxy(ProxyError("HTTPS_PROXY")).reason,
    ],
)
def test_each_message_has_its_row(detail: str) -> None:
    messages = re.findall(r"^\| ((?:the|…) [^|]+) \|", TEXT, re.MULTILINE)
    patterns = [re.escape(message).replace("…", ".+") for message in messages]
    assert len(messages) == 5
    assert [pattern for pattern in patterns if re.fullmatch(pattern, detail)]


def test_the_address_that_the_page_shows_is_taken() -> None:
    (value,) = set(re.findall(r'HTTPS_PROXY ?= ?"?(http://[^\s"]+)', TEXT))
    proxy = find_proxy("https://www.zohoapis.eu", {"HTTPS_PROXY": value})
    assert proxy is not None
    assert proxy.address == ADDRESS


def test_a_password_is_decoded_as_the_page_says() -> None:
    value = "http://me:a%40b%3Ac%2Fd@proxy.example.com:3128"
    proxy = find_proxy("https://www.zohoapis.eu", {"HTTPS_PROXY": value})
    assert proxy is not None
    assert proxy.authorization == "Basic bWU6YUBiOmMvZA=="
