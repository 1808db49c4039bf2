"""What failed and what was refused, by code, deal and owner, with the rows that a page has."""
# ruff: noqa: S608

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from bulklink.engine.failure_limit import advice_of
from bulklink.html_report.model import Class, Findings, Grouping
from bulklink.html_report.rows import MOST_ROWS, Kept, Row
from bulklink.mapping import faults
from bulklink.mapping.database import Database, literal
from bulklink.operations.report.names import names_of
from bulklink.runs.folder import RunFolder
from bulklink.shell import typed

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
