"""Which header of a mapping carries which column, over all its files."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NoReturn

import msgspec

from bulklink.errors import BadFileError, UsageError
from bulklink.mapping.input.dialect import parse_delimiter
from bulklink.mapping.input.encodings import parse_encoding
from bulklink.mapping.schema import GUARD, ID_COLUMNS, KNOWN_COLUMNS, MappingOptions
from bulklink.models import NO_DEAL
from bulklink.suggestions import close_matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

OWN_PREFIX = "bulklink_"
MAX_ID_LENGTH = 100
MAX_MESSAGE_ID_LENGTH = 500
_SHOWN_HEADERS = 10
_SHOWN = 60
#: How like a name must be to be named, and to be named beside a nearer one.
_LIKE, _AS_LIKE = 0.5, 0.75
_NAMED = 3


class FileHeaders(msgspec.Struct, frozen=True):
    """The headers of one file; `readable` is False if no record of it could be read."""

    name: str
    headers: tuple[str, ...]
    readable: bool = True


class MappingColumn(msgspec.Struct, frozen=True):
    """One column of the user's, in the order of the mapping.

    `known` is bulklink's name for it, or None where it is the user's own; `places` says for each
    file at which place its records carry it, `headers` under which header. One that is not
    `included` is looked at by `only` and gets into no file.
    """

    header: str
    known: str | None
    places: tuple[int | None, ...]
    headers: tuple[str | None, ...]
    included: bool = True


def normalize_header(header: str) -> str:
    """Drop what headers are matched without: case, spaces and underscores."""
    return "".join(header.casefold().replace("_", " ").split())


_BY_SIMPLE = {normalize_header(column): column for column in KNOWN_COLUMNS}


def check_mapping_options(options: MappingOptions) -> None:
    """Refuse options about columns that there are not.

    Raises:
        UsageError: for an unknown column, one that is named twice, a default that is no id, or
            what is no delimiter or encoding.
    """
    parse_encoding(options.encoding)
    if options.delimiter is not None:
        parse_delimiter(options.delimiter)
    _check_columns("--column", [column for column, _ in options.columns])
    _check_columns("--default", [column for column, _ in options.defaults])
    for column, value in options.defaults:
        no_guard = column == GUARD and value.strip().lower() == NO_DEAL
        if column in (*ID_COLUMNS, GUARD) and not (no_guard or _is_id(column, value.strip())):
            raise UsageError(
                f"{value!r} is no id.", where=f"--default {column}", advice="Give the id alone."
            )


def _is_id(column: str, value: str) -> bool:
    if column == "message_id":
        return value.isascii() and value.isalnum() and len(value) <= MAX_MESSAGE_ID_LENGTH
    return value.isascii() and value.isdigit() and len(value) <= MAX_ID_LENGTH


def _check_columns(option: str, columns: list[str]) -> None:
    for column, times in Counter(columns).items():
        if column not in KNOWN_COLUMNS:
            near = _closest_names(column, KNOWN_COLUMNS)
            raise UsageError(
                f"There is no column {column!r}.",
                where=option,
                advice=(f"The nearest is {near[0]}. " if near else "")
                + f"The columns are {', '.join(KNOWN_COLUMNS)}.",
            )
        if times > 1:
            raise UsageError(
                f"The column {column} is given twice.", where=option, advice="Give it once."
            )


def find_columns(
    files: Sequence[FileHeaders], options: MappingOptions
) -> tuple[MappingColumn, ...]:
    """Find the columns of a mapping and where each file carries them.

    Args:
        files: the headers of each file, in order.
        options: what the user said about columns.

    Returns:
        The columns, each once, in the order in which they first appear, with those behind them
        that are not kept. Columns that bulklink wrote itself are left out, and those that are
        neither kept nor looked at.

    Raises:
        BadFileError: if a column is missing or stands twice, or an option names no header.
    """
    check_mapping_options(options)
    _check_renames(files, options)
    occurrences_by_key: dict[tuple[str, str, int], list[tuple[int, int]]] = {}
    for number, file in enumerate(files):
        for place, key in enumerate(_keys(file, options)):
            if key is not None:
                occurrences_by_key.setdefault(key, []).append((number, place))
    return _drop_unkept(
        [_column(key, occurrences, files) for key, occurrences in occurrences_by_key.items()],
        options,
    )


def _drop_unkept(
    columns: Sequence[MappingColumn], options: MappingOptions
) -> tuple[MappingColumn, ...]:
    """Leave out what `keep` does not name; the rest of it that `only` needs goes to the end."""
    if options.keep is None:
        return tuple(columns)
    headers = [column.header for column in columns]
    kept_headers = {name for value in options.keep for name in _headers_named_by(value, headers)}
    filter_indexes = {
        position
        for header, _ in options.only
        if (position := find_header(headers, header)) is not None
    }
    behind = [
        msgspec.structs.replace(column, included=False)
        for place, column in enumerate(columns)
        if column.known is None and column.header not in kept_headers and place in filter_indexes
    ]
    return (*(c for c in columns if c.known is not None or c.header in kept_headers), *behind)


def _headers_named_by(value: str, headers: Sequence[str]) -> list[str]:
    """Return the headers that one value of `keep` names: one, several parted by commas, none."""
    if not value.strip():
        return []
    for names in ([value], [name for name in value.split(",") if name.strip()]):
        matches = [_matching_headers(name, headers) for name in names]
        if all(matches):
            return [header for match in matches for header in match]
    raise BadFileError(
        f"No header is called {value!r}, as --keep says.",
        where=f"--keep {value}",
        advice=suggest_headers(value, headers),
    )


def _matching_headers(name: str, headers: Sequence[str]) -> list[str]:
    same = [header for header in headers if header == name]
    return same or [
        header for header in headers if normalize_header(header) == normalize_header(name)
    ]


def _column(
    key: tuple[str, str, int], occurrences: list[tuple[int, int]], files: Sequence[FileHeaders]
) -> MappingColumn:
    places = dict(occurrences)
    headers = {number: files[number].headers[place] for number, place in occurrences}
    return MappingColumn(
        header=headers[occurrences[0][0]],
        known=key[1] if key[0] == "known" else None,
        places=tuple(places.get(number) for number in range(len(files))),
        headers=tuple(headers.get(number) for number in range(len(files))),
    )


def _keys(file: FileHeaders, options: MappingOptions) -> list[tuple[str, str, int] | None]:
    """Say for each header what it is: a known column, the user's nth of that name, or ours."""
    known_columns = _known_places(file, options)
    counts: Counter[str] = Counter()
    keys: list[tuple[str, str, int] | None] = []
    for place, header in enumerate(file.headers):
        if place in known_columns:
            keys.append(("known", known_columns[place], 0))
        elif header.strip().casefold().startswith(OWN_PREFIX):
            keys.append(None)
        else:
            counts[header] += 1
            keys.append(("own", header, counts[header]))
    return keys


def _known_places(file: FileHeaders, options: MappingOptions) -> dict[int, str]:
    renamed = {
        column: place
        for column, header in options.columns
        if column in options.active_columns
        and (place := find_header(file.headers, header, file.name)) is not None
    }
    places = {place: column for column, place in renamed.items()}
    for place, header in enumerate(file.headers):
        column = _BY_SIMPLE.get(normalize_header(header))
        if column in options.active_columns and column not in renamed and place not in places:
            if column in places.values():
                _refuse_two(file, column)
            places[place] = column
    _check_required(file, set(places.values()), options)
    return places


def find_header(headers: Sequence[str], name: str, where: str = "--only") -> int | None:
    """Find a header as it is written, or else without case, spaces and underscores.

    Raises:
        BadFileError: if several headers are meant.
    """
    indexes = [place for place, header in enumerate(headers) if header == name] or [
        place
        for place, header in enumerate(headers)
        if normalize_header(header) == normalize_header(name)
    ]
    if len(indexes) > 1:
        _refuse_ambiguous(name, [headers[place] for place in indexes], where)
    return indexes[0] if indexes else None


def _refuse_ambiguous(name: str, matches: list[str], where: str) -> NoReturn:
    same = len(set(matches)) == 1
    raise BadFileError(
        f"Several headers are called {name!r}."
        if same
        else f"{name!r} may mean several headers: {', '.join(map(repr, matches))}.",
        where=where,
        advice="Rename all but one of them." if same else "Write it just as the one that is meant.",
    )


def _check_renames(files: Sequence[FileHeaders], options: MappingOptions) -> None:
    for column, header in options.columns:
        if all(find_header(file.headers, header, file.name) is None for file in files):
            raise BadFileError(
                f"No header is called {header!r}, as --column {column} says.",
                where=files[0].name,
                advice=suggest_headers(header, [name for file in files for name in file.headers]),
            )


def _refuse_two(file: FileHeaders, column: str) -> NoReturn:
    both = [header for header in file.headers if _BY_SIMPLE.get(normalize_header(header)) == column]
    raise BadFileError(
        f"Several headers are the column {column}: " + ", ".join(map(repr, both)) + ".",
        where=file.name,
        advice=f"Say which is meant with --column {column}={both[0]!r}, or rename the others.",
    )


def _check_required(file: FileHeaders, present: set[str], options: MappingOptions) -> None:
    if not file.readable:
        return
    defaulted = {column for column, _ in options.defaults}
    for column in options.required_columns:
        if column not in present | defaulted:
            raise BadFileError(
                f"There is no column {column}.",
                where=file.name,
                advice=_missing_advice(column, file.headers)
                + (" Check --encoding as well." if options.encoding else ""),
            )


def _missing_advice(column: str, headers: Sequence[str]) -> str:
    if len(headers) == 1 and not normalize_header(headers[0]).isalnum():
        return (
            f"The header is one cell: {headers[0][:_SHOWN]!r}. Say with --delimiter what parts it."
        )
    near = suggest_headers(column, headers)
    if near.startswith("The nearest"):
        near += f" If it is meant, give --column {column}=HEADER."
    if column == "op":
        return near + " Or name one operation for all rows."
    return near


def suggest_headers(name: str, headers: Iterable[str]) -> str:
    """Name the headers that are most like the one that was looked for."""
    known = [header for header in dict.fromkeys(headers) if header.strip()]
    close = _closest_names(name, known)
    if close:
        quoted_matches = ", ".join(repr(header[:_SHOWN]) for header in close)
        return (
            f"The nearest headers are {quoted_matches}."
            if close[1:]
            else f"The nearest header is {quoted_matches}."
        )
    quoted_names = ", ".join(repr(header[:_SHOWN]) for header in known[:_SHOWN_HEADERS])
    more = ", …" if len(known) > _SHOWN_HEADERS else ""
    return f"The headers are {quoted_names}{more}." if quoted_names else "It has no headers."


def _closest_names(target: str, names: Sequence[str]) -> list[str]:
    """Return the nearest of some names, and those that are about as near."""
    return close_matches(
        target, names, limit=_NAMED, cutoff=_AS_LIKE, key=normalize_header
    ) or close_matches(target, names, limit=1, cutoff=_LIKE, key=normalize_header)
