"""The checks, as set operations: what is wrong with each row.

Everything here builds SQL over the table `staged`. The relations, from the bottom:

- `base`: the rows of the run, with defaults filled in and ids as they will be sent;
- `run`: the same with `reason` and `blame`, the column that is at fault.

Which rows contradict or repeat others is found by `twins`.
"""
# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bulklink.errors import BadFileError
from bulklink.mapping import faults
from bulklink.mapping.database import literal
from bulklink.mapping.headers import find, nearest
from bulklink.mapping.loading import BAD, FILLED, GOOD, MISSING, ROUND, ROUNDED
from bulklink.mapping.values import ID_COLUMNS
from bulklink.models import Op

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bulklink.mapping.headers import Column
    from bulklink.mapping.values import Reading

#: A spreadsheet keeps 15 digits; ids of more that end in zeros there are suspected.
SUSPECT_LENGTH = 16
#: Chance makes 0.01 % of ids of 19 digits end so; above this share a spreadsheet did.
MOST_ROUND = 0.01

NUMBER_COLUMNS = ("contact_id", "owner_id", "deal_id")
NAME_COLUMNS = ("owner_name", "deal_name")
#: What tells contact and owner of a good row apart, as it is stored: cheaper than their texts.
OWNER_FORMS = ("contact_id_number", "contact_id_text", "owner_id_number", "owner_id_text")


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


def base_view(reading: Reading, columns: Sequence[Column], shifts: Sequence[int]) -> str:
    """Build the view `base`.

    Args:
        reading: how the mapping is to be read.
        columns: the user's columns.
        shifts: for each file, the physical line of row 0, were there one.
    """
    places = {column.known: place for place, column in enumerate(columns) if column.known}
    defaults = {column: value.strip() for column, value in reading.defaults}
    op = _op(reading, _filled_text("op", places, defaults))
    ids = [part for column in ID_COLUMNS for part in _id(column, reading, defaults)]
    names = [f"{name_cell(name, reading, columns)} AS {name}" for name in NAME_COLUMNS]
    own = [f"c{place}" for place in range(len(columns))]
    cleaned = [
        f"n_{column}, t_{column}, coalesce(n_{column}::VARCHAR, t_{column}) AS k_{column}"
        for column in ID_COLUMNS
    ]
    line = f"coalesce(line, rowid + 1 + {list(shifts)}[file + 1])"
    inner = (
        f"SELECT rowid + 1 AS row, file, {line} AS line, fault, why, raw, {op}, "
        f"{', '.join(f'g_{column}' for column in ID_COLUMNS)}, {', '.join(names + own + cleaned)} "
        "FROM staged"
    )
    only = _only(reading, columns)
    where = f" WHERE fault IS NOT NULL OR ({' AND '.join(only)})" if only else ""
    outer = f"SELECT *, {', '.join(ids)} FROM ({inner})"
    return f"CREATE VIEW base AS SELECT * FROM ({outer}){where}"


def name_cell(name: str, reading: Reading, columns: Sequence[Column]) -> str:
    """Build the name that is sent, from the user's columns `c0`, `c1` and so on."""
    places = {column.known: place for place, column in enumerate(columns) if column.known}
    defaults = {column: value.strip() for column, value in reading.defaults}
    return _filled_text(name, places, defaults)


def _filled_text(column: str, places: Mapping[str, int], defaults: Mapping[str, str]) -> str:
    place = places.get(column)
    cell = "NULL::VARCHAR" if place is None else f"nullif(tidy(c{place}), '')"
    default = defaults.get(column)
    return f"coalesce({cell}, {literal(default)})" if default else cell


def _op(reading: Reading, stated: str) -> str:
    if reading.op is not None:
        return f"{literal(reading.op.value)} AS op, lower({stated}) AS stated"
    known = ", ".join(literal(op.value) for op in Op)
    op = f"CASE WHEN lower({stated}) IN ({known}) THEN lower({stated}) END"
    return f"{op} AS op, lower({stated}) AS stated"


def _id(column: str, reading: Reading, defaults: Mapping[str, str]) -> list[str]:
    """Fill one id by its default; the deal of an unlink is the user's own and no id here."""
    forms = {
        column: (f"k_{column}", "{}"),
        f"{column}_number": (f"n_{column}", "number({})"),
        f"{column}_text": (f"t_{column}", "CASE WHEN number({0}) IS NULL THEN {0} END"),
    }
    found = {name: form for name, (form, _) in forms.items()}
    found[f"{column}_grade"] = f"g_{column}"
    default = defaults.get(column)
    if default:
        filled = {name: form.format(literal(default)) for name, (_, form) in forms.items()}
        filled[f"{column}_grade"] = str(FILLED)
        found = {
            name: f"CASE WHEN g_{column} = {MISSING} THEN {filled[name]} ELSE {form} END"
            for name, form in found.items()
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


def round_ids_query() -> str:
    """Count, by column and length, the long ids and those that end in zeros."""
    parts = [
        f"SELECT '{column}', {_digits(column)} AS digits, count(*), "
        f"count(*) FILTER ({column}_grade = {ROUND}) AS rounded FROM base "
        f"WHERE {column}_grade IN ({GOOD}, {ROUND}) AND digits >= {SUSPECT_LENGTH} "
        "GROUP BY digits HAVING rounded > 0"
        for column in NUMBER_COLUMNS
    ]
    return " UNION ALL ".join(parts) + " ORDER BY ALL"


def _digits(column: str) -> str:
    """Count the digits of an id; of numbers only those that can be suspected count."""
    number = f"{column}_number"
    above = [f"({number} >= {10**power})::BIGINT" for power in range(SUSPECT_LENGTH - 1, 20)]
    return f"coalesce({SUSPECT_LENGTH - 1} + {' + '.join(above)}, strlen({column}_text))"


def run_view(reading: Reading, refused: Iterable[RoundIds]) -> str:
    """Build the view `run`: the first thing that is wrong with each row, and where."""
    lengths: dict[str, list[int]] = {column: [] for column in ID_COLUMNS}
    for found in refused:
        lengths[found.column].append(found.length)
    flaws = [("fault IS NOT NULL", "fault", "NULL"), *_op_flaws(reading)]
    for column in ID_COLUMNS:
        flaws += _id_flaws(column, lengths[column])
    reasons = " ".join(f"WHEN {when} THEN {reason}" for when, reason, _ in flaws)
    blames = " ".join(f"WHEN {when} THEN {blame}" for when, _, blame in flaws)
    return (
        f"CREATE VIEW run AS SELECT *, CASE {reasons} END AS reason, CASE {blames} END AS blame "
        "FROM base"
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


def counts_query() -> str:
    """Count rows, refused rows and duplicates of the run."""
    return (
        "SELECT count(*), count(*) FILTER (reason IS NOT NULL) + "
        "(SELECT count(*) FROM twins WHERE conflict), "
        "(SELECT count(*) FROM twins WHERE NOT conflict AND row <> first) FROM run"
    )
