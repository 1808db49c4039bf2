"""Nothing is proposed by accident, whatever is unknown, and evidence counts as it should."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from math import exp, inf, isclose
from random import Random

import msgspec
import pytest

from bulklink.finding.connection_span import ALWAYS_CONNECTED, CONNECTION_UNKNOWN
from bulklink.finding.conversations import Conversation, group_conversations
from bulklink.finding.judge import HoldOut
from bulklink.finding.link_origin import LinkOrigin
from bulklink.finding.values import ContactFacts, DealFacts, EmailFacts
from bulklink.finding.verdicts import ChangeKind, EmailVerdict, Tier
from bulklink.finding.weights import Weights
from tests.finding.builders import CONTACT, DAY, email
from tests.finding.judged import (
    CREATED,
    judge_contact,
    known_deal,
    make_judge,
    probability,
    weights,
)
from tests.finding.small_contacts import UNLISTED, one_conversation, small_contact

BY_PEOPLE = (LinkOrigin.HAND, LinkOrigin.SENT)
SHAPES = ("q99999",)
JUDGE = make_judge(number_shapes=SHAPES)
DETACHING = make_judge(number_shapes=SHAPES, propose_detach=True)
ROUNDING = 1e-12


def eager_weights() -> Weights:
    """Return weights with which nearly everything is proposed as sure."""
    thresholds = dict.fromkeys(weights().thresholds, 0.0)
    return msgspec.structs.replace(weights(), thresholds=thresholds)


EAGER = make_judge(propose_detach=True, with_weights=eager_weights())
"""Proposes whatever is best, so that only the rules that forbid a proposal hold it back."""


SEEDS = range(500)
Judged = list[tuple[ContactFacts, list[EmailVerdict]]]


@pytest.fixture(scope="module")
def judged() -> Judged:
    """Return random contacts whose best candidates are all proposed."""
    contacts = map(small_contact, SEEDS)
    return [(contact, EAGER.judge(contact)) for contact in contacts]


def eager_verdicts(judged: Judged) -> Iterator[tuple[str, EmailVerdict]]:
    """Yield each verdict with the seed of its contact."""
    for contact, verdicts in judged:
        for verdict in verdicts:
            yield contact.id, verdict


# What is proposed


def test_random_contacts_have_all_kinds_of_links_and_proposals(judged: Judged) -> None:
    """Otherwise the properties below hold for want of examples."""
    verdicts = [verdict for _, verdict in eager_verdicts(judged)]
    origins = Counter(verdict.link.origin for verdict in verdicts)
    kinds = Counter(verdict.kind for verdict in verdicts)
    tiers = Counter(verdict.tier for verdict in verdicts)
    assert min(origins[origin] for origin in LinkOrigin) > 40, origins
    assert min(kinds[kind] for kind in ChangeKind) > 40, kinds
    assert min(tiers[tier] for tier in Tier) > 40, tiers


def test_proposals_are_changes_onto_deals_that_the_contact_is_on(judged: Judged) -> None:
    for contact, verdicts in judged:
        ids = {deal.id for deal in contact.deals}
        for verdict in verdicts:
            if verdict.kind is None:
                assert (verdict.deal_id, verdict.tier) == (None, None), contact.id
                continue
            assert verdict.tier is not None, contact.id
            assert verdict.deal_id != verdict.email.deal_id, contact.id
            if verdict.kind is ChangeKind.DETACH:
                assert verdict.deal_id is None, contact.id
            else:
                assert verdict.deal_id in ids, contact.id
                attaches = verdict.kind is ChangeKind.ATTACH
                assert attaches is (verdict.email.deal_id is None), contact.id


def test_links_that_people_made_are_never_changed(judged: Judged) -> None:
    for seed, verdict in eager_verdicts(judged):
        message = verdict.email
        if message.direction == "sent" and message.deal_id is not None and message.link_known:
            assert verdict.link.origin is LinkOrigin.SENT, seed
        if verdict.link.origin in BY_PEOPLE:
            assert verdict.kind is None, seed


def test_nothing_is_proposed_for_emails_whose_link_is_unknown(judged: Judged) -> None:
    for seed, verdict in eager_verdicts(judged):
        assert verdict.email.link_known or verdict.kind is None, seed


def test_emails_without_owner_or_time_are_for_a_person_to_decide(judged: Judged) -> None:
    for seed, verdict in eager_verdicts(judged):
        if verdict.email.owner_id is None or verdict.email.time is None:
            assert verdict.tier in (None, Tier.LOOK), seed


def test_emails_whose_link_nobody_can_explain_are_never_sure(judged: Judged) -> None:
    for seed, verdict in eager_verdicts(judged):
        assert verdict.link.origin is not LinkOrigin.UNCERTAIN or verdict.tier != Tier.SURE, seed


def test_a_conversation_that_goes_on_after_a_gap_is_never_sure(judged: Judged) -> None:
    replies = 0
    for contact, verdicts in judged:
        conversations = group_conversations(contact.emails)
        for conversation in conversations:
            goes_on = conversation.subject.is_reply and any(
                earlier.subject.key == conversation.subject.key != ""
                and -inf < earlier.last_time <= conversation.first_time
                for earlier in conversations[: conversation.number]
            )
            if goes_on:
                replies += 1
                tiers = {verdicts[parsed.index].tier for parsed in conversation.emails}
                assert Tier.SURE not in tiers, contact.id
    assert replies > 50


def test_detaching_is_only_proposed_if_asked_for(judged: Judged) -> None:
    silent = make_judge(with_weights=eager_weights())
    for contact, verdicts in judged:
        for asked, unasked in zip(verdicts, silent.judge(contact), strict=True):
            if asked.kind is ChangeKind.DETACH:
                assert unasked.kind is None, contact.id
            else:
                assert unasked == asked, contact.id


def test_the_order_of_emails_and_deals_does_not_matter(judged: Judged) -> None:
    for contact, verdicts in judged:
        random = Random(contact.id)
        shuffled = msgspec.structs.replace(
            contact,
            emails=tuple(random.sample(contact.emails, len(contact.emails))),
            deals=tuple(random.sample(contact.deals, len(contact.deals))),
        )
        by_id = {verdict.email.message_id: verdict for verdict in EAGER.judge(shuffled)}
        assert [by_id[verdict.email.message_id] for verdict in verdicts] == verdicts, contact.id
        assert EAGER.hold_out(shuffled) == EAGER.hold_out(contact), contact.id


def random_weights(seed: str) -> Weights:
    random = Random(seed)
    log_odds = {
        name: random.choice([-30, 0, 30, random.gauss(0, 3)]) for name in weights().log_odds
    }
    return msgspec.structs.replace(weights(), log_odds=log_odds)


@pytest.mark.parametrize("are_random", [False, True], ids=["default weights", "random weights"])
def test_the_probabilities_of_all_deals_and_of_none_add_up_to_one(are_random: bool) -> None:
    for seed in SEEDS:
        contact = small_contact(seed, least_deals=1)
        candidates = {None, *(deal.id for deal in contact.deals)}
        chosen = random_weights(contact.id) if are_random else weights()
        for verdict in make_judge(with_weights=chosen).judge(contact):
            probabilities = [score.probability for score in verdict.scores]
            assert isclose(sum(probabilities), 1), seed
            assert probabilities == sorted(probabilities, reverse=True), seed
            assert len(probabilities) == len(candidates), seed
            assert {score.deal_id for score in verdict.scores} == candidates, seed
            assert verdict.confidence == probabilities[0], seed


def test_whoever_adds_up_the_evidence_gets_the_odds(judged: Judged) -> None:
    for seed, verdict in eager_verdicts(judged):
        for better, worse in pairwise(verdict.scores):
            difference = sum(evidence.log_odds for evidence in better.evidence) - sum(
                evidence.log_odds for evidence in worse.evidence
            )
            assert isclose(better.probability / worse.probability, exp(difference)), seed


# More evidence


def strongest(verdict: EmailVerdict) -> Iterator[tuple[str, str | None]]:
    """Yield each evidence with a positive weight and a candidate for which it speaks most."""
    amounts: dict[str, dict[str | None, float]] = defaultdict(dict)
    for score in verdict.scores:
        for evidence in score.evidence:
            if evidence.log_odds > 0:
                amounts[evidence.name][score.deal_id] = evidence.log_odds
    for name, by_deal in amounts.items():
        yield name, max(by_deal, key=by_deal.__getitem__)


def test_a_higher_weight_of_what_speaks_most_for_a_deal_does_not_lower_it() -> None:
    raised_judges = {
        name: make_judge(
            number_shapes=SHAPES,
            with_weights=msgspec.structs.replace(
                weights(), log_odds={**weights().log_odds, name: log_odds + 1}
            ),
        )
        for name, log_odds in weights().log_odds.items()
    }
    raised: set[str] = set()
    for seed in SEEDS[:150]:
        contact = one_conversation(seed)
        before = JUDGE.judge(contact)[0]
        for name, deal_id in strongest(before):
            after = raised_judges[name].judge(contact)[0]
            assert probability(after, deal_id) >= probability(before, deal_id) - ROUNDING, seed
            raised.add(name)
    assert len(raised) > 15


def add_sent(contact: ContactFacts, conversation: Conversation, deal_id: str) -> ContactFacts:
    """Return a contact with one more email in a conversation, sent from the page of a deal."""
    last = conversation.emails[-1]
    sent_from_deal = email(
        last.email.time,
        deal_id,
        message_id="~",
        owner_id=last.email.owner_id,
        direction="sent",
        subject=f"Re: {last.subject.key}",
        thread_id=last.email.thread_id,
    )
    return msgspec.structs.replace(contact, emails=(*contact.emails, sent_from_deal))


@pytest.mark.parametrize(
    "make_contact",
    [one_conversation, partial(small_contact, least_deals=1)],
    ids=["one conversation", "several"],
)
def test_an_email_sent_from_the_page_of_a_deal_does_not_lower_it(
    make_contact: Callable[[int], ContactFacts],
) -> None:
    for seed in SEEDS[:200]:
        contact, random = make_contact(seed), Random(seed)
        for conversation in group_conversations(contact.emails):
            if not conversation.subject.key or conversation.last_time == -inf:
                continue
            deal_id = random.choice(contact.deals).id
            index = conversation.emails[-1].index
            before = JUDGE.judge(contact)[index]
            verdicts = JUDGE.judge(add_sent(contact, conversation, deal_id))
            after = verdicts[index]
            assert verdicts[-1].conversation == after.conversation, seed
            assert probability(after, deal_id) >= probability(before, deal_id) - ROUNDING, seed


# Examples


def two_deals() -> tuple[DealFacts, DealFacts]:
    """Return two open deals, of which the rule picks d1."""
    return (
        known_deal("d1", "Service Bern", created=CREATED + DAY),
        known_deal("d2", "Rollout Berlin"),
    )


def mail(
    name: str, day: float, deal_id: str | None = None, subject: str = "Re: Rollout Berlin"
) -> EmailFacts:
    return email(day * DAY, deal_id, message_id=name, subject=subject)


def sent(
    name: str, day: float, deal_id: str | None, subject: str = "Re: Rollout Berlin"
) -> EmailFacts:
    return msgspec.structs.replace(mail(name, day, deal_id, subject), direction="sent")


def proposals(verdicts: dict[str, EmailVerdict]) -> dict[str, tuple[str, str | None, str]]:
    return {
        name: (verdict.kind, verdict.deal_id, verdict.tier)
        for name, verdict in verdicts.items()
        if verdict.kind is not None and verdict.tier is not None
    }


def test_the_emails_of_a_conversation_go_where_it_was_sent_from() -> None:
    emails = [mail("a", 1000, "d1"), sent("b", 1001, "d2"), mail("c", 1002), sent("d", 1003, None)]
    assert proposals(judge_contact(JUDGE, two_deals(), emails)) == {
        "a": ("move", "d2", "sure"),
        # The rule would have put it on d1: somebody took it off.
        "c": ("attach", "d2", "sure"),
        "d": ("attach", "d2", "sure"),
    }


def test_what_was_taken_off_a_deal_is_only_put_back_by_a_person() -> None:
    emails = [
        mail("a", 1000, subject="Re: Service Bern"),
        sent("b", 1001, "d1", "Re: Service Bern"),
    ]
    assert proposals(judge_contact(JUDGE, two_deals(), emails)) == {"a": ("attach", "d1", "look")}


@pytest.mark.parametrize(("days", "tier"), [(6, "sure"), (7, "likely"), (20, "likely")])
def test_what_is_sure_at_once_is_likely_after_a_gap(days: int, tier: str) -> None:
    emails = [
        sent("a", 1000, "d2"),
        mail("b", 1000 + days, "d1"),
        sent("c", 1000 + days, "d2"),
    ]
    assert proposals(judge_contact(JUDGE, two_deals(), emails)) == {"b": ("move", "d2", tier)}


@pytest.mark.parametrize(("days", "tier"), [(6, "sure"), (7, "likely")])
def test_taking_an_email_off_a_deal_is_not_sure_after_a_gap_either(days: int, tier: str) -> None:
    subject = "Re: Accepted: Q-10433 lunch"
    emails = [mail("a", 1000, None, subject), mail("b", 1000 + days, "d1", subject)]
    verdicts = judge_contact(DETACHING, two_deals(), emails)
    assert proposals(verdicts)["b"] == ("detach", None, tier)


@pytest.mark.parametrize(
    ("connection", "direction", "origin", "tier"),
    [
        (ALWAYS_CONNECTED, "received", LinkOrigin.RULE, "sure"),
        (CONNECTION_UNKNOWN, "received", LinkOrigin.UNCERTAIN, "sure"),
        (ALWAYS_CONNECTED, None, LinkOrigin.UNCERTAIN, "look"),
    ],
    ids=["rule", "connection unknown", "direction unknown"],
)
def test_a_link_that_may_be_made_by_hand_is_for_a_person(
    connection: object, direction: object, origin: LinkOrigin, tier: str
) -> None:
    """A link where the rule puts it in a connected mailbox is hardly ever made by hand."""
    message = msgspec.structs.replace(mail("a", 1000, "d1"), direction=direction)
    judge = make_judge(connection=connection)  # type: ignore[arg-type]
    verdicts = judge_contact(judge, two_deals(), [message, sent("b", 1001, "d2")])
    assert verdicts["a"].link.origin is origin
    assert proposals(verdicts) == {"a": ("move", "d2", tier)}


@pytest.mark.parametrize(("direction", "tier"), [("received", "sure"), (None, "look")])
def test_an_email_on_no_deal_that_may_be_received_or_sent_is_for_a_person(
    direction: object, tier: str
) -> None:
    message = msgspec.structs.replace(mail("a", 999, None), direction=direction)
    judge = make_judge(connection=CONNECTION_UNKNOWN)
    verdicts = judge_contact(judge, two_deals(), [message, sent("b", 1001, "d2")])
    assert proposals(verdicts) == {"a": ("attach", "d2", tier)}


@pytest.mark.parametrize("missing", ["owner_id", "time"])
def test_an_email_that_no_run_could_change_is_for_a_person(missing: str) -> None:
    emails = [
        msgspec.structs.replace(message, thread_id="t")
        for message in (mail("a", 1000, "d1"), sent("b", 1001, "d2"))
    ]
    emails[0] = msgspec.structs.replace(emails[0], **{missing: None})
    found = proposals(judge_contact(JUDGE, two_deals(), emails))
    assert {tier for _, _, tier in found.values()} <= {"look"}
    assert missing == "time" or found == {"a": ("move", "d2", "look")}


def test_an_email_on_a_deal_that_the_contact_is_not_on_is_for_a_person() -> None:
    """The contact may have to get a role there, which nobody can tell from here."""
    emails = [
        msgspec.structs.replace(message, thread_id="t")
        for message in (mail("a", 1000, UNLISTED), sent("b", 1001, "d2"), sent("c", 1002, "d2"))
    ]
    verdicts = judge_contact(make_judge(connection=CONNECTION_UNKNOWN), two_deals(), emails)
    assert verdicts["a"].link.origin is LinkOrigin.UNCERTAIN
    assert proposals(verdicts) == {"a": ("move", "d2", "look")}


def test_links_by_hand_stay_and_draw_the_others() -> None:
    emails = [mail("a", 1000, "d2", "Re: plan"), mail("b", 1001, "d1", "Re: plan")]
    verdicts = judge_contact(JUDGE, two_deals(), emails)
    assert verdicts["a"].link.origin is LinkOrigin.HAND
    assert proposals(verdicts) == {"b": ("move", "d2", "look")}


def test_a_contact_without_deals_gets_verdicts_without_proposals() -> None:
    emails = [mail("a", 1000), mail("b", 1001, UNLISTED), sent("c", 1002, UNLISTED)]
    verdicts = judge_contact(EAGER, [], emails)
    assert [verdict.scores for verdict in verdicts.values()] == [(), (), ()]
    assert proposals(verdicts) == {}
    assert [verdict.conversation for verdict in verdicts.values()] == [0, 0, 0]


def test_a_contact_without_emails_gets_no_verdict() -> None:
    assert judge_contact(JUDGE, two_deals(), []) == {}


def test_deals_of_which_only_the_id_is_known_get_nothing() -> None:
    deals = [DealFacts("d1"), DealFacts("d2")]
    emails = [mail("a", 1000), mail("b", 1001, "d1", "Plan"), sent("c", 1002, None, "Re: Plan")]
    assert proposals(judge_contact(JUDGE, deals, emails)) == {}


def test_deals_of_equal_names_are_not_told_apart_by_them() -> None:
    deals = [known_deal("d1", "Rollout Berlin"), known_deal("d2", "Rollout Berlin")]
    verdict = judge_contact(JUDGE, deals, [sent("a", 1000, None)])["a"]
    assert probability(verdict, "d1") == probability(verdict, "d2")
    assert verdict.kind is None


# Hold-out


def people_moved(deal_id: str, subject: str) -> ContactFacts:
    """Return a contact of whom people moved an email from d1, and sent another from that deal."""
    emails = (mail("a", 1000, deal_id, subject), sent("b", 1001, deal_id, subject))
    return ContactFacts(CONTACT, emails, two_deals())


def test_the_hold_out_does_not_see_what_people_linked() -> None:
    """With the links visible, the conversation is surely about d2."""
    contact = people_moved("d2", "Re: plan")
    visible = JUDGE.judge(
        msgspec.structs.replace(
            contact, emails=(*contact.emails, mail("c", 1001, "d1", "Re: plan"))
        )
    )
    assert visible[-1].tier is Tier.SURE
    assert JUDGE.hold_out(contact) == HoldOut(1, dict.fromkeys(Tier, 0), dict.fromkeys(Tier, 0))


def test_the_hold_out_does_not_see_what_people_unlinked() -> None:
    """With the unlink visible, d1 would seem less probable, and a move to d2 be proposed."""
    subject = "Re: Service Bern, Rollout Berlin"
    contact = people_moved("d2", subject)
    left, taken_off = (
        msgspec.structs.replace(contact, emails=(*contact.emails, mail("c", 1001, on, subject)))
        for on in ("d1", None)
    )
    assert JUDGE.hold_out(left) == JUDGE.hold_out(taken_off)


def test_judging_and_the_hold_out_together_give_what_each_gives(judged: Judged) -> None:
    held_out = [EAGER.hold_out(contact) for contact, _ in judged]
    assert any(held_out)
    for (contact, verdicts), counts in zip(judged, held_out, strict=True):
        assert EAGER.judge_and_hold_out(contact) == (verdicts, counts), contact.id


def test_the_hold_out_counts_what_is_found_without_the_links() -> None:
    found = JUDGE.hold_out(people_moved("d2", "Re: Rollout Berlin"))
    assert found is not None
    assert (found.conversations, sum(found.proposed.values())) == (1, 1)
    assert found.right == found.proposed


def test_the_hold_out_counts_what_people_moved_elsewhere_as_wrong() -> None:
    deals = (*two_deals(), known_deal("d3", "Audit"))
    contact = msgspec.structs.replace(people_moved("d3", "Re: Rollout Berlin"), deals=deals)
    found = JUDGE.hold_out(contact)
    assert found is not None
    assert sum(found.proposed.values()) == 1
    assert sum(found.right.values()) == 0


@pytest.mark.parametrize(
    "emails",
    [
        (mail("a", 1000, "d1"),),
        (mail("a", 1000),),
        (sent("a", 1000, "d2"),),
        (msgspec.structs.replace(mail("a", 1000, "d2"), link_known=False),),
        (),
    ],
    ids=["by the rule", "on none", "sent", "unknown", "none"],
)
def test_without_moves_by_people_there_is_no_hold_out(emails: tuple[EmailFacts, ...]) -> None:
    assert JUDGE.hold_out(ContactFacts(CONTACT, emails, two_deals())) is None


def test_the_hold_out_proposes_the_same_wherever_people_linked() -> None:
    """A trace of the hidden links anywhere in the evidence would change what is proposed."""
    deals = (*two_deals(), known_deal("d3", "Audit"))
    proposed = 0
    for seed in SEEDS:
        random = Random(seed)
        subjects = ("Re: plan", "Re: Rollout Berlin", "Re: Audit")
        emails = tuple(
            random.choice((sent, mail))(
                f"m{number}", random.randint(1000, 1030), "d2", random.choice(subjects)
            )
            for number in range(random.randint(1, 5))
        )
        elsewhere = tuple(
            msgspec.structs.replace(message, deal_id=random.choice(["d2", "d3"]))
            for message in emails
        )
        first, second = (
            JUDGE.hold_out(ContactFacts(CONTACT, linked, deals)) for linked in (emails, elsewhere)
        )
        assert (first is None) is (second is None), seed
        if first is not None and second is not None:
            assert first.proposed == second.proposed, seed
            assert first.conversations == second.conversations, seed
            proposed += sum(first.proposed.values())
    assert proposed > 100
