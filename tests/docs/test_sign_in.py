"""docs/sign-in.md names the consoles, the scopes and the messages that the program has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bulklink.zoho.data_centres import DATA_CENTRES, console_address
from bulklink.zoho.error_policy import SCOPES
from tests.cli.command_tree import parse_context

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "sign-in.md").read_text("utf-8")
SOURCES = "".join(
    re.sub(r'"\s*f?"', "", path.read_text("utf-8"))
    for room in ("cli", "zoho", "profiles")
    for path in (ROOT / "bulklink" / room).rglob("*.py")
)
MESSAGES = [row.split("|")[1] for row in TEXT.splitlines() if re.match(r"\| [^|]+ \| [23] \|", row)]


@pytest.mark.parametrize("centre", DATA_CENTRES)
def test_the_console_of_each_data_centre_is_named(centre: str) -> None:
    (row,) = re.findall(rf"^\| `{centre}` \|.*$", TEXT, re.MULTILINE)
    assert row.endswith(f"| {console_address(centre)} |")


def test_the_scopes_stand_in_one_line_to_be_copied() -> None:
    assert f"\n    {','.join(SCOPES)}\n" in TEXT


@pytest.mark.parametrize("message", MESSAGES)
def test_each_message_is_one_that_the_program_has(message: str) -> None:
    beginning = message.partition(":")[0].partition(", or the CRM,")[0]
    assert [part for part in beginning.split("…") if part.strip() not in SOURCES] == []


def test_the_options_of_the_example_are_those_of_a_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (options,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    profile = tmp_path / "bulklink" / "profiles" / "test.toml"
    profile.parent.mkdir(parents=True)
    head = 'client_id = "1000.ID"\nsecrets = "keyring"\ndata_centre = "eu"\n'
    profile.write_text(head + options, "utf-8")
    params = parse_context(["bulklink", "link", "mapping.csv", "--profile", "test"]).params
    assert (params["edition"], params["rate"]) == ("enterprise", 20)


def test_there_are_many_messages() -> None:
    assert len(MESSAGES) > 10
