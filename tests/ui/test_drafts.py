"""Drafts on disk: private, bounded, under names of ours, and removed in time."""

from __future__ import annotations

import errno
import io
import os
import stat
import time
from pathlib import Path
from typing import BinaryIO

import pytest

from bulklink.models import Op
from bulklink.runs.folder import list_run_folders
from bulklink.ui.commands import PageError
from bulklink.ui.drafts import (
    DRAFT_SECONDS,
    MAX_DRAFTS,
    Draft,
    Drafts,
    DraftSettings,
    shown_name,
)

SETTINGS = DraftSettings(op=Op.LINK)


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


class FullDisk(io.BytesIO):
    """A file on a disk without space."""

    def write(self, _content: object, /) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def drafts(tmp_path: Path, clock: Clock) -> Drafts:
    return Drafts(tmp_path / "runs", clock, max_bytes=1000)


def store(drafts: Drafts, content: bytes = b"a,b\n", name: str = "mapping.csv") -> Draft:
    upload = drafts.begin()
    upload.write(content)
    return upload.complete(name, SETTINGS)


def test_a_draft_has_what_was_uploaded_and_said(drafts: Drafts) -> None:
    draft = drafts.find(store(drafts).id)
    assert draft is not None
    assert draft.source.path is not None
    assert draft.source.path.read_bytes() == b"a,b\n"
    assert (draft.record.name, draft.record.bytes) == ("mapping.csv", 4)
    assert draft.record.settings == SETTINGS


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_only_the_user_can_read_a_draft(drafts: Drafts) -> None:
    draft = store(drafts)
    assert draft.source.path is not None
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (draft.path.parent, draft.path)]
    assert modes == [0o700, 0o700]
    assert stat.S_IMODE(draft.source.path.stat().st_mode) == 0o600


def test_a_draft_is_no_run(drafts: Drafts, tmp_path: Path) -> None:
    store(drafts)
    assert list_run_folders(tmp_path / "runs") == []


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param("Q3.csv", "Q3.csv", id="plain"),
        pytest.param("../../etc/passwd", "passwd", id="path"),
        pytest.param("C:\\Users\\me\\Q3.csv", "Q3.csv", id="windows path"),
        pytest.param("-", "mapping", id="standard input"),
        pytest.param("..", "mapping", id="parent"),
        pytest.param("", "mapping", id="none"),
        pytest.param("a\x1b[2J\nb.csv", "a\\x1b[2J\\nb.csv", id="control characters"),
        pytest.param("a\udcffb.csv", "a\\xffb.csv", id="undecoded bytes"),
        pytest.param("n" * 400 + ".csv", "n" * 115 + "….csv", id="long"),
        pytest.param("n." + "s" * 3000, "n." + "s" * 97 + "…" + "s" * 20, id="long suffix"),
        pytest.param("." + "n" * 3000, "." + "n" * 118 + "…", id="long without a suffix"),
    ],
)
def test_a_clients_file_name_is_only_shown(drafts: Drafts, name: str, shown: str) -> None:
    assert shown_name(name) == shown
    draft = store(drafts, name=name)
    assert draft.record.name == shown
    assert {path.name for path in draft.path.iterdir()} == {"mapping", "draft.json"}


def test_an_upload_that_is_too_large_is_refused(drafts: Drafts) -> None:
    upload = drafts.begin()
    upload.write(b"x" * 1000)
    with pytest.raises(PageError, match=r"larger than 1,000 bytes"):
        upload.write(b"x")
    upload.discard()
    assert list(drafts.folder.iterdir()) == []


def test_an_empty_upload_is_refused(drafts: Drafts) -> None:
    upload = drafts.begin()
    with pytest.raises(PageError, match="The file is empty"):
        upload.complete("mapping.csv", SETTINGS)
    upload.discard()


def test_a_full_disk_is_named(tmp_path: Path, clock: Clock) -> None:
    def create(path: Path) -> BinaryIO:
        path.touch()
        return FullDisk()

    upload = Drafts(tmp_path, clock, create=create).begin()
    with pytest.raises(PageError, match="No space left on device") as raised:
        upload.write(b"x")
    assert raised.value.status == 507


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(PageError, match="cannot be stored"):
        Drafts(tmp_path / "runs", clock).begin()


def test_there_are_only_so_many_drafts(drafts: Drafts) -> None:
    first, *_ = (store(drafts) for _ in range(MAX_DRAFTS - 1))
    upload = drafts.begin()  # it counts before it is complete
    with pytest.raises(PageError, match="discard one"):
        drafts.begin()
    upload.discard()
    drafts.remove(first)
    assert len(drafts.all()) == MAX_DRAFTS - 2
    store(drafts)


def test_a_draft_is_removed_after_a_day(drafts: Drafts, clock: Clock) -> None:
    store(drafts, name="old.csv")
    clock.now += DRAFT_SECONDS / 2
    store(drafts, name="young.csv")
    clock.now += DRAFT_SECONDS / 2 + 1
    drafts.remove_old()
    assert [draft.record.name for draft in drafts.all()] == ["young.csv"]


def test_an_upload_that_was_cut_off_is_removed_after_a_day(drafts: Drafts, clock: Clock) -> None:
    folder = store(drafts).path
    (folder / "draft.json").unlink()
    clock.now = folder.stat().st_mtime + DRAFT_SECONDS - 1
    drafts.remove_old()
    assert folder.exists()
    clock.now += 2
    drafts.remove_old()
    assert not folder.exists()


@pytest.mark.parametrize("draft_id", ["", "..", "../x", "x" * 32, "0" * 31, "A" * 32, "0" * 32])
def test_an_id_of_no_draft_finds_none(drafts: Drafts, draft_id: str) -> None:
    store(drafts)
    assert drafts.find(draft_id) is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"name":1}', b"[" * 5000])
def test_a_draft_that_is_damaged_is_not_shown(drafts: Drafts, content: bytes) -> None:
    draft = store(drafts)
    (draft.path / "draft.json").write_bytes(content)
    assert drafts.find(draft.id) is None
    assert drafts.all() == []


def test_a_link_among_the_drafts_is_not_followed(drafts: Drafts, clock: Clock) -> None:
    outside = store(Drafts(drafts.folder.parent.parent / "elsewhere", clock)).path
    store(drafts)
    (drafts.folder / ("e" * 32)).symlink_to(outside, target_is_directory=True)
    assert drafts.find("e" * 32) is None
    clock.now += 100 * DRAFT_SECONDS
    drafts.remove_old()
    assert (outside / "mapping").exists()


def test_a_link_in_place_of_the_drafts_is_not_followed(drafts: Drafts, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "victim").mkdir()
    drafts.folder.symlink_to(tmp_path / "victim", target_is_directory=True)
    with pytest.raises(Exception, match="symbolic link"):
        drafts.begin()
    assert list((tmp_path / "victim").iterdir()) == []
    assert drafts.all() == []


def test_other_settings_are_kept(drafts: Drafts) -> None:
    settings = DraftSettings(op=None, columns=(("deal_id", "Deal"),), skip_lines=2)
    draft = drafts.write_settings(store(drafts), settings)
    assert drafts.find(draft.id) == draft
    assert draft.record.settings == settings
