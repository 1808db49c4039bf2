"""Ids that look rounded, judged by their whole column."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from bulklink.advice import Advice, Keyword
from bulklink.mapping.float_ids import FloatIds, find_float_ids
from bulklink.mapping.load import GOOD, TRAILING_ZEROS
from bulklink.mapping.round_ids import TrailingZeroCount, count_trailing_zeros
from bulklink.mapping.schema import GUARD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bulklink.mapping.database import Database


class SuspectIds(NamedTuple):
    """Columns and lengths of ids that may have been rounded.

    Args:
        zeros: columns and lengths whose ids end in zeros too often; these ids are refused.
        floats: columns and lengths with ids that passed through a float; all of their ids are
            refused, as it is unknown which of them the float left unchanged.
        warnings: sentences about them, for the user.
    """

    zeros: tuple[TrailingZeroCount, ...] = ()
    floats: tuple[FloatIds, ...] = ()
    warnings: tuple[Advice, ...] = ()

    def conditions_sql(self, column: str) -> Iterator[str]:
        """Build the conditions of the ids of a column that are refused."""
        is_good = "true" if column == GUARD else f"{column}_grade IN ({GOOD}, {TRAILING_ZEROS})"
        for zeros in self.zeros:
            if zeros.column == column:
                yield f"{_has_length_sql(zeros)} AND {is_good} AND {_ends_in_zeros_sql(column)}"
        for floats in self.floats:
            if floats.column == column:
                yield f"{_has_length_sql(floats)} AND {is_good}"


def _ends_in_zeros_sql(column: str) -> str:
    if column == GUARD:
        return f"regexp_full_match({GUARD}, '[0-9]{{15}}0+')"
    return f"{column}_grade = {TRAILING_ZEROS}"


def _has_length_sql(suspect: TrailingZeroCount | FloatIds) -> str:
    """Build the condition that an id has the length; a guard may name several deals."""
    column = suspect.column
    if column == GUARD:
        return f"regexp_full_match({GUARD}, '[0-9]{{{suspect.length}}}')"
    return f"length({column}) = {suspect.length}"


def find_suspect_ids(
    database: Database, headers: Mapping[str | None, str], *, guards: bool
) -> SuspectIds:
    """Find the ids that look rounded.

    Args:
        database: holds the view `base`.
        headers: the user's header of each known column.
        guards: whether rows may have a guard.
    """
    zeros = count_trailing_zeros(database, guards=guards)
    floats = find_float_ids(database, guards=guards)
    allow = Keyword("allow_round_ids", value=True)
    suspects: list[TrailingZeroCount | FloatIds] = [*zeros, *floats]
    warnings = tuple(
        Advice(
            "{}; if they are right, use {}",
            suspect.warning(headers.get(suspect.column, suspect.column)),
            allow,
        )
        for suspect in suspects
    )
    return SuspectIds(
        tuple(suspect for suspect in zeros if suspect.exceeds_chance),
        tuple(suspect for suspect in floats if suspect.exceeds_chance),
        warnings,
    )
