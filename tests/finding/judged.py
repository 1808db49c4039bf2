"""The judge with the default weights, on contacts of a few deals and emails."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from bulklink.finding.connection_span import ALWAYS_CONNECTED, ConnectionSpan
from bulklink.finding.judge import Judge
from bulklink.finding.org_evidence import OrgFacts
from bulklink.finding.prediction_rule import Reading
from bulklink.finding.values import ContactFacts, DealFacts, EmailFacts, FieldChange
from bulklink.finding.verdicts import EmailVerdict
from bulklink.finding.weights import Weights, load_weights
from bulklink.operations.weights import default_weights
from tests.finding.builders import CONTACT, DAY, OWNER, STAGES, deal

CREATED = 800 * DAY


@cache
def weights() -> Weights:
    return load_weights(default_weights())


def make_judge(
    *,
    connection: ConnectionSpan = ALWAYS_CONNECTED,
    number_shapes: Iterable[str] = (),
    propose_detach: bool = False,
    with_weights: Weights | None = None,
) -> Judge:
    org = OrgFacts(
        STAGES,
        readings=(Reading.STRICT,),
        connections={OWNER: connection, "o2": connection},
        number_shapes=frozenset(number_shapes),
    )
    return Judge(with_weights or weights(), org, propose_detach=propose_detach)


def known_deal(
    deal_id: str,
    name: str | None = None,
    *,
    created: float = CREATED,
    history: Iterable[FieldChange] = (),
    stage: str = "Open",
    number: str | None = None,
    owner_id: str | None = None,
    by_role: bool = False,
) -> DealFacts:
    """Return a deal whose whole history is known."""
    changes = tuple(history)
    return deal(
        deal_id,
        stage,
        created=created,
        modified=changes[-1].time if changes else created,
        history=changes,
        name=name,
        number=number,
        owner_id=owner_id,
        by_role=by_role,
    )


def judge_contact(
    judge: Judge,
    deals: Iterable[DealFacts],
    emails: Iterable[EmailFacts],
    addresses: Iterable[str] = (),
) -> dict[str, EmailVerdict]:
    """Return the verdicts by message id."""
    facts = ContactFacts(CONTACT, tuple(emails), tuple(deals), tuple(addresses))
    return {verdict.email.message_id: verdict for verdict in judge.judge(facts)}


def probability(verdict: EmailVerdict, deal_id: str | None) -> float:
    return next(score.probability for score in verdict.scores if score.deal_id == deal_id)


def evidence_of(verdict: EmailVerdict, deal_id: str | None) -> dict[str, str]:
    """Return the text of each evidence for a candidate, by name."""
    score = next(score for score in verdict.scores if score.deal_id == deal_id)
    texts = {evidence.name: evidence.text for evidence in score.evidence}
    assert len(texts) == len(score.evidence), "an evidence counts twice"
    return texts
