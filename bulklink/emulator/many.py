"""The answers of the four link calls, in every shape that is documented or left open."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from bulklink.emulator.errors import Problem, error_entry, refusal
from bulklink.emulator.linkbody import LinkedRecord, Owner
from bulklink.emulator.links import Outcome
from bulklink.emulator.settings import Mixed, Settings
from bulklink.emulator.wire import Answer, json_answer
from bulklink.zoho.error_codes import Code

_WORDS = {
    ("pages", "link"): "email has been linked with the deal successfully",
    ("pages", "unlink"): "email has been unlinked from the deal successfully",
    ("openapi", "link"): "Email linked to the record successfully",
    # The published sample of an unlink says "linked" too.
    ("openapi", "unlink"): "Email linked to the record successfully",
}


def is_applied(outcomes: Sequence[Outcome], mixed: Mixed) -> bool:
    """Tell whether the good emails of a call are changed."""
    return mixed.applied == "yes" or not any(outcome.problems for outcome in outcomes)


def many_answer(outcomes: Sequence[Outcome], verb: str, settings: Settings, seed: str) -> Answer:
    """Make the answer of a many-emails call; `seed` decides a shuffled order."""
    bad = sum(1 for outcome in outcomes if outcome.problems)
    if not bad:
        words = _WORDS[settings.wording, verb]
        return json_answer({"Emails": [_success(outcome, words) for outcome in outcomes]})
    entries = _mixed_entries(outcomes, verb, settings)
    if settings.mixed_answer.order == "reversed":
        entries.reverse()
    elif settings.mixed_answer.order == "shuffled":
        random.Random(seed).shuffle(entries)  # noqa: S311 - no secret is drawn
    status = 400 if bad == len(outcomes) else settings.mixed_answer.status
    return json_answer({"Emails": entries}, status)


def _success(outcome: Outcome, words: str) -> dict[str, object]:
    return {
        "code": Code.SUCCESS.value,
        "details": {"message_id": outcome.message_id},
        "message": words,
        "status": "success",
    }


def _mixed_entries(outcomes: Sequence[Outcome], verb: str, settings: Settings) -> list[object]:
    mixed, entries = settings.mixed_answer, list[object]()
    for outcome in outcomes:
        if outcome.problems:
            errors = [_named(problem, outcome, mixed) for problem in outcome.problems]
            entries.append(errors if mixed.shape == "nested" else errors[0])
        elif mixed.good == "success":
            entry = _success(outcome, _WORDS[settings.wording, verb])
            entries.append([entry] if mixed.shape == "nested" else entry)
        elif mixed.good == "empty":
            entries.append([])
    return entries


def _named(problem: Problem, outcome: Outcome, mixed: Mixed) -> dict[str, object]:
    entry = error_entry(problem)
    details = dict(problem.details)
    if mixed.named in {"none", "message-id"}:
        details.pop("json_path", None)
    if mixed.named in {"both", "message-id"} and outcome.message_id is not None:
        details["message_id"] = outcome.message_id
    entry["details"] = details
    return entry


def single_link_answer(
    outcome: Outcome, owner: Owner, record: LinkedRecord, settings: Settings
) -> Answer:
    """Make the answer of a link call whose address names the email."""
    if outcome.problems or settings.single_answer == "success":
        return single_answer(outcome, "link", settings)
    echo = {"linked_record": msgspec.to_builtins(record), "owner": msgspec.to_builtins(owner)}
    return json_answer({"Emails": [echo]})


def single_answer(outcome: Outcome, verb: str, settings: Settings) -> Answer:
    """Make the answer of a call whose address names the email."""
    if not outcome.problems:
        words = _WORDS[settings.wording, verb]
        return json_answer({"Emails": [_success(outcome, words)]})
    if settings.single_error == "flat":
        return refusal(outcome.problems[0])
    return json_answer({"Emails": [[error_entry(p) for p in outcome.problems]]}, 400)
