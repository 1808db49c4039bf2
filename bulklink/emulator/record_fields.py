"""Fields of deals, contacts, accounts and users by their API names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgspec

from bulklink.emulator.layouts import LAYOUTS, STANDARD_PIPELINE, layout_id_of
from bulklink.emulator.routing import ACCOUNTS_MODULE, CONTACTS_MODULE, USERS_MODULE
from bulklink.emulator.world import Contact, Deal, User, World, parse_timestamp

_DATE = re.compile(r"\d{4}-\d\d-\d\d")


class DataType(StrEnum):
    """Data type of a field, as Zoho calls it."""

    ID = "bigint"
    TEXT = "text"
    PICKLIST = "picklist"
    MULTI_SELECT = "multiselectpicklist"
    DATE = "date"
    DATETIME = "datetime"
    NUMBER = "double"
    BOOLEAN = "boolean"
    LOOKUP = "lookup"


class Field(msgspec.Struct, frozen=True):
    """A field of a module.

    Args:
        data_type: its data type.
        read: returns its value of a record: a JSON value, for a lookup the id of the other record.
        target: module of the record that a lookup names.
    """

    data_type: DataType
    read: Callable[[World, Any], Any]
    target: str = ""


Fields = Mapping[str, Field]


def _field(data_type: DataType, attribute: str, target: str = "") -> Field:
    return Field(data_type, lambda _world, record: getattr(record, attribute), target)


def _last_name(full_name: str) -> str:
    return full_name.rpartition(" ")[2]


def _first_name(full_name: str) -> str | None:
    return full_name.rpartition(" ")[0] or None


def _pipeline(_world: World, deal: Deal) -> str:
    return deal.pipeline or STANDARD_PIPELINE


def _email(_world: World, person: Contact | User) -> str | None:
    return person.email or None


def _contact_first_name(_world: World, contact: Contact) -> str | None:
    return _first_name(contact.name)


def _contact_last_name(_world: World, contact: Contact) -> str:
    return _last_name(contact.name)


def _user_first_name(_world: World, user: User) -> str | None:
    return _first_name(user.full_name)


def _user_last_name(_world: World, user: User) -> str:
    return _last_name(user.full_name)


DEAL_FIELDS: Fields = MappingProxyType(
    {
        "id": _field(DataType.ID, "id"),
        "Deal_Name": _field(DataType.TEXT, "name"),
        "Stage": _field(DataType.PICKLIST, "stage"),
        "Created_Time": _field(DataType.DATETIME, "created_time"),
        "Modified_Time": _field(DataType.DATETIME, "modified_time"),
        "Closing_Date": _field(DataType.DATE, "closing_date"),
        "Pipeline": Field(DataType.PICKLIST, _pipeline),
        "Contact_Name": _field(DataType.LOOKUP, "contact_id", CONTACTS_MODULE),
        "Account_Name": _field(DataType.LOOKUP, "account_id", ACCOUNTS_MODULE),
        "Owner": _field(DataType.LOOKUP, "owner_id", USERS_MODULE),
        "Layout": Field(DataType.LOOKUP, layout_id_of, LAYOUTS),
    }
)
CONTACT_FIELDS: Fields = MappingProxyType(
    {
        "id": _field(DataType.ID, "id"),
        "Full_Name": _field(DataType.TEXT, "name"),
        "First_Name": Field(DataType.TEXT, _contact_first_name),
        "Last_Name": Field(DataType.TEXT, _contact_last_name),
        "Email": Field(DataType.TEXT, _email),
        "Account_Name": _field(DataType.LOOKUP, "account_id", ACCOUNTS_MODULE),
    }
)
ACCOUNT_FIELDS: Fields = MappingProxyType(
    {"id": _field(DataType.ID, "id"), "Account_Name": _field(DataType.TEXT, "name")}
)
USER_FIELDS: Fields = MappingProxyType(
    {
        "id": _field(DataType.ID, "id"),
        "full_name": _field(DataType.TEXT, "full_name"),
        "first_name": Field(DataType.TEXT, _user_first_name),
        "last_name": Field(DataType.TEXT, _user_last_name),
        "email": Field(DataType.TEXT, _email),
        "status": _field(DataType.PICKLIST, "status"),
    }
)
LAYOUT_FIELDS: Fields = MappingProxyType(
    {"id": _field(DataType.ID, "id"), "name": _field(DataType.TEXT, "name")}
)


def added_deal_fields(deals: Iterable[Deal]) -> dict[str, Field]:
    """Return the fields that the world adds to deals, each with the type of its values.

    A field whose values are of several types is a text.
    """
    data_types: dict[str, set[DataType]] = {}
    for deal in deals:
        for name, value in (deal.fields or {}).items():
            types = data_types.setdefault(name, set())
            if value is not None:
                types.add(_data_type_of(value))
    return {
        name: _added_field(name, types.pop() if len(types) == 1 else DataType.TEXT)
        for name, types in data_types.items()
        if name not in DEAL_FIELDS
    }


def _added_field(name: str, data_type: DataType) -> Field:
    return Field(data_type, lambda _world, deal: (deal.fields or {}).get(name))


def _data_type_of(value: object) -> DataType:
    if isinstance(value, bool):
        return DataType.BOOLEAN
    if isinstance(value, int | float):
        return DataType.NUMBER
    if isinstance(value, list):
        return DataType.MULTI_SELECT
    text = value if isinstance(value, str) else ""
    if _DATE.fullmatch(text):
        return DataType.DATE
    return DataType.DATETIME if _is_timestamp(text) else DataType.TEXT


def _is_timestamp(text: str) -> bool:
    try:
        parse_timestamp(text)
    except ValueError:
        return False
    return True
