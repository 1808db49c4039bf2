"""Only a file that DuckDB cannot misread is regular."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from bulklink.mapping.input.dialect import Dialect
from bulklink.mapping.input.scan import BLOCK_BYTES, FileScanner
from bulklink.mapping.interrupt import PlanningStop

if TYPE_CHECKING:
    from pathlib import Path

HEADER = b"a,b\n"
MANY = b"1,2\n" * 300_000


@pytest.mark.parametrize(
    ("body", "regular"),
    [
        (b"1,2\n3,4\n", True),
        (b"1,2\n3,4", True),
        (b"1,2\r\n3,4\r\n", True),
        (b"1,2\r\n3,4", True),
        (b"", True),
        ("1,é\n".encode(), True),
        (b"1, \n", True),
        (MANY, True),
        (b"1,2\n3,4\r\n", False),
        (b"1,2\r3,4\n", False),
        (b"1\r,2\n", False),
        (b"1,2\n3,4\r", False),
        (b'1,"2"\n', False),
        (b"1,2\0\n", False),
        (b"1,2\1\n", False),
        (b"1,\xe9\n", False),
        (b"1,2\n3\n", False),
        (b"1,2,3\n", False),
        (b"\n1,2\n", False),
        (b"1,2,\n\n", False),
        (MANY + b"1\n", False),
        (MANY + b'1,"\n' + MANY, False),
        (b"1," + b"x" * (2 * BLOCK_BYTES) + b"\n", False),
    ],
    ids=[
        "lf",
        "no-final-end",
        "crlf",
        "crlf-no-final-end",
        "no-records",
        "utf-8",
        "space",
        "many-blocks",
        "mixed-ends",
        "lone-cr",
        "lone-cr-in-a-cell",
        "cr-at-the-end",
        "quote",
        "nul",
        "mark",
        "latin-1",
        "too-few",
        "too-many",
        "blank-first",
        "blank-offset-by-another-line",
        "short-in-a-later-block",
        "quote-in-a-later-block",
        "long-line",
    ],
)
def test_a_file_is_regular_if_each_line_is_one_complete_record(
    tmp_path: Path, body: bytes, *, regular: bool
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(HEADER + body)
    file_scan = FileScanner(path, len(HEADER), 2, PlanningStop(), Dialect()).scan_rest()
    assert file_scan.regular is regular
    assert (file_scan.sha256, file_scan.bytes) == (
        hashlib.sha256(HEADER + body).hexdigest(),
        len(HEADER + body),
    )
    if regular:
        assert file_scan.lines == len(body.splitlines())
        assert file_scan.crlf is (b"\r" in body)


@pytest.mark.parametrize("blank", [b"\n", b" \n", b"\t\r\n", b"\x0b\n", b"\n\n"])
def test_a_blank_line_is_never_read_as_a_record_of_one_cell(tmp_path: Path, blank: bytes) -> None:
    path = tmp_path / "a.csv"
    for body in (
        blank + b"1\n",
        b"1\n" + blank + b"2\n",
        b"1\n" + blank,
        b"1\n" + blank.rstrip(b"\n") + b" ",
    ):
        path.write_bytes(b"a\n" + body)
        assert FileScanner(path, 2, 1, PlanningStop(), Dialect()).scan_rest().regular is False
