"""Deals as objects of a world file, and the checks of their histories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import msgspec

from bulklink.emulator.email_records import Interner
from bulklink.emulator.world import Deal, HistoryEntry, Stage, parse_timestamp

STAGE_FIELD = "Stage"


def parse_deal(value: object, intern: Interner) -> Deal:
    """Return the deal that an object of a world file describes, its history in order of time.

    Args:
        value: the object. Without `modified_time`, the deal was modified last by the last entry
            of its history.
        intern: keeps one of several equal values.

    Raises:
        msgspec.ValidationError: if the object is not valid.
        ValueError: if a time of its history or its closing date is not valid.
    """
    deal = msgspec.convert(value, Deal)
    if deal.closing_date is not None:
        _check_date(deal.closing_date)
    if not deal.history:
        return deal
    history = _order_history(deal.history, intern)
    has_time = isinstance(value, dict) and "modified_time" in value
    modified_time = deal.modified_time if has_time else history[-1].time
    return msgspec.structs.replace(deal, history=history, modified_time=modified_time)


def _check_date(text: str) -> None:
    if len(text) != len("2026-03-01"):
        raise ValueError(f"closing_date {text!r} is not a day such as 2026-03-01")
    date.fromisoformat(text)


def _order_history(history: Sequence[HistoryEntry], intern: Interner) -> tuple[HistoryEntry, ...]:
    times = []
    for number, change in enumerate(history):
        try:
            times.append((parse_timestamp(change.time), number))
        except ValueError as error:
            raise ValueError(f"history[{number}]: {error}") from None
    return tuple(_intern_change(history[number], intern) for _, number in sorted(times))


def _intern_change(change: HistoryEntry, intern: Interner) -> HistoryEntry:
    """Return the change with its names shared; its values may be of any type."""
    old, new = (intern(v) if isinstance(v, str) else v for v in (change.old, change.new))
    return HistoryEntry(change.time, intern(change.field), old, new, intern(change.source))


def actual_stages(stages: Sequence[Stage]) -> dict[str, str]:
    """Return the actual value of each stage, by its display value and by its actual value."""
    names = {stage.display_value: stage.actual_value for stage in stages}
    return names | {stage.actual_value: stage.actual_value for stage in stages}


def stage_problem(deal: Deal, actual_values: Mapping[str, str]) -> str | None:
    """Return why the stage of a deal and the stages of its history are not valid, or None.

    Args:
        deal: the deal.
        actual_values: the actual value of each stage, by either of its names.
    """
    if deal.stage not in actual_values:
        return f"is in stage {deal.stage!r}, which is not in stages"
    stage_changes = [change for change in deal.history if change.field == STAGE_FIELD]
    for change in stage_changes:
        for stage in (change.new, *([] if change.old is None else [change.old])):
            if not isinstance(stage, str) or stage not in actual_values:
                return (
                    f"has a history with stage {stage!r} at {change.time}, which is not in stages"
                )
    if stage_changes and actual_values[stage_changes[-1].new] != actual_values[deal.stage]:
        return (
            f"is in stage {deal.stage!r}, but its history ends in stage {stage_changes[-1].new!r}"
        )
    return None
