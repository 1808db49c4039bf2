"""Handlers of the look-ups of the settings of deals: layouts, pipelines, stages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bulklink.emulator.context import ApiRequest, CallContext, HandlerResult, refuse
from bulklink.emulator.errors import Problem, missing_param_problem
from bulklink.emulator.http import NO_CONTENT, json_answer
from bulklink.emulator.layouts import category_id, layout_of_id, pipeline_id, stage_id
from bulklink.emulator.link_rules import find_module_id
from bulklink.emulator.routing import DEALS_MODULE
from bulklink.emulator.world import ForecastType, World
from bulklink.zoho.error_codes import Code

_FORECAST_CATEGORIES: Mapping[ForecastType, str] = MappingProxyType(
    {"Open": "Pipeline", "Closed Won": "Closed", "Closed Lost": "Omitted"}
)


def handle_layouts(context: CallContext, api_request: ApiRequest) -> HandlerResult:
    """Answer with the layouts of deals, or with one of them."""
    module, wanted_id = api_request.query.get("module"), api_request.call.record_id
    if not module:
        return refuse(missing_param_problem("module"))
    if find_module_id(context.world, module) is None:
        return refuse(Problem(Code.INVALID_MODULE, {"param_name": "module"}))
    layout_ids = context.records.pipelines_by_layout if module == DEALS_MODULE else ()
    entries = [
        _layout_entry(context.world, layout_id)
        for layout_id in layout_ids
        if wanted_id in {"", layout_id}
    ]
    return HandlerResult(json_answer({"layouts": entries}) if entries else NO_CONTENT)


def _layout_entry(world: World, layout_id: str) -> dict[str, object]:
    layout = layout_of_id(world, layout_id)
    section = {
        "api_name": "Deal_Information",
        "display_label": "Deal Information",
        "name": "Deal Information",
        "sequence_number": 1,
        "fields": [_stage_field(world)],
    }
    nulls = ("created_for", "created_by", "created_time", "modified_by", "modified_time")
    return {
        "id": layout.id,
        "name": layout.name,
        "display_label": layout.name,
        "status": "active",
        "visible": True,
        "source": "crm",
        "generated_type": "system" if layout.name == "Standard" else "custom",
        "has_more_profiles": False,
        "show_business_card": True,
        "profiles": [],
        "sections": [section],
        "actions_allowed": dict.fromkeys(("edit", "rename", "clone"), True),
        **dict.fromkeys((*nulls, "convert_mapping", "mode", "subform_properties")),
    }


def _stage_field(world: World) -> dict[str, object]:
    return {
        "api_name": "Stage",
        "field_label": "Stage",
        "data_type": "picklist",
        "pick_list_values": _stage_entries(world),
    }


def _stage_entries(world: World) -> list[dict[str, object]]:
    return [
        {
            "display_value": stage.display_value,
            "sequence_number": number,
            "forecast_category": _category_entry(world, stage.forecast_type),
            "actual_value": stage.actual_value,
            "id": stage_id(world, number),
            "forecast_type": stage.forecast_type,
        }
        for number, stage in enumerate(world.stages, start=1)
    ]


def _category_entry(world: World, forecast_type: ForecastType) -> dict[str, object]:
    number = list(_FORECAST_CATEGORIES).index(forecast_type)
    return {"name": _FORECAST_CATEGORIES[forecast_type], "id": category_id(world, number)}


def handle_pipeline(context: CallContext, api_request: ApiRequest) -> HandlerResult:
    """Answer with the pipelines of a layout; each has all stages of the world."""
    layout_id = api_request.query.get("layout_id")
    if not layout_id:
        return refuse(missing_param_problem("layout_id"))
    names = context.records.pipelines_by_layout.get(layout_id)
    if names is None:
        return refuse(Problem(Code.INVALID_DATA, {"param_name": "layout_id"}, "Invalid layoutid"))
    entries = [
        {
            "display_value": name,
            "default": number == 0,
            "maps": _stage_entries(context.world),
            "actual_value": name,
            "id": pipeline_id(context.world, number),
        }
        for number, name in enumerate(names)
    ]
    return HandlerResult(json_answer({"pipeline": entries}))
