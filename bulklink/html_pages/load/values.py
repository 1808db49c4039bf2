"""Settings and machines of load tests, side by side. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bulklink.load_analysis.merging import CLIENTS
from bulklink.load_analysis.texts import NOT_MEASURED


class ValueRow(msgspec.Struct, frozen=True):
    """A name with its value on each side.

    Args:
        name: name of a setting or figure.
        values: its values as text.
        differs: whether they differ.
    """

    name: str
    values: tuple[str, ...]
    differs: bool


def client_values(values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return settings or machines, one for each client of a merged result."""
    clients = values.get(CLIENTS)
    if isinstance(clients, list) and all(isinstance(client, dict) for client in clients):
        return clients
    return [values]


def value_rows(sides: Sequence[Mapping[str, Any]]) -> list[ValueRow]:
    """Return the values of all names that any side has."""
    names = dict.fromkeys(name for side in sides for name in side)
    return [
        ValueRow(
            name,
            tuple(value_text(name, side[name]) if name in side else NOT_MEASURED for side in sides),
            differs=any(side.get(name) != sides[0].get(name) for side in sides),
        )
        for name in names
    ]


def value_text(name: str, value: object) -> str:
    """Return the value of a setting, or of a property of a machine."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case str():
            return value
        case int() if name == "memory":
            return f"{value / (1 << 30):.1f} GiB"
        case int() | float():
            return f"{value:,}"
        case _:
            return msgspec.json.encode(value).decode()
