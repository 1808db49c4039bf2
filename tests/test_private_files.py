"""On file systems without modes, no secret is written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulklink.advice import Advice
from bulklink.engine.clock import real_clock
from bulklink.errors import ConfigError
from bulklink.operations.job import Job
from bulklink.operations.plan import new_run_folder
from bulklink.profiles.secrets import FileSecretStore
from bulklink.zoho.connection import Connection, Credentials
from bulklink.zoho.tokens import Token, TokenStore

KEPT = Credentials("1000.ID", "hush", "1000.refresh")
posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")


@pytest.fixture
def without_modes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A file system without modes: all files are world-readable, and changes are ignored."""
    open_file, make_folder = os.open, os.mkdir

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "open", lambda path, flags, mode=0o777: open_file(path, flags, 0o777))
    monkeypatch.setattr(os, "mkdir", lambda path, mode=0o777: make_folder(path, 0o777))
    monkeypatch.setattr(os, "chmod", refuse)
    before = os.umask(0)
    yield
    os.umask(before)


@posix_only
@pytest.mark.usefixtures("without_modes")
def test_without_file_modes_no_secret_is_written(tmp_path: Path) -> None:
    store = FileSecretStore(tmp_path / "config")
    for write in (store.check, lambda: store.save("prod", KEPT)):
        with pytest.raises(ConfigError) as caught:
            write()
        assert "the file system has no modes" in caught.value.message
        assert "keyring" in caught.value.advice
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@posix_only
@pytest.mark.usefixtures("without_modes")
def test_without_file_modes_no_token_is_stored(tmp_path: Path) -> None:
    connection = Connection.from_environment(
        {"BULKLINK_API_URL": "http://127.0.0.1:9", "BULKLINK_ACCESS_TOKEN": "x"}
    )
    TokenStore(tmp_path / "tokens").save(connection, Token("secret", "http://127.0.0.1:9", 1e12))
    assert list((tmp_path / "tokens").iterdir()) == []


@posix_only
@pytest.mark.usefixtures("without_modes")
def test_without_file_modes_a_run_folder_is_created_with_a_warning(tmp_path: Path) -> None:
    warnings: list[str | Advice] = []
    job = Job(mappings=("m.csv",), run_dir=tmp_path / "run")
    with new_run_folder(job, real_clock(), warnings.append) as folder:
        assert folder.path.is_dir()
    (text,) = map(str, warnings)
    assert f"Others may read {tmp_path / 'run'}" in text
    assert "run_dir" in text


@posix_only
def test_checking_a_store_leaves_it_empty(tmp_path: Path) -> None:
    FileSecretStore(tmp_path).check()
    assert list((tmp_path / "secrets").iterdir()) == []
