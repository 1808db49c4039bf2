"""Parser of world files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from bulklink.emulator.deal_records import actual_stages, parse_deal, stage_problem
from bulklink.emulator.email_records import Interner, parse_email
from bulklink.emulator.jsonstream import BrokenJsonError, JsonMember, iter_members
from bulklink.emulator.world import (
    DEFAULT_STAGES,
    Account,
    Contact,
    Deal,
    Email,
    Id,
    Mailbox,
    Org,
    Stage,
    User,
    World,
    build_mailbox,
    parse_timestamp,
)

_T = TypeVar("_T")
_Identified = TypeVar("_Identified", User, Account, Contact, Deal)
_LIST_KEYS = ("users", "accounts", "contacts", "deals", "emails", "stages")


class WorldError(ValueError):
    """Raised when a world is not valid; the message names the invalid part."""


def load_world(path: Path) -> World:
    """Read the world file at `path`.

    Raises:
        WorldError: if the file cannot be read or is not JSON, or the world is not valid.
    """
    try:
        with path.open(encoding="utf-8-sig") as source:
            return build_world(iter_members(source))
    except OSError as error:
        raise WorldError(f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise WorldError("is not UTF-8 text") from None
    except BrokenJsonError as error:
        raise WorldError(f"is not valid JSON, {error}") from None


def parse_world(document: Mapping[str, object]) -> World:
    """Return the world described by the object of a world file.

    Raises:
        WorldError: if the world is not valid.
    """
    return build_world(_document_members(document))


def _document_members(document: Mapping[str, object]) -> Iterator[JsonMember]:
    for key, value in document.items():
        if isinstance(value, list):
            yield from (JsonMember(key, index, item) for index, item in enumerate(value))
        else:
            yield JsonMember(key, None, value)


def build_world(members: Iterable[JsonMember]) -> World:
    """Return the world described by the members of a world file, in any order.

    Raises:
        WorldError: if a member is wrong or refers to something that does not exist.
    """
    builder = _WorldBuilder()
    for member in members:
        builder.add(member)
    return builder.build()


@dataclass(slots=True)
class _WorldBuilder:
    """A world under construction."""

    _module_id: str = ""
    _org: Org = field(default_factory=Org)
    _stages: list[Stage] = field(default_factory=list)
    _users: dict[str, User] = field(default_factory=dict)
    _accounts: dict[str, Account] = field(default_factory=dict)
    _contacts: dict[str, Contact] = field(default_factory=dict)
    _deals: dict[str, Deal] = field(default_factory=dict)
    _emails: dict[str, list[Email]] = field(default_factory=dict)
    _intern: Interner = field(default_factory=Interner)

    def add(self, member: JsonMember) -> None:
        where = member.key if member.index is None else f"{member.key}[{member.index}]"
        if (member.key in _LIST_KEYS) != (member.index is not None):
            raise WorldError(f"{where} must {'' if member.key in _LIST_KEYS else 'not '}be a list")
        match member.key:
            case "module_id":
                self._module_id = _convert(member.value, Id, where)
            case "org":
                self._org = _convert(member.value, Org, where)
            case "stages":
                self._stages.append(_convert(member.value, Stage, where))
            case "users":
                _add_unique(self._users, _convert(member.value, User, where), where)
            case "accounts":
                _add_unique(self._accounts, _convert(member.value, Account, where), where)
            case "contacts":
                _add_unique(self._contacts, _convert(member.value, Contact, where), where)
            case "deals":
                deal = _parse(parse_deal, member.value, self._intern, where)
                _add_unique(self._deals, deal, where)
            case "emails":
                email = _parse(parse_email, member.value, self._intern, where)
                self._emails.setdefault(email.contact_id, []).append(email)
            case _:
                raise WorldError(
                    f"{where} is not known; the known names are module_id, org, stages, "
                    "users, accounts, contacts, deals and emails"
                )

    def build(self) -> World:
        if not self._module_id:
            raise WorldError(
                "module_id is missing; set it to the id of the Deals module, in digits"
            )
        stages = tuple(self._stages) or DEFAULT_STAGES
        self._check_people()
        self._check_deals(actual_stages(stages))
        return World(
            module_id=self._module_id,
            org=self._org,
            stages=stages,
            users=self._users,
            accounts=self._accounts,
            contacts=self._contacts,
            deals=self._deals,
            deals_by_contact=_group(self._deals.values(), lambda deal: (deal.contact_id,)),
            deals_by_role=_group(self._deals.values(), _role_contact_ids),
            mailboxes=self._build_mailboxes(),
        )

    def _check_people(self) -> None:
        for user in self._users.values():
            if user.connected_time is not None:
                _check_time(user.connected_time, f"user {user.id}")
        for contact in self._contacts.values():
            _require_known(contact.account_id, self._accounts, "account", f"contact {contact.id}")

    def _check_deals(self, actual_values: Mapping[str, str]) -> None:
        for deal in self._deals.values():
            where = f"deal {deal.id}"
            self._check_deal_references(deal, where)
            problem = stage_problem(deal, actual_values)
            if problem:
                raise WorldError(f"{where} {problem}")
            _check_time(deal.created_time, where)
            _check_time(deal.modified_time, where)

    def _check_deal_references(self, deal: Deal, where: str) -> None:
        _require_known(deal.contact_id, self._contacts, "contact", where)
        _require_known(deal.owner_id, self._users, "user", where)
        _require_known(deal.account_id, self._accounts, "account", where)
        for contact_id in deal.contact_roles:
            _require_known(contact_id, self._contacts, "contact", f"{where}, in contact_roles,")
        if len(set(deal.contact_roles)) != len(deal.contact_roles):
            raise WorldError(f"{where} names a contact twice in contact_roles")

    def _build_mailboxes(self) -> dict[str, Mailbox]:
        mailboxes: dict[str, Mailbox] = {}
        for contact_id in list(self._emails):
            emails = self._emails.pop(contact_id)
            for email in emails:
                self._check_email(email)
            mailboxes[contact_id] = mailbox = build_mailbox(emails)
            if len(mailbox.by_id) != len(emails):
                raise WorldError(f"contact {contact_id} has two emails with the same message_id")
        return mailboxes

    def _check_email(self, email: Email) -> None:
        where = f"email {email.message_id}"
        _require_known(email.contact_id, self._contacts, "contact", where)
        _require_known(email.owner_id, self._users, "user", where)
        _require_known(email.deal_id, self._deals, "deal", where)
        _check_time(email.time, where)


def _role_contact_ids(deal: Deal) -> Iterable[str]:
    """Return the contacts that are on a deal by a contact role only."""
    return (contact_id for contact_id in deal.contact_roles if contact_id != deal.contact_id)


def _group(
    deals: Iterable[Deal], contact_ids_of: Callable[[Deal], Iterable[str]]
) -> dict[str, tuple[Deal, ...]]:
    groups: dict[str, list[Deal]] = {}
    for deal in deals:
        for contact_id in contact_ids_of(deal):
            groups.setdefault(contact_id, []).append(deal)
    return {contact_id: tuple(group) for contact_id, group in groups.items()}


def _parse(
    parse: Callable[[object, Interner], _T], value: object, intern: Interner, where: str
) -> _T:
    try:
        return parse(value, intern)
    except ValueError as error:
        raise WorldError(f"{where}: {error}") from None


def _convert(value: object, target_type: type[_T], where: str) -> _T:
    try:
        return msgspec.convert(value, target_type)
    except msgspec.ValidationError as error:
        raise WorldError(f"{where}: {error}") from None


def _add_unique(records: dict[str, _Identified], record: _Identified, where: str) -> None:
    if record.id in records:
        raise WorldError(f"{where}: the id {record.id} is used twice")
    records[record.id] = record


def _require_known(
    record_id: str | None, known_records: Mapping[str, object], noun: str, where: str
) -> None:
    if record_id is not None and record_id not in known_records:
        raise WorldError(f"{where} refers to {noun} {record_id}, which is not in the world")


def _check_time(text: str, where: str) -> None:
    try:
        parse_timestamp(text)
    except ValueError as error:
        raise WorldError(f"{where}: {error}") from None
