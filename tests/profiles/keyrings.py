"""Keyring backends for tests, selected by PYTHON_KEYRING_BACKEND as by a user."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import ClassVar

from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError


class FileKeyring(KeyringBackend):
    """Stores passwords in the file named by TEST_KEYRING."""

    priority: ClassVar[float] = 9

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def get_password(self, service: str, username: str) -> str | None:
        password = self._all().get(f"{service}/{username}")
        return None if password is None else str(password)

    def set_password(self, service: str, username: str, password: str) -> None:
        self._file().write_text(json.dumps({**self._all(), f"{service}/{username}": password}))

    def delete_password(self, service: str, username: str) -> None:
        passwords = self._all()
        if passwords.pop(f"{service}/{username}", None) is None:
            raise PasswordDeleteError("not there")
        self._file().write_text(json.dumps(passwords))

    def _file(self) -> Path:
        return Path(os.environ["TEST_KEYRING"])

    def _all(self) -> dict[str, str]:
        return json.loads(self._file().read_text()) if self._file().exists() else {}


class LockedKeyring(FileKeyring):
    """A locked keyring, whose errors repeat the password that it was given."""

    def get_password(self, service: str, username: str) -> str | None:
        raise OSError(f"locked: {service} {username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise OSError(f"locked: {password}")
