"""Mappings that cannot be read as a whole: what is wrong, where, and what to do."""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path

import pytest

from bulklink.errors import BadFileError, RefusedError, UsageError
from bulklink.mapping.input.files import InputFormat, find_sources
from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op
from tests.mapping.planner import HEADER, LINK, MIXED, UNLINK, MappingPlanner
from tests.worded import typed_error

ROW = "1,2,m,5,\n"


@pytest.mark.parametrize(
    ("content", "mapping_options", "message", "advice"),
    [
        (b"", LINK, "The file is empty", "export"),
        (HEADER, LINK, "There are no rows, only a header", "export"),
        (HEADER + "\n  \n", LINK, "There are no rows, only a header", "export"),
        ((HEADER + ROW).encode("utf-16"), LINK, "looks like UTF-16", "UTF-8"),
        ((HEADER + ROW).encode("utf-16-le"), LINK, "looks like UTF-16", "UTF-8"),
        (
            "contact_ids,owner_id,message_id,deal_id\n1,2,m,5\n",
            LINK,
            "no column contact_id",
            "--column contact_id=contact_ids",
        ),
        ("contact_id,owner_id,message_id\n1,2,m\n", LINK, "no column deal_id", "headers are"),
        ("a,b\n1,2\n", UNLINK, "contact_id, owner_id and message_id", "headers are 'a', 'b'"),
        (HEADER + ROW, MIXED, "no column op", "--op link"),
        (HEADER.replace(",", "^") + "1^2^m^5^\n", LINK, "no columns contact_id", "--delimiter"),
        (
            "Contact ID," + HEADER + "1," + ROW,
            LINK,
            "Several headers match the column contact_id",
            "--column 'contact_id=Contact ID'",
        ),
        (
            "contact_id," + HEADER + "1," + ROW,
            LINK,
            "Several headers match the column contact_id",
            "Rename all but one of them.",
        ),
        (
            "contact_id,Contact ID," + HEADER + "1,1," + ROW,
            LINK,
            "Several headers match the column contact_id",
            "--column 'contact_id=Contact ID'",
        ),
        (
            HEADER.replace("Note", '"Note') + ROW,
            LINK,
            "The header cannot be read",
            "Fix that line.",
        ),
        (HEADER.replace("Note", "caf\u00e9").encode("latin-1"), LINK, "not UTF-8", "UTF-8"),
        (
            HEADER + ROW,
            MappingOptions(Op.LINK, columns=(("owner_id", "Ownr"),)),
            "There is no header 'Ownr'",
            "'owner_id'",
        ),
        (
            HEADER + ROW,
            MappingOptions(Op.LINK, only=(("Nota", "x"),)),
            "There is no header 'Nota'",
            "'Note'",
        ),
    ],
    ids=[
        "empty",
        "header-only",
        "header-and-blank-lines",
        "utf-16-with-bom",
        "utf-16-without-bom",
        "nearest-header",
        "missing-column",
        "nothing-similar",
        "missing-op",
        "odd-delimiter",
        "two-headers-for-one-column",
        "one-header-twice",
        "one-header-twice-and-another",
        "broken-header",
        "latin-1-header",
        "column-names-an-unknown-header",
        "only-names-an-unknown-header",
    ],
)
def test_a_mapping_that_cannot_be_read_says_what_where_and_what_to_do(
    planner: MappingPlanner,
    content: str | bytes,
    mapping_options: MappingOptions,
    message: str,
    advice: str,
) -> None:
    name = planner.write(content)
    with pytest.raises(BadFileError) as raised:
        planner.plan_files([name], mapping_options)
    assert message in raised.value.message
    assert advice in typed_error(raised.value)
    assert name in raised.value.where or raised.value.where.startswith("only")
    assert list(planner.scratch.iterdir()) == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="no such file") as raised:
        find_sources([str(tmp_path / "none.csv")])
    assert raised.value.where.endswith("none.csv")


def test_a_folder_is_not_a_mapping(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="a folder"):
        find_sources([str(tmp_path)])


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root can read every file"
)
def test_a_file_without_read_permission_is_named(planner: MappingPlanner) -> None:
    name = planner.write(HEADER + ROW)
    Path(name).chmod(0)
    with pytest.raises(BadFileError, match="cannot be read"):
        planner.plan_files([name])


@pytest.mark.parametrize(
    ("names", "format_"),
    [(["x.txt"], "xml"), (["-", "-"], "csv"), ([], None)],
    ids=["unknown-format", "twice", "none"],
)
def test_invalid_inputs_are_a_usage_error(
    planner: MappingPlanner, names: list[str], format_: str | None
) -> None:
    paths = [name if name == "-" else planner.write("x", name) for name in names]
    with pytest.raises(UsageError):
        find_sources(paths, format_)


def test_the_suffix_decides_the_format_and_the_option_applies_to_other_names(
    planner: MappingPlanner,
) -> None:
    names = [planner.write("x", name) for name in ("a.CSV", "b.ndjson", "c.txt")]
    assert [source.format for source in find_sources([*names, "-"], "jsonl")] == [
        InputFormat.CSV,
        InputFormat.JSONL,
        InputFormat.JSONL,
        InputFormat.JSONL,
    ]


def test_standard_input_is_read_like_a_file(planner: MappingPlanner) -> None:
    standard_input = io.BytesIO((HEADER + ROW).encode())
    planned = planner.plan_files(["-"], format="csv", standard_input=standard_input)
    assert [row["bulklink_file"] for row in planned.plan] == ["-"]


def test_an_empty_standard_input_is_refused(planner: MappingPlanner) -> None:
    with pytest.raises(BadFileError, match="The input is empty"):
        planner.plan_files(["-"], format="jsonl", standard_input=io.BytesIO())


if sys.platform != "win32":

    def test_a_named_pipe_is_read_once(planner: MappingPlanner) -> None:
        pipe = planner.folder / "pipe.csv"
        os.mkfifo(pipe)
        writer = threading.Thread(target=pipe.write_text, args=(HEADER + ROW,))
        writer.start()
        assert planner.plan_files([str(pipe)]).messages == 1
        writer.join()


@pytest.mark.parametrize(
    "mapping_options",
    [
        MappingOptions(Op.LINK, columns=(("contact", "x"),)),
        MappingOptions(Op.LINK, columns=(("owner_id", "x"), ("owner_id", "y"))),
        MappingOptions(Op.LINK, defaults=(("note", "x"),)),
        MappingOptions(Op.LINK, defaults=(("owner_id", "4.15E+18"),)),
        MappingOptions(Op.LINK, defaults=(("deal_id", "five"),)),
        MappingOptions(Op.RELINK, defaults=(("op", "link"),)),
        MappingOptions(None, defaults=(("op", "attach"),)),
    ],
    ids=[
        *("no-such-column", "twice", "default-of-no-column", "rounded-default", "bad-default"),
        *("default-of-another-op", "default-of-no-op"),
    ],
)
def test_invalid_column_options_are_a_usage_error(
    planner: MappingPlanner, mapping_options: MappingOptions
) -> None:
    with pytest.raises(UsageError):
        planner.plan(HEADER + ROW, mapping_options)


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("CONTACT ID,Owner_Id,messageid,Deal  ID\n", ()),
        ("Contact,owner_id,message_id,deal_id\n", (("contact_id", "Contact"),)),
        ("Contact,owner_id,message_id,deal_id\n", (("contact_id", "CONTACT"),)),
        ("Contact Id,owner_id,message_id,deal_id,contact_id\n", (("contact_id", "Contact Id"),)),
    ],
    ids=["case-and-spaces", "renamed", "renamed-in-any-case", "chosen-of-two"],
)
def test_headers_are_matched_or_suggested(
    planner: MappingPlanner, header: str, columns: tuple[tuple[str, str], ...]
) -> None:
    cells = "1,2,m,5" + ",9" * (header.count(",") - 3)
    planned = planner.plan(f"{header}{cells}\n", MappingOptions(Op.LINK, columns=columns))
    assert planned.sealed_messages[0].contact_id == "1"


@pytest.mark.parametrize(
    ("header", "mapping_options", "message", "advice"),
    [
        (
            "Note,note",
            MappingOptions(Op.LINK, only=(("NOTE", None),)),
            "'Note', 'note'",
            "exactly like",
        ),
        ("Note,Note", MappingOptions(Op.LINK, only=(("Note", None),)), "called 'Note'", "Rename"),
        ("Id,ID", MappingOptions(Op.LINK, columns=(("op", "i d"),)), "'Id', 'ID'", "exactly like"),
    ],
    ids=["only-alike", "only-the-same", "column-alike"],
)
def test_an_ambiguous_header_is_not_guessed(
    planner: MappingPlanner, header: str, mapping_options: MappingOptions, message: str, advice: str
) -> None:
    name = planner.write(f"contact_id,owner_id,message_id,deal_id,{header}\n1,2,m,5,x,y\n")
    with pytest.raises(BadFileError) as raised:
        planner.plan_files([name], mapping_options)
    assert message in raised.value.message
    assert advice in typed_error(raised.value)
    assert raised.value.where in (name, "only")


def test_an_exact_header_takes_precedence_over_similar_ones(planner: MappingPlanner) -> None:
    text = "contact_id,owner_id,message_id,deal_id,Note,note\n1,2,m,5,,y\n"
    assert planner.plan(text, MappingOptions(Op.LINK, only=(("note", "y"),))).messages == 1


@pytest.mark.parametrize(
    ("headers", "suggestion"),
    [
        ("Contact,Contact Ids,owner_id,message_id,deal_id", "--column 'contact_id=Contact Ids'"),
        (
            "contct_id,owner_id,message_id,deal_id",
            "If this is correct, use --column contact_id=contct",
        ),
    ],
    ids=["two", "one"],
)
def test_a_missing_column_is_answered_with_the_likeliest_header(
    planner: MappingPlanner, headers: str, suggestion: str
) -> None:
    with pytest.raises(BadFileError, match="no column contact_id") as raised:
        planner.plan(f"{headers}\n{headers}\n")
    assert suggestion in typed_error(raised.value)


def test_an_unknown_column_is_answered_with_the_nearest(planner: MappingPlanner) -> None:
    with pytest.raises(UsageError) as raised:
        planner.plan(HEADER + ROW, MappingOptions(Op.LINK, columns=(("contactid", "x"),)))
    assert raised.value.advice.startswith("The nearest is contact_id. The columns are op, ")


def test_a_missing_column_with_an_encoding_set_suggests_checking_the_encoding(
    planner: MappingPlanner,
) -> None:
    with pytest.raises(BadFileError, match="no columns") as raised:
        planner.plan("a,b\n1,2\n", MappingOptions(Op.LINK, encoding="cp1252"))
    assert "encoding" in raised.value.advice


def test_every_error_of_a_mapping_ends_with_exit_code_2() -> None:
    assert issubclass(BadFileError, RefusedError)
