"""Filters of the timeline."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from bulklink.emulator.errors import ParameterError, Problem
from bulklink.emulator.world import parse_timestamp
from bulklink.zoho.error_codes import Code

EntryFilter = Callable[[dict[str, Any]], bool]
_VALUE_FIELDS = ("record.module.api_name", "source", "done_by.id")
_TIME_FIELD = "audited_time"


class _Field(msgspec.Struct, frozen=True):
    """A field of an entry, by its path."""

    api_name: str


class _Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A condition on one field of an entry."""

    field: _Field
    comparator: Literal["equal", "in", "between"]
    value: str | tuple[str, ...]


class _Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Conditions that are joined by one operator."""

    group_operator: Literal["AND", "OR", "and", "or"]
    group: tuple[dict[str, Any], ...]


def parse_filters(text: str | None) -> EntryFilter:
    """Return whether an entry passes the `filters` of a call.

    Args:
        text: the JSON of the parameter; without it every entry passes.

    Raises:
        ParameterError: if it is not valid.
    """
    if text is None:
        return lambda _entry: True
    try:
        return _build_filter(json.loads(text), depth=0)
    except (ValueError, RecursionError):
        message = "the relation name given seems to be invalid"
        problem = Problem(Code.INVALID_DATA, {"param_name": "filters"}, message)
        raise ParameterError(problem) from None


def _build_filter(document: object, depth: int) -> EntryFilter:
    """Return the filter of a condition or a group; raise ValueError if it is not valid."""
    if not isinstance(document, dict) or depth > 3:
        raise ValueError("not a condition")
    if "group" not in document:
        return _condition_filter(msgspec.convert(document, _Condition))
    group = msgspec.convert(document, _Group)
    filters = [_build_filter(item, depth + 1) for item in group.group]
    combine = all if group.group_operator.upper() == "AND" else any
    return lambda entry: combine(passes(entry) for passes in filters)


def _condition_filter(condition: _Condition) -> EntryFilter:
    path, values = condition.field.api_name, condition.value
    if path == _TIME_FIELD and condition.comparator == "between" and len(values) == 2:
        first, last = (parse_timestamp(value) for value in values)
        return lambda entry: first <= parse_timestamp(entry[_TIME_FIELD]) <= last
    if path not in _VALUE_FIELDS or condition.comparator == "between":
        raise ValueError("the comparator is not allowed for the field")
    if isinstance(values, str) != (condition.comparator == "equal"):
        raise ValueError("the value does not fit the comparator")
    allowed: Sequence[str] = (values,) if isinstance(values, str) else values
    return lambda entry: _value_at(entry, path) in allowed


def _value_at(entry: object, path: str) -> object:
    for name in path.split("."):
        entry = entry.get(name) if isinstance(entry, dict) else None
    return entry
