"""Failures of a run by code, deal and owner, with rows of each."""

# ruff: noqa: S608

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import NamedTuple

import msgspec

from bulklink.duckdb_sql import literal
from bulklink.engine.failure_limit import failure_advice
from bulklink.html_pages.report.model import Breakdown, FailureGroup, FailureSummary
from bulklink.html_pages.report.rows import MAX_ROWS_PER_GROUP, EmbeddedRow, EmbeddedRows
from bulklink.mapping import faults
from bulklink.mapping.database import Database
from bulklink.mapping.plan_layout import plan_relation_with_names
from bulklink.operations.report.commands import export_command
from bulklink.runs.folder import RunFolder

MAX_GROUPS = 40
"""Groups shown of each field; the others are summed."""
_FIELDS = {"code": "code", "deal": "deal_id", "owner": "owner_id"}
_IS_REFUSED = "status = 'rejected'"
_IS_FAILED = "status <> 'rejected'"
_KNOWN_CODE = re.compile(r"[A-Z][A-Z_]{0,60}|[a-z][a-z-]{0,60}|HTTP \d{3}|no code|other codes")


def messages_relation(database: Database, folder: RunFolder) -> str:
    """Build the relation of a plan's messages, with the names that were looked up.

    Duplicates are left out. The deal of an unlink is NULL.

    Args:
        database: database to query with.
        folder: run folder.
    """
    return (
        "(SELECT * REPLACE (if(bulklink_op = 'unlink', NULL, bulklink_deal_id) AS bulklink_deal_id)"
        f" FROM {plan_relation_with_names(database, folder.plan, folder.names)}"
        " WHERE bulklink_duplicate_of IS NULL)"
    )


def read_names(
    database: Database, folder: RunFolder, field: str, ids: Iterable[str]
) -> dict[str, str]:
    """Return the known names of deals or owners.

    Args:
        database: database to query with.
        folder: run folder.
        field: `deal` or `owner`.
        ids: their ids.
    """
    id_list = ", ".join(map(literal, ids))
    if not id_list or not folder.plan.is_file():
        return {}
    id_column, name_column = f"bulklink_{field}_id", f"bulklink_{field}_name"
    query = (
        f"SELECT {id_column}, min({name_column}) FROM {messages_relation(database, folder)} "
        f"WHERE {id_column} IN ({id_list}) AND {name_column} IS NOT NULL GROUP BY {id_column}"
    )
    return {row[0]: row[1] for row in database.rows(query)}


class GroupCount(NamedTuple):
    """Row counts of one group.

    Args:
        key: code, deal id or owner id that its rows have in common; None for rows without one.
        rows: rows of the group.
        in_doubt: rows that are in doubt.
        commonest_code: the code that most of its rows have.
        coded: whether every row has a code in the ledger, not a replacement.
        example_text: message of its first row.
    """

    key: str | None
    rows: int
    in_doubt: int
    commonest_code: str
    coded: bool
    example_text: str


class FieldCounts(msgspec.Struct, frozen=True):
    """Row counts of the largest groups of one field.

    Args:
        field: `code`, `deal` or `owner`.
        refused: whether refused rows are counted, rather than those failed or in doubt.
        groups: the groups that are shown, largest first.
        other_groups: groups that are not shown.
        rows: rows of all groups.
        in_doubt: rows of all groups that are in doubt.
    """

    field: str
    refused: bool
    groups: tuple[GroupCount, ...]
    other_groups: int
    rows: int
    in_doubt: int

    @property
    def keys(self) -> list[str | None]:
        """Codes or ids of the groups."""
        return [group.key for group in self.groups]


def redact_code(code: str) -> str:
    """Return a code if it has the form of one; other text may hold personal data."""
    return code if _KNOWN_CODE.fullmatch(code) else "another code"


def count_groups(database: Database, field: str, *, refused: bool) -> FieldCounts:
    """Count the findings of each group of a field.

    Args:
        database: database with the table `findings`.
        field: `code`, `deal` or `owner`.
        refused: whether to count refused rows, rather than those failed or in doubt.
    """
    column, condition = _FIELDS[field], _IS_REFUSED if refused else _IS_FAILED
    query = (
        f"SELECT {column}, count(*), count(*) FILTER (status = 'in_doubt'), mode(code), "
        f"bool_and(coded), coalesce(arg_min(message, \"row\"), '') "
        f"FROM findings WHERE {condition} GROUP BY {column} "
        f"ORDER BY count(*) DESC, {column} NULLS LAST LIMIT {MAX_GROUPS}"
    )
    groups = tuple(starmap(GroupCount, database.rows(query)))
    group_count, rows, in_doubt = database.fetch_one(
        f"SELECT count(DISTINCT coalesce({column}, '')), count(*), "
        f"count(*) FILTER (status = 'in_doubt') FROM findings WHERE {condition}"
    )
    return FieldCounts(field, refused, groups, group_count - len(groups), rows, in_doubt)


def rows_to_embed(database: Database, counts: Sequence[FieldCounts]) -> Iterator[EmbeddedRow]:
    """Stream rows of the shown groups, up to `MAX_ROWS_PER_GROUP` of each.

    The first rows of all groups come before the second row of any, so that each group has rows if
    the size limit is reached.

    Args:
        database: database with the table `findings`.
        counts: the groups, by field.
    """
    ranks = ", ".join(_rank_sql(field_counts) for field_counts in counts if field_counts.groups)
    if not ranks:
        return
    query = (
        f'SELECT f.* FROM findings AS f JOIN (SELECT "row", least({ranks}) AS place '
        f'FROM findings QUALIFY place <= {MAX_ROWS_PER_GROUP}) AS ranked USING ("row") '
        'ORDER BY ranked.place, "row"'
    )
    for row, op, contact, owner, message, deal, status, code, _, text, ts in database.rows(query):
        yield EmbeddedRow(
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


def _rank_sql(field_counts: FieldCounts) -> str:
    """Build the rank of a row within its group; NULL if its group is not shown."""
    column, condition = (
        _FIELDS[field_counts.field],
        _IS_REFUSED if field_counts.refused else _IS_FAILED,
    )
    keys = ", ".join(literal(key or "") for key in field_counts.keys)
    return (
        f"CASE WHEN {condition} AND coalesce({column}, '') IN ({keys}) THEN row_number() "
        f'OVER (PARTITION BY {condition}, {column} ORDER BY "row") END'
    )


@dataclass(slots=True, frozen=True)
class FailureDescriber:
    """Builds failure breakdowns for the report.

    Args:
        database: database with the table `findings`.
        folder: run folder, whose plan has the names.
        embedded_rows: rows embedded in the report; None in a report without ids and names.
        export_run: run folder as it is typed; empty if nothing can be exported.
        several_codes: whether there are several codes, so that the commonest one is worth showing.
    """

    database: Database
    folder: RunFolder
    embedded_rows: EmbeddedRows | None
    export_run: str
    several_codes: bool

    def summary(self, counts: Sequence[FieldCounts]) -> FailureSummary:
        """Return breakdowns of the same rows by several fields.

        Args:
            counts: row counts by field.
        """
        first = counts[0]
        command = ""
        if len(first.groups) > 1 and not first.refused:
            command = export_command(self.export_run, first.rows, first.in_doubt, refused=False)
        breakdowns = tuple(map(self._breakdown, counts))
        return FailureSummary(rows=first.rows, breakdowns=breakdowns, command=command)

    def _breakdown(self, counts: FieldCounts) -> Breakdown:
        groups = self._code_groups(counts) if counts.field == "code" else self._id_groups(counts)
        return Breakdown(
            field=counts.field,
            groups=tuple(groups),
            other_groups=counts.other_groups,
            other_rows=counts.rows - sum(group.rows for group in counts.groups),
        )

    def _code_groups(self, counts: FieldCounts) -> Iterator[FailureGroup]:
        for group in counts.groups:
            code = self._shown_code(group.key or "")
            command = ""
            if group.coded and code == group.key:
                command = export_command(
                    self.export_run, group.rows, group.in_doubt, refused=counts.refused, code=code
                )
            yield FailureGroup(
                key=self._shown_key(group),
                label=code,
                count=group.rows,
                in_doubt=group.in_doubt,
                advice=(
                    faults.advice_for_fault(code)
                    if counts.refused
                    else failure_advice(code, group.example_text)
                ),
                embedded=self._embedded_count(counts, group),
                command=command,
            )

    def _id_groups(self, counts: FieldCounts) -> Iterator[FailureGroup]:
        """Describe groups of a deal or owner; without ids they are numbered."""
        has_ids = self.embedded_rows is not None
        ids = [key for key in counts.keys if key is not None]
        names = read_names(self.database, self.folder, counts.field, ids) if has_ids else {}
        for number, group in enumerate(counts.groups, 1):
            id_label = group.key or f"no {counts.field} known"
            code = self._shown_code(group.commonest_code) if self.several_codes else ""
            yield FailureGroup(
                key=self._shown_key(group),
                label=id_label if has_ids else f"{counts.field} {number}",
                name=names.get(group.key or ""),
                count=group.rows,
                in_doubt=group.in_doubt,
                commonest_code=code,
                embedded=self._embedded_count(counts, group),
            )

    def _shown_key(self, group: GroupCount) -> str | None:
        return None if self.embedded_rows is None else group.key

    def _shown_code(self, code: str) -> str:
        return redact_code(code) if self.embedded_rows is None else code

    def _embedded_count(self, counts: FieldCounts, group: GroupCount) -> int:
        if self.embedded_rows is None:
            return 0
        return self.embedded_rows.count(counts.field, group.key, refused=counts.refused)
