"""Choice of a header for each column, for a mapping whose headers are not all known."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import msgspec

from bulklink.errors import BadFileError
from bulklink.mapping.header_guesses import find_zoho_headers, guess_headers
from bulklink.mapping.headers import find_header
from bulklink.mapping.input.prepare import prepare_input

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bulklink.mapping.input.files import Source
    from bulklink.mapping.interrupt import PlanningStop
    from bulklink.mapping.schema import MappingOptions


class ColumnChoice(msgspec.Struct, frozen=True):
    """A column and the header that carries it.

    Args:
        column: the column, such as `deal_id`.
        is_required: whether a mapping must have it, or a default for it.
        place: index of its header; None if no header is chosen, known or likely.
        is_guess: whether the header is only likely; only required columns have a likely one.
    """

    column: str
    is_required: bool
    place: int | None
    is_guess: bool


class ColumnChoices(msgspec.Struct, frozen=True):
    """Headers of a file, and the columns that they can carry.

    Args:
        headers: its headers, in order.
        columns: the columns with a meaning for the operation.
    """

    headers: tuple[str, ...] = ()
    columns: tuple[ColumnChoice, ...] = ()


NO_CHOICES = ColumnChoices()
"""Choices for a file without headers."""


def read_column_choices(
    source: Source, options: MappingOptions, folder: Path, stop: PlanningStop, memory: str
) -> ColumnChoices:
    """Read the headers of a file and suggest one for each column; none if it has no headers.

    Args:
        source: the file.
        options: options for reading it; headers that they name are chosen.
        folder: folder for temporary files.
        stop: stops the work from another thread.
        memory: memory limit, such as `512MB`.

    Raises:
        InterruptedPlanningError: if `stop` stopped it.
    """
    try:
        prepared = prepare_input(source, options, folder, BytesIO(), stop, memory)
    except BadFileError:
        return NO_CHOICES
    prepared.discard()
    if prepared.headers.lines_above is not None:
        return NO_CHOICES  # what was read as headers are other lines
    return suggest_columns(prepared.headers.headers, options)


def suggest_columns(headers: Sequence[str], options: MappingOptions) -> ColumnChoices:
    """Suggest a header for each column: the one that was chosen, a known one, or a likely one.

    Args:
        headers: headers of the file.
        options: options for reading it.
    """
    chosen = dict(options.columns)
    places = {
        column: place
        for column in options.active_columns
        if (place := _place(headers, chosen.get(column, column))) is not None
    }
    missing = [column for column in options.required_columns if column not in places]
    free = [header for place, header in enumerate(headers) if place not in places.values()]
    zoho = find_zoho_headers(free, missing)
    guesses = guess_headers([column for column in missing if column not in zoho], free) | zoho
    likely = {column: list(headers).index(header) for column, header in guesses.items()}
    return ColumnChoices(
        tuple(headers),
        tuple(
            ColumnChoice(
                column=column,
                is_required=column in options.required_columns,
                place=places.get(column, likely.get(column)),
                is_guess=column not in places and column in likely,
            )
            for column in options.active_columns
        ),
    )


def _place(headers: Sequence[str], name: str) -> int | None:
    """Return the index of a header; None if it is missing, or several match."""
    try:
        return find_header(headers, name)
    except BadFileError:
        return None
