"""Answers about deals are decoded strictly by the documented shapes."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

import msgspec
import pytest

from tests.emulator.client import EmulatorClient
from tests.emulator.test_deal_reads import ROLES, TIMELINE, roles_world
from tests.emulator.test_shapes import Correspondent, Id, ModuleName, Strict, read


class IdOnly(Strict):
    id: Id


class Owner(Strict):
    name: str
    id: Id
    email: str


class QueryRow(Strict):
    id: Id
    Deal_Name: str
    Stage: str
    Modified_Time: datetime
    Closing_Date: date | None
    Contact_Name: IdOnly | None
    Owner: IdOnly | None


class QueryInfo(Strict):
    count: Annotated[int, msgspec.Meta(ge=1, le=2_000)]
    more_records: bool


class QueryRows(Strict):
    data: list[QueryRow]
    info: QueryInfo


class ContactRole(Strict):
    id: Id
    Email: str | None
    Contact_Role: Correspondent


class TokenInfo(Strict):
    per_page: Annotated[int, msgspec.Meta(ge=1, le=100)]
    count: int
    page: int
    more_records: bool
    next_page_token: str | None
    previous_page_token: str | None
    page_token_expiry: str | None


class ContactRoles(Strict):
    data: list[ContactRole]
    info: TokenInfo


class OldAndNew(Strict):
    old: str | None
    new: str | None


class FieldHistory(Strict):
    api_name: str
    id: Id
    value: OldAndNew = msgspec.field(name="_value")


class TimelineRecord(Strict):
    module: ModuleName
    name: str
    id: Id


class TimelineEntry(Strict):
    audited_time: datetime
    action: str
    id: Id
    source: str
    done_by: Correspondent | None
    related_record: None
    automation_details: None
    record: TimelineRecord
    field_history: list[FieldHistory] | None


class TimelineInfo(Strict):
    per_page: Annotated[int, msgspec.Meta(ge=1, le=200)]
    page: int
    count: int
    more_records: bool
    next_page_token: str | None
    previous_page_token: str | None


class Timeline(Strict):
    timeline: list[TimelineEntry] = msgspec.field(name="__timeline")
    info: TimelineInfo


class Stage(Strict):
    display_value: str
    sequence_number: int
    forecast_category: Correspondent
    actual_value: str
    id: Id
    forecast_type: Literal["Open", "Closed Won", "Closed Lost"]


class Pipeline(Strict):
    display_value: str
    default: bool
    maps: list[Stage]
    actual_value: str
    id: Id


class Pipelines(Strict):
    pipeline: Annotated[list[Pipeline], msgspec.Meta(min_length=1)]


class LayoutField(Strict):
    api_name: str
    field_label: str
    data_type: str
    pick_list_values: list[Stage]


class Section(Strict):
    api_name: str
    display_label: str
    name: str
    sequence_number: int
    fields: list[LayoutField]


class Layout(Strict):
    id: Id
    name: str
    display_label: str
    status: str
    visible: bool
    source: str
    generated_type: str
    has_more_profiles: bool
    show_business_card: bool
    actions_allowed: dict[str, bool]
    profiles: list[Any]
    sections: list[Section]
    created_for: None
    created_by: None
    created_time: None
    modified_by: None
    modified_time: None
    convert_mapping: None
    mode: None
    subform_properties: None


class Layouts(Strict):
    layouts: Annotated[list[Layout], msgspec.Meta(min_length=1)]


class DealWithOwner(Strict):
    id: Id
    Owner: Owner | None
    Contact_Name: Correspondent


class DealsWithOwner(Strict):
    data: list[DealWithOwner]
    info: dict[str, Any]


@pytest.mark.parametrize(
    ("path", "query", "shape"),
    [
        (ROLES, {"fields": "Email"}, ContactRoles),
        (TIMELINE, {}, Timeline),
        ("settings/layouts", {"module": "Deals"}, Layouts),
        ("Deals", {"fields": "Owner,Contact_Name"}, DealsWithOwner),
    ],
)
async def test_every_read_of_deals_has_exactly_the_documented_shape(
    path: str, query: dict[str, str], shape: Any
) -> None:
    read(await EmulatorClient(world=roles_world()).get(path, **query), shape)


async def test_a_pipeline_has_exactly_the_documented_shape() -> None:
    crm = EmulatorClient()
    layouts = read(await crm.get("settings/layouts", module="Deals"), Layouts).layouts
    read(await crm.get("settings/pipeline", layout_id=layouts[0].id), Pipelines)


async def test_a_query_is_answered_in_exactly_the_documented_shape() -> None:
    columns = "Deal_Name, Stage, Modified_Time, Closing_Date, Contact_Name, Owner"
    crm = EmulatorClient(world=roles_world())
    rows = read(await crm.query(f"select {columns} from Deals where id is not null"), QueryRows)
    assert rows.info.count == len(rows.data) == 3
