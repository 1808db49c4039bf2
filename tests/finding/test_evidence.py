"""Each evidence of the weights is found in a small world, and is absent from its nearest contrast.

A world is a few deals of a contact and a few emails; the email that is judged has the id `m`.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest

from bulklink.finding.connection_span import ALWAYS_CONNECTED, CONNECTION_UNKNOWN, ConnectionSpan
from bulklink.finding.values import DealFacts, EmailFacts, FieldChange, Person
from bulklink.finding.verdicts import EmailVerdict
from tests.finding.builders import DAY, deal, email, move, touch
from tests.finding.judged import (
    CREATED,
    evidence_of,
    judge_contact,
    known_deal,
    make_judge,
    probability,
    weights,
)

ANN = "ann@acme.test"


@dataclass(frozen=True)
class World:
    """Deals and emails of a contact."""

    deals: tuple[DealFacts, ...]
    emails: tuple[EmailFacts, ...]
    connection: ConnectionSpan = ALWAYS_CONNECTED
    number_shapes: tuple[str, ...] = ()

    def judge(self) -> EmailVerdict:
        judge = make_judge(connection=self.connection, number_shapes=self.number_shapes)
        return judge_contact(judge, self.deals, self.emails, [ANN])["m"]


@dataclass(frozen=True)
class Case:
    """An evidence, its text, a world that has it, and worlds that are nearly the same."""

    name: str
    text: str
    world: World
    contrasts: tuple[World, ...]
    deal_id: str | None = "d1"


def mail(day: float = 1000, subject: str = "Re: plan", deal_id: str | None = None) -> EmailFacts:
    """Return the email that is judged."""
    return email(day * DAY, deal_id, message_id="m", subject=subject)


def sent(day: float = 1000, subject: str = "Re: plan", deal_id: str | None = None) -> EmailFacts:
    return msgspec.structs.replace(mail(day, subject, deal_id), direction="sent")


def earlier(
    day: float, subject: str, *, deal_id: str | None = None, owner_id: str = "o1"
) -> EmailFacts:
    """Return another email of the contact."""
    return email(day * DAY, deal_id, message_id="earlier", subject=subject, owner_id=owner_id)


def one(*emails: EmailFacts) -> World:
    """Return a world of an open deal."""
    return World((known_deal("d1"),), emails)


def closed(day: float, stage: str) -> World:
    """Return a world of a deal that was closed on a day, before an email of day 1000."""
    history = [move(day * DAY, "Open", stage)]
    return World((known_deal("d1", stage=stage, history=history),), (mail(),))


def created(day: float) -> World:
    return World((known_deal("d1", created=day * DAY),), (mail(),))


def named(*names: str, subject: str) -> World:
    """Return a world of deals with names, d1 first."""
    deals = [known_deal(f"d{place}", name) for place, name in enumerate(names, 1)]
    return World(tuple(deals), (mail(subject=subject),))


def numbered(number: str, subject: str) -> World:
    return World(
        (known_deal("d1", number=number),), (mail(subject=subject),), number_shapes=("q99999",)
    )


def two_open(message: EmailFacts, connection: ConnectionSpan = ALWAYS_CONNECTED) -> World:
    """Return a world of two open deals, of which the rule picks d1."""
    deals = (known_deal("d1", created=CREATED + DAY), known_deal("d2"))
    return World(deals, (message,), connection)


def changed(day: float, source: str | None = "crm_ui") -> World:
    change = msgspec.structs.replace(touch(day * DAY), source=source)
    return World((known_deal("d1", history=[change]),), (mail(),))


def changed_after(*days: float) -> World:
    """Return a world of two emails, of days 1000 and 1003, and a deal that people changed."""
    history = [msgspec.structs.replace(touch(day * DAY), source="crm_ui") for day in days]
    return World((known_deal("d1", history=history),), (earlier(1000, "plan"), mail(1003)))


def summarized(summary: str, *names: str, subject: str = "Re: plan") -> World:
    """Return a world of deals with names, d1 first, and an email with a summary."""
    world = named(*names, subject=subject)
    (message,) = world.emails
    return World(world.deals, (msgspec.structs.replace(message, summary=summary),))


def owned(*history: FieldChange, owner_id: str = "o1", owner_name: str | None = None) -> World:
    message = msgspec.structs.replace(mail(), owner_name=owner_name)
    return World((known_deal("d1", owner_id=owner_id, history=history),), (message,))


def written(sender: str, to: str, subject: str = "Re: plan") -> World:
    message = msgspec.structs.replace(
        mail(subject=subject), sender=Person(sender), to=(Person(to),)
    )
    return one(message)


def won_during(day: float) -> World:
    """Return a world of two emails, of days 1000 and 1003, and a deal that is won on a day."""
    history = [move(day * DAY, "Open", "Won")]
    emails = (earlier(1000, "plan"), mail(1003))
    return World((known_deal("d1", stage="Won", history=history),), emails)


def unread(modified: float) -> World:
    return World((deal("d1", created=CREATED, modified=modified * DAY),), (mail(),))


ALPHA = "Alpha Rollout"
CASES = [
    Case("alive", "open", created(900), (created(1001), unread(1001))),
    Case(
        "partly_alive",
        "open for a part of it",
        won_during(1002),
        (won_during(1004), won_during(999)),
    ),
    Case("maybe_alive", "perhaps open", unread(1001), (unread(999),)),
    Case("soon", "created within 30 days", created(1029), (created(1031), created(999))),
    Case("early", "created within 120 days", created(1119), (created(1121), created(1029))),
    Case("before", "created long after", created(1121), (created(1119),)),
    Case(
        "just_won",
        "won within 30 days before",
        closed(971, "Won"),
        (closed(969, "Won"), closed(971, "Lost"), closed(1001, "Won")),
    ),
    Case(
        "just_lost",
        "lost within 30 days before",
        closed(971, "Lost"),
        (closed(969, "Lost"), closed(971, "Won")),
    ),
    Case(
        "won",
        "won within 120 days before",
        closed(881.5, "Won"),
        (closed(879, "Won"), closed(971, "Won"), closed(950, "Lost")),
    ),
    Case(
        "over",
        "closed long before",
        closed(879, "Won"),
        (closed(881.5, "Won"), closed(971, "Lost")),
    ),
    Case(
        "unknown_life",
        "nothing is known of it then",
        one(msgspec.structs.replace(mail(), time=None)),
        (one(mail()),),
    ),
    Case(
        "by_role",
        "the contact is on it by a contact role",
        World((known_deal("d1", by_role=True),), (mail(),)),
        (one(mail()),),
    ),
    Case(
        "owner",
        "1 of 1 in the mailbox of its owner",
        owned(),
        (
            owned(owner_id="o2"),
            one(mail()),
            owned(FieldChange(1001 * DAY, "Owner", "Bo", "Al"), owner_name="Al"),
        ),
    ),
    Case(
        "worked_on",
        "a person changed it at the time of 1 of 1",
        changed(1000.9),
        (changed(1001.1), changed(998.9), changed(1000.9, "workflow")),
    ),
    Case(
        "edited",
        "a person changed it after 1 of 2",
        changed_after(1000.9),
        (changed_after(999.9), changed_after(1001.1)),
    ),
    Case(
        "edited_again",
        "a person changed it after 2 of 2",
        changed_after(1000.9, 1003.9),
        (changed_after(1000.9), changed_after(999.9, 1002.9)),
    ),
    Case(
        "active",
        "a person changed it in the two weeks after",
        changed(1013.9),
        (changed(1014.1), changed(1000.9), changed(1013.9, "workflow")),
    ),
    Case(
        "fresh",
        "created within three days of an email",
        created(1002.9),
        (created(1003.1), created(996.9)),
    ),
    Case(
        "young",
        "created within two weeks before",
        created(986.1),
        (created(985.9), created(1001)),
    ),
    Case(
        "number",
        "its number is in the subject",
        numbered("Q-10432", "Re: offer q10432"),
        (numbered("Q-10433", "Re: offer q10432"), numbered("Q-104", "Re: offer q104")),
    ),
    Case(
        "named",
        "its name is in the subject",
        named(ALPHA, subject="Re: alpha rollout, dates"),
        (
            named(ALPHA, subject="Re: rollout alpha, dates"),
            named(ALPHA, subject="Re: alpha rollouts"),
        ),
    ),
    Case(
        "plainly_named",
        "its name is in the subject",
        named(ALPHA, "Rollout Alpha", subject="Re: alpha rollout, dates"),
        (
            named(ALPHA, "Rollout Alpha", subject="Re: rollout alpha, dates"),
            named(ALPHA, "Rollout Berlin", subject="Re: alpha rollout, dates"),
        ),
    ),
    Case(
        "shared_name",
        "its name is in the subject, as is that of others",
        named(ALPHA, ALPHA, subject="Re: alpha rollout, dates"),
        (named(ALPHA, "Alpha", subject="Re: alpha rollout, dates"),),
    ),
    Case(
        "all_words",
        "the subject has berlin, rollout",
        named("Rollout Berlin", subject="Re: Berlin: the rollout"),
        (
            named("Rollout Berlin", subject="Re: the rollout"),
            named("Rollout Berlin", subject="Re: rollout Berlin"),
        ),
    ),
    Case(
        "words",
        "the subject has berlin",
        named("Rollout Berlin", subject="Re: Berlin"),
        (
            named("Rollout Berlin", "Service Berlin", subject="Re: Berlin"),
            named("Rollout Berlin", subject="Re: Bern"),
        ),
    ),
    Case(
        "summary_named",
        "its name is in a summary",
        summarized("Asks about Rollout Berlin.", "Rollout Berlin", "Service Bern"),
        (
            summarized("Asks about Rollout.", "Rollout Berlin", "Service Bern"),
            summarized("Asks.", "Rollout Berlin", "Service Bern"),
            summarized("Asks about Rollout Berlin.", "Rollout", "Rollout Berlin"),
            summarized("Rollout Berlin", "Rollout Berlin", "Bern", subject="Re: Rollout Berlin"),
        ),
    ),
    Case(
        "sent",
        "1 of 1 sent from it",
        one(sent(deal_id="d1")),
        (one(sent()), one(mail(deal_id="d1"))),
    ),
    Case(
        "by_hand",
        "1 of 1 linked to it by hand",
        two_open(mail(deal_id="d2")),
        (two_open(mail(deal_id="d1")), two_open(mail())),
        "d2",
    ),
    Case("linked", "1 of 1 on it", two_open(mail(deal_id="d1")), (two_open(mail(deal_id="d2")),)),
    Case(
        "unlinked",
        "taken off it by hand",
        two_open(mail()),
        (two_open(mail(deal_id="d1")), two_open(sent()), two_open(mail(), CONNECTION_UNKNOWN)),
    ),
    Case(
        "near",
        "emails at that time are about it",
        one(earlier(987, "Re: budget"), mail()),
        (
            one(earlier(985, "Re: budget"), mail()),
            one(earlier(987, "Re: budget", owner_id="o2"), mail()),
        ),
    ),
    Case(
        "continued",
        "its subject was about it 20 days before",
        one(earlier(980, "plan"), mail()),
        (
            one(earlier(994, "plan"), mail()),
            one(earlier(939, "plan"), mail()),
            one(earlier(980, "plan"), mail(subject="plan")),
            one(earlier(980, "plans"), mail()),
        ),
    ),
    Case(
        "resumed",
        "its subject was about it 61 days before",
        one(earlier(939, "plan"), mail()),
        (one(earlier(941, "plan"), mail()), one(earlier(939, "plan"), mail(subject="plan"))),
    ),
    Case(
        "same_number",
        "other emails with the same number are about it",
        one(earlier(920, "Re: invoice 55-555"), mail(subject="Re: order 55555")),
        (
            one(earlier(920, "Re: invoice 55-556"), mail(subject="Re: order 55555")),
            one(earlier(920, "Re: order 55555"), mail(subject="Re: order 55555")),
        ),
    ),
    Case(
        "stale_text",
        "the subject is an old one",
        World((known_deal("d1", ALPHA),), (earlier(978, ALPHA), mail(subject=f"Re: {ALPHA}"))),
        (
            World((known_deal("d1", ALPHA),), (earlier(980, ALPHA), mail(subject=f"Re: {ALPHA}"))),
            World(
                (known_deal("d1", "Berlin"),), (earlier(978, ALPHA), mail(subject=f"Re: {ALPHA}"))
            ),
        ),
    ),
    Case("none", "no deal of the contact", one(mail()), (), None),
    Case(
        "automatic",
        "an invitation or an automatic reply",
        one(mail(subject="Accepted: plan")),
        (one(mail(subject="Plan accepted: yes")),),
        None,
    ),
    Case(
        "bulk",
        "from a bulk sender",
        written("no-reply@shop.test", ANN),
        (written("reply@shop.test", ANN), written("no-reply@shop.test", ANN, "Accepted: plan")),
        None,
    ),
    Case(
        "lone_received",
        "received, and nobody answered",
        one(mail(subject="plan")),
        (
            one(mail()),
            one(sent(subject="plan")),
            one(earlier(999, "plan"), mail()),
            one(msgspec.structs.replace(mail(subject="plan"), direction=None)),
        ),
        None,
    ),
    Case(
        "lone_sent",
        "sent, and nobody answered",
        one(sent(subject="plan")),
        (
            one(sent()),
            one(mail(subject="plan")),
            one(earlier(999, "plan"), sent()),
            one(msgspec.structs.replace(mail(subject="plan"), direction=None)),
        ),
        None,
    ),
    Case(
        "dialogue",
        "three emails or more",
        one(earlier(998, "Re: plan"), earlier(999, "Re: plan"), mail()),
        (one(earlier(999, "Re: plan"), mail()),),
        None,
    ),
    Case(
        "colleagues",
        "in the mailboxes of several users",
        one(earlier(999, "Re: plan of Bern", owner_id="o2"), mail(subject="Re: plan of Bern")),
        (one(earlier(999, "Re: plan of Bern"), mail(subject="Re: plan of Bern")),),
        None,
    ),
    Case(
        "bystander",
        "the contact only had a copy",
        written("bo@acme.test", "al@us.test"),
        (written("bo@acme.test", ANN), written(ANN, "al@us.test")),
        None,
    ),
    Case(
        "other_number",
        "the number of another deal is in the subject",
        numbered("Q-10432", "Re: offer Q-77777"),
        (
            numbered("Q-77777", "Re: offer Q-77777"),
            numbered("Q-10432", "Re: offer R-77777"),
            numbered("Q-10432", "Re: offer Q-777777"),
        ),
        None,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_evidence_is_found_and_says_what_it_saw(case: Case) -> None:
    verdict = case.world.judge()
    assert evidence_of(verdict, case.deal_id).get(case.name) == case.text


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            Case(case.name, case.text, contrast, (), case.deal_id), id=f"{case.name}-{number}"
        )
        for case in CASES
        for number, contrast in enumerate(case.contrasts, 1)
    ],
)
def test_an_evidence_is_absent_from_a_world_that_is_nearly_the_same(case: Case) -> None:
    assert case.name not in evidence_of(case.world.judge(), case.deal_id)


def test_each_weight_belongs_to_an_evidence_that_is_found_above() -> None:
    """A weight that no code produces has no world that shows it."""
    assert sorted(case.name for case in CASES) == sorted(weights().log_odds)


def test_each_weight_has_a_sentence() -> None:
    assert all(sentence.endswith(".") for sentence in weights().sentences.values())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_evidence_moves_the_probability_by_the_sign_of_its_weight(case: Case) -> None:
    verdict = case.world.judge()
    score = next(score for score in verdict.scores if score.deal_id == case.deal_id)
    (evidence,) = (evidence for evidence in score.evidence if evidence.name == case.name)
    weight = weights().log_odds[case.name]
    assert evidence.log_odds * weight > 0 or weight == 0
    assert abs(evidence.log_odds) <= abs(weight)


def test_evidence_only_speaks_for_the_deal_that_it_is_about() -> None:
    verdict = named("Rollout Berlin", "Service Bern", subject="Re: Rollout Berlin").judge()
    assert "named" in evidence_of(verdict, "d1")
    assert set(evidence_of(verdict, "d2")) == {"alive"}
    assert probability(verdict, "d1") > 10 * probability(verdict, "d2")


def test_a_name_within_a_longer_name_does_not_count() -> None:
    verdict = named("Rollout", "Rollout Berlin", subject="Re: Rollout Berlin").judge()
    assert "named" in evidence_of(verdict, "d2")
    assert not evidence_of(verdict, "d1").keys() & {
        "named",
        "shared_name",
        "plainly_named",
        "words",
    }


def test_the_name_of_the_contacts_company_tells_nothing() -> None:
    verdict = named("Acme", "Berlin", subject="Re: Acme").judge()
    assert set(evidence_of(verdict, "d1")) == {"alive"}


def test_words_of_two_letters_and_legal_forms_tell_nothing() -> None:
    verdict = named("Müller GmbH und Co", "Berlin", subject="Re: GmbH und Co").judge()
    assert set(evidence_of(verdict, "d1")) == {"alive"}


def test_a_share_of_the_emails_counts_in_proportion() -> None:
    deals = (known_deal("d1", created=CREATED + DAY), known_deal("d2"))
    emails = (earlier(999, "plan", deal_id="d1"), sent(1000))
    verdict = World(deals, emails).judge()
    assert evidence_of(verdict, "d1")["linked"] == "1 of 2 on it"
    (linked,) = (
        evidence.log_odds
        for score in verdict.scores
        for evidence in score.evidence
        if evidence.name == "linked"
    )
    assert linked == pytest.approx(weights().log_odds["linked"] / 2)


def test_the_share_in_the_mailbox_of_the_owner_counts() -> None:
    """A conversation that a colleague began counts half for the deal of the other."""
    emails = (earlier(999, "Re: plan of Bern", owner_id="o2"), mail(subject="Re: plan of Bern"))
    verdict = World((known_deal("d1", owner_id="o1"),), emails).judge()
    assert evidence_of(verdict, "d1")["owner"] == "1 of 2 in the mailbox of its owner"
    score = next(score for score in verdict.scores if score.deal_id == "d1")
    (owner,) = (item.log_odds for item in score.evidence if item.name == "owner")
    assert owner == pytest.approx(weights().log_odds["owner"] / 2)


def test_the_owner_is_that_of_the_time_of_the_email() -> None:
    handed_over = FieldChange(1001 * DAY, "Owner", "Bo", "Al")
    before = owned(handed_over, owner_id="o2", owner_name="Bo")
    assert "owner" in evidence_of(before.judge(), "d1")
    unnamed = owned(handed_over, owner_id="o1")
    assert "owner" not in evidence_of(unnamed.judge(), "d1")


@pytest.mark.parametrize("spam", [True, False])
def test_what_zoho_takes_for_spam_is_bulk(spam: bool) -> None:
    message = msgspec.structs.replace(mail(), intent="spam" if spam else "purchase")
    assert ("bulk" in evidence_of(one(message).judge(), None)) is spam


def test_the_address_that_a_contact_mostly_writes_from_is_its_own() -> None:
    """A contact whose addresses are unknown is not mistaken for a bystander."""
    emails = [
        msgspec.structs.replace(
            email(day * DAY, message_id=f"m{day}", subject=f"Re: {day}"),
            sender=Person(sender),
            to=(Person("al@us.test"),),
        )
        for day, sender in ((1000, ANN), (1001, ANN), (1002, "bo@acme.test"))
    ]
    verdicts = judge_contact(make_judge(), [known_deal("d1")], emails)
    bystanders = [
        name for name, found in verdicts.items() if "bystander" in evidence_of(found, None)
    ]
    assert bystanders == ["m1002"]
