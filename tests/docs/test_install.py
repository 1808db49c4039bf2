"""The README's lines that install bulklink, run for a checkout, a wheel and an sdist.

No index is used: `wheelhouse` has what bulklink needs. `make soak` tries each tool with each of
the three.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from tests.docs.dists import ROOT, Dists, bare_environment, build_dists, copy_checkout

SECTION = re.search(
    r"^## Install\n(.*?)^## ", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
)
LINES = (
    [
        line
        for block in re.findall(r"^```sh\n(.*?)^```$", SECTION[1], re.DOTALL | re.MULTILINE)
        for line in block.splitlines()
    ]
    if SECTION
    else []
)
TOOLS = {
    "pipx": ["pipx install ."],
    "uv": ["uv tool install ."],
    "pip": ["python3 -m venv .venv", ".venv/bin/pip install ."],
}
PATH_LINES = {"pipx": "pipx ensurepath", "uv": "uv tool update-shell"}
SOURCES = ("checkout", "wheel", "sdist")
CASES = (
    [(tool, source) for tool in TOOLS for source in SOURCES]
    if os.environ.get("BULKLINK_TEST_INSTALLS") == "9"
    else [("pipx", "checkout"), ("uv", "sdist"), ("pip", "wheel")]
)


@dataclass(frozen=True, slots=True)
class Machine:
    """A user's machine on which bulklink is not installed, without a network.

    Args:
        home: home folder of the user.
        checkout: working folder, a copy of the checkout.
        env: environment of every command.
    """

    home: Path
    checkout: Path
    env: Mapping[str, str]

    def run(self, *command: str | Path) -> str:
        """Run a command that must succeed; return what it printed on standard output."""
        process = subprocess.run(
            command, cwd=self.checkout, env=self.env, capture_output=True, timeout=200, text=True
        )
        assert process.returncode == 0, (command, process.stdout, process.stderr)
        return process.stdout


@pytest.fixture
def machine(tmp_path: Path, wheelhouse: Path) -> Machine:
    """Return a machine with the tools, whose home is empty."""
    home = tmp_path / "home"
    home.mkdir()
    tools = Path(sys.executable).parent
    env = {
        name: value
        for name, value in bare_environment(home).items()
        if not name.startswith(("PIP_", "UV_", "XDG_"))
    }
    env |= {
        "HOME": str(home),
        "SHELL": "/bin/bash",
        "PATH": f"{tools}{os.pathsep}{env['PATH']}",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_NO_COMPILE": "1",
        "PIP_FIND_LINKS": str(wheelhouse),
        "UV_OFFLINE": "1",
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": str(wheelhouse),
        "UV_PYTHON": sys.executable,
    }
    return Machine(home, copy_checkout(tmp_path / "checkout"), env)


def test_the_readme_installs_with_three_tools_and_helps_if_the_command_is_not_found() -> None:
    assert [line for lines in TOOLS.values() for line in lines] == LINES
    assert SECTION is not None
    for advice in (*PATH_LINES.values(), "python -m bulklink"):
        assert f"`{advice}`" in SECTION[1]


@pytest.mark.timeout(400)  # the packages may have to be downloaded first
@pytest.mark.parametrize(("tool", "source"), CASES)
def test_bulklink_is_installed_as_the_readme_says(
    machine: Machine, tmp_path: Path, tool: str, source: str
) -> None:
    target = _built(build_dists(tmp_path / "dist"), source)
    for line in TOOLS[tool]:
        *words, last = line.split()
        machine.run(*words, target if last == "." else last)
    bin_folder = machine.checkout / ".venv/bin" if tool == "pip" else machine.home / ".local/bin"
    program = bin_folder / "bulklink"
    assert re.fullmatch(r"bulklink \d+\.\d+\.\d+\S*\n", machine.run(program, "--version"))
    assert orjson.loads(machine.run(program, "demo", "--json"))["counts"]["done"] == 150
    if tool == "pip":
        _check_module(machine, bin_folder / "python")
    else:
        _check_path(machine, tool)


def _built(dists: Dists, source: str) -> str:
    """Return what is installed, as the user names it."""
    return {"checkout": ".", "wheel": str(dists.wheel), "sdist": str(dists.sdist)}[source]


def _check_module(machine: Machine, python: Path) -> None:
    """Run bulklink as a module, and import all of it, with no extra installed."""
    printed = machine.run(python, "-m", "bulklink", "--version")
    assert printed.startswith("bulklink ")
    walk = "import bulklink, pkgutil; names = pkgutil.walk_packages(bulklink.__path__, 'bulklink.')"
    machine.run(
        python,
        "-c",
        f"import importlib; {walk}; "
        "[importlib.import_module(m.name) for m in names if not m.name.endswith('__main__')"
        " and not m.name.startswith('bulklink.cluster.')]",  # these are an extra
    )


def _check_path(machine: Machine, tool: str) -> None:
    """Follow the advice of the README, which puts the folder of the command on the PATH."""
    machine.run(*PATH_LINES[tool].split())
    profiles = [path.read_text("utf-8") for path in machine.home.glob(".*") if path.is_file()]
    assert any(".local/bin" in text for text in profiles)
