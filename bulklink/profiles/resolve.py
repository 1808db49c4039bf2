"""Connection of a command, from the environment and a profile."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.errors import ConfigError
from bulklink.profiles.names import DEFAULT_PROFILE, config_folder, normalize_profile_name
from bulklink.profiles.profile import Profile, Profiles
from bulklink.profiles.secrets import secret_store_for
from bulklink.zoho.connection import (
    SIGN_IN_VARIABLES,
    Connection,
    is_loopback,
    non_empty_variables,
)

_ENDPOINT_VARIABLES = ("BULKLINK_DC", "BULKLINK_API_URL")


def select_profile(profile: str | None, env: Mapping[str, str], profiles: Profiles) -> str | None:
    """Return the name of the profile that a command uses; None to use only the environment.

    Args:
        profile: name given by the user; None for `default`, if it exists and the environment sets
            neither endpoint nor sign-in.
        env: environment variables.
        profiles: the stored profiles.

    Raises:
        ConfigError: if it is not a valid name of a profile.
    """
    if profile and profile.strip():
        return normalize_profile_name(profile)
    if not non_empty_variables(env).keys().isdisjoint((*_ENDPOINT_VARIABLES, *SIGN_IN_VARIABLES)):
        return None
    return DEFAULT_PROFILE if DEFAULT_PROFILE in profiles.names() else None


def load_connection(
    profile: str | None = None, env: Mapping[str, str] | None = None, folder: Path | None = None
) -> Connection:
    """Return the connection of a command; the environment overrides the profile.

    Client, secrets and tokens belong together: if the environment sets one of them, none is taken
    from the profile.

    Args:
        profile: name of the profile; None for `default`, if it exists and the environment sets
            neither endpoint nor sign-in.
        env: environment variables; None for those of this process.
        folder: folder of the user's settings; None for the usual one.

    Raises:
        ConfigError: if there is no such profile, its secrets cannot be read or are for another
            server, or a variable is not valid.
    """
    env = os.environ if env is None else env
    folder = config_folder() if folder is None else folder
    profiles = Profiles(folder)
    name = select_profile(profile, env, profiles)
    if name is None:
        return _connection_from_environment(env, profiles)
    stored = profiles.load(name)
    variables = non_empty_variables(env)
    endpoint = Connection.endpoint_from({**stored.variables(), **variables})
    if not variables.keys().isdisjoint(SIGN_IN_VARIABLES):
        return Connection.from_environment({**stored.variables(), **variables})
    own_endpoint = Connection.endpoint_from(stored.variables())
    _check_accounts_server(name, own_endpoint, endpoint)
    credentials = secret_store_for(stored.secrets, folder).load(name)
    org_id = stored.org.id if endpoint.api_url == own_endpoint.api_url else None
    return msgspec.structs.replace(endpoint, credentials=credentials, org_id=org_id, profile=name)


def load_stored_connection(
    name: str, profile: Profile, folder: Path, *, allow_exposed: bool = False
) -> Connection:
    """Return the connection of a profile, ignoring the environment.

    Args:
        name: name of the profile.
        profile: the profile.
        folder: folder of the user's settings.
        allow_exposed: whether others may be able to read its secrets too.

    Raises:
        ConfigError: if its secrets cannot be read.
    """
    endpoint = Connection.endpoint_from(profile.variables())
    store = secret_store_for(profile.secrets, folder)
    credentials = store.load(name, allow_exposed=allow_exposed)
    return msgspec.structs.replace(
        endpoint, credentials=credentials, org_id=profile.org.id, profile=name
    )


def _connection_from_environment(env: Mapping[str, str], profiles: Profiles) -> Connection:
    names = profiles.names()
    if names and non_empty_variables(env).keys().isdisjoint(_ENDPOINT_VARIABLES):
        raise ConfigError(
            "No data centre is set, and no profile is named.",
            where=Advice("BULKLINK_DC, {}", Keyword("profile")),
            advice=Advice(
                "Set {} to one of {}, or set BULKLINK_DC.", Keyword("profile"), ", ".join(names)
            ),
        )
    return Connection.from_environment(env)


def _check_accounts_server(name: str, own_endpoint: Connection, endpoint: Connection) -> None:
    """Refuse to send a profile's secrets to any accounts server but their own."""
    stored_url = own_endpoint.accounts_url or ""
    current_url = endpoint.accounts_url or ""
    if stored_url == current_url or (is_loopback(stored_url) and is_loopback(current_url)):
        return
    raise ConfigError(
        f"The secrets of the profile {name!r} are for {urlsplit(stored_url).hostname}; the"
        " environment"
        f" names {urlsplit(current_url).hostname}.",
        where="BULKLINK_DC, BULKLINK_ACCOUNTS_URL",
        advice="Unset them, or also set client id, client secret and refresh token.",
    )
