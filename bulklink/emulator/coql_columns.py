"""Columns of COQL queries: how they are found, read and compared."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from bulklink.emulator.coql_tokens import QueryError, limit_exceeded
from bulklink.emulator.errors import Problem
from bulklink.emulator.record_fields import DataType, Field
from bulklink.emulator.records import Records
from bulklink.emulator.world import parse_timestamp
from bulklink.zoho.error_codes import Code

MAX_JOINS = 2

_TEXT_OPERATORS = frozenset({"=", "!=", "like", "not like", "in", "not in"})
_LOOKUP_OPERATORS = frozenset({"=", "!=", "in", "not in"})
_ORDERED_OPERATORS = frozenset(
    {"=", "!=", "<", "<=", ">", ">=", "between", "not between", "in", "not in"}
)
_NULL_OPERATORS = frozenset({"is null", "is not null"})
_OPERATORS: Mapping[DataType, frozenset[str]] = MappingProxyType(
    {
        DataType.TEXT: _TEXT_OPERATORS,
        DataType.PICKLIST: _TEXT_OPERATORS,
        DataType.MULTI_SELECT: _TEXT_OPERATORS,
        DataType.LOOKUP: _LOOKUP_OPERATORS,
        DataType.ID: _ORDERED_OPERATORS,
        DataType.DATE: _ORDERED_OPERATORS,
        DataType.DATETIME: _ORDERED_OPERATORS,
        DataType.NUMBER: _ORDERED_OPERATORS,
        DataType.BOOLEAN: frozenset({"="}),
    }
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


class Column(msgspec.Struct, frozen=True):
    """A column of a query.

    Args:
        name: its name in the query.
        data_type: its data type.
        read: returns its value of a record, for a lookup the id of the other record.
        key: returns what a value that is not null is compared by.
    """

    name: str
    data_type: DataType
    read: Callable[[Any], Any]
    key: Callable[[Any], Any]

    def key_of(self, record: Any) -> Any:
        """Return what a record is compared by; None if its value is null."""
        value = self.read(record)
        return None if value is None else self.key(value)

    def json_value(self, record: Any) -> object:
        """Return its value as it appears in a row: a lookup shows only the id."""
        value = self.read(record)
        if self.data_type is DataType.LOOKUP and value is not None:
            return {"id": value}
        return value


def find_column(records: Records, module: str, name: str) -> Column:
    """Return a column of a module, or of a record that its lookups name.

    Raises:
        QueryError: if there is no such column, or it needs more than two joins.
    """
    path = name.split(".")
    if len(path) - 1 > MAX_JOINS:
        raise limit_exceeded("join", MAX_JOINS)
    field = _find_field(records, module, path[0], name)
    read = _bind(records, field)
    for part in path[1:]:
        if field.data_type is not DataType.LOOKUP:
            raise _invalid_column(name)
        target = field.target
        field = _find_field(records, target, part, name)
        read = _join(records, read, target, field)
    return Column(name, field.data_type, read, _key_function(records, field.data_type))


def _find_field(records: Records, module: str, part: str, name: str) -> Field:
    field = records.fields(module).get(part)
    if field is None:
        raise _invalid_column(name)
    return field


def _bind(records: Records, field: Field) -> Callable[[Any], Any]:
    world, read = records.world, field.read
    return lambda record: read(world, record)


def _join(
    records: Records, read_id: Callable[[Any], Any], module: str, field: Field
) -> Callable[[Any], Any]:
    def read(record: Any) -> Any:
        record_id = read_id(record)
        other = None if record_id is None else records.find(module, record_id)
        return None if other is None else field.read(records.world, other)

    return read


def _invalid_column(name: str) -> QueryError:
    message = "column given seems to be invalid"
    return QueryError(Problem(Code.INVALID_QUERY, {"column_name": name}, message))


def _key_function(records: Records, data_type: DataType) -> Callable[[Any], Any]:
    match data_type:
        case DataType.ID | DataType.LOOKUP:
            return int
        case DataType.DATETIME:
            return parse_timestamp
        case DataType.PICKLIST:
            actual_values = records.actual_stages
            return lambda value: actual_values.get(value, value).casefold()
        case DataType.MULTI_SELECT:
            return lambda value: ";".join(map(str, value)).casefold()
        case DataType.TEXT:
            return lambda value: str(value).casefold()
        case DataType.DATE | DataType.NUMBER | DataType.BOOLEAN:
            return lambda value: value


def check_operator(column: Column, operator: str) -> None:
    """Raise QueryError if the type of a column does not know an operator."""
    if operator in _OPERATORS[column.data_type] | _NULL_OPERATORS:
        return
    details = {
        "column_name": column.name,
        "operator": operator,
        "reason": "invalid operator found",
    }
    raise QueryError(Problem(Code.INVALID_QUERY, details))


def parse_value(column: Column, text: str) -> Any:
    """Return what a value of a query is compared by.

    Raises:
        QueryError: if it is not of the type of its column.
    """
    try:
        return column.key(_typed_value(column.data_type, text))
    except ValueError:
        details = {"column_name": column.name, "expected_data_type": column.data_type.value}
        message = "value given seems to be invalid for the column"
        raise QueryError(Problem(Code.INVALID_QUERY, details, message)) from None


def _typed_value(data_type: DataType, text: str) -> Any:
    """Return a value of a data type; raise ValueError if the text is not one."""
    match data_type:
        case DataType.NUMBER:
            return int(text) if text.lstrip("-").isdecimal() else float(text)
        case DataType.BOOLEAN if text.lower() in {"true", "false"}:
            return text.lower() == "true"
        case DataType.DATE if _DATE.fullmatch(text):
            return text
        case DataType.BOOLEAN | DataType.DATE:
            raise ValueError(text)
        case DataType.MULTI_SELECT:
            return text.split(";")
        case _:
            return text
