"""The connection of a command: what the environment says, and a profile where it says nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from bulklink.errors import ConfigError
from bulklink.profiles.names import DEFAULT_PROFILE, config_folder, normalize_profile_name
from bulklink.profiles.profile import Profile, Profiles
from bulklink.profiles.secrets import secret_store_for
from bulklink.zoho.connection import Connection, is_loopback

_SIGN_IN_VARIABLES = (
    "BULKLINK_ACCESS_TOKEN",
    "BULKLINK_CLIENT_ID",
    "BULKLINK_CLIENT_SECRET",
    "BULKLINK_REFRESH_TOKEN",
)
_ENDPOINT_VARIABLES = ("BULKLINK_DC", "BULKLINK_API_URL")


def select_profile(profile: str | None, env: Mapping[str, str], profiles: Profiles) -> str | None:
    """Return the name of the profile that a command uses, None where the environment serves.

    Without a name it is `default`, if that exists and the environment names neither a place nor
    a sign-in: what stands there is a connection of its own.

    Raises:
        ConfigError: if no profile can be called that.
    """
    if profile and profile.strip():
        return normalize_profile_name(profile)
    if any(env.get(name, "").strip() for name in (*_ENDPOINT_VARIABLES, *_SIGN_IN_VARIABLES)):
        return None
    return DEFAULT_PROFILE if DEFAULT_PROFILE in profiles.names() else None


def load_connection(
    profile: str | None = None, env: Mapping[str, str] | None = None, folder: Path | None = None
) -> Connection:
    """Return the connection of a command; what the environment says goes before the profile.

    Client, secrets and tokens are one thing: if the environment has one of them, none is taken
    from the profile.

    Args:
        profile: the name of the profile; None takes `default`, if it is there and the environment
            names neither a place nor a sign-in.
        env: variables; None takes those of this process.
        folder: of the user's settings; None takes this system's.

    Raises:
        ConfigError: if there is no such profile, its secrets cannot be read or belong elsewhere,
            or something in the environment is wrong.
    """
    env = os.environ if env is None else env
    folder = config_folder() if folder is None else folder
    profiles = Profiles(folder)
    name = select_profile(profile, env, profiles)
    if name is None:
        return _connection_from_environment(env, profiles)
    stored = profiles.load(name)
    variables = {key: value for key, value in env.items() if value.strip()}
    endpoint = Connection.endpoint_from({**stored.variables(), **variables})
    if any(key in variables for key in _SIGN_IN_VARIABLES):
        return Connection.from_environment({**stored.variables(), **variables})
    _check_accounts_server(name, stored, endpoint)
    credentials = secret_store_for(stored.secrets, folder).load(name)
    return msgspec.structs.replace(endpoint, credentials=credentials)


def load_stored_connection(name: str, profile: Profile, folder: Path) -> Connection:
    """Return the connection of a profile as it is stored, whatever the environment says.

    Raises:
        ConfigError: if its secrets cannot be read.
    """
    endpoint = Connection.endpoint_from(profile.variables())
    credentials = secret_store_for(profile.secrets, folder).load(name)
    return msgspec.structs.replace(endpoint, credentials=credentials)


def _connection_from_environment(env: Mapping[str, str], profiles: Profiles) -> Connection:
    names = profiles.names()
    if names and not any(env.get(name, "").strip() for name in _ENDPOINT_VARIABLES):
        raise ConfigError(
            "No data centre is set, and no profile is named.",
            where="BULKLINK_DC, --profile",
            advice=f"Add --profile and one of: {', '.join(names)}. Or set BULKLINK_DC.",
        )
    return Connection.from_environment(env)


def _check_accounts_server(name: str, profile: Profile, endpoint: Connection) -> None:
    """Refuse to show a profile's secrets to another accounts server than they are for."""
    stored_url = Connection.endpoint_from(profile.variables()).accounts_url or ""
    current_url = endpoint.accounts_url or ""
    if stored_url == current_url or (is_loopback(stored_url) and is_loopback(current_url)):
        return
    raise ConfigError(
        f"The secrets of the profile {name!r} are for {urlsplit(stored_url).hostname}; the"
        " environment"
        f" names {urlsplit(current_url).hostname}.",
        where="BULKLINK_DC, BULKLINK_ACCOUNTS_URL",
        advice="Unset them, or set client id, client secret and refresh token there too.",
    )
