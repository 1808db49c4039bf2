"""The limits of an org: calls in flight, credits in a rolling window, penalties."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from types import MappingProxyType

import msgspec

from bulklink.emulator.calls import Kind
from bulklink.emulator.errors import Problem, refusal
from bulklink.emulator.settings import Settings, background_calls
from bulklink.emulator.wire import Answer, json_answer
from bulklink.emulator.world import World
from bulklink.zoho.error_codes import Code

REMAINING_HEADER = "X-API-CREDITS-REMAINING"
_LONGEST_PENALTY = 3_600.0
_BUCKETS = 1_440


class _Plan(msgspec.Struct, frozen=True):
    """What an edition allows; `most` None for no cap."""

    in_flight: int
    credits: int
    credits_a_user: int = 0
    most: int | None = None


_PLANS = MappingProxyType(
    {
        "free": _Plan(5, 5_000),
        "standard": _Plan(10, 50_000, 250, 100_000),
        "professional": _Plan(15, 50_000, 500, 3_000_000),
        "enterprise": _Plan(20, 50_000, 1_000, 5_000_000),
        "zoho-one": _Plan(20, 50_000, 1_000, 5_000_000),
        "ultimate": _Plan(25, 50_000, 2_000),
        "crm-plus": _Plan(25, 50_000, 2_000),
    }
)


@dataclass(frozen=True, slots=True)
class Caps:
    """What the org may do; 0 stands for any number.

    `background` tells from which second on other programs keep how many calls in flight.
    """

    in_flight: int
    link_in_flight: int
    credits: int
    background: tuple[tuple[float, int], ...] = ((0.0, 0),)

    def others_at(self, seconds: float) -> int:
        """Return the calls that other programs keep in flight so long after the start."""
        return self.background[bisect_right(self.background, (seconds, inf)) - 1][1]


def edition_of(settings: Settings, world: World) -> str:
    """Return the edition, as the settings or else the world's licence say it."""
    if settings.edition:
        return settings.edition
    told = world.org.license_details.paid_type.lower().replace(" ", "-").replace("_", "-")
    return told if told in _PLANS else "enterprise"


def caps_of(settings: Settings, world: World) -> Caps:
    """Return the limits of the org: those set, else those of its edition and users."""
    plan = _PLANS[edition_of(settings, world)]
    total = plan.credits + plan.credits_a_user * world.org.license_details.users_license_purchased
    by_edition = total if plan.most is None else min(total, plan.most)
    return Caps(
        in_flight=plan.in_flight if settings.concurrency is None else settings.concurrency,
        link_in_flight=settings.link_concurrency,
        credits=by_edition if settings.credits is None else settings.credits,
        background=background_calls(settings),
    )


def price(kind: Kind, settings: Settings) -> int:
    """Return the credits that a call costs."""
    if kind in {Kind.LINK, Kind.UNLINK}:
        return settings.link_credits
    return settings.read_credits if kind is Kind.READ else 1


class CreditsUsed:
    """Credits used in a rolling window, counted in so many equal parts of it.

    Args:
        window: seconds.
        background: credits a second that others use.
        start: when the others began.
    """

    def __init__(self, window: float, background: float, start: float) -> None:
        self._window = window
        self._part = window / _BUCKETS
        self._background = background
        self._start = start
        self._parts: deque[tuple[int, int]] = deque()
        self._own = 0

    def spend(self, amount: int, now: float) -> None:
        """Count credits used now."""
        part = int(now / self._part)
        self._own += amount
        if self._parts and self._parts[-1][0] == part:
            amount += self._parts.pop()[1]
        self._parts.append((part, amount))

    def used(self, now: float) -> int:
        """Return the credits used in the window that ends now, by everybody."""
        self._forget(now)
        others = self._background * min(self._window, max(0.0, now - self._start))
        return self._own + int(others)

    def until_next(self, now: float) -> float:
        """Return the seconds until the oldest own credits come back."""
        self._forget(now)
        if not self._parts:
            return self._part
        return max(0.0, (self._parts[0][0] + 1) * self._part + self._window - now)

    def _forget(self, now: float) -> None:
        oldest = int((now - self._window) / self._part)
        while self._parts and self._parts[0][0] < oldest:
            self._own -= self._parts.popleft()[1]


class Reason(StrEnum):
    """Why a call was one too many."""

    IN_FLIGHT = "in-flight"
    CREDITS = "credits"


class Penalty(msgspec.Struct, frozen=True):
    """All calls are refused until then; `length` is the last length of it, in seconds."""

    until: float = 0.0
    length: float = 0.0
    reason: Reason = Reason.IN_FLIGHT


class Load(msgspec.Struct, frozen=True):
    """What is going on as a call comes in, the call itself included.

    Args:
        in_flight: calls of all programs.
        link_in_flight: link and unlink calls.
        used: credits used in the window.
        price: credits that the call costs.
    """

    in_flight: int
    link_in_flight: int
    used: int
    price: int


def too_many(load: Load, caps: Caps) -> Reason | None:
    """Tell why a call is one too many, or None where it is not."""
    if caps.in_flight and load.in_flight > caps.in_flight:
        return Reason.IN_FLIGHT
    if caps.link_in_flight and load.link_in_flight > caps.link_in_flight:
        return Reason.IN_FLIGHT
    if caps.credits and load.used + load.price > caps.credits:
        return Reason.CREDITS
    return None


def is_barred(penalty: Penalty, now: float) -> bool:
    """Tell whether a penalty still holds; at its very end it does."""
    return penalty.length > 0 and now <= penalty.until


def lengthened(penalty: Penalty, reason: Reason, now: float, base: float) -> Penalty:
    """Return the penalty after one more refusal: a first one, or twice the last."""
    if not base:
        return penalty
    length = min(2 * penalty.length, _LONGEST_PENALTY) if is_barred(penalty, now) else base
    return Penalty(now + length, length, reason)


_TEXTS = {
    Reason.CREDITS: "Many requests fired than the allowed limit for the past 24 hours",
    Reason.IN_FLIGHT: "Many requests are being processed at the same time",
}
_SAME_TEXT = "Too many requests"


def too_many_answer(reason: Reason, wait: float, settings: Settings) -> Answer:
    """Make a 429 in the shape, with the words and the headers of the settings."""
    text = _TEXTS[reason] if settings.too_many_text == "told" else _SAME_TEXT
    if settings.too_many_body == "old":
        code = Code.TOO_MANY_REQUESTS.value
        answer = json_answer({"code": 429, "error": code, "error_info": text}, 429)
    else:
        answer = refusal(Problem(Code.TOO_MANY_REQUESTS, message=text))
    if settings.retry_after == "off":
        return answer
    return with_header(answer, "Retry-After", str(max(1, int(wait + 0.999))))


def with_header(answer: Answer, name: str, value: str) -> Answer:
    """Return the answer with one header more."""
    return msgspec.structs.replace(answer, headers={**answer.headers, name: value})


def with_remaining(answer: Answer, used: int, caps: Caps) -> Answer:
    """Return the answer with the credits left, once half of them are used."""
    if not caps.credits or 2 * used < caps.credits:
        return answer
    return with_header(answer, REMAINING_HEADER, str(max(0, caps.credits - used)))
