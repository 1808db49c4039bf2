"""Stages of deals: which are open, won and lost.

Several stages can be lost, and what a deal displays as its stage can differ from the actual value,
so both are matched. Zoho lists the stages of a pipeline; an org without pipelines has them in the
field `Stage` of its layouts only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from bulklink.models import ForecastType
from bulklink.zoho.coql import parse_record_id
from bulklink.zoho.http import Answer
from bulklink.zoho.link_response import parse_text

MAX_LAYOUTS = 200
"""Maximum layouts whose pipelines are read."""
_MAX_STAGE_LENGTH = 255
_FORECAST_TYPES: dict[str, ForecastType] = {
    "open": "open",
    "closed won": "won",
    "closed lost": "lost",
}

StageTypes = tuple[tuple[str, ForecastType], ...]
"""Pairs of a stage, as displayed or as its actual value, and its type."""


class Layouts(msgspec.Struct, frozen=True):
    """The layouts of deals.

    Args:
        ids: ids of the layouts, up to 200.
        stage_types: stages of the field `Stage`, if it reports their types.
    """

    ids: tuple[str, ...]
    stage_types: StageTypes = ()


class Stages(msgspec.Struct, frozen=True):
    """The stages of all layouts.

    Args:
        types: type of each stage; a stage that is of several types is left out.
    """

    types: dict[str, ForecastType]

    @classmethod
    def from_types(cls, stage_types: Iterable[tuple[str, ForecastType]]) -> Stages:
        """Return the stages of several layouts and pipelines."""
        types: dict[str, ForecastType] = {}
        ambiguous: set[str] = set()
        for stage, forecast_type in stage_types:
            if types.setdefault(stage, forecast_type) != forecast_type:
                ambiguous.add(stage)
        return cls({stage: type_ for stage, type_ in types.items() if stage not in ambiguous})

    def forecast_type(self, stage: str) -> ForecastType | None:
        """Return whether a deal in this stage is open, won or lost; None if that is unknown."""
        return self.types.get(stage)


def parse_layouts(answer: Answer) -> Layouts | None:
    """Parse the layouts of deals; None if the answer is not a list of layouts."""
    layouts = _objects_in(answer, "layouts")
    if layouts is None:
        return None
    ids = (parse_record_id(layout.get("id")) for layout in layouts)
    unique_ids = dict.fromkeys(layout_id for layout_id in ids if layout_id is not None)
    return Layouts(
        tuple(unique_ids)[:MAX_LAYOUTS],
        tuple(pair for layout in layouts for pair in _layout_stage_types(layout)),
    )


def parse_pipelines(answer: Answer) -> StageTypes | None:
    """Parse the stages of a layout's pipelines; None if the answer is not a list of pipelines.

    HTTP 204 means that the layout has no pipeline.
    """
    pipelines = _objects_in(answer, "pipeline")
    if pipelines is None:
        return None
    return tuple(
        pair
        for pipeline in pipelines
        for stage in _objects(pipeline.get("maps"))
        for pair in _stage_types(stage)
    )


def _layout_stage_types(layout: dict[str, Any]) -> Iterator[tuple[str, ForecastType]]:
    for section in _objects(layout.get("sections")):
        for field in _objects(section.get("fields")):
            if field.get("api_name") == "Stage":
                for stage in _objects(field.get("pick_list_values")):
                    yield from _stage_types(stage)


def _stage_types(stage: dict[str, Any]) -> Iterator[tuple[str, ForecastType]]:
    """Yield display and actual value of a stage, each with its type."""
    text = stage.get("forecast_type")
    words = text.casefold().replace("-", " ").split() if isinstance(text, str) else []
    forecast_type = _FORECAST_TYPES.get(" ".join(words))
    if forecast_type is not None:
        for key in ("display_value", "actual_value"):
            name = parse_text(stage.get(key), _MAX_STAGE_LENGTH)
            if name is not None:
                yield name, forecast_type


def _objects_in(answer: Answer, key: str) -> list[dict[str, Any]] | None:
    if answer.status == 204:
        return []
    content = answer.content
    if not answer.ok or not isinstance(content, dict) or not isinstance(content.get(key), list):
        return None
    return _objects(content[key])


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
