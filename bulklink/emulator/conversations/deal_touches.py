"""Changes in the histories of deals, by people, workflows and programs."""

from __future__ import annotations

from bulklink.emulator.conversations.deals import DealLife
from bulklink.emulator.conversations.moments import (
    DAY,
    MINUTE,
    WORLD_END,
    iso_day,
    night_time,
    working_time,
)
from bulklink.emulator.conversations.org import OrgPlan
from bulklink.emulator.conversations.randomness import Draws


def add_changes(org: OrgPlan, draws: Draws, deal: DealLife) -> None:
    """Add the changes of a deal that have nothing to do with mail."""
    _add_stage_changes(org, draws, deal)
    _add_owner_change(org, draws, deal)
    _add_closing_dates(org, draws, deal)
    _add_merge(deal)
    _add_automation(org, draws, deal)
    _add_mass_updates(org, draws, deal)
    _add_stray_notes(org, draws, deal)


def _add_stage_changes(org: OrgPlan, draws: Draws, deal: DealLife) -> None:
    for (_, old), (moment, new) in zip(deal.stages, deal.stages[1:], strict=False):
        names = [s.actual_value if org.knobs.actual_names else s.display_value for s in (old, new)]
        source = draws.weighted(("crm_ui", "blueprint", "crm_api"), (7, 2, 1))
        deal.touch(moment, source, "Stage", *names)


def _add_owner_change(org: OrgPlan, draws: Draws, deal: DealLife) -> None:
    is_changed, user = draws.chance(org.knobs.owner_changes), draws.pick(org.users)
    old = deal.owners[0][1]
    moment = working_time(draws, draws.between(deal.created + DAY, WORLD_END), org.zone)
    if is_changed and user != old and moment < WORLD_END:
        deal.owners.append((moment, user))
        deal.touch(moment, "crm_ui", "Owner", old.name, user.name)


def _add_closing_dates(org: OrgPlan, draws: Draws, deal: DealLife) -> None:
    day = deal.closing_date
    for _ in range(draws.below(3)):
        moment = draws.between(deal.created, deal.active_until)
        moment = working_time(draws, moment, org.zone)
        new_day = iso_day(moment + draws.between(7, 90) * DAY)
        last_moment = max(
            (c.time for c in deal.changes if c.field_name == "Closing_Date"), default=0
        )
        if new_day != day and last_moment < moment < WORLD_END and moment > deal.created:
            deal.touch(moment, "crm_ui", "Closing_Date", day, new_day)
            day = new_day


def _add_merge(deal: DealLife) -> None:
    duplicate = deal.person.duplicate
    if duplicate and deal.from_duplicate:
        deal.touch(duplicate.merged, "crm_ui", "Contact_Name", duplicate.name, deal.person.name)


def _add_automation(org: OrgPlan, draws: Draws, deal: DealLife) -> None:
    if not org.knobs.automation_days:
        return
    on_closed = draws.chance(org.knobs.automation_on_closed)
    moment = deal.created
    while True:
        moment += draws.between(1, 2 * org.knobs.automation_days - 1) * DAY
        night = night_time(draws, moment, org.zone, org.knobs.automation_hour)
        if night >= WORLD_END:
            return
        if on_closed or deal.forecast_at(night) == "Open":
            _touch_by_workflow(draws, deal, night)
        elif deal.next_stage_after(night) is None:
            return


def _touch_by_workflow(draws: Draws, deal: DealLife, moment: int) -> None:
    if draws.chance(300):
        old, new = draws.between(0, 9) * 10, draws.between(0, 9) * 10
        if old != new:
            deal.touch(moment, "workflow", "Probability", old, new)
            return
    deal.touch(moment, "workflow")


def _add_mass_updates(org: OrgPlan, draws: Draws, deal: DealLife) -> None:
    for number, night in enumerate(org.mass_updates):
        share = 500 + 100 * (number % 5)
        if draws.chance(share):
            deal.touch(night + draws.below(30), "crm_api")


def _add_stray_notes(org: OrgPlan, draws: Draws, deal: DealLife) -> None:
    moment = deal.created
    while moment < deal.active_until:
        moment += draws.between(DAY, 2 * org.knobs.stray_note_days * DAY)
        deal.touch(working_time(draws, moment, org.zone), "crm_ui")


def add_reminders(org: OrgPlan, draws: Draws, deal: DealLife) -> None:
    """Let a workflow touch a deal that nothing changed for too long, once all else is known."""
    days = org.knobs.reminder_days
    if not days:
        return
    moment: int | None = deal.created
    while moment is not None:
        night = night_time(draws, moment + days * DAY, org.zone, org.knobs.automation_hour)
        if night >= WORLD_END:
            return
        last = deal.modified_at(night)
        if deal.forecast_at(night) != "Open":
            moment = deal.next_stage_after(night)
        elif last > moment:
            moment = last
        else:
            moment = night + 20 * MINUTE
            deal.touch(moment, "workflow")
