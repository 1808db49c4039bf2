"""Deal prediction: the deal that a received email is linked to.

By Zoho's announcement of the link calls, this is the contact's open deal that was modified last;
without an open deal, the email is not linked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from bulklink.emulator.settings import PredictionMode
from bulklink.emulator.world import Deal, ForecastType, Stage, parse_timestamp


class DealCandidate(msgspec.Struct, frozen=True):
    """A deal of the contact when the email arrives.

    Args:
        deal_id: the deal.
        forecast_type: forecast type of its stage; several stages can be Closed Lost.
        modified_at: seconds since 1970.
    """

    deal_id: str
    forecast_type: ForecastType
    modified_at: float


def predict_deal(
    candidates: Iterable[DealCandidate], mode: PredictionMode = "strict"
) -> str | None:
    """Return the deal that a received email is linked to, or None.

    Args:
        candidates: all deals of the contact.
        mode: which deals count as open: only those forecast Open (`strict`), or all but Closed
            Lost (`loose`), as the announcement does not mention Closed Won.
    """
    open_deals = [candidate for candidate in candidates if _is_open(candidate, mode)]
    if not open_deals:
        return None
    # Ids increase, so among deals modified in the same second the newest is chosen.
    return max(
        open_deals, key=lambda candidate: (candidate.modified_at, int(candidate.deal_id))
    ).deal_id


def _is_open(candidate: DealCandidate, mode: PredictionMode) -> bool:
    if mode == "strict":
        return candidate.forecast_type == "Open"
    return candidate.forecast_type != "Closed Lost"


def deal_candidates(deals: Iterable[Deal], stages: Sequence[Stage]) -> list[DealCandidate]:
    """Return deals with the forecast type of their stage, which may go by either of its names."""
    forecasts = {stage.display_value: stage.forecast_type for stage in stages}
    forecasts |= {stage.actual_value: stage.forecast_type for stage in stages}
    return [
        DealCandidate(deal.id, forecasts[deal.stage], parse_timestamp(deal.modified_time))
        for deal in deals
    ]
