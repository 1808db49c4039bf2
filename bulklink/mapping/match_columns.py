"""Columns of the lists that are matched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.errors import BadFileError
from bulklink.mapping.headers import check_column_names, find_header, suggest_headers
from bulklink.mapping.schema import MappingOptions

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from bulklink.mapping.input.prepare import FileHeaders

WANTED_COLUMNS = (
    *("from_address", "to_addresses", "cc_addresses", "subject", "time", "direction"),
    *("contact_id", "deal_id", "deal_key", "deal_name", "internet_message_id"),
)
"""Columns with a meaning in a list of wanted emails."""
_PEOPLE_COLUMNS = ("from_address", "to_addresses")
_REQUIRED_FETCHED = (
    *("contact_id", "owner_id", "message_id", "from_deal_id", "subject", "time", "direction"),
    *("from_address", "to_addresses"),
)
_OPTIONAL_FETCHED = (
    *("cc_addresses", "owner_name", "from_deal_name", "candidates", "internet_message_id"),
)


class WantedOptions(msgspec.Struct, frozen=True):
    """How the list of wanted emails is read.

    Args:
        reading: options for reading the file.
        columns: pairs of a column and the header that carries it.
        headers: headers of the system that wrote the file, by column.
        zone: zone of the times without one: a name such as `Europe/Berlin`, or an offset; None
            refuses such times.
        has_keys: whether the deals are named by their keys in the other system.
    """

    reading: MappingOptions
    columns: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = {}
    zone: str | None = None
    has_keys: bool = False


def find_wanted_columns(headers: FileHeaders, options: WantedOptions) -> dict[str, int]:
    """Return the places of the columns of a list of wanted emails.

    A header that `columns` names comes first, then those of the other system, then our own.

    Raises:
        UsageError: if an option names an unknown column.
        BadFileError: if a column is missing, or a header matches several.
    """
    check_column_names(
        Keyword("columns"), [column for column, _ in options.columns], WANTED_COLUMNS
    )
    places: dict[str, int] = {}
    for column, header in options.columns:
        place = find_header(headers.headers, header, headers.where)
        if place is None:
            raise BadFileError(
                f"There is no header {header!r} for the column {column}.",
                where=headers.where,
                advice=suggest_headers(header, headers.headers),
            )
        places[column] = place
    own = dict(zip(WANTED_COLUMNS, WANTED_COLUMNS, strict=True))
    for column, header in (*options.headers.items(), *own.items()):
        place = find_header(headers.headers, header, headers.where)
        if column not in places and place is not None and place not in places.values():
            places[column] = place
    _check_deal_column(headers, places, options)
    _check_usable(headers, places)
    return places


def _check_deal_column(
    headers: FileHeaders, places: Collection[str], options: WantedOptions
) -> None:
    column = "deal_key" if options.has_keys else "deal_id"
    if column in places:
        return
    if "deal_key" in places:
        raise BadFileError(
            "The deals are named by their keys in the other system, not by their ids in Zoho.",
            where=headers.where,
            advice=Advice(
                "Say which deal each key is with {}, a table of deal_key and deal_id; or with {},"
                " if a field of the deals in Zoho holds the key.",
                Keyword("deals"),
                Keyword("deal_key"),
            ),
        )
    raise _missing_error(headers, [column])


def _check_usable(headers: FileHeaders, places: Collection[str]) -> None:
    """Raise unless emails can be compared by their columns, or by the ids in their headers."""
    if "internet_message_id" not in places:
        people = ("contact_id",) if "contact_id" in places else _PEOPLE_COLUMNS
        missing = [name for name in (*people, "subject", "time") if name not in places]
        if missing:
            raise _missing_error(headers, missing)


def _missing_error(headers: FileHeaders, missing: Sequence[str]) -> BadFileError:
    listed = ", ".join(missing)
    return BadFileError(
        f"There is no column {listed}." if len(missing) == 1 else f"There are no columns {listed}.",
        where=headers.where,
        advice=Advice(
            "{} Name the header of a column with {}, or the system that wrote the file with {}.",
            suggest_headers(missing[0], headers.headers),
            Keyword("columns"),
            Keyword("from_system"),
        ),
    )


def has_compared_columns(places: Collection[str]) -> bool:
    """Return whether emails can be compared by people, subject and time."""
    has_people = "contact_id" in places or set(_PEOPLE_COLUMNS) <= set(places)
    return has_people and {"subject", "time"} <= set(places)


def find_fetched_columns(headers: FileHeaders) -> dict[str, int]:
    """Return the places of the columns of a file of fetched emails.

    Raises:
        BadFileError: if a column is missing.
    """
    return _find_own(
        headers,
        _REQUIRED_FETCHED,
        _OPTIONAL_FETCHED,
        "`fetch` did not write this file, or an old version of it did.",
    )


def find_deal_columns(headers: FileHeaders) -> dict[str, int]:
    """Return the places of the columns of a table of deals and their keys.

    Raises:
        BadFileError: if a column is missing.
    """
    return _find_own(
        headers,
        ("deal_key", "deal_id"),
        ("deal_name",),
        "the table of deals needs deal_key and deal_id.",
    )


def _find_own(
    headers: FileHeaders, required: Sequence[str], optional: Sequence[str], reason: str
) -> dict[str, int]:
    places = {
        name: place
        for name in (*required, *optional)
        if (place := find_header(headers.headers, name, headers.where)) is not None
    }
    for name in required:
        if name not in places:
            raise BadFileError(
                f"There is no column {name}: {reason}",
                where=headers.where,
                advice=suggest_headers(name, headers.headers),
            )
    return places
