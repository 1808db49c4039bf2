"""Reference planner in plain Python, written from the contract."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from fractions import Fraction
from functools import lru_cache
from math import comb
from typing import NamedTuple

from bulklink.models import Op

IDS = ("contact_id", "owner_id", "message_id", "deal_id")


class ExpectedRow(NamedTuple):
    """Expected outcome of one row.

    Args:
        outcome: `good`, `duplicate`, `conflict`, or the reason of a fault.
        column: the column of the fault, or None.
        other_rows: the rows that it duplicates or conflicts with.
    """

    outcome: str
    column: str | None = None
    other_rows: tuple[int, ...] = ()


@lru_cache(10_000)
def clean_id(cell: str) -> str:
    """Return an id without the characters that spreadsheets and Zoho's export add."""
    text = cell.strip()
    text = text.removeprefix("'").strip()
    formula = re.fullmatch(r'="(.*)"', text, re.DOTALL)
    text = formula[1].strip() if formula else text
    text = text.removeprefix("'").strip()
    return text.removeprefix("zcrm_").strip()


def id_fault(column: str, text: str) -> str | None:
    """Return the fault of one clean id, or None."""
    if not text:
        return "missing-value"
    allowed = r"[0-9A-Za-z]{1,500}" if column == "message_id" else r"[0-9]{1,100}"
    if re.fullmatch(allowed, text):
        return None
    if re.fullmatch(r"[+-]?\d+([.,]\d*|([.,]\d*)?[eE][+-]?\d+)", text, re.ASCII):
        return "rounded-id"
    return "bad-id"


def expected_rows(rows: list[dict[str, str] | None], op: Op | None) -> list[ExpectedRow]:
    """Return the outcome of every row of a mapping; None is a broken record."""
    first_faults = [_first_fault(row, op) for row in rows]
    _refuse_rounded(rows, first_faults, op)
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        if row is not None and first_faults[number] is None:
            groups[tuple(clean_id(row[column]) for column in IDS[:3])].append(number)
    outcomes = [fault or ExpectedRow("good") for fault in first_faults]
    for numbers in groups.values():
        targets = {_target(rows[number], op) for number in numbers}
        for number in numbers:
            if len(targets) > 1:
                other_rows = tuple(
                    other_number + 1 for other_number in numbers if other_number != number
                )
                outcomes[number] = ExpectedRow("conflict", None, other_rows)
            elif number != numbers[0]:
                outcomes[number] = ExpectedRow("duplicate", None, (numbers[0] + 1,))
    return outcomes


def _first_fault(row: dict[str, str] | None, op: Op | None) -> ExpectedRow | None:
    if row is None:
        return ExpectedRow("broken-record")
    row_op = row.get("op", "").strip().lower()
    if not row_op and (op is None or "op" in row):
        return ExpectedRow("missing-value", "op")
    if row_op and (row_op not in list(Op) or (op is not None and row_op != op)):
        return ExpectedRow("bad-op", "op")
    for column in _checked_columns(row_op, op):
        fault = id_fault(column, clean_id(row[column]))
        if fault:
            return ExpectedRow(fault, column)
    return None


def _checked_columns(row_op: str, op: Op | None) -> tuple[str, ...]:
    return IDS[:3] if (op or row_op) == Op.UNLINK else IDS


def _refuse_rounded(
    rows: list[dict[str, str] | None], first_faults: list[ExpectedRow | None], op: Op | None
) -> None:
    totals: Counter[tuple[str, int]] = Counter()
    zeros: Counter[tuple[str, int]] = Counter()
    for column, text in set(_long_ids(rows, op)):
        totals[column, len(text)] += 1
        zeros[column, len(text)] += not text[15:].strip("0")
    for number, row in enumerate(rows):
        earlier_fault = first_faults[number]
        for column, text in _long_ids([row], op):
            key = (column, len(text))
            if earlier_fault is not None and (
                earlier_fault.column not in IDS
                or IDS.index(earlier_fault.column) <= IDS.index(column)
            ):
                continue
            if text[15:].strip("0") or totals[key] == 1:
                continue
            if _chance_of_zeros(totals[key], zeros[key], len(text)) < 1e-6:
                first_faults[number] = earlier_fault = ExpectedRow("rounded-id", column)


def _chance_of_zeros(ids: int, hits: int, length: int) -> Fraction:
    """Return the chance that at least this many ids end in zeros after the 15th digit."""
    share = Fraction(1, 10 ** (length - 15))
    fewer = sum(comb(ids, n) * share**n * (1 - share) ** (ids - n) for n in range(hits))
    return 1 - Fraction(fewer)


def _long_ids(rows: list[dict[str, str] | None], op: Op | None) -> list[tuple[str, str]]:
    ids = []
    for row in rows:
        if row is not None:
            row_op = row.get("op", "").strip().lower()
            for column in _checked_columns(row_op, op):
                text = clean_id(row[column])
                if column != "message_id" and re.fullmatch(r"[0-9]{16,100}", text):
                    ids.append((column, text))
    return ids


def _target(row: dict[str, str] | None, op: Op | None) -> tuple[str, str]:
    assert row is not None
    row_op = op.value if op else row["op"].strip().lower()
    return row_op, "" if row_op == Op.UNLINK else clean_id(row["deal_id"])
