"""Layouts and pipelines of the deals of a world, and the ids of what it does not name."""

from __future__ import annotations

import msgspec

from bulklink.emulator.world import Deal, World

LAYOUTS = "Layouts"
STANDARD_PIPELINE = "Standard"

_STANDARD_LAYOUT, _CONTACT_ROLE, _FIRST_PIPELINE, _FIRST_CATEGORY, _FIRST_STAGE = (
    500,
    550,
    600,
    700,
    750,
)


def derived_id(world: World, number: int) -> str:
    """Return an id that the world does not name, in the form of its other ids."""
    return str(int(world.module_id) + number).zfill(len(world.module_id))


def standard_layout_id(world: World) -> str:
    """Return the id of the layout of deals that name none."""
    return derived_id(world, _STANDARD_LAYOUT)


def contact_role_id(world: World) -> str:
    """Return the id of the only contact role."""
    return derived_id(world, _CONTACT_ROLE)


def stage_id(world: World, number: int) -> str:
    """Return the id of a stage, by its position among the stages."""
    return derived_id(world, _FIRST_STAGE + number)


def pipeline_id(world: World, number: int) -> str:
    """Return the id of a pipeline, by its position among the pipelines of its layout."""
    return derived_id(world, _FIRST_PIPELINE + number)


def category_id(world: World, number: int) -> str:
    """Return the id of a forecast category."""
    return derived_id(world, _FIRST_CATEGORY + number)


def layout_id_of(world: World, deal: Deal) -> str:
    """Return the id of the layout of a deal."""
    return deal.layout_id or standard_layout_id(world)


def pipelines_by_layout(world: World) -> dict[str, list[str]]:
    """Return the pipelines of each layout: those of its deals, in the order of the world.

    A world without deals has the standard layout and pipeline.
    """
    pipelines: dict[str, dict[str, None]] = {}
    for deal in world.deals.values():
        layout = pipelines.setdefault(layout_id_of(world, deal), {})
        layout[deal.pipeline or STANDARD_PIPELINE] = None
    if not pipelines:
        return {standard_layout_id(world): [STANDARD_PIPELINE]}
    return {layout_id: list(names) for layout_id, names in pipelines.items()}


class Layout(msgspec.Struct, frozen=True):
    """A layout of deals.

    Args:
        id: its id.
        name: its name.
    """

    id: str
    name: str


def layout_of_id(world: World, layout_id: str) -> Layout:
    """Return a layout; the world has only its id."""
    is_standard = layout_id == standard_layout_id(world)
    return Layout(layout_id, "Standard" if is_standard else f"Layout {layout_id[-4:]}")
