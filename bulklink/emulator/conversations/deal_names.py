"""Names of the deals of a synthetic org."""

from __future__ import annotations

from collections.abc import Sequence

from bulklink.emulator.conversations.moments import year_of
from bulklink.emulator.conversations.org import OrgPlan
from bulklink.emulator.conversations.people import Company
from bulklink.emulator.conversations.randomness import Draws

_STYLES = 7


def name_deal(
    org: OrgPlan,
    company: Company,
    draws: Draws,
    *,
    product: str,
    number: str | None,
    created: int,
    earlier_names: Sequence[str],
) -> str:
    """Return the name of a deal.

    Args:
        org: the org.
        company: the company it is for.
        draws: where randomness comes from.
        product: what it is about.
        number: its number, or None.
        created: when it was created.
        earlier_names: names of other deals of its contact, which orgs give more than once.
    """
    is_equal, is_odd = draws.chance(org.knobs.equal_names), draws.chance(org.knobs.odd_names)
    style = draws.below(_STYLES) if is_odd else org.knobs.name_style
    site = draws.pick(company.language.sites)
    if is_equal and earlier_names:
        return draws.pick(earlier_names)
    names = (
        f"{product} {company.stem}",
        f"{company.stem} - {product}",
        f"{product} {site}",
        f"{product} {year_of(created)}",
        company.names[0],
        product,
        f"{number or company.stem} {product}",
    )
    return names[style]


def name_renewal(org: OrgPlan, draws: Draws, name: str, created: int) -> str:
    """Return the name of the renewal of a deal."""
    renewal = org.language.renewal
    if str(year_of(created) - 1) in name:
        return name.replace(str(year_of(created) - 1), str(year_of(created)))
    return draws.weighted(
        (name, f"{name} {year_of(created)}", f"{name} {renewal}", f"{renewal} {name}"),
        (25, 35, 25, 15),
    )
