"""Rules of linking and unlinking as pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from bulklink.emulator.errors import Problem
from bulklink.emulator.link_body import (
    LinkItem,
    Module,
    ParsedItem,
    field_details,
    invalid_field,
    missing_field,
)
from bulklink.emulator.routing import CONTACTS_MODULE, DEALS_MODULE
from bulklink.emulator.settings import MAX_NAME_CHARACTERS, Settings
from bulklink.emulator.state import Change, ContactView
from bulklink.emulator.world import Deal, Email, World
from bulklink.zoho.error_codes import Code

_OTHER_MODULES = ("Leads", "Accounts", CONTACTS_MODULE)
_PRIVATE_CODES = {
    "refused": Code.NOT_ALLOWED,
    "no-permission": Code.NO_PERMISSION,
    "invalid-data": Code.INVALID_DATA,
}


class EmailOutcome(msgspec.Struct, frozen=True):
    """Result for one email of a call.

    Args:
        message_id: the message id as sent; None if missing.
        change: the change to apply, or None.
        problems: why the email is refused; empty if it is accepted.
    """

    message_id: str | None
    change: Change | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleContext:
    """Inputs of a rule other than the email.

    Args:
        world: users, deals and the id of the module.
        settings: choices that Zoho's documentation leaves open.
        view: the contact's emails and their deals.
        is_single: whether the call names its only email in the path.
    """

    world: World
    settings: Settings
    view: ContactView
    is_single: bool


def find_module_id(world: World, api_name: str) -> str | None:
    """Return the id of a module of this org, or None if it does not exist."""
    if api_name == DEALS_MODULE:
        return world.module_id
    if api_name not in _OTHER_MODULES:
        return None
    number = int(world.module_id) + 2 + 2 * _OTHER_MODULES.index(api_name)
    return str(number).zfill(len(world.module_id))


def module_problem(items: Sequence[ParsedItem], world: World) -> Problem | None:
    """Return the problem of the first wrong module, or None; it refuses the whole call."""
    for index, item in enumerate(items):
        if isinstance(item, LinkItem):
            code = _module_error_code(item.linked_record.module, world)
            if code:
                return Problem(code, field_details(index, "linked_record.module.api_name"))
    return None


def _module_error_code(module: Module, world: World) -> Code | None:
    expected_id = find_module_id(world, module.api_name)
    if expected_id is None:
        return Code.INVALID_MODULE
    if expected_id != module.id:
        return Code.AMBIGUITY_DURING_PROCESSING
    return None if module.api_name == DEALS_MODULE else Code.INVALID_MODULE


def evaluate_links(items: Sequence[ParsedItem], context: RuleContext) -> list[EmailOutcome]:
    """Evaluate the emails of a link call in order; each sees the changes made before it."""
    pending_deals: dict[str, str | None] = {}
    owner_ids = [item.owner.id for item in items if isinstance(item, LinkItem)]
    outcomes = []
    for index, item in enumerate(items):
        if not isinstance(item, LinkItem):
            outcomes.append(EmailOutcome(None, problems=item))
            continue
        problems, change = _evaluate_link(item, index, context, owner_ids[0], pending_deals)
        if change:
            pending_deals[change.message_id] = change.deal_id
        outcomes.append(EmailOutcome(item.message_id, change, problems))
    return outcomes


_LinkEvaluation = tuple[tuple[Problem, ...], Change | None]


def _evaluate_link(
    item: LinkItem,
    index: int,
    context: RuleContext,
    first_owner: str,
    pending_deals: dict[str, str | None],
) -> _LinkEvaluation:
    name_problems = _missing_fields(item, index, context) or _refused_names(item, index, context)
    if name_problems:
        return name_problems, None
    email = context.view.mailbox.by_id.get(item.message_id or "")
    if email is None:
        return (invalid_field(index, "message_id"),), None
    problem = _owner_problem(item, index, context, email, first_owner) or _deal_problem(
        item, index, context
    )
    if problem:
        return (problem,), None
    deal_id = item.linked_record.id
    current_deal = pending_deals.get(email.message_id, context.view.deal_of(email))
    if current_deal is None:
        return (), Change(email.message_id, deal_id)
    if current_deal == deal_id and context.settings.same_deal == "success":
        return (), None
    return (Problem(Code.ALREADY_LINKED, field_details(index, "linked_record.id")),), None


def _missing_fields(item: LinkItem, index: int, context: RuleContext) -> tuple[Problem, ...]:
    fields = []
    if item.message_id is None:
        fields.append("message_id")
    if context.settings.names == "required":
        fields += ["owner.name"] if not item.owner.name else []
        fields += ["linked_record.name"] if not item.linked_record.name else []
    return tuple(missing_field(index, field) for field in fields)


def _refused_names(item: LinkItem, index: int, context: RuleContext) -> tuple[Problem, ...]:
    fields, deal_name = [], item.linked_record.name or ""
    if context.settings.names == "refused" and item.owner.name is not None:
        fields.append("owner.name")
    if len(deal_name) > MAX_NAME_CHARACTERS and context.settings.long_names == "invalid-data":
        fields.append("linked_record.name")
    return tuple(invalid_field(index, field) for field in fields)


def _owner_problem(
    item: LinkItem, index: int, context: RuleContext, email: Email, first_owner: str
) -> Problem | None:
    owner_id, settings = item.owner.id, context.settings
    if email.owner_id in settings.private_mailboxes and settings.private_links != "allowed":
        return Problem(_PRIVATE_CODES[settings.private_links], field_details(index, "message_id"))
    if (
        owner_id not in context.world.users
        or (owner_id != email.owner_id and settings.wrong_owner == "invalid-data")
        or (owner_id != first_owner and settings.mixed_owners == "invalid-data")
    ):
        return invalid_field(index, "owner.id")
    return None


def _deal_problem(item: LinkItem, index: int, context: RuleContext) -> Problem | None:
    deal = context.world.deals.get(item.linked_record.id)
    if deal is None:
        return invalid_field(index, "linked_record.id")
    if _is_on_deal(deal, context):
        return None
    return Problem(Code.NOT_ALLOWED, field_details(index, "linked_record.id"))


def _is_on_deal(deal: Deal, context: RuleContext) -> bool:
    contact_id = context.view.contact_id
    if deal.contact_id == contact_id:
        return True
    if contact_id in deal.contact_roles:
        return context.settings.role_links == "allowed"
    return context.settings.foreign_deals == "allowed"


def evaluate_unlinks(
    message_ids: Sequence[str], owner_id: str, context: RuleContext
) -> list[EmailOutcome]:
    """Evaluate the emails of an unlink call in order; each sees the changes made before it."""
    unlinked_ids: set[str] = set()
    outcomes = []
    for index, message_id in enumerate(message_ids):
        outcome = _evaluate_unlink(message_id, index, owner_id, context, unlinked_ids)
        if outcome.change:
            unlinked_ids.add(message_id)
        outcomes.append(outcome)
    return outcomes


def _evaluate_unlink(
    message_id: str, index: int, owner_id: str, context: RuleContext, unlinked_ids: set[str]
) -> EmailOutcome:
    details: dict[str, object] = {"api_name": "message_ids", "json_path": f"message_ids[{index}]"}
    if context.is_single:
        details = {"resource_path_index": 3}
    refusal = EmailOutcome(message_id, problems=(Problem(Code.INVALID_DATA, details),))
    email = context.view.mailbox.by_id.get(message_id)
    if email is None:
        return refusal
    if email.owner_id != owner_id and context.settings.wrong_owner == "invalid-data":
        return refusal
    if message_id in unlinked_ids or context.view.deal_of(email) is None:
        return EmailOutcome(message_id) if context.settings.unlinked == "success" else refusal
    return EmailOutcome(message_id, Change(message_id, None))
