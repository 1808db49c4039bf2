"""The README's commands and its example do what it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
_NUMBER = re.compile(r"\d{4}-\d\d-\d\d [\d:]{8}[+-]\d\d:\d\d|\d[\d,.]*|runs/\S+/")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def shape(text: str) -> str:
    """Return a text with every number and run folder blotted out: they differ from run to run."""
    return re.sub(r" +", " ", _NUMBER.sub("#", text)).strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a mapping.csv that the sample world knows."""
    folder = tmp_path_factory.mktemp("readme")
    mapping = (ROOT / "jobs" / "demo" / "mapping.csv").read_bytes()
    (folder / "mapping.csv").write_bytes(mapping)
    return folder


@pytest.fixture(scope="module")
def env(folder: Path) -> Iterator[dict[str, str]]:
    """The environment of a user whose org is the emulator."""
    world = str(ROOT / "jobs" / "demo" / "world.json")
    command = [sys.executable, "-m", "bulklink", "emulator", "--world", world]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as emulator:
        assert emulator.stdout is not None
        url = orjson.loads(emulator.stdout.readline())["url"]
        try:
            yield clean_env(folder) | {
                "BULKLINK_API_URL": url,
                "BULKLINK_ACCOUNTS_URL": url,
                "BULKLINK_CLIENT_ID": "demo",
                "BULKLINK_CLIENT_SECRET": "demo",
                "BULKLINK_REFRESH_TOKEN": "demo",
            }
        finally:
            emulator.terminate()


def clean_env(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BULKLINK")}
    binaries = str(Path(sys.executable).parent)
    own = {
        "XDG_STATE_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
    }
    return kept | own | {"PATH": f"{binaries}{os.pathsep}{kept['PATH']}"}


def run(
    command: list[str], folder: Path, env: dict[str, str]
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, timeout=50)


def test_the_first_example_prints_what_the_readme_shows(folder: Path) -> None:
    example = blocks("console")[0]
    command, _, shown = example.removeprefix("$ ").partition("\n")
    done = subprocess.run(
        command.split(),
        cwd=folder,
        env=clean_env(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=50,
    )
    assert done.returncode == 0
    lines = sorted(shape(line) for line in done.stdout.decode().splitlines() if line.strip())
    assert lines == sorted(shape(line) for line in shown.splitlines())


def test_the_commands_against_an_org_run(folder: Path, env: dict[str, str]) -> None:
    commands = [
        line.partition("#")[0].split()
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("bulklink ")
    ]
    assert [command[1] for command in commands] == [
        *("auth", "auth", "plan", "link", "status", "plan", "apply", "export", "export")
    ]
    for command in commands:
        done = run(command, folder, env)
        assert done.returncode == 0, done.stderr.decode()


def test_the_program_runs(folder: Path, env: dict[str, str]) -> None:
    program = blocks("python")[0]
    done = run([sys.executable, "-c", program], folder, env)
    assert done.returncode == 0, done.stderr.decode()
    assert re.fullmatch(r"\d+ of 150\n", done.stdout.decode())


def test_the_mapping_shown_can_be_planned(tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "mapping.csv").write_text(blocks("csv")[0], encoding="utf-8")
    done = run(["bulklink", "plan", "--op", "link", "mapping.csv", "--json"], tmp_path, env)
    assert orjson.loads(done.stdout)["messages"] == 1


def test_every_option_of_the_table_exists(folder: Path, env: dict[str, str]) -> None:
    told = run(["bulklink", "run", "--help"], folder, env).stdout.decode()
    table = README.partition("## Options")[2].partition("## Run folder")[0]
    options = set(re.findall(r"`(--[a-z-]+)", table))
    assert len(options) > 10
    assert {option for option in options if option not in told} == set()


def test_every_option_of_a_run_has_its_row_or_is_told_of(folder: Path, env: dict[str, str]) -> None:
    told = run(["bulklink", "run", "--help"], folder, env).stdout.decode()
    known = set(re.findall(r"(?<![\w-])(--[a-z-]+)", told)) - {"--help", "--group-by"}
    short = {"--verbose": "-v", "--quiet": "-q", "--allow-round-ids": "rounded"}
    assert {o for o in known if o not in README and short.get(o, o) not in README} == set()


def test_an_installed_wheel_brings_the_demo_with_it(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    target = tmp_path / "installed"
    installed = subprocess.run(
        [*pip, "install", "--no-deps", "--no-build-isolation", "--target", target, ROOT],
        capture_output=True,
        timeout=50,
    )
    assert installed.returncode == 0, installed.stderr.decode()
    env = clean_env(tmp_path) | {"PYTHONPATH": str(target)}
    where = run([sys.executable, "-c", "import bulklink; print(bulklink.__file__)"], tmp_path, env)
    assert where.stdout.decode().startswith(str(target))
    assert (target / "bulklink" / "page" / "assets" / "plot.umd.min.js").is_file()
    done = run([sys.executable, "-m", "bulklink", "demo", "--help"], tmp_path, env)
    assert done.returncode == 0
    done = run([sys.executable, "-m", "bulklink", "demo"], tmp_path, env)
    assert b"done  150" in done.stdout, done.stderr.decode()
