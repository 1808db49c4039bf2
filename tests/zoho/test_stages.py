"""Stages of deals, from layouts and pipelines."""

from __future__ import annotations

from typing import Any

import pytest

from bulklink.zoho.http import Answer
from bulklink.zoho.stages import MAX_LAYOUTS, Layouts, Stages, parse_layouts, parse_pipelines
from tests.zoho.fakes import answer


def stage(display: Any, forecast_type: Any, actual: Any = None) -> dict[str, Any]:
    return {
        "display_value": display,
        "actual_value": display if actual is None else actual,
        "forecast_type": forecast_type,
        "forecast_category": {"name": "Pipeline", "id": "5"},
    }


def pipeline(*maps: Any) -> Answer:
    return answer({"pipeline": [{"display_value": "Sales", "maps": list(maps)}]})


def stages_of(*maps: Any) -> Stages:
    return Stages.from_types(parse_pipelines(pipeline(*maps)) or ())


def test_a_stage_matches_by_display_and_by_actual_value() -> None:
    stages = stages_of(stage("Verloren", "Closed Lost", "Closed Lost"), stage("Neu", "Open", "New"))
    assert [stages.forecast_type(text) for text in ("Verloren", "Closed Lost", "Neu", "New")] == [
        *("lost", "lost", "open", "open")
    ]
    assert stages.forecast_type("Unknown") is None


def test_several_stages_can_be_lost_and_none_is_recognised_by_its_name() -> None:
    stages = stages_of(
        stage("Lost to Competition", "Closed Lost"),
        stage("Dropped", "closed lost"),
        stage("Closed Lost", "Open"),
        stage("Done", "Closed-Won"),
    )
    assert stages.forecast_type("Lost to Competition") == "lost"
    assert stages.forecast_type("Dropped") == "lost"
    assert stages.forecast_type("Closed Lost") == "open"
    assert stages.forecast_type("Done") == "won"


def test_a_stage_of_two_types_is_of_none() -> None:
    stages = stages_of(stage("Closed", "Closed Won"), stage("Closed", "Closed Lost"))
    assert stages.forecast_type("Closed") is None


@pytest.mark.parametrize("wrong", [None, "", "Omitted", 5, True, [], {}], ids=repr)
def test_a_stage_without_a_known_type_is_unknown(wrong: Any) -> None:
    assert stages_of(stage("New", wrong)) == Stages({})


@pytest.mark.parametrize("wrong", [5, True, [], {}, "x" * 256], ids=repr)
def test_a_value_that_is_no_text_is_no_stage(wrong: Any) -> None:
    assert stages_of(stage("New", "Open", wrong)) == Stages({"New": "open"})


def test_layouts_have_ids_and_may_have_stages() -> None:
    field = {"api_name": "Stage", "pick_list_values": [stage("New", "Open"), None, 5]}
    other = {"api_name": "Type", "pick_list_values": [stage("Old", "Open")]}
    layout = {"id": 91, "sections": [{"fields": [other, field, None]}, {"fields": None}]}
    parsed = parse_layouts(answer({"layouts": [layout, {"id": "92"}, {"id": "91"}, {"id": "x"}]}))
    assert parsed == Layouts(("91", "92"), (("New", "open"), ("New", "open")))


def test_endless_layouts_are_cut() -> None:
    layouts = [{"id": f"{number}"} for number in range(1, 5_000)]
    parsed = parse_layouts(answer({"layouts": layouts}))
    assert parsed is not None
    assert len(parsed.ids) == MAX_LAYOUTS


def test_http_204_means_no_pipeline() -> None:
    assert parse_pipelines(Answer(204)) == ()


@pytest.mark.parametrize("parse", [parse_layouts, parse_pipelines])
@pytest.mark.parametrize(
    "wrong", [None, 5, [], {}, {"pipeline": {}, "layouts": "x"}, {"data": []}], ids=repr
)
def test_another_answer_is_none(parse: Any, wrong: Any) -> None:
    assert parse(answer(wrong)) is None
    assert parse(answer({"layouts": [], "pipeline": []}, 403)) is None


@pytest.mark.parametrize("maps", [None, 5, "x", {}, [None], [[]], [5]], ids=repr)
def test_stages_of_the_wrong_type_are_none(maps: Any) -> None:
    assert parse_pipelines(answer({"pipeline": [{"maps": maps}, None, 5]})) == ()
