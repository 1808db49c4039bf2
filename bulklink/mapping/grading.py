"""What is noted of the cells of each row while it is loaded: see `marks`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulklink.mapping.cleaning import filled
from bulklink.mapping.database import literal
from bulklink.mapping.marks import CLEANED, DOUBTFUL, GOOD, MISSING, ROUND, TEXT, UNTIDY, graded
from bulklink.mapping.schema import ID_COLUMNS, NAME_COLUMNS, NUMBER_COLUMNS
from bulklink.models import Op

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bulklink.mapping.schema import Reading


def is_plain(column: str) -> str:
    """Build what says that a cell is an id as it stands."""
    return f"p_{column}" if column == "message_id" else f"(p_{column} IS NOT NULL)"


def user_cell(cell: str, *, staged: bool) -> str:
    """Build the cell as it stands in the user's file."""
    return f"restored({cell})" if staged else cell


def allowed(column: str) -> str:
    """Return the regular expression of a clean id."""
    return "[0-9A-Za-z]{1,500}" if column == "message_id" else "[0-9]{1,100}"


def marks_of(cells: Mapping[str, str], reading: Reading, *, staged: bool) -> Iterator[str]:
    """Build the parts of which the marks of a row are the sum.

    Args:
        cells: the cells of the columns that there are.
        reading: how the mapping is to be read.
        staged: whether the cells are those of a staging file.
    """
    if staged:
        yield f"CASE WHEN reason IS NULL THEN 0 ELSE {DOUBTFUL} END"
    defaults = dict(reading.defaults)
    op = filled(user_cell(cells.get("op", "NULL::VARCHAR"), staged=staged), defaults.get("op"))
    yield f"CASE WHEN {_op_is_known(op, reading)} THEN 0 ELSE {DOUBTFUL} END"
    for column in ID_COLUMNS:
        if column in cells:
            yield _id_marks(column, cells[column], staged=staged)
        elif column not in defaults and (column != "deal_id" or reading.op is not Op.UNLINK):
            yield str(graded(column, MISSING))
    for column in NAME_COLUMNS:
        if column in cells:
            yield _name_mark(column, user_cell(cells[column], staged=staged))


def _op_is_known(stated: str, reading: Reading) -> str:
    """Say whether a row names an operation that is wanted, or none where none is needed."""
    wanted = list(Op) if reading.op is None else [reading.op]
    among = f"lower({stated}) IN ({', '.join(literal(op.value) for op in wanted)})"
    return f"coalesce({among}, {'false' if reading.op is None else 'true'})"


def _id_marks(column: str, cell: str, *, staged: bool) -> str:
    """Mark one cell; numbers of 16 and more digits that end in zeros are suspected.

    CASE looks only at the rows that come to it, AND at all of them.
    """
    matches = f"regexp_full_match(k_{column}, '{allowed(column)}')"
    odd = f"odd_grade({cell}, k_{column}, {matches})"
    plain = "0"
    if column in NUMBER_COLUMNS:
        plain = f"CASE WHEN {_is_suspect(column)} THEN {_round(f'p_{column}::VARCHAR')} ELSE 0 END"
        odd = f"CASE WHEN ({odd}) = {GOOD} THEN {_round(f'k_{column}')} ELSE {odd} END"
    step = graded(column, 1)
    same = f"k_{column} IS NOT DISTINCT FROM {user_cell(cell, staged=staged)}"
    single = f"CASE WHEN {same} THEN 0 ELSE {CLEANED[column]} END"
    if column in NUMBER_COLUMNS:
        single += f" + CASE WHEN n_{column} IS NULL THEN {TEXT[column]} ELSE 0 END"
    odd = f"({odd}) * {step} + {single}"
    return f"CASE WHEN {is_plain(column)} THEN ({plain}) * {step} ELSE {odd} END"


def _is_suspect(column: str) -> str:
    """Pass over nearly all numbers that cannot be rounded; one of 19 digits ends in four zeros."""
    number = f"p_{column}"
    return (
        f"{number} % 10 = 0 AND {number} >= {10**15} "
        f"AND ({number} < {10**18} OR {number} % 10000 = 0)"
    )


def _round(text: str) -> str:
    ends = f"regexp_full_match({text}, '[0-9]{{15}}0+')"
    return f"CASE WHEN {ends} THEN {ROUND} ELSE {GOOD} END"


def _name_mark(column: str, cell: str) -> str:
    same = f"coalesce(trimmed({cell}) = {cell} AND {cell} <> '', false)"
    odd = f"CASE WHEN {same} THEN 0 ELSE {UNTIDY[column]} END"
    return f"CASE WHEN is_tidy({cell}) THEN 0 ELSE {odd} END"
