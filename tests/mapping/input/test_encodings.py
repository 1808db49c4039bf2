"""Texts in other encodings: named if recognised, and read if the encoding is set."""

from __future__ import annotations

import codecs
import io
import json

import pytest

from bulklink.errors import BadFileError, UsageError
from bulklink.mapping.input.encodings import parse_encoding
from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op
from tests.mapping.planner import HEADER, MappingPlanner
from tests.worded import typed_error

ROWS = "1,2,a,5,café “x” €\n1,2,b,5,y\n"


def mapping_options(encoding: str) -> MappingOptions:
    return MappingOptions(Op.LINK, encoding=encoding)


@pytest.mark.parametrize(
    ("encoding", "option", "name_in_message"),
    [
        ("utf-16", "utf-16", "UTF-16"),
        ("utf-16-le", "utf-16-le", "UTF-16"),
        ("utf-16-be", "utf-16-be", "UTF-16"),
        ("utf-32", "utf-32", "UTF-32"),
        ("cp1252", "cp1252", "CP1252"),
    ],
)
@pytest.mark.parametrize("note", ["Note", "Prénom"], ids=["ascii-header", "header"])
def test_a_recognised_encoding_is_named_and_can_be_set(
    planner: MappingPlanner, encoding: str, option: str, name_in_message: str, note: str
) -> None:
    content = (HEADER.replace("Note", note) + ROWS).encode(encoding)
    name = planner.write(content)
    message = ""
    try:
        message = " ".join(fault.message for fault in planner.plan_files([name]).faults)
    except BadFileError as error:
        message = typed_error(error)
    assert name_in_message in message
    assert f"--encoding {option}" in message
    planned = planner.plan_files([name], mapping_options(option))
    assert [row[note] for row in planned.plan] == ["café “x” €", "y"]


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "UTF8", "utf-8-sig", "latin-1", "cp1252", "UTF_16", "mac-roman", "utf-7", "cp850"],
)
def test_a_text_is_read_in_the_encoding_that_is_set(planner: MappingPlanner, encoding: str) -> None:
    text = HEADER + '1,2,a,5,"né\n""x"""\nx,2,b,5,é\n'
    planned = planner.plan(text.encode(encoding), mapping_options(encoding))
    assert [row["Note"] for row in planned.plan] == ['né\n"x"']
    assert [(row["Note"], row["bulklink_line"]) for row in planned.rejects] == [("é", "4")]


@pytest.mark.parametrize("encoding", ["shift_jis", "big5", "gb18030", "euc-kr", "iso2022_jp"])
def test_multi_byte_encodings_are_read(planner: MappingPlanner, encoding: str) -> None:
    planned = planner.plan(
        (HEADER + "1,2,a,5,日本\n" * 3).encode(encoding), mapping_options(encoding)
    )
    assert {row["Note"] for row in planned.plan} == {"日本"}


@pytest.mark.parametrize(
    ("encoding", "bad", "bytes_in_message"),
    [
        ("cp1252", b"\x81", "81"),
        ("ascii", "é".encode(), "c3 a9"),
        ("utf-16-le", b"\x00\xd8", "00 d8"),
        ("shift_jis", b"\xff", "ff"),
    ],
)
def test_invalid_bytes_are_a_fault_of_their_record(
    planner: MappingPlanner, encoding: str, bad: bytes, bytes_in_message: str
) -> None:
    parts = [text.encode(encoding) for text in (HEADER + "1,2,a,5,x", "y\n1,2,b,5,z\n")]
    planned = planner.plan(parts[0] + bad + parts[1], mapping_options(encoding))
    assert planned.reasons == {1: ("bad-encoding", None)}
    assert (
        planned.faults[0].message == f"the record is not {encoding} text (bytes {bytes_in_message})"
    )
    assert planned.faults[0].raw == "1,2,a,5,x" + "\ufffd" * len(bad) + "y"
    assert [row["bulklink_line"] for row in planned.plan] == [3]


def test_a_line_of_json_in_another_encoding_is_read_and_a_bad_one_is_a_fault(
    planner: MappingPlanner,
) -> None:
    line = json.dumps(
        {"contact_id": 1, "owner_id": 2, "message_id": "m", "deal_id": 5, "Note": "é"},
        ensure_ascii=False,
    )
    planned = planner.plan(
        line.encode("cp1252") + b'\n{"a":"\x81"}\n', mapping_options("cp1252"), name="a.jsonl"
    )
    assert [row["Note"] for row in planned.plan] == ["é"]
    assert planned.reasons == {2: ("bad-encoding", None)}


@pytest.mark.parametrize(
    ("message", "suggestions"),
    [
        ("utf-61", "utf-16"),
        ("cp1225", "cp12"),
        ("windows1252", "cp1252|windows-1252"),
        ("hex", ""),
        ("rot13", ""),
        ("idna", ""),
        ("undefined", ""),
        ("", "utf-8"),
        ("a\0b", ""),
        ("x" * 1000, ""),
    ],
)
def test_an_unknown_encoding_is_a_usage_error(
    planner: MappingPlanner, message: str, suggestions: str
) -> None:
    with pytest.raises(UsageError) as raised:
        planner.plan(HEADER + ROWS, mapping_options(message))
    assert raised.value.where == "encoding"
    assert any(name in raised.value.advice for name in suggestions.split("|"))
    assert len(raised.value.message) < 200


@pytest.mark.parametrize(
    ("mark", "encoding"), [(codecs.BOM_UTF8, "cp1252"), (b"", "utf-16-le"), (b"", "utf-32")]
)
def test_a_file_that_is_clearly_utf8_is_not_read_in_another_encoding(
    planner: MappingPlanner, mark: bytes, encoding: str
) -> None:
    with pytest.raises(BadFileError, match="looks like UTF-8") as raised:
        planner.plan(mark + HEADER.encode() + ROWS.encode(), mapping_options(encoding))
    assert raised.value.advice == "Omit encoding."


def test_utf16_without_a_byte_order_asks_for_it(planner: MappingPlanner) -> None:
    with pytest.raises(BadFileError, match="cannot be read as utf-16") as raised:
        planner.plan((HEADER + ROWS).encode("utf-16-le"), mapping_options("utf-16"))
    assert "encoding='utf-16-le'" in raised.value.advice


def test_the_error_of_a_header_in_another_encoding_suggests_the_option(
    planner: MappingPlanner,
) -> None:
    content = HEADER.replace("Note", "é").encode() + b"1,2,a,5,\n"
    with pytest.raises(BadFileError, match="header cannot be read") as raised:
        planner.plan(content, mapping_options("ascii"))
    assert raised.value.advice == "Check encoding."


def test_a_single_bad_record_in_utf8_does_not_suggest_cp1252(planner: MappingPlanner) -> None:
    planned = planner.plan(HEADER.encode() + "1,2,a,5,é".encode() + b"\xe9\n1,2,b,5,\n")
    assert planned.reasons == {1: ("bad-encoding", None)}
    assert "CP1252" not in planned.faults[0].message


@pytest.mark.parametrize(
    ("start", "description"),
    [(b"PK\x03\x04", "zip"), (b"\xd0\xcf\x11\xe0", "workbook"), (b"PAR1", "Parquet")],
)
def test_content_that_is_not_text_is_named(
    planner: MappingPlanner, start: bytes, description: str
) -> None:
    with pytest.raises(BadFileError, match=description):
        planner.plan(start + bytes(range(200)))


def test_standard_input_in_another_encoding_is_read(planner: MappingPlanner) -> None:
    standard_input = io.BytesIO((HEADER + ROWS).encode("utf-16"))
    planned = planner.plan_files(
        ["-"], mapping_options("utf-16"), format="csv", standard_input=standard_input
    )
    assert planned.messages == 2


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("rot13", "Use one such as utf-8, utf-16, cp1252."),
        ("base64", "Use one such as utf-8, utf-16, cp1252."),
        ("bogus", "Use one such as utf-8, utf-16, cp1252."),
        ("windows1252x", "Use one such as windows-1252, windows-1258, windows-1257."),
    ],
)
def test_only_encodings_that_are_read_are_suggested(text: str, advice: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_encoding(text)
    assert raised.value.advice == advice
    for name in advice.removeprefix("Use one such as ").rstrip(".").split(", "):
        assert parse_encoding(name)
