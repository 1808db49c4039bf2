"""Profiles: named connections, stored in TOML files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from bulklink.advice import Advice, Keyword
from bulklink.atomic_files import atomic_replace
from bulklink.decoding import convert
from bulklink.errors import ConfigError
from bulklink.private_files import is_private
from bulklink.profiles.names import profile_names, profiles_folder
from bulklink.shell import auth_command
from bulklink.suggestions import close_matches, did_you_mean
from bulklink.toml_text import TomlError, parse_toml
from bulklink.zoho.connection import Connection

_QUOTED = re.compile(r"`([^`]*)`")


class SecretBackend(StrEnum):
    """Where a profile's secrets are stored."""

    KEYRING = "keyring"
    FILE = "file"


class ProfileOrg(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The org of a profile at sign-in; a field is None if the CRM did not report it.

    Args:
        id: id of the org.
        name: its name.
        type: production, sandbox, ... as reported by the CRM.
        edition: edition of its licence.
    """

    id: str | None = None
    name: str | None = None
    type: str | None = None
    edition: str | None = None


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A stored sign-in, without its secrets.

    Args:
        client_id: id of the OAuth client.
        secrets: where its secrets are stored.
        data_centre: data centre of the org; None if only addresses are set.
        environment: production, sandbox or developer.
        api_url: address of the API, if the user set it.
        accounts_url: address of the accounts server, if the user set it.
        scopes: scopes of the token at sign-in.
        signed_in: time of the sign-in, RFC 3339 in UTC.
        org: the org at sign-in.
        options: defaults of command options, by name with `_`.
    """

    client_id: str
    secrets: SecretBackend
    data_centre: str | None = None
    environment: str = "production"
    api_url: str | None = None
    accounts_url: str | None = None
    scopes: tuple[str, ...] = ()
    signed_in: str | None = None
    org: ProfileOrg = ProfileOrg()
    options: dict[str, Any] = {}

    def variables(self) -> dict[str, str]:
        """Return the addresses of the CRM as environment variables."""
        values = {
            "BULKLINK_DC": self.data_centre,
            "BULKLINK_ENVIRONMENT": self.environment,
            "BULKLINK_API_URL": self.api_url,
            "BULKLINK_ACCOUNTS_URL": self.accounts_url,
        }
        return {name: value for name, value in values.items() if value}


@dataclass(slots=True)
class Profiles:
    """The profiles of a user.

    Args:
        folder: folder of the user's settings; created by `save`.
    """

    folder: Path

    def file(self, name: str) -> Path:
        """Return the file of a profile."""
        return profiles_folder(self.folder) / f"{name}.toml"

    def names(self) -> list[str]:
        """Return the names of all profiles, in order."""
        return profile_names(self.folder)

    def load(self, name: str) -> Profile:
        """Return a profile.

        Raises:
            ConfigError: if it does not exist, or its file is not valid.
        """
        path = self.file(name)
        try:
            profile = convert(parse_toml(path.read_text("utf-8")), Profile)
            Connection.endpoint_from(profile.variables())
        except FileNotFoundError:
            raise self.unknown_profile_error(name) from None
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise _profile_error(name, path, f"Cannot read the profile: {reason}") from None
        except TomlError as error:
            raise _profile_error(name, path, f"Cannot read the profile: {error.reason}") from None
        except msgspec.ValidationError as error:
            raise _profile_error(name, path, _describe_mismatch(str(error))) from None
        except ConfigError as error:
            raise _profile_error(name, path, error.message.rstrip(".")) from None
        return profile

    def unknown_profile_error(self, name: str) -> ConfigError:
        """Return the error for an unknown profile, with the names of the stored ones."""
        names = self.names()
        suggestion = did_you_mean(close_matches(name, names, limit=1))
        known = f"The profiles are: {', '.join(names)}. " if names else "None exists yet. "
        return ConfigError(
            f"There is no profile {name!r}.",
            where=Advice("{}", Keyword("profile")),
            advice=f"{suggestion}{known}Create it with {auth_command('login', name)}.",
        )

    def save(self, name: str, profile: Profile) -> None:
        """Store a profile atomically.

        Raises:
            ConfigError: if it cannot be written.
        """
        path = self.file(name)
        content: Mapping[str, Any] = msgspec.to_builtins(profile)
        write_private_file(path, tomli_w.dumps(content).encode())

    def remove(self, name: str) -> None:
        """Remove a profile, if it exists.

        Raises:
            ConfigError: if it cannot be removed.
        """
        remove_file(self.file(name))


def check_writable(folder: Path) -> None:
    """Create the folder of the user's settings, if it is missing.

    Raises:
        ConfigError: if it cannot be created or written to.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _write_error(folder, error.strerror or str(error)) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _write_error(folder, "you may not write there")


def write_private_file(path: Path, content: bytes, *, secret: bool = False) -> None:
    """Write a file that only its owner can read, in a folder of mode 0700.

    Args:
        path: the file.
        content: content of the file.
        secret: whether to refuse to write where others could read it.

    Raises:
        ConfigError: if it cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with atomic_replace(path, ConfigError) as temporary:
            if secret and not is_private(temporary):
                raise _exposed_error(path.parent)
            temporary.write_bytes(content)
    except OSError as error:
        raise _write_error(path, error.strerror or str(error)) from None


def remove_file(path: Path) -> None:
    """Remove a file, if it exists.

    Raises:
        ConfigError: if it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            f"Cannot remove: {error.strerror or error}.",
            where=str(path),
            advice="Check that you may remove files there.",
        ) from None


def _write_error(path: Path, reason: str) -> ConfigError:
    return ConfigError(
        f"Cannot write: {reason}.",
        where=str(path),
        advice="Check that you may write there, and that there is space.",
    )


def _describe_mismatch(text: str) -> str:
    """Return what is wrong with a profile, from msgspec's error text."""
    names = _QUOTED.findall(text)
    key = names[-1].removeprefix("$.") if names else ""
    if "unknown field" in text:
        return f"The profile has an unknown key: {key}"
    if "missing required field" in text:
        return f"The profile has no key {key}"
    return f"The profile has a wrong value at {key}" if key else "The profile is not well-formed"


def _exposed_error(folder: Path) -> ConfigError:
    return ConfigError(
        "Others may read every file here: the file system has no modes. No secret was written.",
        where=str(folder),
        advice="Keep the secrets in the system keyring, set XDG_CONFIG_HOME to a folder on another"
        " file system, or pass the secrets as BULKLINK_… variables.",
    )


def _profile_error(name: str, path: Path, message: str) -> ConfigError:
    return ConfigError(
        f"{message}.",
        where=str(path),
        advice=f"Fix it, create it again with {auth_command('login', name, replaces=True)}, or"
        f" remove it and its secrets with {auth_command('logout', name, replaces=True)}.",
    )
