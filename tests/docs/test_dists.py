"""Release files: the wheel is complete, whether it is built from the checkout or the sdist."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

from tests.docs.dists import ROOT, build_dists


def test_wheels_of_the_checkout_and_of_the_sdist_are_the_same_and_complete(tmp_path: Path) -> None:
    dists = build_dists(tmp_path / "dist")
    with tarfile.open(dists.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.glob("bulklink-*")
    wheel = _contents(dists.wheel)
    assert _contents(build_dists(tmp_path / "again", source).wheel) == wheel
    package = {f"bulklink/{name}" for name in _files(ROOT / "bulklink")}
    jobs = {f"bulklink/_jobs/{name}" for name in _files(ROOT / "jobs")}
    assert {name for name in wheel if ".dist-info/" not in name} == package | jobs
    assert {"bulklink/py.typed", "bulklink/_jobs/demo.toml"} <= set(wheel)
    for folder in ("bulklink", "jobs", "docs", "tests"):
        assert _files(source / folder) == _files(ROOT / folder), folder
    for name in ("README.md", "CHANGELOG.md", "LICENSE", "Makefile", "requirements.lock"):
        assert (source / name).read_bytes() == (ROOT / name).read_bytes()


def _contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _files(folder: Path) -> set[str]:
    """Return the files below a folder, without Python's caches."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
