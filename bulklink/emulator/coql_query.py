"""Evaluation of COQL queries."""

from __future__ import annotations

import operator
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from math import inf
from types import MappingProxyType
from typing import Any

import msgspec

from bulklink.emulator.coql_columns import Column, check_operator, find_column, parse_value
from bulklink.emulator.coql_parser import Combination, Condition, Criterion, SelectQuery
from bulklink.emulator.records import Records

_Predicate = Callable[[Any], bool]
_IdRange = tuple[float, float]
_ALL_IDS: _IdRange = (-inf, inf)
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = MappingProxyType(
    {
        "=": operator.eq,
        "!=": operator.ne,
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
    }
)


class QueryResult(msgspec.Struct, frozen=True):
    """The rows of a query.

    Args:
        rows: the rows, each with the selected columns and the id.
        more_records: whether more records fulfil the condition.
    """

    rows: list[dict[str, object]]
    more_records: bool


def run_query(records: Records, query: SelectQuery) -> QueryResult:
    """Return the rows of a query whose module exists.

    A query in the order of ids ends at its last row, and conditions on ids limit where it begins.
    So reading 300,000 deals page by page, each after the last id, reads each of them once.

    Raises:
        QueryError: if a column, operator or value is not valid.
    """
    columns = [find_column(records, query.module, name) for name in query.columns]
    found = _find_records(records, query)
    page = list(islice(found, query.offset, query.offset + query.limit + 1))
    rows = [
        {column.name: column.json_value(record) for column in columns} | {"id": record.id}
        for record in page[: query.limit]
    ]
    return QueryResult(rows, len(page) > query.limit)


def _find_records(records: Records, query: SelectQuery) -> Iterable[Any]:
    """Return the records that fulfil the condition, in order."""
    is_match = _compile(records, query.module, query.condition)
    order = [(find_column(records, query.module, o.column), o.descending) for o in query.order]
    table = records.table(query.module)
    low, high = _id_range(query.condition)
    positions = range(bisect_left(table.ids, low), bisect_right(table.ids, high))
    if not order or order[0][0].name == "id":
        positions = positions[::-1] if order and order[0][1] else positions
        order = []
    matching = filter(is_match, (table.records[position] for position in positions))
    return _sort(list(matching), order) if order else matching


def _sort(found: list[Any], order: list[tuple[Column, bool]]) -> list[Any]:
    """Sort records by several columns; null comes first, and last if descending."""
    for column, descending in reversed(order):
        keys = {record.id: column.key_of(record) for record in found}
        found.sort(
            key=lambda record, keys=keys: _sort_key(keys[record.id]),  # type: ignore[misc]
            reverse=descending,
        )
    return found


def _sort_key(key: Any) -> tuple[Any, ...]:
    return (0,) if key is None else (1, key)


def _compile(records: Records, module: str, condition: Condition) -> _Predicate:
    """Return a function that says whether a record fulfils a condition."""
    if isinstance(condition, Combination):
        left = _compile(records, module, condition.left)
        right = _compile(records, module, condition.right)
        if condition.operator == "and":
            return lambda record: left(record) and right(record)
        return lambda record: left(record) or right(record)
    column = find_column(records, module, condition.column)
    check_operator(column, condition.operator)
    return _compile_comparison(column, condition)


def _compile_comparison(column: Column, comparison: Criterion) -> _Predicate:
    """Return a function that compares a record; null fulfils nothing but `is null`."""
    read = column.read
    if comparison.operator == "is null":
        return lambda record: read(record) is None
    if comparison.operator == "is not null":
        return lambda record: read(record) is not None
    is_match, key_of = _compile_match(column, comparison), column.key_of

    def matches(record: Any) -> bool:
        key = key_of(record)
        return key is not None and is_match(key)

    return matches


def _compile_match(column: Column, comparison: Criterion) -> _Predicate:
    """Return a function that compares what a value that is not null is compared by."""
    name = comparison.operator.removeprefix("not ")
    values = [parse_value(column, text) for text in comparison.values]
    match name:
        case "in":
            allowed = frozenset(values)
            is_match: _Predicate = lambda key: key in allowed  # noqa: E731
        case "between":
            is_match = lambda key: values[0] <= key <= values[1]  # noqa: E731
        case "like":
            is_match = _compile_like(str(values[0]))
        case _:
            compare, value = _COMPARE[name], values[0]
            is_match = lambda key: compare(key, value)  # noqa: E731
    if comparison.operator.startswith("not "):
        return lambda key: not is_match(key)
    return is_match


def _compile_like(pattern: str) -> _Predicate:
    """Return a function for `like`: % at an end of the pattern stands for any characters."""
    text = pattern.removeprefix("%").removesuffix("%")
    match pattern.startswith("%"), len(pattern) > 1 and pattern.endswith("%"):
        case True, True:
            return lambda key: text in key
        case True, False:
            return lambda key: key.endswith(text)
        case False, True:
            return lambda key: key.startswith(text)
        case _:
            return lambda key: key == text


def _id_range(condition: Condition) -> _IdRange:
    """Return the least and the highest id that a record with this condition can have."""
    if isinstance(condition, Combination):
        left, right = _id_range(condition.left), _id_range(condition.right)
        if condition.operator == "and":
            return max(left[0], right[0]), min(left[1], right[1])
        return min(left[0], right[0]), max(left[1], right[1])
    if condition.column != "id" or not all(text.isdecimal() for text in condition.values):
        return _ALL_IDS
    ids = [int(text) for text in condition.values]
    match condition.operator:
        case ">" | ">=":
            return ids[0] + (condition.operator == ">"), inf
        case "<" | "<=":
            return -inf, ids[0] - (condition.operator == "<")
        case "=" | "in" | "between":
            return min(ids), max(ids)
        case _:
            return _ALL_IDS
