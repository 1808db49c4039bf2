"""The reference and the guides agree with the commands, options and codes, and all links work."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from bulklink.cli import errors
from bulklink.errors import ExitCode
from tests.cli.command_tree import ALL, LEAVES
from tests.docs.reference import CONNECTION, EXIT_CODES, ROOT, TARGET, reference

DOCS = {path.name: path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md")}
README = (ROOT / "README.md").read_text("utf-8")
GUIDES = README + "".join(text for name, text in DOCS.items() if name != TARGET.name)
PAGES = [
    *(path.name for path in ROOT.glob("*.md")),
    *(f"docs/{name}" for name in DOCS),
    *("tests/README.md", "benchmarks/README.md"),
]
_VARIABLE = re.compile(r"\bBULKLINK_[A-Z][A-Z_]*[A-Z]\b")


def section(path: str) -> str:
    """Return the section of a command in the reference, without its subcommands."""
    match = re.search(rf"^#+ {path}\n(.*?)(?=^##+ )", DOCS[TARGET.name], re.MULTILINE | re.DOTALL)
    assert match, path
    return match[1]


def options_of(command: click.Command) -> dict[str, click.Option]:
    named = [param for param in command.params if isinstance(param, click.Option)]
    return {name: param for param in named for name in (*param.opts, *param.secondary_opts)}


def test_the_reference_is_written_from_the_commands_as_they_are() -> None:
    assert DOCS[TARGET.name] == reference(), "run `make docs`, and look at what changed"


@pytest.mark.parametrize("path", list(ALL)[1:])
def test_the_reference_has_every_command_and_option_once(path: str) -> None:
    section_text = section(path)
    rows = [line for line in section_text.splitlines() if line.startswith("| `-")]
    named = [
        name
        for row in rows
        for name in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", row.split(" | ")[0])
    ]
    assert sorted(named) == sorted(options_of(ALL[path]))


def test_every_command_is_in_the_readme_or_a_guide() -> None:
    undocumented = [
        path
        for path in LEAVES
        if not re.search(rf"\b{path}\b|^\| `{path.partition(' ')[2]}` \|", GUIDES, re.MULTILINE)
    ]
    assert undocumented == []


def test_every_environment_variable_of_the_code_is_documented() -> None:
    options = [one for command in ALL.values() for one in options_of(command).values()]
    of_options = {str(one.envvar) for one in options if one.envvar}
    code = "".join(path.read_text("utf-8") for path in (ROOT / "bulklink").rglob("*.py"))
    assert set(_VARIABLE.findall(code)) - of_options <= set(CONNECTION)
    assert set(CONNECTION) == set(errors.CONNECTION_VARIABLES)
    assert of_options <= set(_VARIABLE.findall(DOCS[TARGET.name]))
    assert len(of_options) > 50
    named = set(_VARIABLE.findall(GUIDES + DOCS[TARGET.name])) - {
        "BULKLINK_TEST_KILLS",
        "BULKLINK_TEST_COMMANDS",
    }
    assert named - of_options - set(CONNECTION) == set(), "documented, but unknown"


def test_every_exit_code_has_a_meaning() -> None:
    assert set(EXIT_CODES) == set(ExitCode)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_within_the_project_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)", text):
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), target
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), f"{target}#{anchor}"


def anchors(path: Path) -> set[str]:
    """Return the anchors of the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
