"""Secret stores: round trips, permissions, and keyrings that do not work."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as FailKeyring
from keyring.backends.null import Keyring as NullKeyring

from bulklink.errors import ConfigError
from bulklink.profiles.profile import SecretBackend
from bulklink.profiles.secrets import (
    FileSecretStore,
    KeyringSecretStore,
    SecretStore,
    choose_secret_backend,
    secret_store_for,
)
from bulklink.zoho.connection import Credentials
from tests.profiles.keyrings import FileKeyring, LockedKeyring

SECRETS = Credentials("1000.ID", 'hush"secret', "1000.refresh")
posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")


@pytest.fixture(autouse=True)
def isolated_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use an isolated keyring."""
    monkeypatch.setenv("TEST_KEYRING", str(tmp_path / "keyring.json"))
    before = keyring.get_keyring()
    keyring.set_keyring(FileKeyring())
    yield
    keyring.set_keyring(before)


@pytest.fixture(params=list(SecretBackend))
def secret_store(request: pytest.FixtureRequest, tmp_path: Path) -> SecretStore:
    return secret_store_for(request.param, tmp_path)


def test_secrets_are_loaded_as_they_were_saved(secret_store: SecretStore) -> None:
    secret_store.save("prod", SECRETS)
    secret_store.save("test", Credentials("a", "b", "c"))
    assert secret_store.load("prod") == SECRETS


def test_removing_secrets_twice_is_not_an_error(
    secret_store: SecretStore,
) -> None:
    secret_store.save("prod", SECRETS)
    secret_store.remove("prod")
    secret_store.remove("prod")
    with pytest.raises(
        ConfigError, match="Cannot read the secrets of the profile 'prod'"
    ) as caught:
        secret_store.load("prod")
    assert "auth login --profile prod" in caught.value.advice


def test_the_location_of_secrets_contains_no_secret(secret_store: SecretStore) -> None:
    secret_store.save("prod", SECRETS)
    location = secret_store.location("prod")
    assert "prod" in location
    assert "hush" not in location


@posix_only
@pytest.mark.parametrize("mask", [0, 0o077], ids=oct)
def test_only_its_owner_can_read_a_secrets_file(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        FileSecretStore(tmp_path).save("prod", SECRETS)
        FileSecretStore(tmp_path).save("prod", SECRETS)
    finally:
        os.umask(before)
    (file,) = (tmp_path / "secrets").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


@posix_only
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660], ids=oct)
def test_a_secrets_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    FileSecretStore(tmp_path).save("prod", SECRETS)
    (file,) = (tmp_path / "secrets").iterdir()
    file.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        FileSecretStore(tmp_path).load("prod")
    assert f"chmod 600 {file}" in caught.value.advice
    assert "`bulklink auth logout --profile prod`" in caught.value.advice


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"client_id":1}', b"\xff\xfe"], ids=repr)
def test_the_error_of_a_broken_secrets_file_does_not_show_its_content(
    tmp_path: Path, content: bytes
) -> None:
    FileSecretStore(tmp_path).save("prod", SECRETS)
    (file,) = (tmp_path / "secrets").iterdir()
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="not well-formed"):
        FileSecretStore(tmp_path).load("prod")


@pytest.mark.parametrize("backend", [FailKeyring, NullKeyring, LockedKeyring])
def test_a_keyring_that_does_not_work_is_detected_before_secrets_are_stored(
    backend: type[KeyringBackend],
) -> None:
    keyring.set_keyring(backend())
    reason = KeyringSecretStore().unavailable_reason()
    assert reason is not None
    assert "keyring" in reason


def test_the_check_of_a_working_keyring_leaves_nothing_behind(tmp_path: Path) -> None:
    assert KeyringSecretStore().unavailable_reason() is None
    assert (tmp_path / "keyring.json").read_text() == "{}"


def test_the_error_text_of_a_keyring_is_not_shown() -> None:
    keyring.set_keyring(LockedKeyring())
    with pytest.raises(ConfigError) as caught:
        KeyringSecretStore().save("prod", SECRETS)
    assert "hush" not in f"{caught.value} {caught.value.advice}"
    assert caught.value.__suppress_context__


def test_the_error_about_a_locked_keyring_suggests_a_file() -> None:
    KeyringSecretStore().save("prod", SECRETS)
    keyring.set_keyring(LockedKeyring())
    with pytest.raises(ConfigError, match="not available") as caught:
        KeyringSecretStore().load("prod")
    assert "--plain-file" in caught.value.advice


@pytest.mark.parametrize(
    ("plain_file", "reason", "windows", "backend"),
    [
        (False, None, False, SecretBackend.KEYRING),
        (False, None, True, SecretBackend.KEYRING),
        (False, "none", False, SecretBackend.FILE),
        (True, None, False, SecretBackend.FILE),
        (True, "none", True, SecretBackend.FILE),
    ],
)
def test_secrets_go_to_the_keyring_unless_it_is_unavailable_or_a_file_is_requested(
    *, plain_file: bool, reason: str | None, windows: bool, backend: SecretBackend
) -> None:
    assert (
        choose_secret_backend(plain_file=plain_file, unavailable_reason=reason, windows=windows)
        is backend
    )


def test_on_windows_a_secrets_file_must_be_requested() -> None:
    with pytest.raises(ConfigError) as caught:
        choose_secret_backend(plain_file=False, unavailable_reason="No keyring.", windows=True)
    assert "--plain-file" in caught.value.advice


@pytest.mark.parametrize(
    "content",
    [
        b'{"client_id":"1000\\nX","client_secret":"b","refresh_token":"c"}',
        '{"client_id":"1000","client_secret":"\u0443","refresh_token":"c"}'.encode(),
        b'{"client_id":"1000","client_secret":"b","refresh_token":"c d"}',
        b'{"client_id":"","client_secret":"b","refresh_token":"c"}',
        b'{"client_id":5,"client_secret":"b","refresh_token":"c"}',
        b"[" * 100_000,
        b"[]",
        b"",
    ],
    ids=["line-break", "look-alike", "space", "empty", "number", "deep", "list", "nothing"],
)
def test_the_error_about_an_invalid_secrets_file_names_it(tmp_path: Path, content: bytes) -> None:
    FileSecretStore(tmp_path).save("prod", SECRETS)
    (file,) = (tmp_path / "secrets").iterdir()
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        FileSecretStore(tmp_path).load("prod")
    assert caught.value.where == str(file)
    assert "1000" not in str(caught.value)
