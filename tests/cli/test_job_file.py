"""The line of a key in a TOML file is found, even if other lines look like it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulklink.cli.job_file import find_key_line, key_location
from bulklink.toml_text import TomlError, parse_toml

FILE = '''# rate = 1
op = "link"   # rate = 2
only = [
    """
rate = 3
""",
]
"quoted" = 1
  rate = "off"
inner.rate = 5
[options]
rate = 6
edition = [
  1,
]
[tables.rate]
[[lists]]
rate = 7
'''


@pytest.mark.parametrize(
    ("key", "table", "line"),
    [
        ("op", "", 2),
        ("only", "", 3),
        ("quoted", "", 8),
        ("rate", "", 9),
        ("inner", "", 10),
        ("options", "", 11),
        ("rate", "options", 12),
        ("edition", "options", 13),
        ("tables", "", 16),
        ("lists", "", 17),
        ("rate", "lists", None),
        ("missing", "", None),
    ],
)
def test_a_key_is_found_on_its_first_line(key: str, table: str, line: int | None) -> None:
    assert find_key_line(FILE, key, table) == line


@pytest.mark.parametrize(
    "text",
    [
        'op = "link"\nop = "unlink"\n',
        "rate = 1\n[a]\nx = 1\n[a]\n",
        "a = {x = 1, x = 2}\n",
    ],
    ids=["key", "table", "inline"],
)
def test_a_key_that_is_set_twice_is_named_as_such(text: str) -> None:
    with pytest.raises(TomlError, match=r"it sets a key again at line \d") as caught:
        parse_toml(text)
    assert "quotes" not in caught.value.advice


def test_an_unquoted_text_needs_quotes() -> None:
    with pytest.raises(TomlError, match="it is not TOML at line 1, column 6") as caught:
        parse_toml("op = link\n")
    assert "Text values need quotes." in caught.value.advice


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text('op = "link"\nrate = 1\n', "utf-8-sig")
    assert parse_toml(path.read_text("utf-8")) == {"op": "link", "rate": 1}
    assert key_location(str(path), "op") == f"{path}:1, key op"
