"""Every command in the documentation exists, with its options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.cli.command_tree import ALL, parse_context
from tests.docs.reference import ROOT, TARGET
from tests.docs.test_reference import options_of

PAGES = [
    *(
        ROOT / name
        for name in (
            "README.md",
            "ARCHITECTURE.md",
            "CONTRIBUTING.md",
            "SECURITY.md",
            "CHANGELOG.md",
        )
    ),
    *sorted(path for path in (ROOT / "docs").glob("*.md") if path != TARGET),
]
JOBS = sorted([*(ROOT / "jobs").glob("*.toml"), *(ROOT / "docs" / "examples").glob("*.toml")])
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?:^ {4}\S.*\n)+", re.MULTILINE)
_SHELLS = ("sh", "shell", "console", "crontab", "powershell")
_COMMAND = re.compile(
    r"""(?<![\w/.`"-])bulklink\ (?=[a-z])(?: "[^"\n]*" | '[^'\n]*' | [^\n#|<>&"'`] )*""", re.VERBOSE
)
_PLACEHOLDERS = {"COMMAND", "…"}


def commands_in_blocks(path: Path) -> list[str]:
    """Return the commands that a page shows in blocks, or a job file in its comments."""
    text = path.read_text("utf-8")
    if path.suffix == ".toml":
        blocks = re.findall(r"^#   (.*)$", text, re.MULTILINE)
    else:
        blocks = [block for language, block in _FENCED.findall(text) if language in _SHELLS]
        blocks += _INDENTED.findall(_FENCED.sub("", text))
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [command.strip() for command in _COMMAND.findall(joined)]


def commands_in_sentences(path: Path) -> list[str]:
    """Return the commands that a page names in its sentences."""
    text = _FENCED.sub("", path.read_text("utf-8"))
    return [code for code in re.findall(r"`([^`\n]+)`", text) if code.startswith("bulklink ")]


SHOWN = [
    pytest.param(command, id=f"{path.relative_to(ROOT)}: {command}")
    for path in (*PAGES, *JOBS)
    for command in dict.fromkeys(commands_in_blocks(path))
]
NAMED = [
    pytest.param(command, id=f"{path.relative_to(ROOT)}: {command}")
    for path in PAGES
    for command in dict.fromkeys(commands_in_sentences(path))
]


@pytest.fixture(autouse=True)
def profile_of_the_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Provide the profiles that pages name, and hide those of the developer."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    profiles = tmp_path / "bulklink" / "profiles"
    profiles.mkdir(parents=True)
    for name in ("test", "acme", "acme-test", "globex"):
        text = 'client_id = "1000.ID"\nsecrets = "keyring"\ndata_centre = "eu"\n'
        (profiles / f"{name}.toml").write_text(text, "utf-8")


@pytest.mark.parametrize("command", SHOWN)
def test_a_command_that_is_shown_is_valid(command: str) -> None:
    # shlex would remove the backslashes of a Windows path.
    words = shlex.split(command.replace("\\", "/"))
    if "--help" not in words:
        assert parse_context(words).command_path.startswith("bulklink")
        return
    assert " ".join(words[: words.index("--help")]) in ALL


@pytest.mark.parametrize("command", NAMED)
def test_a_command_that_is_named_exists_with_its_options(command: str) -> None:
    words = shlex.split(command)
    if not _PLACEHOLDERS.isdisjoint(words):
        return
    path = next(
        candidate
        for length in range(len(words), 0, -1)
        if (candidate := " ".join(words[:length])) in ALL
    )
    assert path != "bulklink" or words[1].startswith("-"), command
    known = {*options_of(ALL[path]), "--help", "--version"}
    options = {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"}
    assert options - known == set()


def test_the_documentation_shows_and_names_many_commands() -> None:
    assert len(SHOWN) > 50
    assert len(NAMED) > 50
