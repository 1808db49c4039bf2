"""Validation of rows, set by set: the faults of a row, and rounded ids. SQL.

Everything here builds SQL over the table `staged`. The relations, from the bottom:

- `base`: the rows of the run, with defaults filled in, ids and guards as they will be sent;
- `run`: the same with `reason` and `blame`, the column that is at fault.

Which ids are rounded is found by `rounding`, which rows contradict or repeat others by `twins`.
"""

# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bulklink.errors import BadFileError
from bulklink.mapping import faults
from bulklink.mapping.database import literal
from bulklink.mapping.headers import find, nearest
from bulklink.mapping.load import (
    BAD,
    CLEANED,
    FILLED,
    GOOD,
    MISSING,
    NUMBER,
    ROUND,
    ROUNDED,
    TEXT,
    filled,
    grade,
)
from bulklink.mapping.schema import GUARD, ID_COLUMNS, NAME_COLUMNS, NUMBER_COLUMNS
from bulklink.models import EITHER, NO_DEAL, Op

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bulklink.mapping.database import Database
    from bulklink.mapping.headers import Column
    from bulklink.mapping.schema import Reading

#: Chance makes 0.01 % of ids of 19 digits end so; above this share a spreadsheet did.
MOST_ROUND = 0.01


class RoundIds(NamedTuple):
    """How many ids of one column and length end in zeros behind their 15th digit."""

    column: str
    length: int
    ids: int
    round: int

    @property
    def refused(self) -> bool:
        """Whether more are so than chance explains."""
        return self.round > MOST_ROUND * self.ids

    def warning(self, header: str) -> str:
        """Say it to a person, where the ids are not refused."""
        return (
            f"{self.round:,} of {self.ids:,} {self.length}-digit ids in {header} end in zeros "
            "after the 15th digit, as a spreadsheet leaves them; so few may be chance"
        )


def round_ids(database: Database, *, guards: bool) -> tuple[RoundIds, ...]:
    """Count, by column and length, the long ids that end in zeros and those of that length.

    Args:
        database: where the rows are.
        guards: whether rows may have one.
    """
    rounded = [RoundIds(*found) for found in database.rows(_ROUND_GUARDS)] if guards else []
    found = list(database.rows(_round_ids_query()))
    if not found:
        return tuple(rounded)
    ids = database.one(_long_ids_query(found))
    return (
        *(
            RoundIds(column, digits, int(count), ending)
            for (column, digits, ending), count in zip(found, ids, strict=True)
        ),
        *rounded,
    )


_ROUND_GUARDS = f"""
SELECT '{GUARD}', length({GUARD}) AS digits, count(*),
    count(*) FILTER (regexp_full_match({GUARD}, '[0-9]{{15}}0+')) AS rounded
FROM base WHERE length({GUARD}) >= 16 AND regexp_full_match({GUARD}, '[0-9]+')
GROUP BY digits HAVING rounded > 0
"""


def _round_ids_query() -> str:
    parts = [
        f"SELECT '{column}', strlen({column}) AS digits, count(*) FROM base "
        f"WHERE marks <> 0 AND {column}_grade = {ROUND} GROUP BY digits"
        for column in NUMBER_COLUMNS
    ]
    return " UNION ALL ".join(parts) + " ORDER BY ALL"


def _long_ids_query(found: Sequence[tuple[Any, ...]]) -> str:
    counts = [
        f"count(*) FILTER ({column}_grade IN ({GOOD}, {ROUND}) AND {_is_long(column, digits)})"
        for column, digits, _ in found
    ]
    return f"SELECT {', '.join(counts)} FROM base"


def _is_long(column: str, digits: int) -> str:
    """Say whether an id has so many digits; its number tells it sooner than its text."""
    first, last = 10 ** (digits - 1), min(10**digits, 1 << 64) - 1
    as_text = f"coalesce(strlen({column}_text) = {digits}, false)"
    if first > last:
        return as_text
    number = f"coalesce({column}_number BETWEEN {first} AND {last}, false)"
    return f"({number} OR {as_text})"


def base_view(
    reading: Reading, columns: Sequence[Column], shifts: Sequence[int], *, told: bool
) -> str:
    """Build the view `base`.

    Args:
        reading: how the mapping is to be read.
        columns: the user's columns.
        shifts: for each file, the physical line of row 0, were there one.
        told: whether the table has what an exact reader tells of a record.
    """
    places = {column.known: place for place, column in enumerate(columns) if column.known}
    defaults = {column: value.strip() for column, value in reading.defaults}
    file = "file" if len(shifts) > 1 else "0::USMALLINT"
    line = (
        f"rowid + 1 + {list(shifts)}[file + 1]" if len(shifts) > 1 else f"rowid + 1 + {shifts[0]}"
    )
    front = "coalesce(line, {line}) AS line, fault, why, raw"
    if not told:
        front = "{line} AS line, NULL::VARCHAR AS fault, NULL::VARCHAR AS why, NULL::VARCHAR AS raw"
    parts = [
        f"rowid + 1 AS row, {file} AS file",
        front.format(line=line),
        _op(reading, _filled_text("op", places, defaults)),
        *(f"c{place}" for place in range(len(columns))),
        *(form for column in ID_COLUMNS for form in _forms(column, places.get(column))),
        *(f"{name_cell(name, reading, columns)} AS {name}" for name in NAME_COLUMNS),
    ]
    only = _only(reading, columns)
    where = f" WHERE fault IS NOT NULL OR ({' AND '.join(only)})" if only else ""
    ids = ", ".join(part for column in ID_COLUMNS for part in _id(column, reading, defaults))
    guard = f"{_guard(reading, places, defaults)} AS {GUARD}"
    outer = f"SELECT *, {ids}, {guard} FROM (SELECT marks, {', '.join(parts)} FROM staged)"
    return f"CREATE VIEW base AS SELECT * FROM ({outer}){where}"


def has_guards(reading: Reading, columns: Sequence[Column]) -> bool:
    """Tell whether rows of the mapping may have a guard."""
    known = {column.known for column in columns}
    return GUARD in reading.active and GUARD in known | dict(reading.defaults).keys()


def _guard(reading: Reading, places: Mapping[str, int], defaults: Mapping[str, str]) -> str:
    """Build the guard of a row, NULL where it has none."""
    cells = [f"guard(c{places[GUARD]})"] if GUARD in places else []
    if defaults.get(GUARD) and GUARD in reading.active:
        cells.append(literal(defaults[GUARD].lower()))
    guard = f"coalesce({', '.join(cells)})" if cells else "NULL::VARCHAR"
    if reading.op is not None or not cells:
        return guard
    guarded = ", ".join(literal(op) for op in reading.guarded)
    return f"CASE WHEN op IN ({guarded}) THEN {guard} END"


def _forms(column: str, place: int | None) -> list[str]:
    """Build the forms of a clean id, before defaults: number, text, what is sent; its grade."""
    number = text = sent = "NULL"
    if place is not None and column in NUMBER_COLUMNS:
        number = f"n_{column}"
        text = f"CASE WHEN {number} IS NULL THEN unwrapped(c{place}) END"
        sent = f"CASE WHEN {number} IS NULL THEN unwrapped(c{place}) ELSE {number}::VARCHAR END"
    elif place is not None:
        odd = f"marks & {CLEANED[column]} <> 0"
        sent = f"CASE WHEN {odd} THEN unwrapped(c{place}) ELSE c{place} END"
    forms = [f"({sent})::VARCHAR AS k_{column}"]
    if column in NUMBER_COLUMNS:
        forms += [f"{number}::UBIGINT AS n_{column}", f"({text})::VARCHAR AS t_{column}"]
    return [*forms, f"{MISSING if place is None else grade(column)} AS g_{column}"]


def name_cell(name: str, reading: Reading, columns: Sequence[Column]) -> str:
    """Build the name that is sent, from the user's columns `c0`, `c1` and so on."""
    places = {column.known: place for place, column in enumerate(columns) if column.known}
    defaults = {column: value.strip() for column, value in reading.defaults}
    return _filled_text(name, places, defaults)


def _filled_text(column: str, places: Mapping[str, int], defaults: Mapping[str, str]) -> str:
    place = places.get(column)
    return filled("NULL::VARCHAR" if place is None else f"c{place}", defaults.get(column))


def _op(reading: Reading, stated: str) -> str:
    if reading.op is not None:
        return f"{literal(reading.op.value)} AS op, lower({stated}) AS stated"
    known = ", ".join(literal(op.value) for op in Op)
    op = f"CASE WHEN lower({stated}) IN ({known}) THEN lower({stated}) END"
    return f"{op} AS op, lower({stated}) AS stated"


def _id(column: str, reading: Reading, defaults: Mapping[str, str]) -> list[str]:
    """Fill one id by its default; the deal of an unlink is the user's own and no id here."""
    forms = {column: (f"k_{column}", "{}"), f"{column}_grade": (f"g_{column}", str(FILLED))}
    if column in NUMBER_COLUMNS:
        text = "CASE WHEN number({0}) IS NULL THEN {0} END"
        forms |= {
            f"{column}_number": (f"n_{column}", "number({})"),
            f"{column}_text": (f"t_{column}", text),
        }
    found = {name: form for name, (form, _) in forms.items()}
    default = defaults.get(column)
    if default:
        found = {
            name: f"CASE WHEN g_{column} = {MISSING} THEN {fill.format(literal(default))} "
            f"ELSE {form} END"
            for name, (form, fill) in forms.items()
        }
    if column == "deal_id" and reading.op in (None, Op.UNLINK):
        unlink, unsent = "op IS NOT DISTINCT FROM 'unlink'", {f"{column}_grade": str(GOOD)}
        found = {
            name: f"CASE WHEN {unlink} THEN {unsent.get(name, 'NULL')} ELSE {form} END"
            for name, form in found.items()
        }
    return [f"{form} AS {name}" for name, form in found.items()]


def _only(reading: Reading, columns: Sequence[Column]) -> list[str]:
    return [_condition(header, value, reading, columns) for header, value in reading.only]


def _condition(header: str, value: str | None, reading: Reading, columns: Sequence[Column]) -> str:
    place = _place_of(header, columns)
    if place is None:
        raise BadFileError(
            f"No header is called {header!r}, as --only says.",
            where=f"--only {header}",
            advice=nearest(header, [column.header for column in columns]),
        )
    known = columns[place].known
    shown = known if known in ID_COLUMNS else f"tidy(c{place})"
    if known in ("op", "owner_name", "deal_name"):
        shown = "stated" if known == "op" else known
    if value is None:
        return f"coalesce({shown}, '') <> ''"
    wanted = value.strip().lower() if known == "op" else value.strip()
    return f"coalesce({shown}, '') = {literal(wanted)}"


def _place_of(header: str, columns: Sequence[Column]) -> int | None:
    for place, column in enumerate(columns):
        if column.known == header:
            return place
    return find([column.header for column in columns], header)


def run_view(reading: Reading, refused: Iterable[RoundIds], *, guards: bool) -> str:
    """Build the view `run`: the first thing that is wrong with each row, and where.

    Args:
        reading: how the mapping is to be read.
        refused: the ids that a spreadsheet has rounded.
        guards: whether rows may have one.
    """
    lengths: dict[str, list[int]] = {column: [] for column in (*ID_COLUMNS, GUARD)}
    for found in refused:
        lengths[found.column].append(found.length)
    flaws = [("fault IS NOT NULL", "fault", "NULL"), *_op_flaws(reading)]
    for column in ID_COLUMNS:
        flaws += _id_flaws(column, lengths[column])
    flaws += _guard_flaws(lengths[GUARD]) if guards else []
    good = f"marks = 0 AND {GUARD} IS NULL" if guards else "marks = 0"
    reasons = " ".join(f"WHEN {when} THEN {reason}" for when, reason, _ in flaws)
    blames = " ".join(f"WHEN {when} THEN {blame}" for when, _, blame in flaws)
    return (
        f"CREATE VIEW run AS SELECT *, CASE WHEN {good} THEN NULL {reasons} END AS reason, "
        f"CASE WHEN {good} THEN NULL {blames} END AS blame FROM base"
    )


def _op_flaws(reading: Reading) -> list[tuple[str, str, str]]:
    bad = literal(faults.BAD_OP)
    if reading.op is not None:
        return [(f"stated <> {literal(reading.op.value)}", bad, "'op'")]
    missing = literal(faults.MISSING_VALUE)
    return [("stated IS NULL", missing, "'op'"), ("op IS NULL", bad, "'op'")]


def _id_flaws(column: str, lengths: list[int]) -> list[tuple[str, str, str]]:
    grade, blame = f"{column}_grade", literal(column)
    flaws = [
        (f"{grade} = {MISSING}", literal(faults.MISSING_VALUE), blame),
        (f"{grade} = {BAD}", literal(faults.BAD_ID), blame),
        (f"{grade} = {ROUNDED}", literal(faults.ROUNDED_ID), blame),
    ]
    if lengths:
        among = ", ".join(map(str, lengths))
        when = f"{grade} = {ROUND} AND length({column}) IN ({among})"
        flaws.append((when, literal(faults.ROUNDED_ID), blame))
    return flaws


def _guard_flaws(lengths: list[int]) -> list[tuple[str, str, str]]:
    one = f"[0-9]{{1,100}}|{NO_DEAL}"
    allowed = f"({one})([{EITHER}]({one}))*"
    blame = literal(GUARD)
    flaws = [
        (f"regexp_full_match({GUARD}, {literal(NUMBER)})", literal(faults.ROUNDED_ID), blame),
        (f"NOT regexp_full_match({GUARD}, {literal(allowed)})", literal(faults.BAD_ID), blame),
    ]
    if lengths:
        among = ", ".join(map(str, lengths))
        when = f"regexp_full_match({GUARD}, '[0-9]{{15}}0+') AND length({GUARD}) IN ({among})"
        flaws.append((when, literal(faults.ROUNDED_ID), blame))
    return flaws


class Findings(NamedTuple):
    """What one look at all rows of the run says.

    `marks` are those of any row that nothing is wrong with by itself, together; `guarded` counts
    such rows that have a guard.
    """

    rows: int
    faulty: int
    marks: int
    guarded: int

    def owner_forms(self) -> tuple[str, ...]:
        """Name what tells contact and owner apart, as it is stored: cheaper than their texts."""
        return tuple(
            form
            for column in ("contact_id", "owner_id")
            for form in (f"{column}_number", f"{column}_text")
            if form.endswith("number") or self.marks & TEXT[column]
        )


def findings(database: Database, reading: Reading) -> Findings:
    """Look at all rows of the run; an id that is filled in may be anything."""
    rows, faulty, marks, guarded = database.one(
        "SELECT count(*), count(*) FILTER (reason IS NOT NULL), "
        "coalesce(bit_or(marks) FILTER (reason IS NULL), 0), "
        f"count({GUARD}) FILTER (reason IS NULL) FROM run"
    )
    for column, _ in reading.defaults:
        marks |= CLEANED.get(column, 0) | TEXT.get(column, 0)
    return Findings(int(rows), int(faulty), int(marks), int(guarded))
