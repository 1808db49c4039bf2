"""The line of a key in a TOML file is found, even if other lines look like it."""

from __future__ import annotations

import pytest

from bulklink.cli.job_file import find_key_line

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
