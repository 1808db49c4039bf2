"""The sum behind the verdict on an email, as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import fsum

from bulklink.cli.console import Line, Styled, wrap_text
from bulklink.local_time import format_local_time
from bulklink.models import NO_DEAL
from bulklink.operations.auditing.rows import UNCERTAIN_RULE, ScoredDeal
from bulklink.operations.explain import Explanation

_RANKS = ("best", "runner-up")
_MARGIN = "  "


def explanation_lines(explanations: Iterable[Explanation]) -> Iterator[Line]:
    """Yield the verdict on an email for each contact that has it, and the sum for each deal."""
    for number, explanation in enumerate(explanations):
        if number:
            yield ""
        yield from _explain(explanation)


def _explain(explanation: Explanation) -> Iterator[Line]:
    yield Styled(f"Email {explanation.message_id} of contact {explanation.contact_id}", bold=True)
    names = {one.deal_id: one.deal_name for one in explanation.candidates}
    names[explanation.from_deal_id] = explanation.from_deal_name
    facts = {
        "subject": explanation.subject or "(none)",
        "mail": _mail(explanation),
        "now": _now(explanation, names),
        "rule": _rule(explanation, names),
        "proposed": _proposed(explanation, names),
    }
    for name, text in facts.items():
        yield from wrap_text(f"{name:<9} {text}", _MARGIN)
    if not explanation.candidates:
        yield "The contact is on no deal: there is nothing to choose from."
        return
    yield from wrap_text(
        "The numbers of a deal are added up. Each 2.3 more makes it ten times as likely, compared"
        " with the other candidates."
    )
    for rank, candidate in enumerate(explanation.candidates):
        yield ""
        yield from _candidate_lines(candidate, _RANKS[rank] if rank < len(_RANKS) else "")


def _candidate_lines(candidate: ScoredDeal, rank: str) -> Iterator[Line]:
    name = _deal(candidate.deal_id or NO_DEAL, candidate.deal_name)
    suffix = f" ({rank})" if rank else ""
    yield from wrap_text(f"{name}: {candidate.probability:.2%}{suffix}")
    evidence = sorted(candidate.evidence, key=lambda one: -one.log_odds)
    for item in evidence:
        yield from wrap_text(f"{item.log_odds:+7.2f}  {item.text} [{item.name}]", _MARGIN)
    total = fsum(item.log_odds for item in evidence)
    yield f"{_MARGIN}{total:+7.2f}  in total"


def _mail(explanation: Explanation) -> str:
    time = "at an unknown time"
    if explanation.time is not None:
        time = format_local_time(explanation.time)
    owner = explanation.owner_name or explanation.owner_id or "an unknown user"
    return f"{explanation.direction or 'received or sent'} {time}, mailbox of {owner}"


def _now(explanation: Explanation, names: dict[str | None, str | None]) -> str:
    deal_id = explanation.from_deal_id
    if deal_id is None:
        return "on an unknown deal, or on none"
    if deal_id == NO_DEAL:
        return "on no deal"
    return f"on {_deal(deal_id, names.get(deal_id))}, linked by: {explanation.linked_by}"


def _rule(explanation: Explanation, names: dict[str | None, str | None]) -> str:
    rule = explanation.rule
    if rule is None and explanation.direction is None:
        return "unknown, as it applies only to received mail"
    if rule is None:
        return "says nothing of sent mail"
    if rule == UNCERTAIN_RULE:
        return f"uncertain: {explanation.uncertainty}"
    if rule == NO_DEAL:
        return "chose no deal"
    return f"chose {_deal(rule, names.get(rule))}"


def _proposed(explanation: Explanation, names: dict[str | None, str | None]) -> str:
    if explanation.kind is None:
        return "nothing"
    target = explanation.deal_id
    to = "" if target is None else f" to {_deal(target, names.get(target))}"
    return f"{explanation.kind}{to}, {explanation.tier}, {explanation.confidence or 0:.4f}"


def _deal(deal_id: str, name: str | None) -> str:
    if deal_id == NO_DEAL:
        return "No deal of the contact"
    return f"{name} ({deal_id})" if name else f"deal {deal_id}"
