"""A release as docs/releasing.md describes it, made in a copy of the checkout."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.docs.dists import ROOT, copy_checkout

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
VERSION = PROJECT["version"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text("utf-8")
VENV = Path(sys.executable).parents[1]
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
}
"""Without what `make test` passes down."""


def test_the_changelog_begins_with_what_is_unreleased_and_has_a_section_for_each_version() -> None:
    first, *versions = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)
    assert first == "Unreleased"
    for heading in versions:
        assert re.fullmatch(r"\d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\)", heading)
    numbers = [tuple(map(int, heading.split()[0].split("."))) for heading in versions]
    assert numbers == sorted(numbers, reverse=True)


def test_the_version_stands_in_one_place() -> None:
    tracked = [*(ROOT / "bulklink").rglob("*.py"), ROOT / "Makefile", ROOT / "Containerfile"]
    naming = [path for path in tracked if VERSION in path.read_text("utf-8")]
    assert naming == []


def make(folder: Path, *targets: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run make with the tools that run this test; return its exit code and what it printed."""
    process = subprocess.run(
        ["make", *targets, f"VENV={VENV}", f"--assume-old={VENV}/.installed-dev", "PIP=false"],
        cwd=folder,
        env={**ENVIRONMENT, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=200,
        text=True,
    )
    return process.returncode, process.stdout


def git(folder: Path, *words: str) -> str:
    author = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    return subprocess.run(
        ["git", *author, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a copy of the checkout in a repository of its own, with all committed."""
    folder = copy_checkout(tmp_path / "checkout")
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "all", "--date", "2026-11-22T14:00:00Z")
    return folder


def test_a_release_is_what_is_committed_and_in_the_changelog(repository: Path) -> None:
    if f"## {VERSION} (" not in CHANGELOG:
        code, output = make(repository, "release")
        assert code != 0
        assert f"CHANGELOG.md has no section for {VERSION}: see docs/releasing.md." in output
    (repository / "bulklink" / "forgotten.py").touch()
    code, output = make(repository, "release")
    assert code != 0
    assert "Commit or remove what has changed" in output
    assert not (repository / "dist").exists()


@pytest.mark.timeout(400)  # the packages may have to be downloaded first
def test_a_release_has_wheel_sdist_bill_of_materials_and_hashes(
    repository: Path, wheelhouse: Path
) -> None:
    changelog = CHANGELOG.replace("## Unreleased", f"## Unreleased\n\n## {VERSION} (2026-11-22)", 1)
    (repository / "CHANGELOG.md").write_text(changelog, "utf-8")
    git(repository, "commit", "--quiet", "--all", "--message", "release")
    offline = {"UV_OFFLINE": "1", "UV_NO_INDEX": "1", "UV_FIND_LINKS": str(wheelhouse)}
    code, output = make(repository, "release", env=offline)
    assert code == 0, output
    dist = repository / "dist"
    names = {path.name for path in dist.iterdir() if not path.name.startswith(".")}
    bill = f"bulklink-{VERSION}.cdx.json"
    files = {f"bulklink-{VERSION}-py3-none-any.whl", f"bulklink-{VERSION}.tar.gz", bill}
    assert names == files | {"SHA256SUMS"}
    hashes = {name: hashlib.sha256((dist / name).read_bytes()).hexdigest() for name in files}
    lines = (dist / "SHA256SUMS").read_text("utf-8").splitlines()
    assert {line[66:]: line[:64] for line in lines} == hashes
    _check_bill(json.loads((dist / bill).read_text("utf-8")))
    assert git(repository, "status", "--porcelain") == ""


def _check_bill(bill: Mapping[str, Any]) -> None:
    """Check that it has what an installation has, no more, in the locked versions."""
    assert bill["metadata"]["component"]["version"] == VERSION
    listed = {_normal(each["name"]): each["version"] for each in bill["components"]}
    needed = {
        _normal(re.split(r"[>=;]", requirement)[0].strip())
        for requirement in PROJECT["dependencies"]
        if "python_version" not in requirement
    }
    assert needed <= listed.keys()
    assert {"pytest", "ruff", "uvloop", "pip"} & listed.keys() == set()
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE))
    assert all(locked[name] == version for name, version in listed.items())


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


STUB = """#!/bin/sh
# Stands for Python and bulklink: says what it is asked for, and makes the environment.
case "$*" in
    *" venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; cp "$0" "$3/bin/bulklink" ;;
esac
echo "ran: $*"
"""


def test_make_demo_says_what_each_step_does_before_it_does_it(tmp_path: Path) -> None:
    stub = tmp_path / "python"
    stub.write_text(STUB)
    stub.chmod(0o755)
    process = subprocess.run(
        ["make", "--no-print-directory", "demo", f"PYTHON={stub}", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    kinds = [
        next((kind for kind in ("venv", "pip install", "demo") if kind in line), "version")
        if line.startswith("ran: ")
        else line.split()[0]
        for line in process.stdout.splitlines()
    ]
    assert kinds == ["version", "Creating", "venv", "Installing", "pip install", "Linking", "demo"]
