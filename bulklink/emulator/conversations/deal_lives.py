"""Lives of deals as people plan them: stages, owners, closing, reopening, renewals, roles."""

from __future__ import annotations

from collections.abc import Iterator

from bulklink.emulator.conversations.deal_names import name_deal, name_renewal
from bulklink.emulator.conversations.deal_touches import add_changes
from bulklink.emulator.conversations.deals import DealLife
from bulklink.emulator.conversations.moments import DAY, HOUR, WORLD_END, iso_day, working_time
from bulklink.emulator.conversations.org import OrgPlan, OrgUser
from bulklink.emulator.conversations.people import Company, Correspondent
from bulklink.emulator.conversations.randomness import Draws
from bulklink.emulator.world import Stage

_MAX_DEALS_OF_A_CONTACT = 40


def plan_deals(org: OrgPlan, company: Company, draws: Draws) -> list[DealLife]:
    """Return the deals of a company in order of their creation, without what mail adds to them."""
    deals: list[DealLife] = []
    for person in company.people:
        if person.has_deals:
            deals += _deals_of(org, company, draws, person)
    deals.sort(key=lambda deal: deal.created)
    names: dict[str, list[str]] = {}
    for number, deal in enumerate(deals):
        deal.id = company.record_id(4, number)
        _name(org, company, draws, deal, names.setdefault(deal.person.id, []), number)
        _add_roles(org, company, draws, deal)
        add_changes(org, draws, deal)
    return deals


def _deals_of(
    org: OrgPlan, company: Company, draws: Draws, person: Correspondent
) -> Iterator[DealLife]:
    """Yield the deals of a contact, each followed by its renewals."""
    mean = org.knobs.deals_per_contact
    count = draws.rounded(draws.between(10, 2 * mean - 10), 10)
    for _ in range(min(count, _MAX_DEALS_OF_A_CONTACT)):
        days = (WORLD_END - org.start) // DAY
        moment = org.start + draws.below(days - 5) * DAY + draws.below(DAY)
        created = working_time(draws, moment, org.zone)
        deal: DealLife | None = _begin_deal(org, draws, person, created)
        while deal is not None:
            _plan_life(org, company, draws, deal)
            yield deal
            deal = _renewal_of(org, draws, deal)


def _begin_deal(org: OrgPlan, draws: Draws, person: Correspondent, created: int) -> DealLife:
    second = person.second_account_id
    account_id = second if second and draws.chance(400) else person.account_id
    deal = DealLife(person, account_id, draws.pick(org.products), created)
    if person.duplicate and created < person.duplicate.merged:
        deal.from_duplicate = draws.chance(450)
    return deal


def _renewal_of(org: OrgPlan, draws: Draws, deal: DealLife) -> DealLife | None:
    """Return the deal that renews one which was won, or None."""
    is_renewed = deal.is_won and draws.chance(org.knobs.renewed_deals)
    created = deal.active_until + draws.pick((180, 330, 340, 350, 365)) * DAY
    created = working_time(draws, created + draws.below(10 * DAY), org.zone)
    if not is_renewed or created > WORLD_END - 5 * DAY:
        return None
    renewal = _begin_deal(org, draws, deal.person, created)
    renewal.account_id, renewal.product, renewal.renewal_of = deal.account_id, deal.product, deal
    return renewal


def _plan_life(org: OrgPlan, company: Company, draws: Draws, deal: DealLife) -> None:
    """Plan the stages of a deal from its creation on."""
    length = draws.between(org.knobs.deal_days // 3, org.knobs.deal_days * 2) * DAY
    if deal.renewal_of:
        length //= 2
    deal.owners = [(deal.created, _first_owner(org, company, draws, deal))]
    deal.pipeline = draws.pick(org.pipelines)
    deal.closing_date = iso_day(deal.created + draws.between(20, 2 * org.knobs.deal_days) * DAY)
    stage_number = draws.weighted((0, 1), (4, 1))
    deal.stages = [(deal.created, org.open_stages[stage_number])]
    end = working_time(draws, deal.created + length, org.zone)
    moves = sorted(
        working_time(draws, draws.between(deal.created + HOUR, end), org.zone)
        for _ in range(draws.below(len(org.open_stages) - stage_number))
    )
    for number, moment in enumerate(moves, stage_number + 1):
        if moment < end:
            _move(deal, moment, org.open_stages[number], draws)
    deal.active_until = min(end, WORLD_END)
    if end < WORLD_END:
        _close(org, draws, deal, end)


def _first_owner(org: OrgPlan, company: Company, draws: Draws, deal: DealLife) -> OrgUser:
    if deal.renewal_of:
        return deal.renewal_of.owner_at(deal.created)
    return draws.weighted(company.users, (6, 2, 1)[: len(company.users)])


def _move(deal: DealLife, moment: int, stage: Stage, draws: Draws) -> None:
    """Plan a change of stage, which `add_changes` writes into the history."""
    last_moment, last_stage = deal.stages[-1]
    if last_moment < moment < WORLD_END and stage != last_stage:
        deal.stages.append((moment, stage))


def _close(org: OrgPlan, draws: Draws, deal: DealLife, moment: int) -> None:
    """Win or lose a deal, or forget it; open it once more and close it again."""
    knobs = org.knobs
    outcome = draws.weighted(
        ("won", "lost", "open"),
        (knobs.won_deals, knobs.lost_deals, 1_000 - knobs.won_deals - knobs.lost_deals),
    )
    if outcome == "open":
        return
    if draws.chance(knobs.reopened_deals):
        _move(deal, moment, draws.pick((org.won_stage, *org.lost_stages)), draws)
        moment = working_time(draws, moment + draws.between(3, 60) * DAY, org.zone)
        _move(deal, moment, org.open_stages[-1], draws)
        moment = working_time(draws, moment + draws.between(5, 60) * DAY, org.zone)
        deal.active_until = min(moment, WORLD_END)
    _move(deal, moment, org.won_stage if outcome == "won" else draws.pick(org.lost_stages), draws)
    deal.closed = deal.stages[-1][1].forecast_type != "Open"
    deal.is_won = deal.stages[-1][1] == org.won_stage


def _name(
    org: OrgPlan,
    company: Company,
    draws: Draws,
    deal: DealLife,
    earlier_names: list[str],
    number: int,
) -> None:
    """Give a deal its number and its name."""
    if draws.chance(org.knobs.numbered_deals):
        deal.number = org.deal_number(company.number * 60 + number)
    deal.name = (
        name_renewal(org, draws, deal.renewal_of.name, deal.created)
        if deal.renewal_of
        else name_deal(
            org,
            company,
            draws,
            product=deal.product,
            number=deal.number,
            created=deal.created,
            earlier_names=earlier_names,
        )
    )
    earlier_names.append(deal.name)


def _add_roles(org: OrgPlan, company: Company, draws: Draws, deal: DealLife) -> None:
    others = [person for person in company.people if person.id != deal.person.id]
    others = [person for person in others if not person.is_program]
    if others and draws.chance(org.knobs.deals_with_roles):
        first = draws.below(len(others))
        count = min(draws.between(1, 2), len(others))
        deal.role_ids = tuple(others[(first + n) % len(others)].id for n in range(count))
