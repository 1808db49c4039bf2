"""Records of the world by module, and their fields as the API shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from bulklink.emulator.deal_records import actual_stages
from bulklink.emulator.layouts import LAYOUTS, layout_of_id, pipelines_by_layout
from bulklink.emulator.record_fields import (
    ACCOUNT_FIELDS,
    CONTACT_FIELDS,
    DEAL_FIELDS,
    LAYOUT_FIELDS,
    USER_FIELDS,
    DataType,
    Fields,
    added_deal_fields,
)
from bulklink.emulator.routing import (
    ACCOUNTS_MODULE,
    CONTACTS_MODULE,
    DEALS_MODULE,
    USERS_MODULE,
)
from bulklink.emulator.world import User, World

_NO_FIELDS: Fields = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RecordTable:
    """The records of a module in order of their ids.

    Args:
        ids: the ids as numbers, ascending.
        records: the records in the same order.
    """

    ids: Sequence[int]
    records: Sequence[Any]


def _build_table(records: Iterable[Any]) -> RecordTable:
    ordered = sorted(((int(record.id), record) for record in records), key=lambda pair: pair[0])
    return RecordTable([number for number, _ in ordered], [record for _, record in ordered])


class Records:
    """Records of a world; what takes long to find is found once, when it is first needed.

    Args:
        world: the world.

    Attributes:
        tables: the tables that were needed so far, by module.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.tables: dict[str, RecordTable] = {}

    @cached_property
    def _fields_by_module(self) -> Mapping[str, Fields]:
        return {
            DEALS_MODULE: {**DEAL_FIELDS, **added_deal_fields(self.world.deals.values())},
            CONTACTS_MODULE: CONTACT_FIELDS,
            ACCOUNTS_MODULE: ACCOUNT_FIELDS,
            USERS_MODULE: USER_FIELDS,
            LAYOUTS: LAYOUT_FIELDS,
        }

    @cached_property
    def pipelines_by_layout(self) -> Mapping[str, Sequence[str]]:
        """The pipelines of each layout, by the id of the layout."""
        return pipelines_by_layout(self.world)

    @cached_property
    def actual_stages(self) -> Mapping[str, str]:
        """The actual value of each stage, by either of its names."""
        return actual_stages(self.world.stages)

    def _by_id(self, module: str) -> Mapping[str, Any]:
        return {
            DEALS_MODULE: self.world.deals,
            CONTACTS_MODULE: self.world.contacts,
            ACCOUNTS_MODULE: self.world.accounts,
            USERS_MODULE: self.world.users,
        }.get(module, {})

    def fields(self, module: str) -> Fields:
        """Return the fields of a module by API name; none if the module is unknown."""
        return self._fields_by_module.get(module, _NO_FIELDS)

    def find(self, module: str, record_id: str) -> Any:
        """Return a record, or None."""
        if module == LAYOUTS:
            return layout_of_id(self.world, record_id)
        return self._by_id(module).get(record_id)

    def select(self, module: str, ids: Iterable[str] | None) -> list[Any]:
        """Return the records with these ids, each once, or all records if `ids` is None."""
        by_id = self._by_id(module)
        if ids is None:
            return list(by_id.values())
        return [by_id[record_id] for record_id in dict.fromkeys(ids) if record_id in by_id]

    def table(self, module: str) -> RecordTable:
        """Return the records of a module in order of their ids."""
        if module not in self.tables:
            self.tables[module] = _build_table(self._by_id(module).values())
        return self.tables[module]

    def forget_table(self, module: str) -> None:
        """Find the records of a module again, because some of them were replaced."""
        self.tables.pop(module, None)

    def entry(self, module: str, record: Any, names: Iterable[str]) -> dict[str, object]:
        """Return the id of a record and those of the named fields that exist."""
        fields = self.fields(module)
        entry: dict[str, object] = {}
        for name in names:
            if field := fields.get(name):
                value = field.read(self.world, record)
                is_lookup = field.data_type is DataType.LOOKUP
                entry[name] = self._lookup_entry(field.target, value) if is_lookup else value
        return entry | {"id": record.id}

    def _lookup_entry(self, module: str, record_id: str | None) -> dict[str, object] | None:
        record = None if record_id is None else self.find(module, record_id)
        if record is None:
            return None
        if isinstance(record, User):
            return {"name": record.full_name, "id": record.id, "email": record.email}
        return {"name": record.name, "id": record.id}
