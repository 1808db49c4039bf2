"""Every case of a mapping comes out as its table says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bulklink.errors import BadFileError
from tests.mapping.cases import header_lines, sheets, values

if TYPE_CHECKING:
    from tests.mapping.cases import MappingCase
    from tests.mapping.planner import MappingPlanner

CASES = [*values.CASES.items(), *header_lines.CASES.items(), *sheets.CASES.items()]
parametrize_cases = pytest.mark.parametrize(
    "case", [case for _, case in CASES], ids=[name for name, _ in CASES]
)


@parametrize_cases
def test_a_case_comes_out_as_its_table_says(planner: MappingPlanner, case: MappingCase) -> None:
    if case.error:
        with pytest.raises(BadFileError) as raised:
            planner.plan(case.content, case.options, case.name)
        assert [text for text in case.error if text not in str(raised.value)] == []
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


@pytest.mark.parametrize(
    "case",
    [case for _, case in CASES if case.follow is not None],
    ids=[name for name, case in CASES if case.follow is not None],
)
def test_the_cure_that_an_error_names_works(planner: MappingPlanner, case: MappingCase) -> None:
    assert case.follow is not None
    assert planner.plan(case.content, case.follow, case.name).messages == 1
