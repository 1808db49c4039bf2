"""What loading notes of each row, in the bits of one number.

0 says of a row that its record is whole, that each id is a good one just as it stands in the file,
and that each name has nothing around it. Nearly all rows of most mappings are so, and each pass
tells by this one comparison that a row needs no further look.

From the lowest bit: a grade of three bits for each id, then single bits.
"""

from __future__ import annotations

from bulklink.mapping.schema import ID_COLUMNS, NAME_COLUMNS, NUMBER_COLUMNS

#: What a cell of an id column is found to be; FILLED comes in when defaults are applied.
GOOD, MISSING, BAD, ROUNDED, ROUND, FILLED = range(6)

_GRADE_BITS = 3
_SINGLE = _GRADE_BITS * len(ID_COLUMNS)

#: The id, as it is sent, is not what stands in the user's cell.
CLEANED = {column: 1 << _SINGLE + place for place, column in enumerate(ID_COLUMNS)}
#: The id is no number that 64 bits write in the same way.
TEXT = {column: 1 << _SINGLE + 4 + place for place, column in enumerate(NUMBER_COLUMNS)}
#: The name, as it is sent, is not what stands in the user's cell: there may be none.
UNTIDY = {column: 1 << _SINGLE + 7 + place for place, column in enumerate(NAME_COLUMNS)}
#: The record is broken, or its operation must be looked at.
DOUBTFUL = 1 << _SINGLE + 9


def graded(column: str, grade: int) -> int:
    """Return the bits that give an id a grade."""
    return grade << _GRADE_BITS * ID_COLUMNS.index(column)


def grade(column: str) -> str:
    """Build what reads the grade of an id from `marks`."""
    return f"(marks >> {_GRADE_BITS * ID_COLUMNS.index(column)} & {(1 << _GRADE_BITS) - 1})"
