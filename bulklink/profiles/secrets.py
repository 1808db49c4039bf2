"""Secret stores of profiles: system keyring or owner-only files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from bulklink.decoding import decode_json
from bulklink.errors import ConfigError
from bulklink.private_files import is_private
from bulklink.profiles.profile import SecretBackend, remove_file, write_private_file
from bulklink.shell import auth_command, format_command
from bulklink.zoho.connection import Credentials, is_sign_in_text

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

_SERVICE = "bulklink"
_PROBE = ".probe"
"""Name of the entry or file that tests a store; not a valid name of a profile."""


class SecretStore(Protocol):
    """Stores the secrets of profiles by name."""

    def save(self, name: str, credentials: Credentials) -> None:
        """Store the secrets of a profile, replacing existing ones."""

    def load(self, name: str, *, allow_exposed: bool = False) -> Credentials:
        """Return the secrets of a profile; exposed ones only if that is allowed."""

    def remove(self, name: str) -> None:
        """Remove the secrets of a profile, if there are any."""

    def location(self, name: str) -> str:
        """Return the location of the secrets, for display."""


@dataclass(slots=True)
class FileSecretStore:
    """Stores the secrets of each profile in a file of mode 0600.

    Args:
        folder: folder of the user's settings.
    """

    folder: Path

    def save(self, name: str, credentials: Credentials) -> None:
        """Write a profile's secrets.

        Raises:
            ConfigError: if they cannot be written.
        """
        write_private_file(self._file(name), msgspec.json.encode(credentials), secret=True)

    def check(self) -> None:
        """Check that secrets can be written, before a sign-in.

        Raises:
            ConfigError: if they cannot be written, or others could read them.
        """
        probe = self._file(_PROBE)
        write_private_file(probe, b"", secret=True)
        remove_file(probe)

    def load(self, name: str, *, allow_exposed: bool = False) -> Credentials:
        """Read a profile's secrets.

        Args:
            name: the profile.
            allow_exposed: whether others may be able to read them too.

        Raises:
            ConfigError: if they are missing, not well-formed, or readable by others.
        """
        path = self._file(name)
        try:
            private = is_private(path)
            content = path.read_bytes()
        except OSError as error:
            raise _unreadable_error(
                name, str(path), error.strerror or "it cannot be read"
            ) from None
        if not private and not allow_exposed:
            raise ConfigError(
                "Others on this machine may read these secrets.",
                where=str(path),
                advice=f"Run `{format_command('chmod', 600, path)}`. If someone may have read them,"
                f" run {auth_command('logout', name)} and sign in again. Where chmod has no"
                " effect, use the system keyring, or set XDG_CONFIG_HOME to a folder on another"
                " file system.",
            )
        return _decode_credentials(content, name, str(path))

    def remove(self, name: str) -> None:
        """Remove a profile's secrets, if there are any.

        Raises:
            ConfigError: if they cannot be removed.
        """
        remove_file(self._file(name))

    def location(self, name: str) -> str:
        """Return the path of the file."""
        return str(self._file(name))

    def _file(self, name: str) -> Path:
        return self.folder / "secrets" / f"{name}.json"


class KeyringSecretStore:
    """Stores the secrets of each profile in the system keyring, whatever its backend."""

    def unavailable_reason(self) -> str | None:
        """Return why no keyring works, None if one does; tests it with an entry."""
        try:
            self.save(_PROBE, Credentials("", "", ""))
            self.remove(_PROBE)
        except ConfigError as error:
            return error.message
        return None

    def save(self, name: str, credentials: Credentials) -> None:
        """Store a profile's secrets, and read them back: some keyrings silently store nothing.

        Raises:
            ConfigError: if no keyring stores them.
        """
        text = msgspec.json.encode(credentials).decode()
        try:
            backend = _system_keyring()
            backend.set_password(_SERVICE, name, text)
            is_stored = backend.get_password(_SERVICE, name) == text
        except Exception as error:  # backends raise errors of any class
            raise _keyring_error(name, type(error).__name__) from None
        if not is_stored:
            raise _keyring_error(name, "it does not store anything")

    def load(self, name: str, *, allow_exposed: bool = False) -> Credentials:
        """Return a profile's secrets.

        Args:
            name: the profile.
            allow_exposed: unused: a keyring exposes none.

        Raises:
            ConfigError: if the keyring does not answer, or does not have them.
        """
        try:
            text = _system_keyring().get_password(_SERVICE, name)
        except Exception as error:  # as above; its text may contain the secret
            raise _keyring_error(name, type(error).__name__) from None
        if text is None:
            raise _unreadable_error(name, "system keyring", "it has no such entry")
        return _decode_credentials(text.encode(), name, "system keyring")

    def remove(self, name: str) -> None:
        """Remove a profile's secrets, if there are any.

        Raises:
            ConfigError: if the keyring does not answer, or still has them.
        """
        try:
            backend = _system_keyring()
            if backend.get_password(_SERVICE, name) is not None:
                backend.delete_password(_SERVICE, name)
        except Exception as error:  # as above
            raise _keyring_error(name, type(error).__name__) from None

    def location(self, name: str) -> str:
        """Return the name of the keyring and of the entry."""
        try:
            keyring_name = str(_system_keyring().name)
        except Exception as error:  # as above
            keyring_name = f"not available: {type(error).__name__}"
        return f"{keyring_name}, service {_SERVICE}, user {name}"


def choose_secret_backend(
    *, plain_file: bool, unavailable_reason: str | None, windows: bool
) -> SecretBackend:
    """Return where to store secrets.

    Args:
        plain_file: whether the user asked for a file.
        unavailable_reason: why no keyring works, None if one does.
        windows: whether this is Windows, where a mode does not protect a file.

    Raises:
        ConfigError: if it would be an unprotected file that the user did not ask for.
    """
    if not plain_file and unavailable_reason is None:
        return SecretBackend.KEYRING
    if windows and not plain_file:
        raise ConfigError(
            unavailable_reason or "No keyring works.",
            where="system keyring",
            advice="Add --plain-file to keep the secrets in a file in your user's folder.",
        )
    return SecretBackend.FILE


def secret_store_for(backend: SecretBackend, folder: Path) -> SecretStore:
    """Return the secret store of a backend.

    Args:
        backend: where the secrets are stored.
        folder: folder of the user's settings.
    """
    return KeyringSecretStore() if backend is SecretBackend.KEYRING else FileSecretStore(folder)


def probable_secret_backend(name: str, folder: Path) -> SecretBackend:
    """Return where a profile that cannot be read has its secrets: in a file if there is one.

    Args:
        name: the profile.
        folder: folder of the user's settings.
    """
    has_file = Path(FileSecretStore(folder).location(name)).is_file()
    return SecretBackend.FILE if has_file else SecretBackend.KEYRING


def _system_keyring() -> KeyringBackend:
    import keyring  # noqa: PLC0415 - slow: it looks for the system's services

    return keyring.get_keyring()


def _decode_credentials(content: bytes, name: str, where: str) -> Credentials:
    try:
        credentials = decode_json(content, Credentials)
    except (msgspec.DecodeError, RecursionError):
        raise _unreadable_error(name, where, "they are not well-formed") from None
    texts = msgspec.structs.astuple(credentials)
    if not all(texts):
        raise _unreadable_error(name, where, "some are missing")
    if not all(map(is_sign_in_text, texts)):
        raise _unreadable_error(name, where, "they have characters that no secret of Zoho has")
    return credentials


def _unreadable_error(name: str, where: str, reason: str) -> ConfigError:
    return ConfigError(
        f"Cannot read the secrets of the profile {name!r}: {reason}.",
        where=where,
        advice=f"Sign in again: {auth_command('login', name, replaces=True)}.",
    )


def _keyring_error(name: str, reason: str) -> ConfigError:
    return ConfigError(
        f"The system keyring is not available: {reason}.",
        where="system keyring",
        advice=f"Unlock or start it, or keep the secrets in a file that only you can read:"
        f" {auth_command('login', name, '--plain-file', replaces=True)}.",
    )
