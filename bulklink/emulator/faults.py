"""Injected faults; a seed determines which calls they hit, so a run is repeatable."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from bulklink.emulator.routing import EndpointKind
from bulklink.zoho.error_codes import Code


class FaultKind(StrEnum):
    """Effect of a fault; Zoho's error codes, in capitals, are kinds too."""

    LOST_REQUEST = "lost-request"
    """The connection is closed; the call is not executed."""
    LOST_ANSWER = "lost-answer"
    """The call is executed, then the connection is closed."""
    LATE = "late"
    """The connection is closed at once; the call is executed some seconds later."""
    INTERNAL_ERROR = "500"
    INTERNAL_ERROR_APPLIED = "500-applied"
    BAD_GATEWAY = "502"
    UNAVAILABLE = "503"
    HTML = "html"
    """The answer is an HTML page with HTTP 500; the call is not executed."""
    HTML_OK = "html-200"
    """The answer is an HTML page with HTTP 200; the call is not executed."""
    EMPTY = "empty"
    """The call is executed; the answer is HTTP 200 without a body."""
    TRUNCATED = "truncated"
    """The call is executed; the JSON of the answer stops halfway."""
    CUT = "cut"
    """The call is executed; the connection is closed halfway through the body."""
    SLOW = "slow"
    """The call is executed and answered some seconds later."""
    STALLED = "stalled"
    """The call is executed; after a long wait the connection is closed without an answer."""
    STALE = "stale"
    """A read shows the links as they were some seconds ago."""
    HIDDEN = "hidden"
    """The list omits a share of the emails."""
    EDITED = "edited"
    """Before the call, another user moves one email of the same contact."""
    IGNORED = "ignored"
    """A link or unlink is answered as if executed, but nothing changes."""


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
_EXPECTED = {
    "share": "a number from 0 to 1",
    "count": "a whole number of at least 1",
    "seed": "a whole number",
    "seconds": "a number from 0 to 86,400",
}
_QUOTED = re.compile(r"`([^`]*)`")
_CODES = frozenset(code.value for code in Code if code is not Code.SUCCESS)


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An injected fault.

    Args:
        kind: a `FaultKind`, or a code such as NO_PERMISSION.
        op: the kind of call (link, unlink, read, lookup or token); None for all except token.
        share: share of the matching calls that are hit or, for `hidden`, of the emails.
        count: maximum number of hits; None for no maximum.
        contact_id: hit only calls for this contact; None for all contacts.
        seed: determines which of the matching calls are hit.
        seconds: duration of a fault that waits; None for the default of its kind.
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
        """Duration in seconds; 0 if the fault does not wait."""
        if self.seconds is not None:
            return self.seconds
        return DEFAULT_DURATIONS.get(FaultKind(self.kind), 0.0)


class FaultError(ValueError):
    """Raised when a fault is not valid."""


def fault_from_object(value: object) -> Fault:
    """Parse a fault from an object sent to `POST /_emulator/faults`.

    Raises:
        FaultError: if it is not valid.
    """
    try:
        return msgspec.convert(value, Fault)
    except msgspec.ValidationError as error:
        values = value if isinstance(value, dict) else {}
        raise FaultError(_describe_error(str(error), values)) from None


def parse_fault(text: str) -> Fault:
    """Parse a fault from option text such as `lost-answer,op=link,share=0.1`.

    Raises:
        FaultError: if it is not valid.
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
        raise FaultError(_describe_error(str(error), values)) from None


def _describe_error(text: str, values: Mapping[str, Any]) -> str:
    """Return what is wrong with a fault, from msgspec's error text."""
    names = _QUOTED.findall(text)
    name = names[-1].removeprefix("$.") if names else ""
    if "unknown field" in text:
        return f"{name!r} is not known; the names are {', '.join(Fault.__struct_fields__)}"
    if name in _EXPECTED:
        return f"{name} must be {_EXPECTED[name]}, not {values.get(name)!r}"
    return text


def seeded_fraction(seed: int, key: str) -> float:
    """Return a number in [0, 1) determined by `seed` and `key` alone."""
    digest = hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=7).digest()
    return int.from_bytes(digest) / (1 << 56)


def should_fire(fault: Fault, match_index: int, fired_count: int) -> bool:
    """Return whether a fault hits matching call number `match_index`, counted from 0.

    A `hidden` fault hits every matching call, as its share applies to emails instead.
    """
    if fault.kind == FaultKind.HIDDEN:
        return True
    if fault.count is not None and fired_count >= fault.count:
        return False
    return fault.share >= 1 or seeded_fraction(fault.seed, str(match_index)) < fault.share


def matches(fault: Fault, kind: EndpointKind, contact_id: str) -> bool:
    """Return whether a fault can hit a call of this kind for this contact."""
    if fault.op is None and kind is EndpointKind.TOKEN:
        return False
    if fault.op is not None and fault.op != kind.value:
        return False
    return fault.contact_id is None or fault.contact_id == contact_id


def is_hidden(fault: Fault, message_id: str) -> bool:
    """Return whether a `hidden` fault omits an email from the list."""
    return seeded_fraction(fault.seed, message_id) < fault.share


@dataclass(slots=True)
class _ActiveFault:
    """A fault, with the number of calls it has matched and hit."""

    fault: Fault
    match_count: int = 0
    fired_count: int = 0

    def register_match(self) -> bool:
        """Count a matching call; return whether the fault hits it."""
        fires = should_fire(self.fault, self.match_count, self.fired_count)
        self.match_count += 1
        self.fired_count += fires
        return fires


class FaultRegistry:
    """Active faults, with the number of calls each has matched and hit."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._active_faults = [_ActiveFault(fault) for fault in faults]

    def add(self, fault: Fault) -> None:
        """Add a fault."""
        self._active_faults.append(_ActiveFault(fault))

    def clear(self) -> None:
        """Remove all faults."""
        self._active_faults.clear()

    def fire(self, kind: EndpointKind, contact_id: str) -> list[Fault]:
        """Return the faults that hit a call, in the order in which they were added."""
        return [
            active.fault
            for active in self._active_faults
            if matches(active.fault, kind, contact_id) and active.register_match()
        ]

    def as_dicts(self) -> list[dict[str, object]]:
        """Return the faults and their counts."""
        return [
            msgspec.to_builtins(active.fault)
            | {"met": active.match_count, "fired": active.fired_count}
            for active in self._active_faults
        ]
