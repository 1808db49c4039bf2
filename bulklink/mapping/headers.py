"""Which header of a mapping carries which column, over all its files."""

from __future__ import annotations

import difflib
from collections import Counter
from typing import TYPE_CHECKING, NoReturn

import msgspec

from bulklink.errors import BadFileError, UsageError
from bulklink.mapping.input.dialect import delimiter_of
from bulklink.mapping.input.encodings import encoding_of
from bulklink.mapping.schema import GUARD, ID_COLUMNS, KNOWN_COLUMNS, Reading
from bulklink.models import NO_DEAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

OWN_PREFIX = "bulklink_"
LONGEST_ID = 100
LONGEST_MESSAGE_ID = 500
_SHOWN_HEADERS = 10
_SHOWN = 60
#: How like a name must be to be named, and to be named beside a nearer one.
_LIKE, _AS_LIKE = 0.5, 0.75
_NAMED = 3


class Headers(msgspec.Struct, frozen=True):
    """The headers of one file; `readable` is False if no record of it could be read."""

    name: str
    headers: tuple[str, ...]
    readable: bool = True


class Column(msgspec.Struct, frozen=True):
    """One column of the user's, in the order of the mapping.

    `known` is bulklink's name for it, or None where it is the user's own; `places` says for each
    file at which place its records carry it, `headers` under which header. One that is not `kept`
    is looked at by `only` and gets into no file.
    """

    header: str
    known: str | None
    places: tuple[int | None, ...]
    headers: tuple[str | None, ...]
    kept: bool = True


def simple(header: str) -> str:
    """Drop what headers are matched without: case, spaces and underscores."""
    return "".join(header.casefold().replace("_", " ").split())


_BY_SIMPLE = {simple(column): column for column in KNOWN_COLUMNS}


def check_reading(reading: Reading) -> None:
    """Refuse options about columns that there are not.

    Raises:
        UsageError: for an unknown column, one that is named twice, a default that is no id, or
            what is no delimiter or encoding.
    """
    encoding_of(reading.encoding)
    if reading.delimiter is not None:
        delimiter_of(reading.delimiter)
    _check_columns("--column", [column for column, _ in reading.columns])
    _check_columns("--default", [column for column, _ in reading.defaults])
    for column, value in reading.defaults:
        no_guard = column == GUARD and value.strip().lower() == NO_DEAL
        if column in (*ID_COLUMNS, GUARD) and not (no_guard or _is_id(column, value.strip())):
            raise UsageError(
                f"{value!r} is no id.", where=f"--default {column}", advice="Give the id alone."
            )


def _is_id(column: str, value: str) -> bool:
    if column == "message_id":
        return value.isascii() and value.isalnum() and len(value) <= LONGEST_MESSAGE_ID
    return value.isascii() and value.isdigit() and len(value) <= LONGEST_ID


def _check_columns(option: str, columns: list[str]) -> None:
    for column, times in Counter(columns).items():
        if column not in KNOWN_COLUMNS:
            near = _close(column, KNOWN_COLUMNS)
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


def columns_of(files: Sequence[Headers], reading: Reading) -> tuple[Column, ...]:
    """Find the columns of a mapping and where each file carries them.

    Args:
        files: the headers of each file, in order.
        reading: what the user said about columns.

    Returns:
        The columns, each once, in the order in which they first appear, with those behind them
        that are not kept. Columns that bulklink wrote itself are left out, and those that are
        neither kept nor looked at.

    Raises:
        BadFileError: if a column is missing or stands twice, or an option names no header.
    """
    check_reading(reading)
    _check_renames(files, reading)
    found: dict[tuple[str, str, int], list[tuple[int, int]]] = {}
    for number, file in enumerate(files):
        for place, key in enumerate(_keys(file, reading)):
            if key is not None:
                found.setdefault(key, []).append((number, place))
    return _without_unkept([_column(key, at, files) for key, at in found.items()], reading)


def _without_unkept(columns: Sequence[Column], reading: Reading) -> tuple[Column, ...]:
    """Leave out what `keep` does not name; the rest of it that `only` needs goes to the end."""
    if reading.keep is None:
        return tuple(columns)
    headers = [column.header for column in columns]
    kept = {name for wanted in reading.keep for name in _named_by(wanted, headers)}
    looked_at = {
        found for header, _ in reading.only if (found := find(headers, header)) is not None
    }
    behind = [
        msgspec.structs.replace(column, kept=False)
        for place, column in enumerate(columns)
        if column.known is None and column.header not in kept and place in looked_at
    ]
    return (*(c for c in columns if c.known is not None or c.header in kept), *behind)


def _named_by(wanted: str, headers: Sequence[str]) -> list[str]:
    """Return the headers that one value of `keep` names: one, several parted by commas, none."""
    if not wanted.strip():
        return []
    for names in ([wanted], [name for name in wanted.split(",") if name.strip()]):
        found = [_all_like(name, headers) for name in names]
        if all(found):
            return [header for like in found for header in like]
    raise BadFileError(
        f"No header is called {wanted!r}, as --keep says.",
        where=f"--keep {wanted}",
        advice=nearest(wanted, headers),
    )


def _all_like(wanted: str, headers: Sequence[str]) -> list[str]:
    same = [header for header in headers if header == wanted]
    return same or [header for header in headers if simple(header) == simple(wanted)]


def _column(
    key: tuple[str, str, int], at: list[tuple[int, int]], files: Sequence[Headers]
) -> Column:
    places = dict(at)
    headers = {number: files[number].headers[place] for number, place in at}
    return Column(
        header=headers[at[0][0]],
        known=key[1] if key[0] == "known" else None,
        places=tuple(places.get(number) for number in range(len(files))),
        headers=tuple(headers.get(number) for number in range(len(files))),
    )


def _keys(file: Headers, reading: Reading) -> list[tuple[str, str, int] | None]:
    """Say for each header what it is: a known column, the user's nth of that name, or ours."""
    carried = _known_places(file, reading)
    seen: Counter[str] = Counter()
    keys: list[tuple[str, str, int] | None] = []
    for place, header in enumerate(file.headers):
        if place in carried:
            keys.append(("known", carried[place], 0))
        elif header.strip().casefold().startswith(OWN_PREFIX):
            keys.append(None)
        else:
            seen[header] += 1
            keys.append(("own", header, seen[header]))
    return keys


def _known_places(file: Headers, reading: Reading) -> dict[int, str]:
    renamed = {
        column: place
        for column, header in reading.columns
        if column in reading.active and (place := find(file.headers, header, file.name)) is not None
    }
    places = {place: column for column, place in renamed.items()}
    for place, header in enumerate(file.headers):
        column = _BY_SIMPLE.get(simple(header))
        if column in reading.active and column not in renamed and place not in places:
            if column in places.values():
                _refuse_two(file, column)
            places[place] = column
    _check_needed(file, set(places.values()), reading)
    return places


def find(headers: Sequence[str], wanted: str, where: str = "--only") -> int | None:
    """Find a header as it is written, or else without case, spaces and underscores.

    Raises:
        BadFileError: if several headers are meant.
    """
    found = [place for place, header in enumerate(headers) if header == wanted] or [
        place for place, header in enumerate(headers) if simple(header) == simple(wanted)
    ]
    if len(found) > 1:
        _refuse_ambiguous(wanted, [headers[place] for place in found], where)
    return found[0] if found else None


def _refuse_ambiguous(wanted: str, found: list[str], where: str) -> NoReturn:
    same = len(set(found)) == 1
    raise BadFileError(
        f"Several headers are called {wanted!r}."
        if same
        else f"{wanted!r} may mean several headers: {', '.join(map(repr, found))}.",
        where=where,
        advice="Rename all but one of them." if same else "Write it just as the one that is meant.",
    )


def _check_renames(files: Sequence[Headers], reading: Reading) -> None:
    for column, header in reading.columns:
        if all(find(file.headers, header, file.name) is None for file in files):
            raise BadFileError(
                f"No header is called {header!r}, as --column {column} says.",
                where=files[0].name,
                advice=nearest(header, [name for file in files for name in file.headers]),
            )


def _refuse_two(file: Headers, column: str) -> NoReturn:
    both = [header for header in file.headers if _BY_SIMPLE.get(simple(header)) == column]
    raise BadFileError(
        f"Several headers are the column {column}: " + ", ".join(map(repr, both)) + ".",
        where=file.name,
        advice=f"Say which is meant with --column {column}={both[0]!r}, or rename the others.",
    )


def _check_needed(file: Headers, found: set[str], reading: Reading) -> None:
    if not file.readable:
        return
    filled = {column for column, _ in reading.defaults}
    for column in reading.needed:
        if column not in found | filled:
            raise BadFileError(
                f"There is no column {column}.",
                where=file.name,
                advice=_missing_advice(column, file.headers)
                + (" Check --encoding as well." if reading.encoding else ""),
            )


def _missing_advice(column: str, headers: Sequence[str]) -> str:
    if len(headers) == 1 and not simple(headers[0]).isalnum():
        return (
            f"The header is one cell: {headers[0][:_SHOWN]!r}. Say with --delimiter what parts it."
        )
    near = nearest(column, headers)
    if near.startswith("The nearest"):
        near += f" If it is meant, give --column {column}=HEADER."
    if column == "op":
        return near + " Or name one operation for all rows."
    return near


def nearest(wanted: str, headers: Iterable[str]) -> str:
    """Name the headers that are most like the one that was looked for."""
    known = [header for header in dict.fromkeys(headers) if header.strip()]
    close = _close(wanted, known)
    if close:
        named = ", ".join(repr(header[:_SHOWN]) for header in close)
        return (
            f"The nearest headers are {named}." if close[1:] else f"The nearest header is {named}."
        )
    shown = ", ".join(repr(header[:_SHOWN]) for header in known[:_SHOWN_HEADERS])
    more = ", …" if len(known) > _SHOWN_HEADERS else ""
    return f"The headers are {shown}{more}." if shown else "It has no headers."


def _close(wanted: str, names: Iterable[str]) -> list[str]:
    """Return the nearest of some names, and those that are about as near."""
    known: dict[str, str] = {}
    for name in names:
        known.setdefault(simple(name), name)
    near = difflib.get_close_matches(simple(wanted), known, n=_NAMED, cutoff=_AS_LIKE)
    near = near or difflib.get_close_matches(simple(wanted), known, n=1, cutoff=_LIKE)
    return [known[name] for name in near]
