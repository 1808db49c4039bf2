"""Failures of a run by code, deal and owner, with rows of each."""

# ruff: noqa: S608

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bulklink.engine.failure_limit import advice_of
from bulklink.html_report.model import Class, Findings, Grouping
from bulklink.html_report.rows import MOST_ROWS, Kept, Row
from bulklink.mapping import faults
from bulklink.mapping.database import Database, literal
from bulklink.mapping.original_rows import OwnColumn, refused_rows
from bulklink.mapping.plan_layout import relation
from bulklink.models import Op, Status
from bulklink.runs.folder import RunFolder
from bulklink.shell import typed


def messages(database: Database, folder: RunFolder) -> str:
    """Build the relation of a plan's messages, with the names that were looked up.

    Duplicates are left out. The deal of an unlink is none.
    """
    owner, deal, names = "plan.bulklink_owner_name", "plan.bulklink_deal_name", ""
    if folder.names.is_file():
        owner, deal = f"coalesce({owner}, names.owner_name)", f"coalesce({deal}, names.deal_name)"
        names = f"POSITIONAL JOIN read_parquet({literal(str(folder.names))}) AS names"
    return (
        f"(SELECT plan.* EXCLUDE (bulklink_owner_name, bulklink_deal_name, bulklink_deal_id), "
        f"{owner} AS bulklink_owner_name, {deal} AS bulklink_deal_name, "
        "if(plan.bulklink_op = 'unlink', NULL, plan.bulklink_deal_id) AS bulklink_deal_id "
        f"FROM {relation(database, folder.plan)} AS plan {names} "
        "WHERE plan.bulklink_duplicate_of IS NULL)"
    )


def names_of(
    database: Database, folder: RunFolder, kind: str, ids: Iterable[str]
) -> dict[str, str]:
    """Return the names of some deals or owners; those that are not known are missing.

    Args:
        database: to ask.
        folder: of the run.
        kind: `deal` or `owner`.
        ids: of these.
    """
    wanted = ", ".join(map(literal, ids))
    if not wanted or not folder.plan.is_file():
        return {}
    ident, name = f"bulklink_{kind}_id", f"bulklink_{kind}_name"
    query = (
        f"SELECT {ident}, min({name}) FROM {messages(database, folder)} "
        f"WHERE {ident} IN ({wanted}) AND {name} IS NOT NULL GROUP BY {ident}"
    )
    return {found[0]: found[1] for found in database.rows(query)}


MOST_CLASSES = 40
"""Codes, deals and owners that are shown each; the others are summed."""
_FIELDS = {"code": "code", "deal": "deal_id", "owner": "owner_id"}
_REFUSED = "status = 'rejected'"
_FAILED = "status <> 'rejected'"
_PLAIN = re.compile(r"[A-Z][A-Z_]{0,60}|[a-z][a-z-]{0,60}|HTTP \d{3}|no code|other codes")


class Shown(msgspec.Struct, frozen=True):
    """Classes of one field that are shown: (key, rows, in doubt, commonest code, coded) each.

    `rows` and `doubt` are of all classes, `others` counts those that are not shown.
    """

    field: str
    refused: bool
    classes: list[tuple[Any, ...]]
    others: int
    rows: int
    doubt: int

    @property
    def keys(self) -> list[str | None]:
        """The codes or ids of the classes."""
        return [one[0] for one in self.classes]


def plain(code: str) -> str:
    """Return a code, unless it is none that could be known: it may hold anything."""
    return code if _PLAIN.fullmatch(code) else "another code"


def shown(database: Database, field: str, *, refused: bool) -> Shown:
    """Count the findings of each class; the largest classes stand first.

    Args:
        database: with the table `findings`.
        field: `code`, `deal` or `owner`.
        refused: look at refused rows, else at those that failed or are in doubt.
    """
    column, which = _FIELDS[field], _REFUSED if refused else _FAILED
    found = list(
        database.rows(
            f"SELECT {column}, count(*), count(*) FILTER (status = 'in_doubt'), mode(code), "
            f"bool_and(coded) FROM findings WHERE {which} GROUP BY {column} "
            f"ORDER BY count(*) DESC, {column} NULLS LAST LIMIT {MOST_CLASSES}"
        )
    )
    classes, rows, doubt = database.one(
        f"SELECT count(DISTINCT coalesce({column}, '')), count(*), "
        f"count(*) FILTER (status = 'in_doubt') FROM findings WHERE {which}"
    )
    return Shown(field, refused, found, classes - len(found), rows, doubt)


def rows_to_keep(database: Database, groupings: Sequence[Shown]) -> Iterator[Row]:
    """Stream rows of the classes that are shown, up to a thousand of each.

    The first rows of all classes come before the second of any, so that wherever there is no more
    room each class has had its share.
    """
    ranks = ", ".join(_rank(one) for one in groupings if one.classes)
    if not ranks:
        return
    query = (
        f'SELECT f.* FROM findings AS f JOIN (SELECT "row", least({ranks}) AS place '
        f'FROM findings QUALIFY place <= {MOST_ROWS}) AS ranked USING ("row") '
        'ORDER BY ranked.place, "row"'
    )
    for row, op, contact, owner, message, deal, status, code, _, text, ts in database.rows(query):
        yield Row(
            row=row,
            op=op,
            contact=contact,
            owner=owner,
            message=message,
            deal=deal,
            status=status,
            code=code,
            text=text,
            ts=ts,
        )


def _rank(one: Shown) -> str:
    """Build the place of a row within its class; NULL where its class is not shown."""
    column, which = _FIELDS[one.field], _REFUSED if one.refused else _FAILED
    keys = ", ".join(literal(key or "") for key in one.keys)
    return (
        f"CASE WHEN {which} AND coalesce({column}, '') IN ({keys}) THEN row_number() "
        f'OVER (PARTITION BY {which}, {column} ORDER BY "row") END'
    )


class Describing(msgspec.Struct, frozen=True):
    """Says what classes of findings are.

    Args:
        database: with the table `findings`.
        folder: of the run, for the names in its plan.
        kept: the rows that the page has; None on a page of counts alone.
        run: the run folder as it is typed; empty where nothing can be exported.
        several: whether there are several codes, so that it tells something which is commonest.
    """

    database: Database
    folder: RunFolder
    kept: Kept | None
    run: str
    several: bool

    def findings(self, groupings: Sequence[Shown]) -> Findings:
        """Return what failed, or was refused, in several groupings of the same rows."""
        first = groupings[0]
        many = len(first.classes) > 1 and not first.refused
        command = self._export(first.rows, first.doubt, refused=False, code=None) if many else ""
        told = tuple(map(self._grouping, groupings))
        return Findings(rows=first.rows, groupings=told, command=command)

    def _grouping(self, one: Shown) -> Grouping:
        named: dict[str, str] = {}
        if self.kept is not None and one.field != "code":
            ids = [key for key in one.keys if key is not None]
            named = names_of(self.database, self.folder, one.field, ids)
        classes = (
            self._class(one, place, named, found) for place, found in enumerate(one.classes, 1)
        )
        return Grouping(
            field=one.field,
            classes=tuple(classes),
            others=one.others,
            other_rows=one.rows - sum(found[1] for found in one.classes),
        )

    def _class(
        self,
        of: Shown,
        place: int,
        named: dict[str, str],
        found: tuple[Any, ...],
    ) -> Class:
        key, rows, doubt, most, coded = found
        kept = self.kept
        shows = kept is not None
        by_code = of.field == "code"
        code = (key or "") if shows else plain(key or "")
        nothing = f"no {of.field} known"
        label = code if by_code else (key or nothing) if shows else f"{of.field} {place}"
        advice = (faults.advice_for if of.refused else advice_of)(code) if by_code else ""
        command = ""
        if by_code and coded and (shows or code == key):
            command = self._export(rows, doubt, refused=of.refused, code=code)
        return Class(
            key=key if shows else None,
            label=label,
            name=named.get(key or ""),
            count=rows,
            in_doubt=doubt,
            advice=advice,
            most="" if by_code or not self.several else most if shows else plain(most),
            kept=kept.count(of.field, key, refused=of.refused) if kept is not None else 0,
            command=command,
        )

    def _export(self, rows: int, doubt: int, *, refused: bool, code: str | None) -> str:
        """Write the command that exports some rows as a mapping."""
        if not self.run:
            return ""
        statuses = [
            *(["rejected"] if refused else ["failed"] if rows > doubt else []),
            *(["in_doubt"] if doubt else []),
        ]
        words = [word for status in statuses for word in ("--status", status)]
        words += ["--code", code] if code is not None else []
        return typed("bulklink", "export", self.run, *words, "-o", "again.csv")


_BLOCK = 1 << 20
_ROWS_AT_ONCE = 2048
_HEAD = {"event": "VARCHAR", "ts": "VARCHAR", "row": "BIGINT", "op": "VARCHAR", "status": "VARCHAR"}
_ALL = _HEAD | {
    "contact_id": "VARCHAR",
    "owner_id": "VARCHAR",
    "message_id": "VARCHAR",
    "deal_id": "VARCHAR",
    "previous_deal_id": "VARCHAR",
    "code": "VARCHAR",
    "http_status": "INTEGER",
    "message": "VARCHAR",
}
_REFUSED_COLUMNS = tuple(
    OwnColumn(f"bulklink_{name}", f"bulklink_{name}", None)
    for name in ("reason", "file", "line", "column", "raw")
)


class Results:
    """The last results of a ledger as it is now, and of those that are no success all.

    The table `results` has row, op, status and ts of each row; `findings` has those that failed,
    are in doubt or were refused. There a code that is missing is told as the summary tells it
    (`coded` is false then), and the deal of an unlink is the one that it was on. A torn last line,
    of a run that was killed, does not count.

    Args:
        database: to make the tables in.
        ledger: the ledger, whose lines are known to be whole; a missing one is empty.
    """

    def __init__(self, database: Database, ledger: Path) -> None:
        self._database = database
        lines = _whole_lines(ledger)
        database.run(_RESULTS.format(lines=_lines(ledger, _HEAD, lines)))
        found = "SELECT line FROM results WHERE status IN ('failed', 'in_doubt', 'rejected')"
        if not database.one(f"SELECT count(*) FROM ({found})")[0]:
            lines = 0
        database.run(_FINDINGS.format(lines=_lines(ledger, _ALL, lines), found=found))

    def rows(self) -> dict[tuple[Op | None, Status], int]:
        """Return the rows of each op and status."""
        found = self._database.rows("SELECT op, status, count(*) FROM results GROUP BY ALL")
        return {(Op(op) if op else None, Status(status)): count for op, status, count in found}

    def refuse(self, rejects: Path, ts: str) -> None:
        """Add the rows of `rejects.csv`, where a run came to no ledger that has them."""
        waiting: list[tuple[str | None, ...]] = []
        for refused in refused_rows(rejects, _REFUSED_COLUMNS):
            reason, file, line, column, raw = (cell or "" for cell in refused.cells)
            text = f"{file}:{line}" + (f", {column}" if column else "") + f": {raw[:100]}"
            waiting.append((str(refused.row), Status.REJECTED, reason, text, ts))
            if len(waiting) == _ROWS_AT_ONCE:
                self._insert(waiting)
        self._insert(waiting)

    def _insert(self, waiting: list[tuple[str | None, ...]]) -> None:
        if waiting:
            self._database.run(_TABLE)
            self._database.insert("waiting", waiting)
            self._database.run(_WAITING)
            waiting.clear()

    def settled(self) -> Iterator[tuple[Any, ...]]:
        """Stream how many rows of each status were settled by calls, second by second."""
        return self._database.rows(_SETTLED)


def _whole_lines(path: Path) -> int:
    """Count the lines of a ledger; what is added later has higher numbers."""
    try:
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK), b""))
    except FileNotFoundError:
        return 0


def _lines(path: Path, columns: dict[str, str], lines: int) -> str:
    """Select the results among the first lines of a ledger, with the number of each line."""
    if not lines:
        nothing = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in columns.items())
        return f"(SELECT NULL::BIGINT AS line, {nothing} WHERE false)"
    struct = ", ".join(f"\"{name}\": '{kind}'" for name, kind in columns.items())
    return (
        "(SELECT * FROM (SELECT row_number() OVER () AS line, * FROM read_json("
        f"{literal(str(path))}, format = 'newline_delimited', ignore_errors = true, "
        f"columns = {{{struct}}})) WHERE event = 'result' AND line <= {lines})"
    )


_RESULTS = """
CREATE TABLE results AS SELECT "row", max(line) AS line, arg_max(op, line) AS op,
    arg_max(status, line) AS status, arg_max(ts, line) AS ts
FROM {lines} GROUP BY "row"
"""
_FINDINGS = """
CREATE TABLE findings AS SELECT "row", op, contact_id, owner_id, message_id,
    coalesce(deal_id, previous_deal_id) AS deal_id, status,
    coalesce(nullif(code, ''), 'HTTP ' || nullif(http_status, 0), 'no code') AS code,
    nullif(code, '') IS NOT NULL AS coded, coalesce(message, '') AS message, ts
FROM {lines} SEMI JOIN ({found}) USING (line)
"""
_TABLE = "CREATE OR REPLACE TABLE waiting (a TEXT, b TEXT, c TEXT, d TEXT, e TEXT)"
_WAITING = """
INSERT INTO findings SELECT a::BIGINT, NULL, NULL, NULL, NULL, NULL, b, c, true, d, e FROM waiting
"""
_SETTLED = """
SELECT floor(epoch(ts::TIMESTAMPTZ))::BIGINT AS second, status, count(*) FROM results
WHERE status NOT IN ('rejected', 'duplicate') GROUP BY second, status ORDER BY second
"""
