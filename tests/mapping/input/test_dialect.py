"""CSV with other delimiters: detected, declared in the first line, or set."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest

from bulklink.errors import BadFileError, UsageError
from bulklink.mapping.database import PLANNING_MEMORY
from bulklink.mapping.input.files import find_sources
from bulklink.mapping.input.prepare import prepare_input
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op
from tests.mapping.planner import HEADER, LINK, MappingPlanner, as_csv

if TYPE_CHECKING:
    import io

COLUMNS = HEADER.strip().split(",")
OTHERS = (";", "\t", "|")
ROWS = [["1", "2", "a", "5", "x"], ["1", "2", "b", "5", "y, ;\t| z"]]


@pytest.mark.parametrize("delimiter", [",", *OTHERS])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL], ids=["plain", "quoted"])
def test_the_delimiter_is_detected(planner: MappingPlanner, delimiter: str, quoting: int) -> None:
    planned = planner.plan(as_csv(COLUMNS, ROWS, delimiter=delimiter, quoting=quoting))
    assert [message.message_id for message in planned.sealed_messages] == ["a", "b"]
    assert [row["Note"] for row in planned.plan] == ["x", "y, ;\t| z"]


@pytest.mark.parametrize("delimiter", OTHERS)
@pytest.mark.parametrize("first", ["", "sep={}\n"], ids=["detected", "sep-line"])
def test_a_regular_file_with_any_delimiter_is_read_by_duckdb(
    planner: MappingPlanner, empty_stdin: io.BytesIO, delimiter: str, first: str
) -> None:
    text = first.format(delimiter) + as_csv(COLUMNS, ROWS[:1], delimiter=delimiter)
    (source,) = find_sources([planner.write(text)])
    assert not prepare_input(
        source, LINK, planner.scratch, empty_stdin, PlanningStop(), PLANNING_MEMORY
    ).csv_input.staged


@pytest.mark.parametrize("delimiter", [",", *OTHERS, "^", "\x1f"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("bom", ["", "\ufeff"], ids=["plain", "bom"])
def test_a_sep_line_sets_the_delimiter_and_is_not_a_header(
    planner: MappingPlanner, delimiter: str, end: str, bom: str
) -> None:
    text = as_csv(COLUMNS, [["1", "2", "a", "5", "x"], ["x", "2", "b", "5", ""]])
    text = text.replace(",", delimiter).replace("\r\n", end)
    planned = planner.plan(f"{bom}sep={delimiter}{end}{text}")
    assert [(row["bulklink_row"], row["bulklink_line"]) for row in planned.plan] == [(1, 3)]
    assert [(fault.row, fault.line, fault.column) for fault in planned.faults] == [
        (2, 4, "contact_id")
    ]


@pytest.mark.parametrize("first", ['"sep=;"\r\n', "SEP=;\n", "sep=;\n"])
def test_line_numbers_are_correct_after_a_sep_line_and_quoted_line_breaks(
    planner: MappingPlanner, first: str
) -> None:
    text = first + HEADER.replace(",", ";") + '1;2;a;5;"x\ny"\n\nbroken\n1;2;b;5;\n'
    planned = planner.plan(text)
    assert [(row["bulklink_row"], row["bulklink_line"]) for row in planned.plan] == [(1, 3), (3, 7)]
    assert [(fault.row, fault.line) for fault in planned.faults] == [(2, 6)]


@pytest.mark.parametrize("delimiter", [",", ";", "|", "tab", "TAB", "\t", ":", "~"], ids=repr)
def test_the_option_sets_the_delimiter(planner: MappingPlanner, delimiter: str) -> None:
    mark = "\t" if delimiter.lower() == "tab" else delimiter
    text = f'"a;b|c,d:e~"{mark}' + HEADER.replace(",", mark) + f"n{mark}" + mark.join("12m5o")
    planned = planner.plan(text, MappingOptions(Op.LINK, delimiter=delimiter))
    assert planned.messages == 1
    assert planned.plan[0]["Note"] == "o"


def test_the_option_overrides_a_sep_line(planner: MappingPlanner) -> None:
    planned = planner.plan(f"sep=;\n{HEADER}1,2,a,5,x\n", MappingOptions(Op.LINK, delimiter=","))
    assert [row["bulklink_line"] for row in planned.plan] == [3]


@pytest.mark.parametrize("delimiter", ["", ";;", "a", '"', "\n", "\r", "é", "\0", " ", "\x01"])
def test_an_invalid_delimiter_is_a_usage_error(planner: MappingPlanner, delimiter: str) -> None:
    with pytest.raises(UsageError) as raised:
        planner.plan(HEADER, MappingOptions(Op.LINK, delimiter=delimiter))
    assert raised.value.where == "delimiter"


def test_an_ambiguous_delimiter_must_be_set(planner: MappingPlanner) -> None:
    name = planner.write("A;B,C\n1;2,3\n")
    with pytest.raises(BadFileError, match="Several delimiters fit") as raised:
        planner.plan_files([name])
    assert raised.value.where == name
    assert raised.value.advice == "Use delimiter=',' or delimiter=';'."


@pytest.mark.parametrize(
    ("header", "record"),
    [
        ("contact_id;owner_id;message_id;deal_id;a, b", "1;2;a;5;c, d"),
        ("Contact;owner_id;message_id;deal_id;a, b", "1;2;a;5;c, d"),
        ('contact_id,owner_id,message_id,deal_id,"x;y;z;w;v;u"', "1,2,a,5,;;;;;;;"),
    ],
    ids=["commas-in-a-header", "renamed", "quoted-delimiters"],
)
def test_known_headers_distinguish_delimiters(
    planner: MappingPlanner, header: str, record: str
) -> None:
    columns = (("contact_id", "Contact"),) if "Contact;" in header else ()
    assert (
        planner.plan(f"{header}\n{record}\n", MappingOptions(Op.LINK, columns=columns)).messages
        == 1
    )


def test_records_distinguish_delimiters_if_headers_do_not(planner: MappingPlanner) -> None:
    name = planner.write("a;b,c\n1,2\n3;,4\n")
    with pytest.raises(BadFileError, match="no column") as raised:
        planner.plan_files([name])
    assert "'a;b', 'c'" in raised.value.advice


def test_a_record_of_only_empty_cells_is_a_blank_line(planner: MappingPlanner) -> None:
    planned = planner.plan(HEADER.replace(",", "\t") + "\t\t\t\t\n \n1\t2\ta\t5\t\n")
    assert planned.reasons == {}
    assert [(row["bulklink_row"], row["bulklink_line"]) for row in planned.plan] == [(1, 4)]


def test_a_single_header_cell_with_symbols_asks_for_the_delimiter(
    planner: MappingPlanner,
) -> None:
    with pytest.raises(BadFileError, match="no columns contact_id") as raised:
        planner.plan((HEADER + "1,2,a,5,").replace(",", "^"))
    assert "delimiter" in raised.value.advice


def test_each_file_has_its_own_delimiter(planner: MappingPlanner) -> None:
    names = [
        planner.write(as_csv(COLUMNS, [["1", "2", mark, "5", "n"]], delimiter=part), f"{mark}.csv")
        for part, mark in zip((",", *OTHERS), "abcd", strict=True)
    ]
    planned = planner.plan_files(names)
    assert [row["message_id"] for row in planned.plan] == list("abcd")
