"""Where secrets are: what comes back, who may read it, and keyrings that do not serve."""

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

KEPT = Credentials("1000.ID", 'hush"secret', "1000.refresh")
posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")


@pytest.fixture(autouse=True)
def isolated_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the tests a keyring of their own."""
    monkeypatch.setenv("TEST_KEYRING", str(tmp_path / "keyring.json"))
    before = keyring.get_keyring()
    keyring.set_keyring(FileKeyring())
    yield
    keyring.set_keyring(before)


@pytest.fixture(params=list(SecretBackend))
def secret_store(request: pytest.FixtureRequest, tmp_path: Path) -> SecretStore:
    return secret_store_for(request.param, tmp_path)


def test_secrets_come_back_as_they_were_kept(secret_store: SecretStore) -> None:
    secret_store.save("prod", KEPT)
    secret_store.save("test", Credentials("a", "b", "c"))
    assert secret_store.load("prod") == KEPT


def test_secrets_that_are_removed_are_gone_and_removing_them_again_is_fine(
    secret_store: SecretStore,
) -> None:
    secret_store.save("prod", KEPT)
    secret_store.remove("prod")
    secret_store.remove("prod")
    with pytest.raises(
        ConfigError, match="Cannot read the secrets of the profile 'prod'"
    ) as caught:
        secret_store.load("prod")
    assert "auth login --profile prod" in caught.value.advice


def test_the_location_of_secrets_contains_no_secret(secret_store: SecretStore) -> None:
    secret_store.save("prod", KEPT)
    location = secret_store.location("prod")
    assert "prod" in location
    assert "hush" not in location


@posix_only
@pytest.mark.parametrize("mask", [0, 0o077], ids=oct)
def test_a_file_of_secrets_is_for_its_owner_alone(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        FileSecretStore(tmp_path).save("prod", KEPT)
        FileSecretStore(tmp_path).save("prod", KEPT)
    finally:
        os.umask(before)
    (file,) = (tmp_path / "secrets").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


@posix_only
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660], ids=oct)
def test_a_file_of_secrets_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    FileSecretStore(tmp_path).save("prod", KEPT)
    (file,) = (tmp_path / "secrets").iterdir()
    file.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        FileSecretStore(tmp_path).load("prod")
    assert f"chmod 600 {file}" in caught.value.advice


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"client_id":1}', b"\xff\xfe"], ids=repr)
def test_the_error_of_a_broken_secrets_file_does_not_show_its_content(
    tmp_path: Path, content: bytes
) -> None:
    FileSecretStore(tmp_path).save("prod", KEPT)
    (file,) = (tmp_path / "secrets").iterdir()
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="not well-formed"):
        FileSecretStore(tmp_path).load("prod")


@pytest.mark.parametrize("backend", [FailKeyring, NullKeyring, LockedKeyring])
def test_a_keyring_that_does_not_serve_is_found_out_before_secrets_are_given_to_it(
    backend: type[KeyringBackend],
) -> None:
    keyring.set_keyring(backend())
    trouble = KeyringSecretStore().unavailable_reason()
    assert trouble is not None
    assert "keyring" in trouble


def test_a_keyring_that_serves_keeps_nothing_of_the_trial(tmp_path: Path) -> None:
    assert KeyringSecretStore().unavailable_reason() is None
    assert (tmp_path / "keyring.json").read_text() == "{}"


def test_what_a_keyring_says_when_it_fails_is_not_repeated() -> None:
    keyring.set_keyring(LockedKeyring())
    with pytest.raises(ConfigError) as caught:
        KeyringSecretStore().save("prod", KEPT)
    assert "hush" not in f"{caught.value} {caught.value.advice}"
    assert caught.value.__suppress_context__


def test_the_error_of_a_keyring_that_is_locked_later_says_what_to_do() -> None:
    KeyringSecretStore().save("prod", KEPT)
    keyring.set_keyring(LockedKeyring())
    with pytest.raises(ConfigError, match="not available") as caught:
        KeyringSecretStore().load("prod")
    assert "--plain-file" in caught.value.advice


@pytest.mark.parametrize(
    ("plain_file", "trouble", "windows", "place"),
    [
        (False, None, False, SecretBackend.KEYRING),
        (False, None, True, SecretBackend.KEYRING),
        (False, "none", False, SecretBackend.FILE),
        (True, None, False, SecretBackend.FILE),
        (True, "none", True, SecretBackend.FILE),
    ],
)
def test_secrets_go_to_the_keyring_unless_it_is_unavailable_or_a_file_is_requested(
    *, plain_file: bool, trouble: str | None, windows: bool, place: SecretBackend
) -> None:
    assert (
        choose_secret_backend(plain_file=plain_file, unavailable_reason=trouble, windows=windows)
        is place
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
def test_a_file_of_secrets_that_cannot_be_zohos_is_named(tmp_path: Path, content: bytes) -> None:
    FileSecretStore(tmp_path).save("prod", KEPT)
    (file,) = (tmp_path / "secrets").iterdir()
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        FileSecretStore(tmp_path).load("prod")
    assert caught.value.where == str(file)
    assert "1000" not in str(caught.value)
