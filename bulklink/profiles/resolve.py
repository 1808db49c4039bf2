"""The connection of a command: what the environment says, and a profile where it says nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from bulklink.errors import ConfigError
from bulklink.profiles.profile import DEFAULT, Profile, Profiles, checked_name, config_folder
from bulklink.profiles.secrets import vault_of
from bulklink.zoho.connection import Connection, is_loopback

_SIGN_IN = (
    "BULKLINK_ACCESS_TOKEN",
    "BULKLINK_CLIENT_ID",
    "BULKLINK_CLIENT_SECRET",
    "BULKLINK_REFRESH_TOKEN",
)
_PLACE = ("BULKLINK_DC", "BULKLINK_API_URL")


def profile_in_use(named: str | None, env: Mapping[str, str], profiles: Profiles) -> str | None:
    """Return the name of the profile that a command uses, None where the environment serves.

    Without a name it is `default`, if that exists and the environment names neither a place nor
    a sign-in: what stands there is a connection of its own.

    Raises:
        ConfigError: if no profile can be called that.
    """
    if named and named.strip():
        return checked_name(named)
    if any(env.get(name, "").strip() for name in (*_PLACE, *_SIGN_IN)):
        return None
    return DEFAULT if DEFAULT in profiles.names() else None


def connection_of(
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
    name = profile_in_use(profile, env, profiles)
    if name is None:
        return _without_profile(env, profiles)
    stored = profiles.load(name)
    given = {key: value for key, value in env.items() if value.strip()}
    place = Connection.place_from({**stored.variables(), **given})
    if any(key in given for key in _SIGN_IN):
        return Connection.from_environment({**stored.variables(), **given})
    _check_belongs(name, stored, place)
    credentials = vault_of(stored.secrets, folder).load(name)
    return msgspec.structs.replace(place, credentials=credentials)


def connection_stored(name: str, profile: Profile, folder: Path) -> Connection:
    """Return the connection of a profile as it is stored, whatever the environment says.

    Raises:
        ConfigError: if its secrets cannot be read.
    """
    place = Connection.place_from(profile.variables())
    credentials = vault_of(profile.secrets, folder).load(name)
    return msgspec.structs.replace(place, credentials=credentials)


def _without_profile(env: Mapping[str, str], profiles: Profiles) -> Connection:
    names = profiles.names()
    if names and not any(env.get(name, "").strip() for name in _PLACE):
        raise ConfigError(
            "No data centre is set, and no profile is named.",
            where="BULKLINK_DC, --profile",
            advice=f"Add --profile and one of: {', '.join(names)}. Or set BULKLINK_DC.",
        )
    return Connection.from_environment(env)


def _check_belongs(name: str, profile: Profile, place: Connection) -> None:
    """Refuse to show a profile's secrets to another accounts server than they are for."""
    stored = Connection.place_from(profile.variables()).accounts_url or ""
    now = place.accounts_url or ""
    if stored == now or (is_loopback(stored) and is_loopback(now)):
        return
    raise ConfigError(
        f"The secrets of the profile {name!r} are for {urlsplit(stored).hostname}; the environment"
        f" names {urlsplit(now).hostname}.",
        where="BULKLINK_DC, BULKLINK_ACCOUNTS_URL",
        advice="Unset them, or set client id, client secret and refresh token there too.",
    )
