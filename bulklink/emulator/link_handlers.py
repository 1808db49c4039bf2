"""Handlers of the link and unlink calls."""

from __future__ import annotations

from bulklink.emulator.context import ApiRequest, CallContext, HandlerResult, refuse
from bulklink.emulator.errors import ParameterError, Problem, param_problem, path_problem
from bulklink.emulator.http import Answer
from bulklink.emulator.link_answers import (
    applies_changes,
    batch_answer,
    single_answer,
    single_link_answer,
)
from bulklink.emulator.link_body import LinkItem, ParsedItem, parse_link_body
from bulklink.emulator.link_rules import (
    EmailOutcome,
    RuleContext,
    evaluate_links,
    evaluate_unlinks,
    module_problem,
)
from bulklink.emulator.settings import MAX_MESSAGE_IDS_CHARACTERS
from bulklink.zoho.error_codes import Code


def handle_link(context: CallContext, api_request: ApiRequest) -> HandlerResult:
    """Link emails of a contact to deals."""
    items = parse_link_body(api_request.raw.body)
    if isinstance(items, Problem):
        return refuse(items)
    if api_request.call.message_id is not None:
        return _link_single(context, api_request, items)
    problem = _too_many_problem(len(items), context) or module_problem(items, context.world)
    if problem:
        return refuse(problem)
    outcomes = evaluate_links(items, _rule_context(context, api_request))
    return _batch_result(context, api_request, outcomes)


def _link_single(
    context: CallContext, api_request: ApiRequest, items: list[ParsedItem]
) -> HandlerResult:
    message_id, rule_context = (
        api_request.call.message_id or "",
        _rule_context(context, api_request),
    )
    if len(items) > 1:
        return refuse(Problem(Code.LIMIT_EXCEEDED, {"api_name": "Emails", "limit": 1}))
    item = items[0]
    if not isinstance(item, LinkItem):
        return HandlerResult(
            single_answer(EmailOutcome(message_id, problems=item), "link", context.settings)
        )
    problem = module_problem(items, context.world)
    if problem is None and message_id not in rule_context.view.mailbox.by_id:
        problem = path_problem(3)
    if problem:
        return refuse(problem)
    item_with_id = LinkItem(item.owner, item.linked_record, message_id)
    outcome = evaluate_links([item_with_id], rule_context)[0]
    answer = single_link_answer(outcome, item.owner, item.linked_record, context.settings)
    return _single_result(api_request, outcome, answer)


def _single_result(api_request: ApiRequest, outcome: EmailOutcome, answer: Answer) -> HandlerResult:
    changes = (outcome.change,) if outcome.change else ()
    return HandlerResult(answer, api_request.call.record_id, changes)


def handle_unlink(context: CallContext, api_request: ApiRequest) -> HandlerResult:
    """Unlink emails of a contact from their deals."""
    owner_id = _parse_owner_id(context, api_request)
    rule_context = _rule_context(context, api_request)
    if api_request.call.message_id is not None:
        outcome = evaluate_unlinks([api_request.call.message_id], owner_id, rule_context)[0]
        answer = single_answer(outcome, "unlink", context.settings)
        return _single_result(api_request, outcome, answer)
    message_ids = _parse_message_ids(api_request)
    problem = _too_many_problem(len(message_ids), context)
    if problem:
        return refuse(problem)
    return _batch_result(
        context, api_request, evaluate_unlinks(message_ids, owner_id, rule_context)
    )


def _parse_owner_id(context: CallContext, api_request: ApiRequest) -> str:
    owner_id = api_request.query.get("owner_id")
    if not owner_id:
        raise ParameterError(param_problem(Code.MANDATORY_NOT_FOUND, "owner_id"))
    if owner_id not in context.world.users:
        raise ParameterError(param_problem(Code.INVALID_DATA, "owner_id"))
    return owner_id


def _parse_message_ids(api_request: ApiRequest) -> list[str]:
    text = api_request.query.get("message_ids")
    if not text:
        raise ParameterError(param_problem(Code.MANDATORY_NOT_FOUND, "message_ids"))
    if len(text) > MAX_MESSAGE_IDS_CHARACTERS:
        details = {"param_name": "message_ids", "maximum_length": MAX_MESSAGE_IDS_CHARACTERS}
        raise ParameterError(Problem(Code.INVALID_DATA, details))
    return text.split(",")


def _too_many_problem(count: int, context: CallContext) -> Problem | None:
    limit = context.settings.max_items
    if count <= limit or context.settings.over_max == "accept":
        return None
    if context.settings.over_max == "limit-exceeded":
        return Problem(Code.LIMIT_EXCEEDED, {"api_name": "Emails", "limit": limit})
    return Problem(Code.INVALID_DATA, {"api_name": "Emails", "maximum_length": limit})


def _batch_result(
    context: CallContext, api_request: ApiRequest, outcomes: list[EmailOutcome]
) -> HandlerResult:
    settings = context.settings
    seed = f"{settings.seed}:{context.state.calls.total()}"
    answer = batch_answer(outcomes, api_request.call.endpoint.value, settings, seed)
    if not applies_changes(outcomes, settings.mixed_answer):
        return HandlerResult(answer)
    changes = tuple(outcome.change for outcome in outcomes if outcome.change)
    return HandlerResult(answer, api_request.call.record_id, changes)


def _rule_context(context: CallContext, api_request: ApiRequest) -> RuleContext:
    view = context.state.view(api_request.call.record_id)
    return RuleContext(
        context.world, context.settings, view, api_request.call.message_id is not None
    )
