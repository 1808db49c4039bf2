"""Emails as objects of a world file."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from bulklink.emulator.world import Email, EmailExtras, Participant

_T = TypeVar("_T")
_ID_FIELDS = ("contact_id", "owner_id", "deal_id")
_DETAIL_KEYS = frozenset(EmailExtras.__struct_encode_fields__)


class Interner:
    """Store of values that keeps one of several equal ones, to save memory."""

    def __init__(self) -> None:
        self._values: dict[Any, Any] = {}

    def __call__(self, value: _T) -> _T:
        """Return the first value that was equal to `value`, which must be hashable."""
        stored: _T = self._values.setdefault(value, value)
        return stored


def parse_email(value: object, intern: Interner) -> Email:
    """Return the email that an object of a world file describes.

    Args:
        value: the object.
        intern: keeps one of several equal values.

    Raises:
        msgspec.ValidationError: if the object is not valid.
    """
    if not isinstance(value, dict):
        return msgspec.convert(value, Email)
    for name in _ID_FIELDS:
        if isinstance(text := value.get(name), str):
            value[name] = intern(text)
    email = msgspec.convert(value, Email)
    if _DETAIL_KEYS.isdisjoint(value):
        return email
    details = _intern_details(msgspec.convert(value, EmailExtras), intern)
    if email.received and details.sent_from_deal:
        raise msgspec.ValidationError("the email was received, so it cannot be sent_from_deal")
    return msgspec.structs.replace(email, details=details)


def _intern_details(details: EmailExtras, intern: Interner) -> EmailExtras:
    return msgspec.structs.replace(
        details,
        sender=intern(details.sender),
        to=_intern_people(details.to, intern),
        cc=_intern_people(details.cc, intern),
        source=intern(details.source),
        thread_id=intern(details.thread_id),
    )


def _intern_people(
    people: tuple[Participant, ...] | None, intern: Interner
) -> tuple[Participant, ...] | None:
    return None if people is None else intern(tuple(intern(person) for person in people))


def encode_email(email: Email) -> bytes:
    """Return the JSON of the object that describes `email` in a world file."""
    if isinstance(email.details, msgspec.UnsetType):
        return msgspec.json.encode(email)
    record = msgspec.to_builtins(email)
    return msgspec.json.encode(record | record.pop("details"))
