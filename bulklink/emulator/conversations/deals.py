"""Deals of a synthetic org from their creation to the present."""

from __future__ import annotations

from bisect import bisect_right, insort
from dataclasses import dataclass, field

from bulklink.emulator.conversations.moments import WORLD_END, iso_time
from bulklink.emulator.conversations.org import OrgPlan, OrgUser
from bulklink.emulator.conversations.people import Correspondent
from bulklink.emulator.world import ForecastType, Stage


@dataclass(frozen=True, slots=True)
class LifeChange:
    """A change of a deal; without a field, only its modified time changed.

    Args:
        time: when.
        field_name: API name of the field, or None.
        old: value before.
        new: value after.
        source: what made it.
    """

    time: int
    field_name: str | None
    old: object
    new: object
    source: str


@dataclass(slots=True, eq=False)
class DealLife:
    """A deal from its creation to the present.

    Args:
        person: its contact.
        account_id: its account.
        product: what it is about.
        created: when it was created.
        renewal_of: the deal that it renews, or None.
        from_duplicate: whether it belonged to the duplicate record of its contact until the merge.
        number: the number that the org gave it, or None.
        id: its id, which increases with `created` within a company.
        name: its name.
        role_ids: contacts that are on it by a contact role.
        pipeline: its pipeline.
        first_owner: its owner at first.
        closing_date: the day on which it should close, at first.
        active_until: the moment at which it was closed, or people stopped caring for it.
        closed: whether it is closed at the end.
        changes: its changes, in order of time once `settle` was called.
        stages: the times of its stages, and the stages.
        owners: the times of its owners, and the owners.
    """

    person: Correspondent
    account_id: str
    product: str
    created: int
    renewal_of: DealLife | None = None
    from_duplicate: bool = False
    number: str | None = None
    id: str = ""
    name: str = ""
    role_ids: tuple[str, ...] = ()
    pipeline: str = ""
    closing_date: str = ""
    active_until: int = 0
    closed: bool = False
    is_won: bool = False
    changes: list[LifeChange] = field(default_factory=list)
    stages: list[tuple[int, Stage]] = field(default_factory=list)
    owners: list[tuple[int, OrgUser]] = field(default_factory=list)
    _touched: list[int] = field(default_factory=list)

    def touch(
        self,
        moment: int,
        source: str,
        field_name: str | None = None,
        old: object = None,
        new: object = None,
    ) -> None:
        """Add a change, unless it lies in the future or before the deal was created."""
        if self.created < moment < WORLD_END:
            change = LifeChange(moment, field_name, old, new, source)
            self.changes.append(change)
            insort(self._touched, moment)

    def settle(self) -> None:
        """Put the changes in order of time."""
        self.changes.sort(key=lambda change: change.time)

    def modified_at(self, moment: int) -> int:
        """Return when the deal had been modified last at a moment."""
        position = bisect_right(self._touched, moment)
        return self._touched[position - 1] if position else self.created

    def forecast_at(self, moment: int) -> ForecastType:
        """Return the forecast type of its stage at a moment."""
        return self.stage_at(moment).forecast_type

    def stage_at(self, moment: int) -> Stage:
        """Return its stage at a moment."""
        return next(
            (stage for time, stage in reversed(self.stages) if time <= moment), self.stages[0][1]
        )

    def next_stage_after(self, moment: int) -> int | None:
        """Return when its stage changes next, or None if it never does."""
        return next((time for time, _ in self.stages if time > moment), None)

    def owner_at(self, moment: int) -> OrgUser:
        """Return its owner at a moment."""
        return next(
            (user for time, user in reversed(self.owners) if time <= moment), self.owners[0][1]
        )

    def concerns(self, person: Correspondent) -> bool:
        """Return whether an email of a contact can be linked to the deal."""
        return self.person.id == person.id or person.id in self.role_ids

    def as_entry(self, org: OrgPlan) -> dict[str, object]:
        """Return the deal as in a world file, once its changes are in order."""
        last_stage = self.stages[-1][1]
        closing_dates = [c.new for c in self.changes if c.field_name == "Closing_Date"]
        entry: dict[str, object] = {
            "id": self.id,
            "name": self.name,
            "contact_id": self.person.id,
            "stage": last_stage.display_value,
            "created_time": _org_time(org, self.created),
            "modified_time": _org_time(org, self.modified_at(WORLD_END)),
            "owner_id": self.owners[-1][1].id,
            "account_id": self.account_id,
            "pipeline": self.pipeline,
            "closing_date": closing_dates[-1] if closing_dates else self.closing_date,
        }
        if self.role_ids:
            entry["contact_roles"] = self.role_ids
        if self.number:
            entry["fields"] = {org.number_field: self.number}
        entry["history"] = [_change_entry(org, change) for change in self.changes]
        return entry


def _org_time(org: OrgPlan, moment: int) -> str:
    return iso_time(moment, org.zone.offset_at(moment))


def _change_entry(org: OrgPlan, change: LifeChange) -> dict[str, object]:
    entry: dict[str, object] = {"time": _org_time(org, change.time)}
    if change.field_name is not None:
        entry |= {"field": change.field_name, "old": change.old, "new": change.new}
    return entry | {"source": change.source}
