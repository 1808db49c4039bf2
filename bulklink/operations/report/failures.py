"""Failures of a run by code, deal and owner, with rows of each."""

# ruff: noqa: S608

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bulklink.duckdb_sql import literal
from bulklink.engine.failure_limit import failure_advice
from bulklink.html_report.model import Breakdown, FailureGroup, FailureSummary
from bulklink.html_report.rows import MAX_ROWS_PER_GROUP, EmbeddedRow, EmbeddedRows
from bulklink.mapping import faults
from bulklink.mapping.database import Database
from bulklink.mapping.original_rows import UserColumn, stream_refused_rows
from bulklink.mapping.plan_layout import plan_relation
from bulklink.models import Op, Status
from bulklink.runs.folder import RunFolder
from bulklink.shell import format_command


def messages_relation(database: Database, folder: RunFolder) -> str:
    """Build the relation of a plan's messages, with the names that were looked up.

    Duplicates are left out. The deal of an unlink is none.
    """
    owner_name, deal_name, names_join = "plan.bulklink_owner_name", "plan.bulklink_deal_name", ""
    if folder.names.is_file():
        owner_name, deal_name = (
            f"coalesce({owner_name}, names.owner_name)",
            f"coalesce({deal_name}, names.deal_name)",
        )
        names_join = f"POSITIONAL JOIN read_parquet({literal(str(folder.names))}) AS names"
    return (
        f"(SELECT plan.* EXCLUDE (bulklink_owner_name, bulklink_deal_name, bulklink_deal_id), "
        f"{owner_name} AS bulklink_owner_name, {deal_name} AS bulklink_deal_name, "
        "if(plan.bulklink_op = 'unlink', NULL, plan.bulklink_deal_id) AS bulklink_deal_id "
        f"FROM {plan_relation(database, folder.plan)} AS plan {names_join} "
        "WHERE plan.bulklink_duplicate_of IS NULL)"
    )


def read_names(
    database: Database, folder: RunFolder, field: str, ids: Iterable[str]
) -> dict[str, str]:
    """Return the names of some deals or owners; those that are not known are missing.

    Args:
        database: to ask.
        folder: of the run.
        field: `deal` or `owner`.
        ids: of these.
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


MAX_GROUPS = 40
"""Codes, deals and owners that are shown each; the others are summed."""
_FIELDS = {"code": "code", "deal": "deal_id", "owner": "owner_id"}
_IS_REFUSED = "status = 'rejected'"
_IS_FAILED = "status <> 'rejected'"
_KNOWN_CODE = re.compile(r"[A-Z][A-Z_]{0,60}|[a-z][a-z-]{0,60}|HTTP \d{3}|no code|other codes")


class GroupCounts(msgspec.Struct, frozen=True):
    """Classes of one field that are shown: (key, rows, in doubt, commonest code, coded) each.

    `count_rows` and `in_doubt` are of all classes, `other_groups` counts those that are not shown.
    """

    field: str
    refused: bool
    groups: list[tuple[Any, ...]]
    other_groups: int
    rows: int
    in_doubt: int

    @property
    def keys(self) -> list[str | None]:
        """The codes or ids of the classes."""
        return [group[0] for group in self.groups]


def redact_code(code: str) -> str:
    """Return a code, unless it is none that could be known: it may hold anything."""
    return code if _KNOWN_CODE.fullmatch(code) else "another code"


def count_groups(database: Database, field: str, *, refused: bool) -> GroupCounts:
    """Count the findings of each class; the largest classes stand first.

    Args:
        database: with the table `summary`.
        field: `code`, `deal` or `owner`.
        refused: look at refused rows, else at those that failed or are in doubt.
    """
    column, condition = _FIELDS[field], _IS_REFUSED if refused else _IS_FAILED
    groups = list(
        database.rows(
            f"SELECT {column}, count(*), count(*) FILTER (status = 'in_doubt'), mode(code), "
            f"bool_and(coded) FROM findings WHERE {condition} GROUP BY {column} "
            f"ORDER BY count(*) DESC, {column} NULLS LAST LIMIT {MAX_GROUPS}"
        )
    )
    group_count, rows, in_doubt = database.fetch_one(
        f"SELECT count(DISTINCT coalesce({column}, '')), count(*), "
        f"count(*) FILTER (status = 'in_doubt') FROM findings WHERE {condition}"
    )
    return GroupCounts(field, refused, groups, group_count - len(groups), rows, in_doubt)


def rows_to_embed(database: Database, counts: Sequence[GroupCounts]) -> Iterator[EmbeddedRow]:
    """Stream rows of the classes that are shown, up to a thousand of each.

    The first rows of all classes come before the second of any, so that wherever there is no more
    room each class has had its share.
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


def _rank_sql(field_counts: GroupCounts) -> str:
    """Build the place of a row within its class; NULL where its class is not shown."""
    column, condition = (
        _FIELDS[field_counts.field],
        _IS_REFUSED if field_counts.refused else _IS_FAILED,
    )
    keys = ", ".join(literal(key or "") for key in field_counts.keys)
    return (
        f"CASE WHEN {condition} AND coalesce({column}, '') IN ({keys}) THEN row_number() "
        f'OVER (PARTITION BY {condition}, {column} ORDER BY "row") END'
    )


class FailureDescriber(msgspec.Struct, frozen=True):
    """Says what classes of findings are.

    Args:
        database: with the table `summary`.
        folder: of the run, for the names in its plan.
        embedded_rows: the rows that the page has; None on a page of counts alone.
        export_run: the run folder as it is typed; empty where nothing can be exported.
        several_codes: whether there are several codes, so that it tells something which is
            commonest.
    """

    database: Database
    folder: RunFolder
    embedded_rows: EmbeddedRows | None
    export_run: str
    several_codes: bool

    def summary(self, counts: Sequence[GroupCounts]) -> FailureSummary:
        """Return what failed, or was refused, in several groupings of the same rows."""
        first = counts[0]
        several_groups = len(first.groups) > 1 and not first.refused
        command = (
            self._export_command(first.rows, first.in_doubt, refused=False, code=None)
            if several_groups
            else ""
        )
        breakdowns = tuple(map(self._breakdown, counts))
        return FailureSummary(rows=first.rows, breakdowns=breakdowns, command=command)

    def _breakdown(self, field_counts: GroupCounts) -> Breakdown:
        names: dict[str, str] = {}
        if self.embedded_rows is not None and field_counts.field != "code":
            ids = [key for key in field_counts.keys if key is not None]
            names = read_names(self.database, self.folder, field_counts.field, ids)
        groups = (
            self._group(field_counts, number, names, group_counts)
            for number, group_counts in enumerate(field_counts.groups, 1)
        )
        return Breakdown(
            field=field_counts.field,
            groups=tuple(groups),
            other_groups=field_counts.other_groups,
            other_rows=field_counts.rows
            - sum(group_counts[1] for group_counts in field_counts.groups),
        )

    def _group(
        self,
        field_counts: GroupCounts,
        number: int,
        names: dict[str, str],
        group_counts: tuple[Any, ...],
    ) -> FailureGroup:
        key, rows, in_doubt, commonest_code, coded = group_counts
        embedded_rows = self.embedded_rows
        has_ids = embedded_rows is not None
        by_code = field_counts.field == "code"
        code = (key or "") if has_ids else redact_code(key or "")
        no_key_label = f"no {field_counts.field} known"
        label = (
            code
            if by_code
            else (key or no_key_label)
            if has_ids
            else f"{field_counts.field} {number}"
        )
        advice = (
            (faults.advice_for_fault if field_counts.refused else failure_advice)(code)
            if by_code
            else ""
        )
        command = ""
        if by_code and coded and (has_ids or code == key):
            command = self._export_command(rows, in_doubt, refused=field_counts.refused, code=code)
        return FailureGroup(
            key=key if has_ids else None,
            label=label,
            name=names.get(key or ""),
            count=rows,
            in_doubt=in_doubt,
            advice=advice,
            commonest_code=""
            if by_code or not self.several_codes
            else commonest_code
            if has_ids
            else redact_code(commonest_code),
            embedded=embedded_rows.count(field_counts.field, key, refused=field_counts.refused)
            if embedded_rows is not None
            else 0,
            command=command,
        )

    def _export_command(self, rows: int, in_doubt: int, *, refused: bool, code: str | None) -> str:
        """Write the command that exports some rows as a mapping."""
        if not self.export_run:
            return ""
        statuses = [
            *(["rejected"] if refused else ["failed"] if rows > in_doubt else []),
            *(["in_doubt"] if in_doubt else []),
        ]
        words = [word for status in statuses for word in ("--status", status)]
        words += ["--code", code] if code is not None else []
        return format_command("bulklink", "export", self.export_run, *words, "-o", "again.csv")


_BLOCK = 1 << 20
_ROWS_AT_ONCE = 2048
_RESULT_TYPES = {
    "event": "VARCHAR",
    "ts": "VARCHAR",
    "row": "BIGINT",
    "op": "VARCHAR",
    "status": "VARCHAR",
}
_FINDING_TYPES = _RESULT_TYPES | {
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
    UserColumn(f"bulklink_{name}", f"bulklink_{name}", None)
    for name in ("reason", "file", "line", "column", "raw")
)


class ResultTables:
    """The last results of a ledger as it is now, and of those that are no success all.

    The table `results` has row, op, status and ts of each row; `summary` has those that failed,
    are in doubt or were refused. There a code that is missing is told as the summary tells it
    (`coded` is false then), and the deal of an unlink is the one that it was on. A torn last line,
    of a run that was killed, does not count.

    Args:
        database: to make the tables in.
        ledger: the ledger, whose lines are known to be whole; a missing one is empty.
    """

    def __init__(self, database: Database, ledger: Path) -> None:
        self._database = database
        lines = _count_lines(ledger)
        database.execute(
            _CREATE_RESULTS.format(lines=_results_relation(ledger, _RESULT_TYPES, lines))
        )
        finding_lines = (
            "SELECT line FROM results WHERE status IN ('failed', 'in_doubt', 'rejected')"
        )
        if not database.fetch_one(f"SELECT count(*) FROM ({finding_lines})")[0]:
            lines = 0
        database.execute(
            _CREATE_FINDINGS.format(
                lines=_results_relation(ledger, _FINDING_TYPES, lines), finding_lines=finding_lines
            )
        )

    def count_rows(self) -> dict[tuple[Op | None, Status], int]:
        """Return the rows of each op and status."""
        counts = self._database.rows("SELECT op, status, count(*) FROM results GROUP BY ALL")
        return {(Op(op) if op else None, Status(status)): count for op, status, count in counts}

    def add_rejects(self, rejects: Path, ts: str) -> None:
        """Add the rows of `rejects.csv`, where a run came to no ledger that has them."""
        batch: list[tuple[str | None, ...]] = []
        for row in stream_refused_rows(rejects, _REFUSED_COLUMNS):
            reason, file, line, column, raw = (cell or "" for cell in row.cells)
            text = f"{file}:{line}" + (f", {column}" if column else "") + f": {raw[:100]}"
            batch.append((str(row.row), Status.REJECTED, reason, text, ts))
            if len(batch) == _ROWS_AT_ONCE:
                self._insert_batch(batch)
        self._insert_batch(batch)

    def _insert_batch(self, batch: list[tuple[str | None, ...]]) -> None:
        if batch:
            self._database.execute(_CREATE_BATCH)
            self._database.insert("batch", batch)
            self._database.execute(_INSERT_BATCH)
            batch.clear()

    def settled_per_second(self) -> Iterator[tuple[Any, ...]]:
        """Stream how many rows of each status were settled by calls, second by second."""
        return self._database.rows(_SELECT_SETTLED)


def _count_lines(path: Path) -> int:
    """Count the lines of a ledger; what is added later has higher numbers."""
    try:
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK), b""))
    except FileNotFoundError:
        return 0


def _results_relation(path: Path, columns: dict[str, str], lines: int) -> str:
    """Select the results among the first lines of a ledger, with the number of each line."""
    if not lines:
        null_columns = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in columns.items())
        return f"(SELECT NULL::BIGINT AS line, {null_columns} WHERE false)"
    struct = ", ".join(f"\"{name}\": '{kind}'" for name, kind in columns.items())
    return (
        "(SELECT * FROM (SELECT row_number() OVER () AS line, * FROM read_json("
        f"{literal(str(path))}, format = 'newline_delimited', ignore_errors = true, "
        f"columns = {{{struct}}})) WHERE event = 'result' AND line <= {lines})"
    )


_CREATE_RESULTS = """
CREATE TABLE results AS SELECT "row", max(line) AS line, arg_max(op, line) AS op,
    arg_max(status, line) AS status, arg_max(ts, line) AS ts
FROM {lines} GROUP BY "row"
"""
_CREATE_FINDINGS = """
CREATE TABLE findings AS SELECT "row", op, contact_id, owner_id, message_id,
    coalesce(deal_id, previous_deal_id) AS deal_id, status,
    coalesce(nullif(code, ''), 'HTTP ' || nullif(http_status, 0), 'no code') AS code,
    nullif(code, '') IS NOT NULL AS coded, coalesce(message, '') AS message, ts
FROM {lines} SEMI JOIN ({finding_lines}) USING (line)
"""
_CREATE_BATCH = "CREATE OR REPLACE TABLE batch (a TEXT, b TEXT, c TEXT, d TEXT, e TEXT)"
_INSERT_BATCH = """
INSERT INTO findings SELECT a::BIGINT, NULL, NULL, NULL, NULL, NULL, b, c, true, d, e FROM batch
"""
_SELECT_SETTLED = """
SELECT floor(epoch(ts::TIMESTAMPTZ))::BIGINT AS second, status, count(*) FROM results
WHERE status NOT IN ('rejected', 'duplicate') GROUP BY second, status ORDER BY second
"""
