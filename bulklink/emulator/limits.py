"""Org limits: calls in flight, credits in a rolling window, penalties."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from types import MappingProxyType

import msgspec

from bulklink.emulator.errors import Problem, error_answer
from bulklink.emulator.http import Answer, json_answer
from bulklink.emulator.routing import EndpointKind
from bulklink.emulator.settings import Settings, parse_background_plan
from bulklink.emulator.world import World
from bulklink.zoho.error_codes import Code

REMAINING_HEADER = "X-API-CREDITS-REMAINING"
WINDOW_HEADER = "X-Bulklink-Credit-Window"
"""Length of the credit window in seconds, if not 24 hours; Zoho CRM never sends this header."""
_ZOHOS_WINDOW = 86_400.0
_MAX_PENALTY_SECONDS = 3_600.0
_BUCKETS = 1_440


class _EditionLimits(msgspec.Struct, frozen=True):
    """Limits of an edition; `max_credits` is None for no cap."""

    in_flight: int
    credits: int
    credits_per_user: int = 0
    max_credits: int | None = None


_EDITION_LIMITS = MappingProxyType(
    {
        "free": _EditionLimits(5, 5_000),
        "standard": _EditionLimits(10, 50_000, 250, 100_000),
        "professional": _EditionLimits(15, 50_000, 500, 3_000_000),
        "enterprise": _EditionLimits(20, 50_000, 1_000, 5_000_000),
        "zoho-one": _EditionLimits(20, 50_000, 1_000, 5_000_000),
        "ultimate": _EditionLimits(25, 50_000, 2_000),
        "crm-plus": _EditionLimits(25, 50_000, 2_000),
    }
)


@dataclass(frozen=True, slots=True)
class OrgLimits:
    """Limits of the org; 0 means unlimited.

    Args:
        in_flight: maximum of calls in flight.
        link_in_flight: maximum of link and unlink calls in flight.
        queries_in_flight: maximum of COQL queries in flight.
        credits: credits per window.
        background_plan: calls that other programs keep in flight, as (start second, calls) in
            chronological order.
    """

    in_flight: int
    link_in_flight: int
    queries_in_flight: int
    credits: int
    background_plan: tuple[tuple[float, int], ...] = ((0.0, 0),)

    def background_calls_at(self, seconds: float) -> int:
        """Return how many calls other programs keep in flight `seconds` after the start."""
        return self.background_plan[bisect_right(self.background_plan, (seconds, inf)) - 1][1]


def effective_edition(settings: Settings, world: World) -> str:
    """Return the edition in the settings, or else the edition of the world's licence."""
    if settings.edition:
        return settings.edition
    paid_type = world.org.license_details.paid_type.lower().replace(" ", "-").replace("_", "-")
    return paid_type if paid_type in _EDITION_LIMITS else "enterprise"


def org_limits(settings: Settings, world: World) -> OrgLimits:
    """Return the limits of the org: as set, or else by its edition and number of users."""
    edition = _EDITION_LIMITS[effective_edition(settings, world)]
    uncapped_credits = (
        edition.credits
        + edition.credits_per_user * world.org.license_details.users_license_purchased
    )
    edition_credits = (
        uncapped_credits
        if edition.max_credits is None
        else min(uncapped_credits, edition.max_credits)
    )
    return OrgLimits(
        in_flight=edition.in_flight if settings.concurrency is None else settings.concurrency,
        link_in_flight=settings.link_concurrency,
        queries_in_flight=settings.coql_concurrency,
        credits=edition_credits if settings.credits is None else settings.credits,
        background_plan=parse_background_plan(settings),
    )


def credit_cost(kind: EndpointKind, settings: Settings) -> int:
    """Return the credits that a call costs."""
    if kind in {EndpointKind.LINK, EndpointKind.UNLINK}:
        return settings.link_credits
    return settings.read_credits if kind is EndpointKind.READ else 1


class CreditWindow:
    """Credits used in a rolling window, counted in equal buckets.

    Args:
        window: length of the window in seconds.
        background: credits that other programs use per second.
        start: when those programs started, in seconds since 1970.
    """

    def __init__(self, window: float, background: float, start: float) -> None:
        self._window = window
        self._bucket_seconds = window / _BUCKETS
        self._background = background
        self._start = start
        self._buckets: deque[tuple[int, int]] = deque()
        self._own_credits = 0

    def spend(self, amount: int, now: float) -> None:
        """Record credits used at `now`."""
        bucket = int(now / self._bucket_seconds)
        self._own_credits += amount
        if self._buckets and self._buckets[-1][0] == bucket:
            amount += self._buckets.pop()[1]
        self._buckets.append((bucket, amount))

    def used(self, now: float) -> int:
        """Return the credits that all programs used in the window ending at `now`."""
        self._drop_expired(now)
        background_credits = self._background * min(self._window, max(0.0, now - self._start))
        return self._own_credits + int(background_credits)

    def seconds_until_release(self, now: float) -> float:
        """Return the seconds until the oldest recorded credits leave the window."""
        self._drop_expired(now)
        if not self._buckets:
            return self._bucket_seconds
        return max(0.0, (self._buckets[0][0] + 1) * self._bucket_seconds + self._window - now)

    def _drop_expired(self, now: float) -> None:
        oldest = int((now - self._window) / self._bucket_seconds)
        while self._buckets and self._buckets[0][0] < oldest:
            self._own_credits -= self._buckets.popleft()[1]


class LimitReason(StrEnum):
    """Limit that a call exceeds."""

    IN_FLIGHT = "in-flight"
    CREDITS = "credits"


class Penalty(msgspec.Struct, frozen=True):
    """A period in which all calls are refused.

    Args:
        until: end of the period, in seconds since 1970.
        length: length in seconds; 0 for no penalty.
        reason: the limit exceeded most recently.
    """

    until: float = 0.0
    length: float = 0.0
    reason: LimitReason = LimitReason.IN_FLIGHT


class Load(msgspec.Struct, frozen=True):
    """Load of the org when a call arrives, including that call.

    Args:
        in_flight: calls of all programs.
        link_in_flight: link and unlink calls.
        queries_in_flight: COQL queries.
        credits_used: credits used in the window, without the call.
        credit_cost: credits that the call costs.
    """

    in_flight: int
    link_in_flight: int
    queries_in_flight: int
    credits_used: int
    credit_cost: int


def exceeded_limit(load: Load, limits: OrgLimits) -> LimitReason | None:
    """Return the limit that a call exceeds, or None."""
    if limits.in_flight and load.in_flight > limits.in_flight:
        return LimitReason.IN_FLIGHT
    if limits.link_in_flight and load.link_in_flight > limits.link_in_flight:
        return LimitReason.IN_FLIGHT
    if limits.queries_in_flight and load.queries_in_flight > limits.queries_in_flight:
        return LimitReason.IN_FLIGHT
    if limits.credits and load.credits_used + load.credit_cost > limits.credits:
        return LimitReason.CREDITS
    return None


def is_penalty_active(penalty: Penalty, now: float) -> bool:
    """Return whether a penalty is in force at `now`, including its last moment."""
    return penalty.length > 0 and now <= penalty.until


def extend_penalty(
    penalty: Penalty, reason: LimitReason, now: float, first_length: float
) -> Penalty:
    """Return the penalty after a refusal: `first_length`, or double an active one."""
    if not first_length:
        return penalty
    length = (
        min(2 * penalty.length, _MAX_PENALTY_SECONDS)
        if is_penalty_active(penalty, now)
        else first_length
    )
    return Penalty(now + length, length, reason)


_MESSAGES = {
    LimitReason.CREDITS: "Many requests fired than the allowed limit for the past 24 hours",
    LimitReason.IN_FLIGHT: "Many requests are being processed at the same time",
}
_GENERIC_MESSAGE = "Too many requests"
_STATED_MESSAGE = "Rate limit exceeded. Please retry after the specified time."
_IN_FLIGHT_WINDOW_SECONDS = 1


def too_many_requests_answer(
    reason: LimitReason, retry_seconds: float, settings: Settings, limits: OrgLimits
) -> Answer:
    """Return a 429 with the body, text and headers that the settings choose."""
    text = _MESSAGES[reason] if settings.too_many_text == "told" else _GENERIC_MESSAGE
    wait = max(1, int(retry_seconds + 0.999))
    if settings.too_many_body == "old":
        code = Code.TOO_MANY_REQUESTS.value
        answer = json_answer({"code": 429, "error": code, "error_info": text}, 429)
    elif settings.too_many_body == "stated":
        answer = error_answer(_stated_problem(reason, wait, settings, limits))
    else:
        answer = error_answer(Problem(Code.TOO_MANY_REQUESTS, message=text))
    return (
        answer if settings.retry_after == "off" else _with_header(answer, "Retry-After", f"{wait}")
    )


def _stated_problem(
    reason: LimitReason, wait: int, settings: Settings, limits: OrgLimits
) -> Problem:
    """Return a problem that states the limit, as in the published sample."""
    is_credits = reason is LimitReason.CREDITS
    details = {
        "trace_id": f"{settings.seed:032x}",
        "retry_after": wait,
        "limit": limits.credits if is_credits else limits.in_flight,
        "window": int(settings.credit_window) if is_credits else _IN_FLIGHT_WINDOW_SECONDS,
    }
    return Problem(Code.TOO_MANY_REQUESTS, details, _STATED_MESSAGE)


def _with_header(answer: Answer, name: str, value: str) -> Answer:
    return msgspec.structs.replace(answer, headers={**answer.headers, name: value})


def with_credits_remaining(answer: Answer, credits_used: int, limits: OrgLimits) -> Answer:
    """Add the remaining credits to the headers once half of the credits are used."""
    if not limits.credits or 2 * credits_used < limits.credits:
        return answer
    return _with_header(answer, REMAINING_HEADER, str(max(0, limits.credits - credits_used)))


def with_credit_window(answer: Answer, settings: Settings) -> Answer:
    """Add the length of the credit window to the headers if it differs from Zoho's."""
    if settings.credit_window == _ZOHOS_WINDOW:
        return answer
    return _with_header(answer, WINDOW_HEADER, str(math.ceil(settings.credit_window)))
