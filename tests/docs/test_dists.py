"""Release files: complete, and the same bytes wherever and whenever they are built."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.docs.dists import ROOT, build_dists

TOP_FILES = ("LICENSE", "Makefile", "Containerfile", "requirements.lock", "pyproject.toml")


SECONDS = 1_790_000_000
"""A time between the years that a zip file can have, and not that of the build."""


def test_files_of_the_checkout_and_of_the_sdist_are_the_same_bytes_and_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(SECONDS))
    dists = build_dists(tmp_path / "dist")
    with tarfile.open(dists.sdist) as archive:
        assert {member.mtime for member in archive} == {SECONDS}
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.glob("bulklink-*")
    for path in source.rglob("*"):
        path.touch()
        path.chmod(0o700 if path.is_dir() else 0o600)
    again = build_dists(tmp_path / "again", source)
    assert again.wheel.read_bytes() == dists.wheel.read_bytes()
    assert again.sdist.read_bytes() == dists.sdist.read_bytes()
    wheel = _names(dists.wheel)
    package = {f"bulklink/{name}" for name in _files(ROOT / "bulklink")}
    jobs = {f"bulklink/_jobs/{name}" for name in _files(ROOT / "jobs")}
    assert {name for name in wheel if ".dist-info/" not in name} == package | jobs
    assert {"bulklink/py.typed", "bulklink/_jobs/demo.toml"} <= wheel
    for folder in ("bulklink", "jobs", "docs", "tests"):
        assert _files(source / folder) == _files(ROOT / folder), folder
    for name in (*TOP_FILES, "README.md", "CHANGELOG.md", "SECURITY.md"):
        assert (source / name).read_bytes() == (ROOT / name).read_bytes()


def _names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def _files(folder: Path) -> set[str]:
    """Return the files below a folder, without Python's caches."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
