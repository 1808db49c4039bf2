"""The four calls that link and unlink emails."""

from __future__ import annotations

from bulklink.emulator.desk import Asked, Desk, Reply, refuse
from bulklink.emulator.errors import Problem, at_param, at_path
from bulklink.emulator.linkbody import Item, Wanted, read_link_body
from bulklink.emulator.links import Case, Outcome, judge_links, judge_unlinks, module_problem
from bulklink.emulator.many import is_applied, many_answer, single_answer, single_link_answer
from bulklink.zoho.error_codes import Code

LONGEST_MESSAGE_IDS = 2_000


def link(desk: Desk, asked: Asked) -> Reply:
    """Link emails of a contact to deals."""
    items = read_link_body(asked.request.body)
    if isinstance(items, Problem):
        return refuse(items)
    if asked.call.message_id is not None:
        return _link_one(desk, asked, items)
    problem = _over_max(len(items), desk) or module_problem(items, desk.world)
    if problem:
        return refuse(problem)
    outcomes = judge_links(items, _case(desk, asked))
    return _many_reply(desk, asked, outcomes)


def _link_one(desk: Desk, asked: Asked, items: list[Item]) -> Reply:
    message_id, case = asked.call.message_id or "", _case(desk, asked)
    if len(items) > 1:
        return refuse(Problem(Code.LIMIT_EXCEEDED, {"api_name": "Emails", "limit": 1}))
    item = items[0]
    if not isinstance(item, Wanted):
        return Reply(single_answer(Outcome(message_id, problems=item), "link", desk.settings))
    problem = module_problem(items, desk.world)
    if problem is None and message_id not in case.view.mailbox.by_id:
        problem = at_path(3)
    if problem:
        return refuse(problem)
    named = Wanted(item.owner, item.linked_record, message_id)
    outcome = judge_links([named], case)[0]
    answer = single_link_answer(outcome, item.owner, item.linked_record, desk.settings)
    changes = (outcome.change,) if outcome.change else ()
    return Reply(answer, asked.call.record_id, changes)


def unlink(desk: Desk, asked: Asked) -> Reply:
    """Unlink emails of a contact from whatever deal they are on."""
    problem = _owner_param(desk, asked)
    if problem:
        return refuse(problem)
    owner_id, case = asked.query["owner_id"], _case(desk, asked)
    if asked.call.message_id is not None:
        outcome = judge_unlinks([asked.call.message_id], owner_id, case)[0]
        changes = (outcome.change,) if outcome.change else ()
        answer = single_answer(outcome, "unlink", desk.settings)
        return Reply(answer, asked.call.record_id, changes)
    message_ids = _message_ids(desk, asked)
    if isinstance(message_ids, Problem):
        return refuse(message_ids)
    return _many_reply(desk, asked, judge_unlinks(message_ids, owner_id, case))


def _owner_param(desk: Desk, asked: Asked) -> Problem | None:
    owner_id = asked.query.get("owner_id")
    if not owner_id:
        return at_param(Code.MANDATORY_NOT_FOUND, "owner_id")
    if owner_id not in desk.world.users:
        return at_param(Code.INVALID_DATA, "owner_id")
    return None


def _message_ids(desk: Desk, asked: Asked) -> list[str] | Problem:
    joined = asked.query.get("message_ids")
    if not joined:
        return at_param(Code.MANDATORY_NOT_FOUND, "message_ids")
    if len(joined) > LONGEST_MESSAGE_IDS:
        details = {"param_name": "message_ids", "maximum_length": LONGEST_MESSAGE_IDS}
        return Problem(Code.INVALID_DATA, details)
    message_ids = joined.split(",")
    return _over_max(len(message_ids), desk) or message_ids


def _over_max(count: int, desk: Desk) -> Problem | None:
    limit = desk.settings.max_items
    if count <= limit or desk.settings.over_max == "accept":
        return None
    if desk.settings.over_max == "limit-exceeded":
        return Problem(Code.LIMIT_EXCEEDED, {"api_name": "Emails", "limit": limit})
    return Problem(Code.INVALID_DATA, {"api_name": "Emails", "maximum_length": limit})


def _many_reply(desk: Desk, asked: Asked, outcomes: list[Outcome]) -> Reply:
    settings = desk.settings
    seed = f"{settings.seed}:{desk.state.calls.total()}"
    answer = many_answer(outcomes, asked.call.name.value, settings, seed)
    if not is_applied(outcomes, settings.mixed_answer):
        return Reply(answer)
    changes = tuple(outcome.change for outcome in outcomes if outcome.change)
    return Reply(answer, asked.call.record_id, changes)


def _case(desk: Desk, asked: Asked) -> Case:
    view = desk.state.view(asked.call.record_id)
    return Case(desk.world, desk.settings, view, asked.call.message_id is not None)
