"""Where the secrets of profiles are: the system keyring, or files that their owner alone reads."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from bulklink.errors import ConfigError
from bulklink.profiles.profile import SecretBackend, remove_file, write_private_file
from bulklink.shell import format_command
from bulklink.zoho.connection import Credentials

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

_SERVICE = "bulklink"
_PROBE = ".probe"
"""No name that a profile can have."""
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class SecretStore(Protocol):
    """Keeps the secrets of profiles by their names."""

    def save(self, name: str, credentials: Credentials) -> None:
        """Keep secrets, in place of those there."""

    def load(self, name: str) -> Credentials:
        """Return secrets."""

    def remove(self, name: str) -> None:
        """Forget secrets, if there are any."""

    def location(self, name: str) -> str:
        """Say where secrets are, for a person."""


class FileSecretStore:
    """Keeps the secrets of each profile in a file of mode 0600.

    Args:
        folder: of the user's settings.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "secrets"

    def save(self, name: str, credentials: Credentials) -> None:
        """Write a profile's secrets.

        Raises:
            ConfigError: if they cannot be written.
        """
        write_private_file(self._file(name), msgspec.json.encode(credentials))

    def load(self, name: str) -> Credentials:
        """Read a profile's secrets.

        Raises:
            ConfigError: if they are not there, not well-formed, or others can read them too.
        """
        path = self._file(name)
        try:
            mode = path.stat().st_mode
            content = path.read_bytes()
        except OSError as error:
            raise _unreadable_error(
                name, str(path), error.strerror or "it cannot be read"
            ) from None
        if os.name != "nt" and mode & _OTHERS:
            raise ConfigError(
                "Others on this machine may read these secrets.",
                where=str(path),
                advice=f"Close it with `{format_command('chmod', 600, path)}`; if somebody may"
                " have read it,"
                " `bulklink auth logout` and sign in again.",
            )
        return _decode_credentials(content, name, str(path))

    def remove(self, name: str) -> None:
        """Remove a profile's secrets, if they are there.

        Raises:
            ConfigError: if they cannot be removed.
        """
        remove_file(self._file(name))

    def location(self, name: str) -> str:
        """Return the path of the file."""
        return str(self._file(name))

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"


class KeyringSecretStore:
    """Keeps the secrets of each profile in the system keyring, of whatever make it is."""

    def unavailable_reason(self) -> str | None:
        """Return why no keyring serves here, None where one does; it is tried with an entry."""
        try:
            self.save(_PROBE, Credentials("", "", ""))
            self.remove(_PROBE)
        except ConfigError as error:
            return error.message
        return None

    def save(self, name: str, credentials: Credentials) -> None:
        """Store a profile's secrets, and read them back: some keyrings take all and keep nothing.

        Raises:
            ConfigError: if no keyring keeps them.
        """
        text = msgspec.json.encode(credentials).decode()
        try:
            backend = _system_keyring()
            backend.set_password(_SERVICE, name, text)
            is_stored = backend.get_password(_SERVICE, name) == text
        except Exception as error:  # whatever a keyring of whatever make may raise
            raise _keyring_error(name, type(error).__name__) from None
        if not is_stored:
            raise _keyring_error(name, "it keeps nothing")

    def load(self, name: str) -> Credentials:
        """Return a profile's secrets.

        Raises:
            ConfigError: if the keyring does not answer, or does not hold them.
        """
        try:
            text = _system_keyring().get_password(_SERVICE, name)
        except Exception as error:  # as above; its text may hold what was stored
            raise _keyring_error(name, type(error).__name__) from None
        if text is None:
            raise _unreadable_error(name, "system keyring", "they are not there")
        return _decode_credentials(text.encode(), name, "system keyring")

    def remove(self, name: str) -> None:
        """Remove a profile's secrets, if they are there.

        Raises:
            ConfigError: if the keyring does not answer, or still holds them.
        """
        try:
            backend = _system_keyring()
            if backend.get_password(_SERVICE, name) is not None:
                backend.delete_password(_SERVICE, name)
        except Exception as error:  # as above
            raise _keyring_error(name, type(error).__name__) from None

    def location(self, name: str) -> str:
        """Return what the keyring calls itself, and the entry in it."""
        try:
            keyring_name = str(_system_keyring().name)
        except Exception as error:  # as above
            keyring_name = f"not available: {type(error).__name__}"
        return f"{keyring_name}, service {_SERVICE}, user {name}"


def choose_secret_backend(
    *, plain_file: bool, unavailable_reason: str | None, windows: bool
) -> SecretBackend:
    """Return where secrets are to be kept.

    Args:
        plain_file: whether a file was asked for.
        unavailable_reason: why no keyring serves; None where one does.
        windows: whether this is Windows, where no mode closes a file to others.

    Raises:
        ConfigError: if that would be a file that was not asked for and others may read.
    """
    if not plain_file and unavailable_reason is None:
        return SecretBackend.KEYRING
    if windows and not plain_file:
        raise ConfigError(
            unavailable_reason or "No keyring serves.",
            where="system keyring",
            advice="Add --plain-file to keep the secrets in a file of your user's folder.",
        )
    return SecretBackend.FILE


def secret_store_for(backend: SecretBackend, folder: Path) -> SecretStore:
    """Return what keeps secrets at a place."""
    return KeyringSecretStore() if backend is SecretBackend.KEYRING else FileSecretStore(folder)


def _system_keyring() -> KeyringBackend:
    import keyring  # noqa: PLC0415 - asks the system for its services, which takes its time

    return keyring.get_keyring()


def _decode_credentials(content: bytes, name: str, where: str) -> Credentials:
    try:
        return msgspec.json.decode(content, type=Credentials)
    except msgspec.DecodeError:
        raise _unreadable_error(name, where, "they are not well-formed") from None


def _unreadable_error(name: str, where: str, reason: str) -> ConfigError:
    return ConfigError(
        f"The secrets of the profile {name!r} cannot be read: {reason}.",
        where=where,
        advice=f"Sign in again: `bulklink auth login --profile {name} --force`.",
    )


def _keyring_error(name: str, reason: str) -> ConfigError:
    return ConfigError(
        f"The system keyring does not serve: {reason}.",
        where="system keyring",
        advice=f"Unlock or start it. Or keep the secrets in a file that only you can read:"
        f" `bulklink auth login --profile {name} --force --plain-file`.",
    )
