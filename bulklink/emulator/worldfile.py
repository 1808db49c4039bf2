"""Makes a world of a world file, piece by piece, with readable errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from bulklink.emulator.jsonstream import BrokenJsonError, Piece, pieces
from bulklink.emulator.world import (
    DEFAULT_STAGES,
    Contact,
    Deal,
    Email,
    Id,
    Mailbox,
    Org,
    Stage,
    User,
    World,
    mailbox_of,
    moment,
)

_T = TypeVar("_T")
_Named = TypeVar("_Named", User, Contact, Deal)
_LISTS = ("users", "contacts", "deals", "emails", "stages")
_SHARED_IDS = ("contact_id", "owner_id", "deal_id")


class WorldError(ValueError):
    """Raised when a world cannot be made; says which part of it is wrong."""


def load_world(path: Path) -> World:
    """Read the world file at `path`.

    Raises:
        WorldError: where it cannot be read, is no JSON, or does not fit together.
    """
    try:
        with path.open(encoding="utf-8-sig") as source:
            return world_of(pieces(source))
    except OSError as error:
        raise WorldError(f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise WorldError("is not UTF-8 text") from None
    except BrokenJsonError as error:
        raise WorldError(f"is not valid JSON, {error}") from None


def world_from(document: Mapping[str, object]) -> World:
    """Make a world of the same object that a world file holds.

    Raises:
        WorldError: where it does not fit together.
    """
    return world_of(_pieces_of(document))


def _pieces_of(document: Mapping[str, object]) -> Iterator[Piece]:
    for key, value in document.items():
        if isinstance(value, list):
            yield from (Piece(key, index, item) for index, item in enumerate(value))
        else:
            yield Piece(key, None, value)


def world_of(parts: Iterable[Piece]) -> World:
    """Make a world of its pieces, in whatever order they come.

    Raises:
        WorldError: where a piece is wrong or points to something that does not exist.
    """
    draft = _Draft()
    for piece in parts:
        draft.add(piece)
    return draft.finish()


class _Draft:
    """A world of which not all pieces have come yet."""

    def __init__(self) -> None:
        self._module_id = ""
        self._org = Org()
        self._stages: list[Stage] = []
        self._users: dict[str, User] = {}
        self._contacts: dict[str, Contact] = {}
        self._deals: dict[str, Deal] = {}
        self._emails: dict[str, list[Email]] = {}
        self._ids: dict[str, str] = {}

    def add(self, piece: Piece) -> None:
        where = piece.key if piece.index is None else f"{piece.key}[{piece.index}]"
        if (piece.key in _LISTS) != (piece.index is not None):
            raise WorldError(f"{where} must {'' if piece.key in _LISTS else 'not '}be a list")
        match piece.key:
            case "module_id":
                self._module_id = _read(piece.value, Id, where)
            case "org":
                self._org = _read(piece.value, Org, where)
            case "stages":
                self._stages.append(_read(piece.value, Stage, where))
            case "users":
                _keep(self._users, _read(piece.value, User, where), where)
            case "contacts":
                _keep(self._contacts, _read(piece.value, Contact, where), where)
            case "deals":
                _keep(self._deals, _read(piece.value, Deal, where), where)
            case "emails":
                self._add_email(piece.value, where)
            case _:
                raise WorldError(
                    f"{where} is not known; known are module_id, org, stages, "
                    "users, contacts, deals, emails"
                )

    def _add_email(self, value: object, where: str) -> None:
        if isinstance(value, dict):
            for name in _SHARED_IDS:
                if isinstance(text := value.get(name), str):
                    value[name] = self._ids.setdefault(text, text)
        email = _read(value, Email, where)
        self._emails.setdefault(email.contact_id, []).append(email)

    def finish(self) -> World:
        if not self._module_id:
            raise WorldError("module_id is missing: the id of the Deals module, in digits")
        stages = tuple(self._stages) or DEFAULT_STAGES
        self._check_deals({name for s in stages for name in (s.actual_value, s.display_value)})
        return World(
            module_id=self._module_id,
            org=self._org,
            stages=stages,
            users=self._users,
            contacts=self._contacts,
            deals=self._deals,
            deals_of=self._deals_by_contact(),
            mailboxes=self._mailboxes(),
        )

    def _check_deals(self, stage_names: set[str]) -> None:
        for deal in self._deals.values():
            where = f"the deal {deal.id}"
            _exists(deal.contact_id, self._contacts, "contact", where)
            if deal.stage not in stage_names:
                raise WorldError(f"{where} is in stage {deal.stage!r}, which is not in stages")
            _check_time(deal.created_time, where)
            _check_time(deal.modified_time, where)

    def _deals_by_contact(self) -> dict[str, tuple[Deal, ...]]:
        groups: dict[str, list[Deal]] = {}
        for deal in self._deals.values():
            groups.setdefault(deal.contact_id, []).append(deal)
        return {contact_id: tuple(deals) for contact_id, deals in groups.items()}

    def _mailboxes(self) -> dict[str, Mailbox]:
        made: dict[str, Mailbox] = {}
        for contact_id in list(self._emails):
            emails = self._emails.pop(contact_id)
            for email in emails:
                self._check_email(email)
            made[contact_id] = mailbox = mailbox_of(emails)
            if len(mailbox.by_id) != len(emails):
                raise WorldError(f"the contact {contact_id} has two emails of one message_id")
        return made

    def _check_email(self, email: Email) -> None:
        where = f"the email {email.message_id}"
        _exists(email.contact_id, self._contacts, "contact", where)
        _exists(email.owner_id, self._users, "user", where)
        if email.deal_id is not None:
            _exists(email.deal_id, self._deals, "deal", where)
        _check_time(email.time, where)


def _read(value: object, kind: type[_T], where: str) -> _T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise WorldError(f"{where}: {error}") from None


def _keep(shelf: dict[str, _Named], thing: _Named, where: str) -> None:
    if thing.id in shelf:
        raise WorldError(f"{where}: the id {thing.id} is there twice")
    shelf[thing.id] = thing


def _exists(wanted: str, shelf: Mapping[str, object], noun: str, where: str) -> None:
    if wanted not in shelf:
        raise WorldError(f"{where} names the {noun} {wanted}, which is not in the world")


def _check_time(text: str, where: str) -> None:
    try:
        moment(text)
    except ValueError as error:
        raise WorldError(f"{where}: {error}") from None
