"""Faults on order: which call they hit is decided by a seed, so that a run can be repeated."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import msgspec

from bulklink.emulator.routing import EndpointKind
from bulklink.zoho.error_codes import Code


class FaultKind(StrEnum):
    """What a fault does; a code of the pages in capitals is a kind as well."""

    LOST_REQUEST = "lost-request"
    """The connection ends, nothing is changed."""
    LOST_ANSWER = "lost-answer"
    """The call is carried out, then the connection ends."""
    LATE = "late"
    """The connection ends at once, the call is carried out some seconds later."""
    INTERNAL_ERROR = "500"
    INTERNAL_ERROR_APPLIED = "500-applied"
    BAD_GATEWAY = "502"
    UNAVAILABLE = "503"
    HTML = "html"
    """An HTML page under HTTP 500, nothing is changed."""
    HTML_OK = "html-200"
    """An HTML page under HTTP 200, nothing is changed."""
    EMPTY = "empty"
    """The call is carried out; the answer is HTTP 200 without a body."""
    TRUNCATED = "truncated"
    """The call is carried out; its JSON ends in the middle."""
    CUT = "cut"
    """The call is carried out; the connection ends in the middle of the body."""
    SLOW = "slow"
    """The call is carried out and answered some seconds later."""
    STALLED = "stalled"
    """The call is carried out; the answer does not come for a long time, then never."""
    STALE = "stale"
    """A read shows the links as they were some seconds ago."""
    HIDDEN = "hidden"
    """The list does not show a share of the emails."""
    EDITED = "edited"
    """Before the call, somebody else moves one email of the same contact."""
    IGNORED = "ignored"
    """A link or unlink is answered as if it were carried out; nothing is changed."""


DEFAULT_DURATIONS = {
    FaultKind.LATE: 5.0,
    FaultKind.SLOW: 2.0,
    FaultKind.STALLED: 600.0,
    FaultKind.STALE: 5.0,
}
_FAULT_OPS = (
    EndpointKind.LINK,
    EndpointKind.UNLINK,
    EndpointKind.READ,
    EndpointKind.LOOKUP,
    EndpointKind.TOKEN,
)
_CODES = frozenset(code.value for code in Code if code is not Code.SUCCESS)


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A fault on order.

    Args:
        kind: a `FaultKind`, or a code such as NO_PERMISSION.
        op: the kind of call: link, unlink, read, lookup, token; None for all but token.
        share: of the calls that match, or, for `hidden`, of the emails.
        count: how often at most; None for always.
        contact_id: only calls of this contact.
        seed: decides which calls of the share are hit.
        seconds: of those kinds that wait.
    """

    kind: str
    op: str | None = None
    share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    count: Annotated[int, msgspec.Meta(ge=1)] | None = None
    contact_id: str | None = None
    seed: int = 1
    seconds: Annotated[float, msgspec.Meta(ge=0, le=86_400)] | None = None

    def __post_init__(self) -> None:
        if self.kind not in list(FaultKind) and self.kind not in _CODES:
            kinds = ", ".join(FaultKind)
            raise ValueError(f"there is no fault {self.kind!r}; there are {kinds} and the codes")
        if self.op is not None and self.op not in list(_FAULT_OPS):
            raise ValueError(f"op must be one of {', '.join(_FAULT_OPS)}, not {self.op!r}")
        if self.seconds is not None and self.kind not in DEFAULT_DURATIONS:
            raise ValueError(f"a fault of kind {self.kind} takes no seconds")
        if self.kind == FaultKind.HIDDEN and self.count is not None:
            raise ValueError("hidden takes no count: its share is of the emails")

    @property
    def duration(self) -> float:
        """Seconds that a fault that waits waits."""
        if self.seconds is not None:
            return self.seconds
        return DEFAULT_DURATIONS.get(FaultKind(self.kind), 0.0)


class FaultError(ValueError):
    """Raised when a fault on order cannot be understood."""


def fault_from_object(value: object) -> Fault:
    """Read a fault from the object that `POST /_emulator/faults` takes.

    Raises:
        FaultError: where it is not one.
    """
    try:
        return msgspec.convert(value, Fault)
    except msgspec.ValidationError as error:
        raise FaultError(str(error)) from None


def parse_fault(text: str) -> Fault:
    """Read a fault from the option's text, as `lost-answer,op=link,share=0.1`.

    Raises:
        FaultError: where it is not one.
    """
    kind_text, *fields = (field.strip() for field in text.split(","))
    values: dict[str, str] = {"kind": kind_text.removeprefix("kind=")}
    for field in fields:
        name, separator, value = field.partition("=")
        if not separator:
            raise FaultError(f"{field!r} is not of the form name=value")
        values[name] = value
    try:
        return msgspec.convert(values, Fault, strict=False)
    except msgspec.ValidationError as error:
        raise FaultError(str(error)) from None


def seeded_fraction(seed: int, key: str) -> float:
    """Return a number from 0 to below 1 that `seed` and `key` alone decide."""
    digest = hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=7).digest()
    return int.from_bytes(digest) / (1 << 56)


def should_fire(fault: Fault, match_index: int, fired_count: int) -> bool:
    """Tell whether a fault hits the call that it matches as number `match_index`, from 0."""
    if fault.count is not None and fired_count >= fault.count:
        return False
    return fault.share >= 1 or seeded_fraction(fault.seed, str(match_index)) < fault.share


def matches(fault: Fault, kind: EndpointKind, contact_id: str) -> bool:
    """Tell whether a fault is meant for such a call."""
    if fault.op is None and kind is EndpointKind.TOKEN:
        return False
    if fault.op is not None and fault.op != kind.value:
        return False
    return fault.contact_id is None or fault.contact_id == contact_id


def is_hidden(fault: Fault, message_id: str) -> bool:
    """Tell whether a `hidden` fault keeps an email from the list."""
    return seeded_fraction(fault.seed, message_id) < fault.share


class FaultRegistry:
    """The faults on order and how often each has met and hit a call."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._faults = list(faults)
        self._match_counts = [0] * len(self._faults)
        self._fired_counts = [0] * len(self._faults)

    def add(self, fault: Fault) -> None:
        """Order one more."""
        self._faults.append(fault)
        self._match_counts.append(0)
        self._fired_counts.append(0)

    def clear(self) -> None:
        """Cancel all."""
        self._faults, self._match_counts, self._fired_counts = [], [], []

    def fire(self, kind: EndpointKind, contact_id: str) -> list[Fault]:
        """Return the faults that hit a call, in the order in which they were given."""
        if not self._faults:
            return []
        return [
            fault
            for index, fault in enumerate(self._faults)
            if matches(fault, kind, contact_id) and self._should_fire(index)
        ]

    def _should_fire(self, index: int) -> bool:
        fault = self._faults[index]
        match_index = self._match_counts[index]
        self._match_counts[index] += 1
        fires = fault.kind == FaultKind.HIDDEN or should_fire(
            fault, match_index, self._fired_counts[index]
        )
        self._fired_counts[index] += fires
        return fires

    def as_dicts(self) -> list[dict[str, object]]:
        """Return the faults with their counts, for a person to read."""
        return [
            msgspec.to_builtins(fault) | {"met": match_count, "fired": fired_count}
            for fault, match_count, fired_count in zip(
                self._faults, self._match_counts, self._fired_counts, strict=True
            )
        ]
