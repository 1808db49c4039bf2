"""Test planner: write a mapping, check it, read back the result."""

from __future__ import annotations

import csv
import io
import json
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bulklink.mapping.checked import CheckedMapping, check
from bulklink.mapping.database import Database
from bulklink.mapping.input.files import find_sources
from bulklink.mapping.input.rows import Rows
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_layout import plan_relation
from bulklink.mapping.plan_reader import SealedPlan
from bulklink.mapping.plan_stats import PlanStats
from bulklink.mapping.schema import DuplicateRow, MappingOptions, RefusedRow, RowFault
from bulklink.models import Message, Op
from tests.worded import typed_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

LINK = MappingOptions(op=Op.LINK)
UNLINK = MappingOptions(op=Op.UNLINK)
RELINK = MappingOptions(op=Op.RELINK)
MIXED = MappingOptions(op=None)

HEADER = "contact_id,owner_id,message_id,deal_id,Note\n"


class PlannedMapping:
    """Results of planning one mapping, computed when a test reads them."""

    def __init__(self, checked: CheckedMapping, folder: Path) -> None:
        self._checked = checked
        self._folder = folder
        self.rows = checked.rows
        self.rejected = checked.rejected
        self.duplicates = checked.duplicates
        self.messages = checked.messages
        self.left_out = checked.left_out
        self.warnings = tuple(map(typed_text, checked.warnings))
        self.unclosed_quote = checked.unclosed_quote

    @cached_property
    def faults(self) -> list[RowFault]:
        return list(self._checked.faults())

    @cached_property
    def refused_rows(self) -> list[RefusedRow]:
        return list(self._checked.refused_rows())

    @cached_property
    def duplicate_rows(self) -> list[DuplicateRow]:
        return list(self._checked.duplicate_rows())

    @cached_property
    def digest(self) -> str:
        return self._checked.hash_plan().digest({})

    @cached_property
    def shape(self) -> PlanStats:
        return self._checked.plan_stats()

    @property
    def reasons(self) -> dict[int, tuple[str, str | None]]:
        """Reason and column of each refused row, by row."""
        return {fault.row: (fault.reason, fault.column) for fault in self.faults}

    @cached_property
    def sealed(self) -> SealedPlan:
        self._checked.seal(self._folder)
        return SealedPlan(self._folder / "plan.parquet")

    @cached_property
    def sealed_messages(self) -> list[Message]:
        return [message for chunk in self.sealed.chunks() for message in chunk]

    @cached_property
    def plan(self) -> list[dict[str, Any]]:
        """Rows of the sealed plan: the columns of bulklink, then the user's."""
        return read_plan(self.sealed.path)

    @cached_property
    def rejects(self) -> list[dict[str, str]]:
        """Rows of `rejects.csv`; of repeated headers the last counts."""
        self._checked.write_rejects(self._folder / "rejects.csv")
        text = (self._folder / "rejects.csv").read_bytes().decode()
        return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


class MappingPlanner:
    """Plans mappings in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scratch = folder / "scratch"
        self.scratch.mkdir(exist_ok=True)
        self._open_checks: list[CheckedMapping] = []

    def write(self, content: str | bytes, name: str = "mapping.csv") -> str:
        """Write a mapping file and return its path."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def check(
        self, names: Iterable[str | Rows], mapping_options: MappingOptions = LINK, **options: Any
    ) -> CheckedMapping:
        """Check existing files; `close` closes the result."""
        inputs = find_sources(names, options.pop("format", None))
        checked = check(inputs, mapping_options, self.scratch, **options)
        self._open_checks.append(checked)
        return checked

    def plan(
        self,
        content: str | bytes,
        mapping_options: MappingOptions = LINK,
        name: str = "mapping.csv",
    ) -> PlannedMapping:
        """Write one file and plan it."""
        return self.plan_files([self.write(content, name)], mapping_options)

    def plan_files(
        self, names: Iterable[str | Rows], mapping_options: MappingOptions = LINK, **options: Any
    ) -> PlannedMapping:
        """Plan existing files."""
        return PlannedMapping(self.check(names, mapping_options, **options), self.folder)

    def close(self) -> None:
        """Close all checked mappings; no temporary file may be left."""
        for checked in self._open_checks:
            checked.close()
        assert list(self.scratch.iterdir()) == []


def read_plan(path: Path) -> list[dict[str, Any]]:
    """Read a sealed plan in its own order."""
    with closing(Database(path.with_name("spill"), PlanningStop(), threads=1)) as database:
        names = [row[0] for row in database.rows(f"DESCRIBE FROM {plan_relation(database, path)}")]
        rows = list(database.rows(f"SELECT * FROM {plan_relation(database, path)}"))
    return [dict(zip(names, row, strict=True)) for row in rows]


def query_plan(path: Path, columns: str) -> tuple[Any, ...]:
    """Return one row of aggregates over a sealed plan."""
    with closing(Database(path.with_name("spill"), PlanningStop(), threads=1)) as database:
        return database.fetch_one(f"SELECT {columns} FROM {plan_relation(database, path)}")


def as_csv(header: Sequence[str], rows: Iterable[Sequence[str]], **dialect: Any) -> str:
    """Return records as CSV, written by Python's csv module."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, **dialect)
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def as_jsonl(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return records as one JSON object per line."""
    return "".join(json.dumps(dict(zip(header, row, strict=True))) + "\n" for row in rows)
