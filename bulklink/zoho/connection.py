"""Connection settings: where the CRM is and which credentials to use."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec

from bulklink.errors import ConfigError
from bulklink.zoho.data_centres import (
    DATA_CENTRES,
    ENVIRONMENTS,
    accounts_address,
    api_address,
    api_addresses,
    find_api_address,
)

_CREDENTIALS = ("BULKLINK_CLIENT_ID", "BULKLINK_CLIENT_SECRET", "BULKLINK_REFRESH_TOKEN")
SIGN_IN_VARIABLES = ("BULKLINK_ACCESS_TOKEN", *_CREDENTIALS)
"""Environment variables for signing in."""


class Credentials(msgspec.Struct, frozen=True):
    """Credentials to request access tokens.

    Args:
        client_id: id of the OAuth client.
        client_secret: its secret.
        refresh_token: refresh token of the client.
    """

    client_id: str
    client_secret: str
    refresh_token: str

    def __repr__(self) -> str:
        return "Credentials(…)"


class Connection(msgspec.Struct, frozen=True):
    """Where the CRM is and how to sign in.

    Args:
        api_url: scheme, host and port of the API.
        accounts_url: scheme, host and port of the accounts server; None if unknown.
        data_centre: us, eu, in, au, cn, jp, ca, sa or uk; None if only addresses are set.
        environment: production, sandbox or developer.
        api_url_given: whether the user set the API address, which then overrides the address
            returned with a token.
        access_token: an access token, used until it is refused.
        credentials: credentials to request access tokens.
        module_id: id of the Deals module; None to look it up.
        org_id: id of the org at sign-in; None if only a call can tell.
        profile: name of the stored profile with the credentials; None if they are from elsewhere.
    """

    api_url: str
    accounts_url: str | None
    data_centre: str | None
    environment: str
    api_url_given: bool
    access_token: str | None = None
    credentials: Credentials | None = None
    module_id: str | None = None
    org_id: str | None = None
    profile: str | None = None

    def __repr__(self) -> str:
        return f"Connection({self.api_url!r}, …)"

    @property
    def loopback(self) -> bool:
        """Whether the API is on this machine."""
        return is_loopback(self.api_url)

    @classmethod
    def from_values(
        cls,
        *,
        dc: str | None = None,
        environment: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        refresh_token: str | None = None,
        access_token: str | None = None,
        deals_module_id: str | None = None,
        api_url: str | None = None,
        accounts_url: str | None = None,
    ) -> Connection:
        """Return a connection from values with the meaning of the `BULKLINK_…` variables.

        Args:
            dc: the org's data centre.
            environment: production, sandbox or developer; None for production.
            client_id: id of the self client.
            client_secret: secret of the self client.
            refresh_token: refresh token used to request access tokens.
            access_token: an access token, used until it is refused.
            deals_module_id: the org's id of the Deals module; None to look it up.
            api_url: another address of the API: scheme, host and port.
            accounts_url: another address of the accounts server.

        Raises:
            ConfigError: if data centre and address are missing, or a value is not valid.
        """
        values = {
            "BULKLINK_DC": dc,
            "BULKLINK_ENVIRONMENT": environment,
            "BULKLINK_CLIENT_ID": client_id,
            "BULKLINK_CLIENT_SECRET": client_secret,
            "BULKLINK_REFRESH_TOKEN": refresh_token,
            "BULKLINK_ACCESS_TOKEN": access_token,
            "BULKLINK_DEALS_MODULE_ID": deals_module_id,
            "BULKLINK_API_URL": api_url,
            "BULKLINK_ACCOUNTS_URL": accounts_url,
        }
        try:
            return cls.from_environment({k: v for k, v in values.items() if v is not None})
        except ConfigError as error:
            raise ConfigError(
                error.message, where=_as_arguments(error.where), advice=_as_arguments(error.advice)
            ) from None

    @classmethod
    def from_environment(cls, env: Mapping[str, str] | None = None) -> Connection:
        """Read a connection from environment variables; docs/reference.md lists them.

        Args:
            env: the variables; None for those of this process.

        Raises:
            ConfigError: if data centre and address are missing, or a value is not valid.
        """
        variables = non_empty_variables(os.environ if env is None else env)
        connection = msgspec.structs.replace(
            cls.endpoint_from(variables),
            access_token=variables.get("BULKLINK_ACCESS_TOKEN"),
            credentials=_credentials(variables),
        )
        _check_sign_in(connection)
        return connection

    @classmethod
    def endpoint_from(cls, env: Mapping[str, str]) -> Connection:
        """Read the addresses, without credentials.

        Raises:
            ConfigError: if data centre and address are missing, or a value is not valid.
        """
        variables = non_empty_variables(env)
        centre = _one_of(variables, "BULKLINK_DC", DATA_CENTRES)
        environment = _one_of(variables, "BULKLINK_ENVIRONMENT", ENVIRONMENTS) or "production"
        api_url = _address(variables, "BULKLINK_API_URL")
        accounts_url = _address(variables, "BULKLINK_ACCOUNTS_URL")
        if centre is None and api_url is None:
            raise ConfigError(
                "No data centre is set.",
                where="BULKLINK_DC",
                advice=f"Set it to the data centre of your org: {' '.join(DATA_CENTRES)}."
                " Or sign in once with `bulklink auth login`.",
            )
        return cls(
            api_url=api_url or api_address(centre or "us", environment),
            accounts_url=accounts_url or (accounts_address(centre) if centre else None),
            data_centre=centre,
            environment=environment,
            api_url_given=api_url is not None,
            module_id=_module_id(variables),
        )

    def api_url_from(self, api_domain: object) -> str:
        """Return the API address to use with a token; the connection's own if in doubt.

        Args:
            api_domain: production host returned with the token; a sandbox or developer environment
                has another host.
        """
        return self._api_url_named(api_domain) or self.api_url

    def is_foreign_api_domain(self, api_domain: object) -> bool:
        """Return whether an accounts server returned a host that must not receive the token.

        An accounts server on this machine may return an API on this machine; all others may only
        return Zoho's hosts.
        """
        return self._api_url_named(api_domain) is None

    def _api_url_named(self, api_domain: object) -> str | None:
        if self.api_url_given or api_domain is None:
            return self.api_url
        if not isinstance(api_domain, str):
            return None
        return find_api_address(api_domain, self.environment) or self._local_address(api_domain)

    def accepts_api_url(self, api_url: str) -> bool:
        """Return whether a stored token may be sent to an address."""
        if self.api_url_given or api_url == self.api_url:
            return api_url == self.api_url
        return api_url in api_addresses(self.environment) or bool(self._local_address(api_url))

    def _local_address(self, address: str) -> str | None:
        """Return the address if it and the accounts server are on this machine; else None."""
        if self.accounts_url is None or not is_loopback(self.accounts_url):
            return None
        try:
            api_url = _parse_address(address, "api_domain")
        except ConfigError:
            return None
        return api_url if is_loopback(api_url) else None


def secrets_of(connection: Connection) -> tuple[str, ...]:
    """Return the secrets, which must never be written or shown; the client id is not secret."""
    credentials = connection.credentials
    return (credentials.client_secret, credentials.refresh_token) if credentials else ()


def is_loopback(url: str) -> bool:
    """Return whether an address is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _as_arguments(text: str) -> str:
    """Replace names of variables with names of arguments."""
    return re.sub(r"BULKLINK_([A-Z_]+)", lambda match: match[1].lower(), text)


def non_empty_variables(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are set, without surrounding spaces."""
    return {key: value.strip() for key, value in env.items() if value.strip()}


def _one_of(variables: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str | None:
    value = variables.get(name)
    if value is not None and value.lower() not in allowed:
        raise ConfigError(
            f"{value!r} is unknown.", where=name, advice=f"Use one of: {' '.join(allowed)}."
        )
    return value.lower() if value else None


def _address(variables: Mapping[str, str], name: str) -> str | None:
    value = variables.get(name)
    return None if value is None else _parse_address(value, name)


def _parse_address(value: str, where: str) -> str:
    """Return scheme, host and port of an address, normalized.

    Raises:
        ConfigError: if it has other parts, or a token must not be sent to it.
    """
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    # `urlsplit` drops line breaks and tabs, and a non-ASCII host can look like Zoho's.
    is_plain = value.isascii() and value.isprintable() and " " not in value and "\\" not in value
    is_address = parts.scheme in ("http", "https") and parts.hostname and parts.path in ("", "/")
    if not is_plain or not is_address or port == 0:
        raise ConfigError(
            "This is not an address of scheme, host and port.",
            where=where,
            advice="Write it like https://www.zohoapis.com or http://127.0.0.1:8080.",
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError(
            "An address must not have a user, query or fragment here.",
            where=where,
            advice="Write it like https://www.zohoapis.com.",
        )
    if parts.scheme == "http" and not is_loopback(value):
        raise ConfigError(
            f"Plain http would expose the access token on the way to {parts.hostname}.",
            where=where,
            advice="Use https; http is only allowed for addresses on this machine.",
        )
    hostname = parts.hostname or ""
    host = f"[{hostname}]" if ":" in hostname else hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def _credentials(variables: Mapping[str, str]) -> Credentials | None:
    values = [variables.get(name) for name in _CREDENTIALS]
    if not any(values):
        return None
    missing = [name for name, value in zip(_CREDENTIALS, values, strict=True) if not value]
    if missing:
        raise ConfigError(
            "Client id, client secret and refresh token belong together.",
            where=", ".join(missing),
            advice="Set what is missing, or unset the others and set BULKLINK_ACCESS_TOKEN.",
        )
    for name, value in zip(_CREDENTIALS, values, strict=True):
        check_sign_in_text(value or "", name)
    return Credentials(*(value or "" for value in values))


def check_sign_in_text(text: str, where: str) -> None:
    """Refuse a token, secret or id with characters that Zoho's never contain.

    Args:
        text: the token, secret or id; it is not shown.
        where: variable or file that contains it.

    Raises:
        ConfigError: if it contains such characters.
    """
    if not is_sign_in_text(text):
        raise ConfigError(
            "It has characters that no token, secret or id has, such as line breaks or spaces.",
            where=where,
            advice="Copy it again, with nothing around it.",
        )


def is_sign_in_text(text: str) -> bool:
    """Return whether a token, secret or id has only characters that Zoho's can contain."""
    return text.isascii() and text.isprintable() and " " not in text


def _module_id(variables: Mapping[str, str]) -> str | None:
    value = variables.get("BULKLINK_DEALS_MODULE_ID")
    if value is not None and not (value.isascii() and value.isdigit() and len(value) <= 100):
        raise ConfigError(
            f"{value!r} is not a module id.",
            where="BULKLINK_DEALS_MODULE_ID",
            advice="Module ids have only digits. Unset it to look it up.",
        )
    return value


def _check_sign_in(connection: Connection) -> None:
    check_sign_in_text(connection.access_token or "", "BULKLINK_ACCESS_TOKEN")
    if connection.access_token is None and connection.credentials is None:
        raise ConfigError(
            "There is no access token, and no credentials to request one.",
            where=f"BULKLINK_ACCESS_TOKEN, {', '.join(_CREDENTIALS)}",
            advice="Set the first, or the other three, or sign in once with `bulklink auth login`.",
        )
    if connection.credentials is not None and connection.accounts_url is None:
        raise no_accounts_url_error()


def no_accounts_url_error() -> ConfigError:
    """Return the error for a connection without the address of an accounts server."""
    return ConfigError(
        "Cannot request a token: the accounts address is unknown.",
        where="BULKLINK_DC, BULKLINK_ACCOUNTS_URL",
        advice="Set one of them.",
    )
