"""Profiles: named connections in files, and their names."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
import platformdirs
import tomli_w

from bulklink.atomic_files import replacing
from bulklink.errors import ConfigError, RunDirError
from bulklink.zoho.connection import Connection

DEFAULT = "default"
"""The profile that is used where nothing names one."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def config_folder() -> Path:
    """Return the folder of the user's settings on this system."""
    return Path(platformdirs.user_config_dir("bulklink", appauthor=False))


def profiles_folder(folder: Path) -> Path:
    """Return the folder of the profiles in that of the user's settings."""
    return folder / "profiles"


def profile_names(folder: Path) -> list[str]:
    """Return the names of all profiles below the folder of the user's settings, in order."""
    files = profiles_folder(folder).glob("*.toml")
    return sorted(file.stem for file in files if _NAME.fullmatch(file.stem))


def checked_name(name: str) -> str:
    """Return the name of a profile as it is stored: upper and lower case are the same.

    Raises:
        ConfigError: if no profile can be called that.
    """
    found = name.strip().lower()
    if not _NAME.fullmatch(found):
        raise ConfigError(
            f"{name!r} is no name of a profile.",
            where="--profile",
            advice="Use letters, digits, '.', '_' and '-', 64 at most, a letter or digit first.",
        )
    return found


class Place(StrEnum):
    """Where the secrets of a profile are kept."""

    KEYRING = "keyring"
    FILE = "file"


class ProfileOrg(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The org of a profile as it was found at sign-in; None where the CRM told nothing."""

    id: str | None = None
    name: str | None = None
    type: str | None = None
    edition: str | None = None


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is known of a sign-in, without its secrets.

    `api_url` and `accounts_url` are there where the user named them. `options` are defaults of
    the options of commands, by their names with `_`.
    """

    client_id: str
    secrets: Place
    data_centre: str | None = None
    environment: str = "production"
    api_url: str | None = None
    accounts_url: str | None = None
    scopes: tuple[str, ...] = ()
    signed_in: str | None = None
    org: ProfileOrg = ProfileOrg()
    options: dict[str, Any] = {}

    def variables(self) -> dict[str, str]:
        """Return where the CRM is, by the names of environment variables."""
        named = {
            "BULKLINK_DC": self.data_centre,
            "BULKLINK_ENVIRONMENT": self.environment,
            "BULKLINK_API_URL": self.api_url,
            "BULKLINK_ACCOUNTS_URL": self.accounts_url,
        }
        return {name: value for name, value in named.items() if value}


class Profiles:
    """The profiles of a user.

    Args:
        folder: of the user's settings; made when something is stored.
    """

    def __init__(self, folder: Path) -> None:
        self._home = folder
        self._folder = profiles_folder(folder)

    def file(self, name: str) -> Path:
        """Return the file of a profile."""
        return self._folder / f"{name}.toml"

    def names(self) -> list[str]:
        """Return the names of all profiles, in order."""
        return profile_names(self._home)

    def load(self, name: str) -> Profile:
        """Return a profile.

        Raises:
            ConfigError: if there is none of that name, or its file is wrong.
        """
        path = self.file(name)
        try:
            profile = msgspec.convert(tomllib.loads(path.read_text("utf-8")), Profile)
            Connection.place_from(profile.variables())
        except FileNotFoundError:
            raise self.unknown(name) from None
        except (OSError, UnicodeDecodeError) as error:
            said = getattr(error, "strerror", None) or "it is not UTF-8"
            raise _wrong(path, f"The profile cannot be read: {said}") from None
        except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            raise _wrong(path, f"The profile is not well-formed: {error}") from None
        except ConfigError as error:
            raise _wrong(path, error.message.rstrip(".")) from None
        return profile

    def unknown(self, name: str) -> ConfigError:
        """Say that there is no profile of a name, and which there are."""
        names = self.names()
        like = get_close_matches(name, names, n=1)
        meant = f"Did you mean {like[0]}? " if like else ""
        known = f"Known are: {', '.join(names)}. " if names else "There is none yet. "
        return ConfigError(
            f"There is no profile {name!r}.",
            where="--profile",
            advice=f"{meant}{known}`bulklink auth login --profile {name}` makes it.",
        )

    def save(self, name: str, profile: Profile) -> None:
        """Store a profile, whole or not at all.

        Raises:
            ConfigError: if it cannot be written.
        """
        path = self.file(name)
        content: Mapping[str, Any] = msgspec.to_builtins(profile)
        write(path, tomli_w.dumps(content).encode())

    def remove(self, name: str) -> None:
        """Remove a profile, if it is there.

        Raises:
            ConfigError: if it cannot be removed.
        """
        remove(self.file(name))


def check_writable(folder: Path) -> None:
    """Make the folder of the user's settings where it is missing.

    Raises:
        ConfigError: if nothing can be stored there.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error.strerror or str(error)) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unwritable(folder, "you may not write there")


def write(path: Path, content: bytes) -> None:
    """Write a file that its owner alone can read, in a folder of the same kind.

    Raises:
        ConfigError: if it cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from None
    except RunDirError as error:
        raise ConfigError(error.message, where=error.where, advice=error.advice) from None


def remove(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        ConfigError: if it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _wrong(path, f"It cannot be removed: {error.strerror or error}") from None


def _unwritable(path: Path, said: str) -> ConfigError:
    return ConfigError(
        f"It cannot be written: {said}.",
        where=str(path),
        advice="Check that you may write there, and that it has room.",
    )


def _wrong(path: Path, message: str) -> ConfigError:
    return ConfigError(
        f"{message}.",
        where=str(path),
        advice="Mend or remove it; `bulklink auth login --force` makes it anew.",
    )
