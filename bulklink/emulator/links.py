"""The rules of linking and unlinking: what each email of a call becomes. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from bulklink.emulator.errors import Problem
from bulklink.emulator.linkbody import Item, Module, Wanted, missing, place, wrong
from bulklink.emulator.settings import Settings
from bulklink.emulator.state import Change, ContactView
from bulklink.emulator.world import Email, World
from bulklink.zoho.error_codes import Code

DEALS = "Deals"
_OTHER_MODULES = ("Leads", "Accounts", "Contacts")


class Outcome(msgspec.Struct, frozen=True):
    """What the rules say of one email of a call.

    Args:
        message_id: as sent; None where none was.
        change: what applying it changes; None where nothing does.
        problems: why it is refused; empty where it is not.
    """

    message_id: str | None
    change: Change | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """What a rule needs to know besides the email itself.

    Args:
        world: users, deals and the module's id.
        settings: what Zoho leaves open.
        view: the contact's emails and where they are.
        single: whether the call names its one email in the address.
    """

    world: World
    settings: Settings
    view: ContactView
    single: bool


def module_id(world: World, api_name: str) -> str | None:
    """Return the id of a module of this org, or None where there is no such module."""
    if api_name == DEALS:
        return world.module_id
    if api_name not in _OTHER_MODULES:
        return None
    number = int(world.module_id) + 2 + 2 * _OTHER_MODULES.index(api_name)
    return str(number).zfill(len(world.module_id))


def module_problem(items: Sequence[Item], world: World) -> Problem | None:
    """Return why the call's modules refuse it as a whole, or None where they do not."""
    for index, item in enumerate(items):
        if isinstance(item, Wanted):
            code = _module_code(item.linked_record.module, world)
            if code:
                return Problem(code, place(index, "linked_record.module.api_name"))
    return None


def _module_code(module: Module, world: World) -> Code | None:
    known = module_id(world, module.api_name)
    if known is None:
        return Code.INVALID_MODULE
    if known != module.id:
        return Code.AMBIGUITY_DURING_PROCESSING
    return None if module.api_name == DEALS else Code.INVALID_MODULE


def judge_links(items: Sequence[Item], case: Case) -> list[Outcome]:
    """Judge the emails of a link call in order; each sees what those before it changed."""
    pending: dict[str, str | None] = {}
    owners = [item.owner.id for item in items if isinstance(item, Wanted)]
    outcomes = []
    for index, item in enumerate(items):
        if not isinstance(item, Wanted):
            outcomes.append(Outcome(None, problems=item))
            continue
        problems, change = _judge_link(item, index, case, owners[0], pending)
        if change:
            pending[change.message_id] = change.deal_id
        outcomes.append(Outcome(item.message_id, change, problems))
    return outcomes


_Verdict = tuple[tuple[Problem, ...], Change | None]


def _judge_link(
    item: Wanted, index: int, case: Case, first_owner: str, pending: dict[str, str | None]
) -> _Verdict:
    absent = _absent(item, index, case)
    if absent:
        return absent, None
    email = case.view.mailbox.by_id.get(item.message_id or "")
    if email is None:
        return (wrong(index, "message_id"),), None
    problem = _owner_problem(item, index, case, email, first_owner) or _deal_problem(
        item, index, case
    )
    if problem:
        return (problem,), None
    deal_id = item.linked_record.id
    current = pending.get(email.message_id, case.view.deal_of(email))
    if current is None:
        return (), Change(email.message_id, deal_id)
    if current == deal_id and case.settings.same_deal == "success":
        return (), None
    return (Problem(Code.ALREADY_LINKED, place(index, "linked_record.id")),), None


def _absent(item: Wanted, index: int, case: Case) -> tuple[Problem, ...]:
    fields = []
    if item.message_id is None:
        fields.append("message_id")
    if case.settings.names == "required":
        fields += ["owner.name"] if not item.owner.name else []
        fields += ["linked_record.name"] if not item.linked_record.name else []
    return tuple(missing(index, field) for field in fields)


def _owner_problem(
    item: Wanted, index: int, case: Case, email: Email, first_owner: str
) -> Problem | None:
    owner_id, settings = item.owner.id, case.settings
    if (
        owner_id not in case.world.users
        or (owner_id != email.owner_id and settings.wrong_owner == "invalid-data")
        or (owner_id != first_owner and settings.mixed_owners == "invalid-data")
    ):
        return wrong(index, "owner.id")
    return None


def _deal_problem(item: Wanted, index: int, case: Case) -> Problem | None:
    deal = case.world.deals.get(item.linked_record.id)
    if deal is None:
        return wrong(index, "linked_record.id")
    if deal.contact_id != case.view.contact_id:
        return Problem(Code.NOT_ALLOWED, place(index, "linked_record.id"))
    return None


def judge_unlinks(message_ids: Sequence[str], owner_id: str, case: Case) -> list[Outcome]:
    """Judge the emails of an unlink call in order; each sees what those before it changed."""
    done: set[str] = set()
    outcomes = []
    for index, message_id in enumerate(message_ids):
        outcome = _judge_unlink(message_id, index, owner_id, case, done)
        if outcome.change:
            done.add(message_id)
        outcomes.append(outcome)
    return outcomes


def _judge_unlink(
    message_id: str, index: int, owner_id: str, case: Case, done: set[str]
) -> Outcome:
    details: dict[str, object] = {"api_name": "message_ids", "json_path": f"message_ids[{index}]"}
    if case.single:
        details = {"resource_path_index": 3}
    refused = Outcome(message_id, problems=(Problem(Code.INVALID_DATA, details),))
    email = case.view.mailbox.by_id.get(message_id)
    if email is None:
        return refused
    if email.owner_id != owner_id and case.settings.wrong_owner == "invalid-data":
        return refused
    if message_id in done or case.view.deal_of(email) is None:
        return Outcome(message_id) if case.settings.unlinked == "success" else refused
    return Outcome(message_id, Change(message_id, None))
