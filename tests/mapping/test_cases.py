"""Each case of a mapping has the outcome in its table."""

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
    from tests.mapping.cases import Content, MappingCase
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


def _made(content: Content) -> str | bytes:
    return content() if callable(content) else content


@parametrize_cases
def test_a_case_has_the_outcome_in_its_table(planner: MappingPlanner, case: MappingCase) -> None:
    content = _made(case.content)
    if case.error:
        with pytest.raises(BadFileError) as raised:
            planner.plan(content, case.options, case.name)
        assert [text for text in case.error if text not in typed_error(raised.value)] == []
        return
    planned = planner.plan(content, case.options, case.name)
    assert planned.messages == case.messages
    assert {row: reason for row, (reason, _) in planned.reasons.items()} == {
        row: reason for row, (reason, _) in case.refused.items()
    }
    for fault in planned.faults:
        assert case.refused[fault.row][1] in fault.message
    assert len(planned.warnings) == len(case.warns)
    for text, warning in zip(case.warns, planned.warnings, strict=True):
        assert text in warning
    for name, value in case.sent.items():
        assert getattr(planned.sealed_messages[0], name) == value
    for header, cell in case.cells.items():
        assert planned.plan[0][header] == cell
    if case.lines:
        assert tuple(row["bulklink_line"] for row in planned.plan) == case.lines


FIXABLE = [(name, case) for name, case in CASES if case.fixed_options or case.fixed_content]


@pytest.mark.parametrize("case", [case for _, case in FIXABLE], ids=[name for name, _ in FIXABLE])
def test_the_advice_in_a_message_works(planner: MappingPlanner, case: MappingCase) -> None:
    content = _made(case.content) if case.fixed_content is None else case.fixed_content
    planned = planner.plan(content, case.fixed_options or case.options, case.name)
    assert (planned.rejected, planned.messages > 0) == (0, True)
