"""A slow, obvious planner in plain Python, written from the contract and not from the code."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import NamedTuple

from bulklink.models import Op

IDS = ("contact_id", "owner_id", "message_id", "deal_id")


class Verdict(NamedTuple):
    """What becomes of one row: `good`, `duplicate` of a row, `conflict` with rows, or a reason."""

    what: str
    column: str | None = None
    others: tuple[int, ...] = ()


def clean(cell: str) -> str:
    """Strip what spreadsheets and Zoho's export put around an id."""
    text = cell.strip()
    text = text.removeprefix("'").strip()
    found = re.fullmatch(r'="(.*)"', text, re.DOTALL)
    text = found[1].strip() if found else text
    text = text.removeprefix("'").strip()
    return text.removeprefix("zcrm_").strip()


def id_fault(column: str, text: str) -> str | None:
    """Check one clean id by itself."""
    if not text:
        return "missing-value"
    allowed = r"[0-9A-Za-z]{1,500}" if column == "message_id" else r"[0-9]{1,100}"
    if re.fullmatch(allowed, text):
        return None
    if re.fullmatch(r"[+-]?\d+([.,]\d*|([.,]\d*)?[eE][+-]?\d+)", text, re.ASCII):
        return "rounded-id"
    return "bad-id"


def plan(rows: list[dict[str, str] | None], op: Op | None) -> list[Verdict]:
    """Judge every row of a mapping; None is a broken record."""
    checked = [_first_fault(row, op) for row in rows]
    _refuse_rounded(rows, checked, op)
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        if row is not None and checked[number] is None:
            groups[tuple(clean(row[column]) for column in IDS[:3])].append(number)
    verdicts = [found or Verdict("good") for found in checked]
    for numbers in groups.values():
        wanted = {_wanted(rows[number], op) for number in numbers}
        for number in numbers:
            if len(wanted) > 1:
                others = tuple(other + 1 for other in numbers if other != number)
                verdicts[number] = Verdict("conflict", None, others)
            elif number != numbers[0]:
                verdicts[number] = Verdict("duplicate", None, (numbers[0] + 1,))
    return verdicts


def _first_fault(row: dict[str, str] | None, op: Op | None) -> Verdict | None:
    if row is None:
        return Verdict("broken-record")
    stated = row.get("op", "").strip().lower()
    if op is None and not stated:
        return Verdict("missing-value", "op")
    if stated and (stated not in list(Op) or (op is not None and stated != op)):
        return Verdict("bad-op", "op")
    for column in _checked_columns(stated, op):
        fault = id_fault(column, clean(row[column]))
        if fault:
            return Verdict(fault, column)
    return None


def _checked_columns(stated: str, op: Op | None) -> tuple[str, ...]:
    return IDS[:3] if (op or stated) == Op.UNLINK else IDS


def _refuse_rounded(
    rows: list[dict[str, str] | None], checked: list[Verdict | None], op: Op | None
) -> None:
    many: Counter[tuple[str, int]] = Counter()
    zeros: Counter[tuple[str, int]] = Counter()
    for column, text in _long_ids(rows, op):
        many[column, len(text)] += 1
        zeros[column, len(text)] += not text[15:].strip("0")
    for number, row in enumerate(rows):
        before = checked[number]
        for column, text in _long_ids([row], op):
            key = (column, len(text))
            if before is not None and (
                before.column not in IDS or IDS.index(before.column) <= IDS.index(column)
            ):
                continue
            if not text[15:].strip("0") and zeros[key] * 100 > many[key]:
                checked[number] = before = Verdict("rounded-id", column)


def _long_ids(rows: list[dict[str, str] | None], op: Op | None) -> list[tuple[str, str]]:
    found = []
    for row in rows:
        if row is not None:
            stated = row.get("op", "").strip().lower()
            for column in _checked_columns(stated, op):
                text = clean(row[column])
                if column != "message_id" and re.fullmatch(r"[0-9]{16,100}", text):
                    found.append((column, text))
    return found


def _wanted(row: dict[str, str] | None, op: Op | None) -> tuple[str, str]:
    assert row is not None
    said = op.value if op else row["op"].strip().lower()
    return said, "" if said == Op.UNLINK else clean(row["deal_id"])
