"""Every case of a mapping comes out as its table says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bulklink.errors import BadFileError
from tests.mapping.cases import (
    csv_quoting,
    first_bytes,
    header_lines,
    json_documents,
    line_ends,
    packed,
    parquet,
    sheets,
    values,
)
from tests.worded import typed_error

if TYPE_CHECKING:
    from tests.mapping.cases import MappingCase
    from tests.mapping.planner import MappingPlanner

TABLES = {
    "": values,
    "header": header_lines,
    "bytes": first_bytes,
    "quoting": csv_quoting,
    "lines": line_ends,
    "json": json_documents,
    "packed": packed,
    "parquet": parquet,
    "sheets": sheets,
}
CASES = [
    (f"{table}-{name}".removeprefix("-"), case)
    for table, module in TABLES.items()
    for name, case in module.CASES.items()
]
parametrize_cases = pytest.mark.parametrize(
    "case", [case for _, case in CASES], ids=[name for name, _ in CASES]
)


@parametrize_cases
def test_a_case_comes_out_as_its_table_says(planner: MappingPlanner, case: MappingCase) -> None:
    if case.error:
        with pytest.raises(BadFileError) as raised:
            planner.plan(case.content, case.options, case.name)
        assert [text for text in case.error if text not in typed_error(raised.value)] == []
        return
    found = planner.plan(case.content, case.options, case.name)
    assert found.messages == case.messages
    assert {row: reason for row, (reason, _) in found.reasons.items()} == {
        row: reason for row, (reason, _) in case.refused.items()
    }
    for fault in found.faults:
        assert case.refused[fault.row][1] in fault.message
    assert len(found.warnings) == len(case.warns)
    for text, warning in zip(case.warns, found.warnings, strict=True):
        assert text in warning
    for name, value in case.sent.items():
        assert getattr(found.sealed_messages[0], name) == value
    for header, cell in case.kept.items():
        assert found.plan[0][header] == cell
    if case.lines:
        assert tuple(row["bulklink_line"] for row in found.plan) == case.lines


CURED = [(name, case) for name, case in CASES if case.follow or case.mended]


@pytest.mark.parametrize("case", [case for _, case in CURED], ids=[name for name, _ in CURED])
def test_the_cure_that_a_message_names_works(planner: MappingPlanner, case: MappingCase) -> None:
    content = case.content if case.mended is None else case.mended
    found = planner.plan(content, case.follow or case.options, case.name)
    assert (found.rejected, found.messages > 0) == (0, True)
