"""Files of folders from others: which are opened, and by which modules."""

from __future__ import annotations

import ast
import os
import sys
import tracemalloc
from pathlib import Path

import pytest

import bulklink
from bulklink import folder_files
from bulklink.atomic_files import atomic_replace
from bulklink.errors import LedgerError, RunDirError
from bulklink.folder_files import (
    MAX_LINE_BYTES,
    check_folder_file,
    is_open_at,
    line_blocks,
    make_scratch,
    open_to_append,
    open_to_read,
    open_to_repair,
    read_small_file,
    split_lines,
)

ROOT = Path(bulklink.__file__).parent


def test_the_path_of_the_folder_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "file").write_bytes(b"a\n")
    (tmp_path / "link").symlink_to("run")
    assert read_small_file(tmp_path / "link" / "file") == b"a\n"
    os.close(open_to_append(tmp_path / "link" / "new"))
    assert (tmp_path / "run" / "new").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("flag", ["with O_NOFOLLOW", "without"])
@pytest.mark.parametrize("open_file", [open_to_read, open_to_append, open_to_repair])
def test_a_link_is_not_followed(
    tmp_path: Path, open_file: object, flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows has no O_NOFOLLOW."""
    if flag == "without":
        monkeypatch.setattr(folder_files, "_FLAGS", 0)
    (tmp_path / "target").write_bytes(b"mine\n")
    (tmp_path / "file").symlink_to("target")
    assert callable(open_file)
    with pytest.raises(RunDirError, match="a symbolic link"):
        open_file(tmp_path / "file")
    (tmp_path / "target").unlink()
    with pytest.raises(RunDirError, match="a symbolic link"):
        open_file(tmp_path / "file")
    assert not (tmp_path / "target").exists()


class SwappingSystem:
    """File system that replaces a file after it was checked.

    Args:
        other: the other file.
    """

    def __init__(self, other: Path) -> None:
        self._other = other

    def lstat(self, path: Path, /) -> os.stat_result:
        status = os.lstat(path)
        path.unlink()
        path.hardlink_to(self._other)
        return status

    def open(self, path: Path, flags: int, mode: int, /) -> int:
        return os.open(path, flags, mode)

    def fstat(self, file: int, /) -> os.stat_result:
        return os.fstat(file)

    def write(self, file: int, content: memoryview, /) -> int:
        return os.write(file, content)

    def fsync(self, file: int, /) -> None:
        os.fsync(file)

    def close(self, file: int, /) -> None:
        os.close(file)


def test_a_file_swapped_while_it_is_opened_is_refused(tmp_path: Path) -> None:
    """The check of the path finds a regular file."""
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(RunDirError, match="a named pipe"):
        open_to_append(tmp_path / "file", SwappingSystem(tmp_path / "pipe"))


def test_only_files_changed_in_place_must_not_have_hard_links(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a\n")
    (tmp_path / "other").hardlink_to(tmp_path / "file")
    assert read_small_file(tmp_path / "file") == b"a\n"
    assert check_folder_file(tmp_path / "file")
    for change in (open_to_append, open_to_repair):
        with pytest.raises(RunDirError, match="2 names") as caught:
            change(tmp_path / "file")
        assert caught.value.advice.startswith("Copy the folder")


def test_a_missing_file_is_reported_to_a_reader_and_created_by_a_writer(tmp_path: Path) -> None:
    assert not check_folder_file(tmp_path / "file")
    for read in (open_to_read, open_to_repair, read_small_file):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "file")
    assert list(line_blocks(tmp_path / "file")) == []
    os.close(open_to_append(tmp_path / "file"))
    assert check_folder_file(tmp_path / "file")
    with pytest.raises(RunDirError, match="Cannot write"):
        open_to_append(tmp_path / "none" / "file")


def test_complete_lines_are_read_and_a_torn_line_is_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    lines = [b"x" * length for length in (0, MAX_LINE_BYTES - 1, 5, MAX_LINE_BYTES, 0, 700_000)]
    path.write_bytes(b"".join(line + b"\n" for line in lines) + b"torn")
    assert [line for block in line_blocks(path) for line in split_lines(block)] == lines
    after = [line for block in line_blocks(path, start=1) for line in split_lines(block)]
    assert after == lines[1:]


def test_a_line_beyond_the_limit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a\nb\n" + b"x" * (MAX_LINE_BYTES + 1) + b"\n")
    with pytest.raises(LedgerError, match="longer than 1 MiB") as caught:
        list(line_blocks(path, error_class=LedgerError))
    assert caught.value.where == f"{path}:3"


def test_a_file_without_newlines_takes_no_memory(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(4 << 30)
    tracemalloc.start()
    for read in (lambda path: list(line_blocks(path)), read_small_file):
        with pytest.raises(RunDirError):
            read(tmp_path / "file")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


def test_an_open_file_is_recognised_as_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    file = open_to_append(path)
    assert is_open_at(file, path)
    path.parent.rename(tmp_path / "moved")
    assert not is_open_at(file, path)
    path.parent.mkdir()
    path.write_bytes(b"")
    assert not is_open_at(file, path)
    os.close(file)


def test_scratch_is_recreated_and_never_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "planted").symlink_to("/etc/passwd")
    make_scratch(tmp_path / "scratch")
    assert list((tmp_path / "scratch").iterdir()) == []
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to("other")
    with pytest.raises(RunDirError, match="a symbolic link"):
        make_scratch(tmp_path / "link")


def test_a_file_is_replaced_but_not_the_target_of_a_planted_link(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"mine\n")
    for name in ("file", "file.partial"):
        (tmp_path / name).symlink_to("target")
    with atomic_replace(tmp_path / "file") as temporary:
        temporary.write_bytes(b"new\n")
    assert (tmp_path / "target").read_bytes() == b"mine\n"
    assert (tmp_path / "file").read_bytes() == b"new\n"
    assert not (tmp_path / "file").is_symlink()


OPENERS = {
    "open", "fdopen", "read_text", "read_bytes", "write_text", "write_bytes", "touch", "FileIO",
}  # fmt: skip
ELSEWHERE = {
    "folder_files.py": "the one place",
    "atomic_files.py": "flushes the temporary file that it created, and its folder",
    "cli": "job files, logs and lists that the user names; `generate` creates",
    "emulator": "its own files",
    "duckdb_sql.py": "the temporary file that DuckDB writes, made before its link",
    "profiles": "profiles and secrets, in the folder of the user's settings",
    "zoho/tokens.py": "tokens, in the folder of the user's state",
    "engine/quota": "credits, in the folder of the user's state",
    "html_pages/page.py": "files of the package",
    "cluster/schema.py": "a file of the package",
    "tables": "tables that the user names, and their temporary files",
    "mapping/input": "mappings that the user names, and temporary files made of them",
    "mapping/contact_selection.py": "the temporary file of an atomic replacement",
    "mapping/email_files.py": "emails that the user names, or a copy of them",
    "mapping/rejects.py": "the temporary file of an atomic replacement; parts of it in scratch",
    "ledger/redact.py": "the temporary file of an atomic replacement",
    "ledger/state.py": "a descriptor from `folder_files`",
    "runs/timeline.py": "a descriptor from `folder_files`",
    "operations/org_lock.py": "the temporary file of an atomic replacement",
    "operations/org_share.py": "the temporary file of an atomic replacement",
    "mapping/audit_lists.py": "the temporary file of an atomic replacement",
    "operations/auditing/deals_file.py": "the temporary file of an atomic replacement",
    "operations/auditing/reading.py": "opens a reading, not a file",
    "operations/fetching/emails.py": "a table that the user names",
    "operations/probing/result.py": "the temporary file of an atomic replacement",
    "operations/fetching/selection.py": "lists of contacts and deals that the user names",
    "operations/work_folder.py": "the temporary file of an atomic replacement",
    "operations/load_files.py": "the temporary file of an atomic replacement",
    "runs/random_mark.py": "the mark, in the folder of the user's state",
    "operations/name_lookup.py": "a scratch folder, created for it",
    "operations/result_staging.py": "a file in a folder of `tempfile`",
    "operations/undo_plan.py": "a folder of `tempfile`",
    "operations/report/write.py": "the temporary file of an atomic replacement",
    "operations/audit.py": "opens a reading, not a file",
    "operations/auditing/files.py": "tables that the user names; the temporary file of an atomic"
    " replacement",
    "operations/auditing/judging.py": "the tables of an audit",
    "operations/auditing/review.py": "the temporary file of an atomic replacement",
    "operations/weights.py": "weights that the user names, and those of the package",
    "operations/export.py": "a table that the user names",
    "operations/matching/deal_keys.py": "a file in a folder of `tempfile`",
    "operations/sample_audit.py": "the temporary file of an atomic replacement",
    "ui/drafts.py": "the temporary file of an atomic replacement",
    "operations/session.py": "opens credits, not a file",
}
"""Other modules that open files, and which files these are; none is in a run folder."""


def opens_files(path: Path) -> bool:
    return any(
        isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Attribute) and node.func.attr in OPENERS)
            or (isinstance(node.func, ast.Name) and node.func.id in OPENERS)
        )
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
    )


def test_no_other_module_opens_files_of_folders() -> None:
    """Modules use `folder_files` unless they are listed with the files that they open."""
    opening = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if opens_files(path)}

    def entry(name: str) -> str | None:
        return next((key for key in ELSEWHERE if name == key or name.startswith(key + "/")), None)

    assert {name for name in opening if entry(name) is None} == set()
    assert set(ELSEWHERE) - {entry(name) for name in opening} == set()
