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
            Lost (`loose`), as the announcement does not mention Closed Won. By
            `last-modified-first`, the deal modified last is chosen before anything is asked about
            its stage; if it is Closed Lost, the email is not linked.
    """
    if mode == "last-modified-first":
        last = _last_modified(candidates)
        return last.deal_id if last and _is_open(last, "loose") else None
    open_deal = _last_modified(candidate for candidate in candidates if _is_open(candidate, mode))
    return open_deal.deal_id if open_deal else None


def _last_modified(candidates: Iterable[DealCandidate]) -> DealCandidate | None:
    """Return the candidate that was modified last; of several, the one with the highest id.

    Ids increase, so among deals modified in the same second this is the newest.
    """
    return max(
        candidates,
        key=lambda candidate: (candidate.modified_at, int(candidate.deal_id)),
        default=None,
    )


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
