"""Answers of the link and unlink calls, in every shape that the settings allow."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from bulklink.emulator.errors import Problem, error_answer, error_entry
from bulklink.emulator.http import Answer, json_answer
from bulklink.emulator.link_body import LinkedRecord, Owner
from bulklink.emulator.link_rules import EmailOutcome
from bulklink.emulator.settings import MixedAnswer, Settings
from bulklink.zoho.error_codes import Code

_SUCCESS_MESSAGES = {
    ("pages", "link"): "email has been linked with the deal successfully",
    ("pages", "unlink"): "email has been unlinked from the deal successfully",
    ("openapi", "link"): "Email linked to the record successfully",
    # The published sample of an unlink says "linked" too.
    ("openapi", "unlink"): "Email linked to the record successfully",
}


def applies_changes(outcomes: Sequence[EmailOutcome], mixed_answer: MixedAnswer) -> bool:
    """Return whether the valid emails of a call are changed."""
    return mixed_answer.applied == "yes" or not any(outcome.problems for outcome in outcomes)


def batch_answer(
    outcomes: Sequence[EmailOutcome], verb: str, settings: Settings, seed: str
) -> Answer:
    """Return the answer of a call for many emails; `seed` determines the shuffled order."""
    refused_count = sum(1 for outcome in outcomes if outcome.problems)
    if not refused_count:
        return json_answer(
            {"Emails": [_success_entry(outcome, verb, settings) for outcome in outcomes]}
        )
    status = 400 if refused_count == len(outcomes) else settings.mixed_answer.status
    entries = _mixed_entries(outcomes, verb, settings)
    if settings.mixed_answer.shape == "call":
        return json_answer(entries[0], status)
    if settings.mixed_answer.order == "reversed":
        entries.reverse()
    elif settings.mixed_answer.order == "shuffled":
        random.Random(seed).shuffle(entries)  # noqa: S311 - not a secret
    return json_answer({"Emails": entries}, status)


def _success_entry(outcome: EmailOutcome, verb: str, settings: Settings) -> dict[str, object]:
    return {
        "code": Code.SUCCESS.value,
        "details": {"message_id": outcome.message_id},
        "message": _SUCCESS_MESSAGES[settings.wording, verb],
        "status": "success",
    }


def _mixed_entries(outcomes: Sequence[EmailOutcome], verb: str, settings: Settings) -> list[object]:
    mixed_answer, entries = settings.mixed_answer, list[object]()
    for outcome in outcomes:
        if outcome.problems:
            errors = [
                _item_error_entry(problem, outcome, mixed_answer) for problem in outcome.problems
            ]
            entries.append(errors if mixed_answer.shape == "nested" else errors[0])
        elif mixed_answer.good == "success":
            entry = _success_entry(outcome, verb, settings)
            entries.append([entry] if mixed_answer.shape == "nested" else entry)
        elif mixed_answer.good == "empty":
            entries.append([])
    return entries


def _item_error_entry(
    problem: Problem, outcome: EmailOutcome, mixed_answer: MixedAnswer
) -> dict[str, object]:
    entry = error_entry(problem)
    details = dict(problem.details)
    if mixed_answer.named in {"none", "message-id"}:
        details.pop("json_path", None)
    if mixed_answer.named in {"both", "message-id"} and outcome.message_id is not None:
        details["message_id"] = outcome.message_id
    entry["details"] = details
    return entry


def single_link_answer(
    outcome: EmailOutcome, owner: Owner, record: LinkedRecord, settings: Settings
) -> Answer:
    """Return the answer of a link call that names its email in the path."""
    if outcome.problems or settings.single_answer == "success":
        return single_answer(outcome, "link", settings)
    echo = {"linked_record": msgspec.to_builtins(record), "owner": msgspec.to_builtins(owner)}
    return json_answer({"Emails": [echo]})


def single_answer(outcome: EmailOutcome, verb: str, settings: Settings) -> Answer:
    """Return the answer of a link or unlink call that names its email in the path."""
    if not outcome.problems:
        return json_answer({"Emails": [_success_entry(outcome, verb, settings)]})
    if settings.single_error == "flat":
        return error_answer(outcome.problems[0])
    return json_answer({"Emails": [[error_entry(p) for p in outcome.problems]]}, 400)
