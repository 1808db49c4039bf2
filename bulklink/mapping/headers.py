"""Mapping headers matched to columns, over all files."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NoReturn

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.errors import BadFileError, UsageError
from bulklink.mapping.header_guesses import find_zoho_headers, guess_headers
from bulklink.mapping.id_cells import bare_id
from bulklink.mapping.ignorable import strip_ignorable
from bulklink.mapping.input.dialect import dialect_options
from bulklink.mapping.input.encodings import parse_encoding
from bulklink.mapping.input.prepare import FileHeaders
from bulklink.mapping.schema import (
    GUARD,
    ID_COLUMNS,
    KNOWN_COLUMNS,
    OWN_PREFIX,
    PRESETS,
    MappingOptions,
    id_pattern,
    normalize_header,
)
from bulklink.mapping.sheet_choice import other_sheets_advice
from bulklink.models import NO_DEAL, Op
from bulklink.suggestions import close_matches

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

_MAX_HEADERS = 10
_MAX_HEADER_CHARS = 60
#: Minimum similarity for suggesting the nearest name, and for suggesting several.
_SIMILAR, _VERY_SIMILAR = 0.5, 0.75
_MAX_SUGGESTIONS = 3


class MappingColumn(msgspec.Struct, frozen=True):
    """A column of the user's mapping.

    Args:
        header: its header in the first file that has it.
        known: bulklink's name for the column; None if it is the user's own.
        places: for each file the index of its cell; None if the file does not have it.
        headers: for each file its header; None if the file does not have it.
        included: whether it is written to files; if not, only `only` reads it.
    """

    header: str
    known: str | None
    places: tuple[int | None, ...]
    headers: tuple[str | None, ...]
    included: bool = True


_LONG_ID = re.compile("[0-9]{10,}")
_OP_ADVICE = Advice(
    "The operation is missing. Set one for all rows: {}, {} or {}; or add a column op to the"
    " mapping.",
    *(Keyword("op", op.value) for op in Op),
)
_RENAME = "Rename all but one of them."
_NO_HEADERS = FileHeaders("", ())
_ONLY = Advice("{}", Keyword("only"))
_COLUMN_BY_HEADER = {normalize_header(column): column for column in KNOWN_COLUMNS}


def check_mapping_options(options: MappingOptions) -> None:
    """Raise UsageError for options that name unknown columns or invalid values.

    Raises:
        UsageError: for a column that is unknown or named twice, a default that no row can have,
            or an invalid delimiter or encoding.
    """
    parse_encoding(options.encoding)
    if options.preset not in (None, *PRESETS):
        raise UsageError(
            f"{options.preset!r} is not a valid preset.",
            where=Advice("{}", Keyword("preset")),
            advice=f"Use one of: {', '.join(PRESETS)}.",
        )
    dialect_options(options)
    check_column_names(Keyword("columns"), [column for column, _ in options.columns])
    check_column_names(Keyword("defaults"), [column for column, _ in options.defaults])
    ops = list(Op) if options.op is None else [options.op]
    for column, value in options.defaults:
        if column == "op" and value.strip().lower() not in ops:
            raise UsageError(
                f"{value!r} is not {'an' if options.op is None else 'the requested'} operation.",
                where=Advice("{} {}", Keyword("defaults"), column),
                advice=f"Use {' or '.join(ops)}.",
            )
        no_guard = column == GUARD and value.strip().lower() == NO_DEAL
        is_id = re.fullmatch(id_pattern(column), value.strip()) is not None
        if column in (*ID_COLUMNS, GUARD) and not (no_guard or is_id):
            raise UsageError(
                f"{value!r} is not an id.",
                where=Advice("{} {}", Keyword("defaults"), column),
                advice="Use the id alone.",
            )


def check_column_names(
    option: Keyword, columns: Sequence[str], known: Sequence[str] = KNOWN_COLUMNS
) -> None:
    """Check the columns that an option names.

    Args:
        option: the option.
        columns: the columns that it names.
        known: the columns with a meaning.

    Raises:
        UsageError: if one is unknown, or named twice.
    """
    for column, times in Counter(columns).items():
        if column not in known:
            closest = _closest_names(column, known)
            raise UsageError(
                f"{column!r} is not a known column.",
                where=Advice("{}", option),
                advice=(f"The nearest is {closest[0]}. " if closest else "")
                + f"The columns are {', '.join(known)}.",
            )
        if times > 1:
            raise UsageError(
                f"The column {column} is set twice.",
                where=Advice("{}", option),
                advice="Set it once.",
            )


def find_columns(
    files: Sequence[FileHeaders], options: MappingOptions
) -> tuple[MappingColumn, ...]:
    """Find the columns of a mapping and their position in each file.

    Args:
        files: the headers of each file, in order.
        options: options for reading the mapping.

    Returns:
        The columns, each once, in the order in which they first appear, followed by those that
        only `only` reads. Columns that bulklink wrote itself, and those that `keep` excludes,
        are left out.

    Raises:
        BadFileError: if a column is missing or repeated, or an option names an unknown header.
    """
    check_mapping_options(options)
    _check_renames(files, options)
    occurrences_by_key: dict[tuple[str, str, int], list[tuple[int, int]]] = {}
    for number, file in enumerate(files):
        for place, key in enumerate(_keys(file, options)):
            if key is not None:
                occurrences_by_key.setdefault(key, []).append((number, place))
    return _select_columns(
        [_column(key, occurrences, files) for key, occurrences in occurrences_by_key.items()],
        options,
    )


def _select_columns(
    columns: Sequence[MappingColumn], options: MappingOptions
) -> tuple[MappingColumn, ...]:
    """Drop columns that `keep` does not name; those that `only` reads move to the end."""
    if options.keep is None:
        return tuple(columns)
    headers = [column.header for column in columns]
    included = {name for value in options.keep for name in _headers_named_by(value, headers)}
    filter_indexes = {
        index for header, _ in options.only if (index := find_header(headers, header)) is not None
    }
    filter_columns = [
        msgspec.structs.replace(column, included=False)
        for index, column in enumerate(columns)
        if column.known is None and column.header not in included and index in filter_indexes
    ]
    return (*(c for c in columns if c.known is not None or c.header in included), *filter_columns)


def _headers_named_by(value: str, headers: Sequence[str]) -> list[str]:
    """Return the headers that a value of `keep` names: one, several joined by commas, or none."""
    if not value.strip():
        return []
    for names in ([value], [name for name in value.split(",") if name.strip()]):
        matches = [_matching_headers(name, headers) for name in names]
        if all(matches):
            return [header for match in matches for header in match]
    raise BadFileError(
        f"There is no header {value!r} to keep.",
        where=Advice("{} {}", Keyword("keep"), value),
        advice=suggest_headers(value, headers),
    )


def _matching_headers(name: str, headers: Sequence[str]) -> list[str]:
    exact = [header for header in headers if header == name]
    return exact or [
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
    """Return a key for each header: its known column, or the user's nth header of that name.

    The key of a column that bulklink wrote itself is None.
    """
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
        and (place := find_header(file.headers, header, file.where)) is not None
    }
    places = {place: column for column, place in renamed.items()}
    for place, header in enumerate(file.headers):
        column = _COLUMN_BY_HEADER.get(normalize_header(header))
        if column in options.active_columns and column not in renamed and place not in places:
            if column in places.values():
                _refuse_two(file, column)
            places[place] = column
    if options.preset:
        places |= _preset_places(file, places, options)
    _check_required(file, places, options)
    return places


def _preset_places(
    file: FileHeaders, places: Mapping[int, str], options: MappingOptions
) -> dict[int, str]:
    """Return the places of the columns that only the preset identifies."""
    missing_columns = set(options.active_columns) - set(places.values())
    free = [header for place, header in enumerate(file.headers) if place not in places]
    found_columns = [normalize_header(column) for column in places.values()]
    zoho_headers = find_zoho_headers([*free, *found_columns], missing_columns)
    return {
        file.headers.index(header): column
        for column, header in zoho_headers.items()
        if header in free
    }


def find_header(headers: Sequence[str], name: str, where: str | Advice = _ONLY) -> int | None:
    """Return the index of a header: an exact match, or else a normalized one.

    Raises:
        BadFileError: if several headers match.
    """
    indexes = [place for place, header in enumerate(headers) if header == name] or [
        place
        for place, header in enumerate(headers)
        if normalize_header(header) == normalize_header(name)
    ]
    if len(indexes) > 1:
        _refuse_ambiguous(name, [headers[place] for place in indexes], where)
    return indexes[0] if indexes else None


def _refuse_ambiguous(name: str, matches: list[str], where: str | Advice) -> NoReturn:
    same = len(set(matches)) == 1
    raise BadFileError(
        f"Several headers are called {name!r}."
        if same
        else f"{name!r} matches several headers: {', '.join(map(repr, matches))}.",
        where=where,
        advice=_RENAME if same else "Write it exactly like the intended one.",
    )


def _check_renames(files: Sequence[FileHeaders], options: MappingOptions) -> None:
    for column, header in options.columns:
        if all(find_header(file.headers, header, file.where) is None for file in files):
            raise BadFileError(
                f"There is no header {header!r} for the column {column}.",
                where=files[0].where,
                advice=Advice.join(
                    " ",
                    [
                        suggest_headers(header, [name for file in files for name in file.headers]),
                        advise_other_sheet(files[0], options),
                    ],
                ),
            )


def _refuse_two(file: FileHeaders, column: str) -> NoReturn:
    matches = [
        header
        for header in file.headers
        if _COLUMN_BY_HEADER.get(normalize_header(header)) == column
    ]
    unique = next((header for header in matches if matches.count(header) == 1), None)
    raise BadFileError(
        f"Several headers match the column {column}: " + ", ".join(map(repr, matches)) + ".",
        where=file.where,
        advice=_RENAME
        if unique is None
        else Advice(
            "Choose one with {}, or rename the others.", Keyword("columns", ((column, unique),))
        ),
    )


def _check_required(file: FileHeaders, present: Mapping[int, str], options: MappingOptions) -> None:
    if not file.readable:
        return
    filled = {*present.values(), *(column for column, _ in options.defaults)}
    missing = [column for column in options.required_columns if column not in filled]
    if missing:
        _refuse_lines_above(file, options)
        _refuse_headerless(file, options)
        free = [header for place, header in enumerate(file.headers) if place not in present]
        raise BadFileError(
            f"There is no column {missing[0]}."
            if len(missing) == 1
            else f"There are no columns {', '.join(missing[:-1])} and {missing[-1]}.",
            where=file.where,
            advice=Advice.join(
                " ",
                [
                    advise_other_sheet(file, options),
                    _missing_advice(missing, free, file.headers, options),
                    Advice("Check {} as well.", Keyword("encoding"))
                    if options.encoding and file.sheet is None
                    else "",
                ],
            ),
        )


def advise_other_sheet(file: FileHeaders, options: MappingOptions) -> str | Advice:
    """Suggest other sheets of the same workbook; empty for other formats."""
    return other_sheets_advice(file.sheet, lambda headers: is_mapping(headers, options))


def is_mapping(headers: Sequence[str], options: MappingOptions) -> bool:
    """Return whether headers have all columns that the options require."""
    file = msgspec.structs.replace(_NO_HEADERS, headers=tuple(headers))
    try:
        _check_renames([file], options)
        _known_places(file, options)
    except BadFileError:
        return False
    return True


def _refuse_lines_above(file: FileHeaders, options: MappingOptions) -> None:
    """Refuse a file with other lines above its headers, such as a title."""
    if file.lines_above is not None:
        raise BadFileError(
            f"The headers are not in line {options.skip_lines + 1}, but in line"
            f" {file.lines_above + 1}.",
            where=file.name,
            advice=Advice(
                "Skip the lines above them with {}, or delete those lines.",
                Keyword("skip_lines", file.lines_above),
            ),
        )


def _refuse_headerless(file: FileHeaders, options: MappingOptions) -> None:
    """Refuse a file without headers: its first line has ids and no known header."""
    cells = [strip_ignorable(header) for header in file.headers]
    ids = [cell for cell in cells if _LONG_ID.fullmatch(bare_id(cell))]
    if ids and not any(normalize_header(cell) in _COLUMN_BY_HEADER for cell in cells):
        raise BadFileError(
            f"The file has no headers: its first line holds the id {ids[0]!r}.",
            where=file.where,
            advice="Insert a line with the names of the columns above it, such as "
            f"{','.join(options.required_columns)}.",
        )


def _missing_advice(
    missing: Sequence[str], free: Sequence[str], headers: Sequence[str], options: MappingOptions
) -> Advice:
    """Build the advice for missing columns, with the settings for the likeliest headers."""
    op = _OP_ADVICE if "op" in missing else Advice("")
    missing = [column for column in missing if column != "op"]
    if len(headers) == 1 and not normalize_header(headers[0]).isalnum():
        cell = headers[0][:_MAX_HEADER_CHARS]
        return Advice("The header is a single cell: {!r}. Set {}.", cell, Keyword("delimiter"))
    if not missing:
        return op
    zoho = find_zoho_headers(free, missing) if not options.preset else {}
    guesses = guess_headers([column for column in missing if column not in zoho], free) | zoho
    if not guesses:
        return Advice.join(" ", [op, _list_headers(headers)])
    renames = [
        (column, strip_ignorable(guesses[column])) for column in missing if column in guesses
    ]
    columns = Keyword("columns", tuple(renames))
    advice = Advice(
        "If {} correct, use {}.", "this is" if len(renames) == 1 else "these are", columns
    )
    if len(zoho) > 1 or (zoho and len(missing) == len(zoho)):
        preset = Keyword("preset", "zoho")
        advice = Advice("These are Zoho's own headers: use {}, or {}.", preset, columns)
    rest = [column for column in missing if column not in guesses]
    unknown = f"No header resembles {', '.join(rest)}. {_list_headers(headers)}" if rest else ""
    return Advice.join(" ", [op, advice, unknown])


def suggest_headers(name: str, headers: Iterable[str]) -> str:
    """Suggest the headers that are most similar to a missing one."""
    candidates = [text for header in dict.fromkeys(headers) if (text := strip_ignorable(header))]
    closest = _closest_names(name, candidates)
    if closest:
        quoted_matches = ", ".join(repr(header[:_MAX_HEADER_CHARS]) for header in closest)
        return (
            f"The nearest headers are {quoted_matches}."
            if closest[1:]
            else f"The nearest header is {quoted_matches}."
        )
    return _list_headers(candidates)


def _list_headers(headers: Iterable[str]) -> str:
    candidates = [header for header in dict.fromkeys(headers) if strip_ignorable(header)]
    quoted_names = ", ".join(
        repr(strip_ignorable(header)[:_MAX_HEADER_CHARS]) for header in candidates[:_MAX_HEADERS]
    )
    more = ", …" if len(candidates) > _MAX_HEADERS else ""
    return f"The headers are {quoted_names}{more}." if quoted_names else "The file has no headers."


def _closest_names(target: str, names: Collection[str]) -> list[str]:
    """Return the names that are closest to the target."""
    return close_matches(
        target, names, limit=_MAX_SUGGESTIONS, cutoff=_VERY_SIMILAR, key=normalize_header
    ) or close_matches(target, names, limit=1, cutoff=_SIMILAR, key=normalize_header)
