"""Traces that links and unlinks leave on their deals: modified times, entries of the timeline."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

import msgspec

from bulklink.emulator.settings import Settings, TracingCalls
from bulklink.emulator.state import ChangeRecord
from bulklink.emulator.world import Deal, HistoryEntry, World


class LinkTraces:
    """Leaves traces on the deals of a world.

    Args:
        world: the world before the first call; it is not changed.
        settings: which calls leave which trace.

    Attributes:
        world: the world with the traces; the one above if no call leaves any.
    """

    def __init__(self, world: World, settings: Settings) -> None:
        self.world = world
        self._settings = settings
        self._is_on = settings.link_touches != "none" or settings.link_timeline != "none"
        if self._is_on:
            self._deals = dict(world.deals)
            self._by_contact = dict(world.deals_by_contact)
            self._by_role = dict(world.deals_by_role)
            self.world = replace(
                world,
                deals=self._deals,
                deals_by_contact=self._by_contact,
                deals_by_role=self._by_role,
            )

    def leave(self, changes: Iterable[ChangeRecord]) -> bool:
        """Leave the traces of one call, one on each deal; return whether there are any."""
        if not self._is_on:
            return False
        calls: dict[str, tuple[str, float]] = {}
        for change in changes:
            for call, deal_id in (("unlink", change.previous_deal_id), ("link", change.deal_id)):
                if deal_id is not None:
                    calls[deal_id] = (call, change.at)
        for deal_id, (call, at) in calls.items():
            self._replace(self._traced(self._deals[deal_id], call, at))
        return bool(calls)

    def _traced(self, deal: Deal, call: str, at: float) -> Deal:
        time = datetime.fromtimestamp(at, UTC)
        if _is_traced(self._settings.link_touches, call):
            modified_time = time.isoformat(timespec="seconds")
            deal = msgspec.structs.replace(deal, modified_time=modified_time)
        if _is_traced(self._settings.link_timeline, call):
            entry = HistoryEntry(time.isoformat(), source=self._settings.link_source)
            deal = msgspec.structs.replace(deal, history=(*deal.history, entry))
        return deal

    def _replace(self, deal: Deal) -> None:
        self._deals[deal.id] = deal
        for by_id, contact_ids in (
            (self._by_contact, (deal.contact_id,)),
            (self._by_role, deal.contact_roles),
        ):
            for contact_id in contact_ids:
                deals = by_id.get(contact_id, ())
                by_id[contact_id] = tuple(deal if d.id == deal.id else d for d in deals)


def _is_traced(calls: TracingCalls, call: str) -> bool:
    return calls in ("both", call)
