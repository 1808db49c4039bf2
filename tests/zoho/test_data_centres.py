"""Hosts of each data centre and environment."""

from __future__ import annotations

import pytest

from bulklink.zoho.data_centres import (
    DATA_CENTRES,
    accounts_address,
    api_address,
    console_address,
)

HOSTS = {
    "us": ("accounts.zoho.com", "www.zohoapis.com", "api-console.zoho.com"),
    "eu": ("accounts.zoho.eu", "www.zohoapis.eu", "api-console.zoho.eu"),
    "in": ("accounts.zoho.in", "www.zohoapis.in", "api-console.zoho.in"),
    "au": ("accounts.zoho.com.au", "www.zohoapis.com.au", "api-console.zoho.com.au"),
    "cn": ("accounts.zoho.com.cn", "www.zohoapis.com.cn", "api-console.zoho.com.cn"),
    "jp": ("accounts.zoho.jp", "www.zohoapis.jp", "api-console.zoho.jp"),
    "ca": ("accounts.zohocloud.ca", "www.zohoapis.ca", "api-console.zohocloud.ca"),
    "sa": ("accounts.zoho.sa", "www.zohoapis.sa", "api-console.zoho.sa"),
    "uk": ("accounts.zoho.uk", "www.zohoapis.uk", "api-console.zoho.uk"),
}


def test_there_are_nine_data_centres() -> None:
    assert set(DATA_CENTRES) == set(HOSTS)


@pytest.mark.parametrize("centre", HOSTS)
def test_a_data_centre_has_an_accounts_an_api_and_a_console_host(centre: str) -> None:
    addresses = accounts_address(centre), api_address(centre, "production"), console_address(centre)
    assert addresses == tuple(f"https://{host}" for host in HOSTS[centre])


@pytest.mark.parametrize("environment", ["sandbox", "developer"])
def test_each_environment_has_its_own_api_host(environment: str) -> None:
    assert api_address("eu", environment) == f"https://{environment}.zohoapis.eu"
