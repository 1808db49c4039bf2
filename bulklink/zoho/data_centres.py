"""Addresses of Zoho's data centres and environments."""

from __future__ import annotations

from urllib.parse import urlsplit

_ACCOUNTS = {
    "us": "accounts.zoho.com",
    "eu": "accounts.zoho.eu",
    "in": "accounts.zoho.in",
    "au": "accounts.zoho.com.au",
    "cn": "accounts.zoho.com.cn",
    "jp": "accounts.zoho.jp",
    "ca": "accounts.zohocloud.ca",
    "sa": "accounts.zoho.sa",
    "uk": "accounts.zoho.uk",
}
_API = {
    "us": "zohoapis.com",
    "eu": "zohoapis.eu",
    "in": "zohoapis.in",
    "au": "zohoapis.com.au",
    "cn": "zohoapis.com.cn",
    "jp": "zohoapis.jp",
    "ca": "zohoapis.ca",
    "sa": "zohoapis.sa",
    "uk": "zohoapis.uk",
}
_PREFIXES = {"production": "www", "sandbox": "sandbox", "developer": "developer"}

DATA_CENTRES = tuple(_ACCOUNTS)
ENVIRONMENTS = tuple(_PREFIXES)


def accounts_address(data_centre: str) -> str:
    """Return the address of a data centre's accounts server."""
    return f"https://{_ACCOUNTS[data_centre]}"


def console_address(data_centre: str) -> str:
    """Return the address of a data centre's API console, where self clients are created."""
    return f"https://{_ACCOUNTS[data_centre].replace('accounts.', 'api-console.', 1)}"


def api_address(data_centre: str, environment: str) -> str:
    """Return the API address of an environment."""
    return f"https://{_PREFIXES[environment]}.{_API[data_centre]}"


def api_addresses(environment: str) -> frozenset[str]:
    """Return the API addresses of an environment in all data centres."""
    return frozenset(api_address(data_centre, environment) for data_centre in _API)


def environment_of(address: str) -> str | None:
    """Return the environment that an address belongs to; None if it is not Zoho's.

    Any host of Zoho's API that is neither a sandbox nor a developer host counts as production.
    """
    host = (urlsplit(address).hostname or "").removesuffix(".")
    for domain in _API.values():
        if host == domain or host.endswith(f".{domain}"):
            prefix = host.removesuffix(domain).removesuffix(".")
            return next(
                (name for name in ENVIRONMENTS if _PREFIXES[name] == prefix), ENVIRONMENTS[0]
            )
    return None


def find_api_address(address: str, environment: str) -> str | None:
    """Return the API address of an environment from that of any; None if it is not Zoho's.

    Args:
        address: an untrusted address. Only Zoho's exact addresses are accepted, without user, port
            or path.
        environment: production, sandbox or developer.
    """
    spelling = address.lower().removesuffix("/")
    for data_centre in _API:
        if any(spelling == api_address(data_centre, name) for name in ENVIRONMENTS):
            return api_address(data_centre, environment)
    return None
