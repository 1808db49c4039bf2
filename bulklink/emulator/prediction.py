"""Deal prediction: which deal a received email goes to. A pure function of the contact's deals.

The rules are those of Zoho's announcement of the link calls: one open deal takes the email; of
several, the one modified last; without one, the email goes to no deal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from bulklink.emulator.world import Deal, Stage, parse_timestamp

ForecastType = Literal["Open", "Closed Won", "Closed Lost"]


class DealCandidate(msgspec.Struct, frozen=True):
    """A deal of the contact as it is when the email comes in.

    Args:
        deal_id: the deal.
        forecast_type: of its stage; several stages can be Closed Lost.
        modified_at: seconds since 1970.
    """

    deal_id: str
    forecast_type: ForecastType
    modified_at: float


def predict_deal(
    candidates: Iterable[DealCandidate], mode: Literal["strict", "loose"] = "strict"
) -> str | None:
    """Return the deal that a received email is linked to, or None.

    Args:
        candidates: all deals of the contact.
        mode: `strict` counts as open what is forecast Open; `loose` whatever is not Closed Lost
            (the announcement leaves Closed Won open).
    """
    open_deals = [candidate for candidate in candidates if _is_open(candidate, mode)]
    if not open_deals:
        return None
    # Two deals modified in the same second: the younger, as ids grow.
    return max(
        open_deals, key=lambda candidate: (candidate.modified_at, int(candidate.deal_id))
    ).deal_id


def _is_open(candidate: DealCandidate, mode: str) -> bool:
    if mode == "strict":
        return candidate.forecast_type == "Open"
    return candidate.forecast_type != "Closed Lost"


def deal_candidates(deals: Iterable[Deal], stages: Sequence[Stage]) -> list[DealCandidate]:
    """Read deals by the forecast type of their stage, whichever of its names they carry."""
    forecasts = {stage.display_value: stage.forecast_type for stage in stages}
    forecasts |= {stage.actual_value: stage.forecast_type for stage in stages}
    return [
        DealCandidate(deal.id, forecasts[deal.stage], parse_timestamp(deal.modified_time))
        for deal in deals
    ]
