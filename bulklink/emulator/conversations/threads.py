"""Conversations about deals, and those that are used for another topic later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bulklink.emulator.conversations.deals import DealLife
from bulklink.emulator.conversations.mail import Mail
from bulklink.emulator.conversations.moments import DAY, HOUR, MINUTE, WORLD_END, working_time
from bulklink.emulator.conversations.org import OrgPlan, OrgUser
from bulklink.emulator.conversations.people import Company, Correspondent
from bulklink.emulator.conversations.randomness import Draws
from bulklink.emulator.conversations.subjects import answer_subject, deal_subject, summarise
from bulklink.emulator.conversations.texts import TOPICS

_SECOND_ADDRESS = 250
"""Thousandths of the emails for which a contact with two addresses uses the less likely one."""

_LEADS = (3 * HOUR, DAY, 4 * DAY)
"""How long before a deal is created the first email about it comes, at most."""


@dataclass(slots=True)
class _Talk:
    """A conversation under way.

    Args:
        number: its number in its company.
        person: the contact who leads it.
        shared: the shared mailbox that it goes through, or None.
        subject: the last subject.
        time: the time of the last email.
        topic: what it is about, in the words of its language.
        deal: the deal that it is about now, or None.
        kind: as of an email.
    """

    number: int
    person: Correspondent
    shared: OrgUser | None
    subject: str
    time: int
    topic: str
    deal: DealLife | None
    kind: str = "deal"


def plan_threads(
    org: OrgPlan, company: Company, draws: Draws, deals: Sequence[DealLife]
) -> list[Mail]:
    """Return the emails of all conversations about the deals of a company."""
    mails: list[Mail] = []
    number = 0
    for deal in deals:
        mean = org.knobs.threads_per_deal
        count = draws.rounded(draws.between(0, 2 * mean), 10)
        for index in range(count):
            talk = _begin_talk(org, company, draws, deal, number, is_first=index == 0)
            number += 1
            if talk.time < WORLD_END:
                mails += _hold_talk(org, company, draws, talk, deals)
    return mails


def _begin_talk(
    org: OrgPlan, company: Company, draws: Draws, deal: DealLife, number: int, *, is_first: bool
) -> _Talk:
    is_inquiry = draws.chance(org.knobs.inquiries) and is_first
    moment, topics = _start_of(org, draws, deal, is_inquiry=is_inquiry)
    topic = draws.pick(topics)
    phrases = company.language.phrases[TOPICS.index(topic)]
    subject = deal_subject(org, draws, company.language, deal, topic)
    if is_inquiry:  # nobody knows the name of a deal before it exists
        subject = draws.pick((*phrases, *company.language.short, *company.language.vague))
    is_shared = draws.chance(org.knobs.shared_threads)
    shared = draws.pick(org.shared) if org.shared and is_shared else None
    person = _leader(org, company, draws, deal)
    return _Talk(number, person, shared, subject, moment, draws.pick(phrases), deal)


def _start_of(
    org: OrgPlan, draws: Draws, deal: DealLife, *, is_inquiry: bool
) -> tuple[int, Sequence[str]]:
    """Return when a conversation begins, and what it may be about."""
    if is_inquiry:
        return deal.created - draws.between(20 * MINUTE, draws.pick(_LEADS)), TOPICS[:1]
    if deal.closed and draws.chance(org.knobs.after_close):
        moment = deal.active_until + draws.between(2 * HOUR, 120 * DAY)
        return working_time(draws, moment, org.zone), TOPICS[3:]
    moment = draws.between(deal.created, max(deal.created, deal.active_until))
    return working_time(draws, moment, org.zone), (*TOPICS[1:], "quote")


def _leader(org: OrgPlan, company: Company, draws: Draws, deal: DealLife) -> Correspondent:
    """Return the contact who leads a conversation: of the deal, or by a role."""
    if deal.role_ids and draws.chance(org.knobs.role_writers):
        role_id = draws.pick(deal.role_ids)
        return next(person for person in company.people if person.id == role_id)
    return deal.person


def _hold_talk(
    org: OrgPlan, company: Company, draws: Draws, talk: _Talk, deals: Sequence[DealLife]
) -> list[Mail]:
    """Return the emails of a conversation, with those on another topic if it is hijacked."""
    mails = _exchange(org, company, draws, talk, is_start=True)
    if draws.chance(org.knobs.hijacked_threads) and mails:
        other = _other_topic(org, draws, talk, deals)
        if other is not None:
            mails += _exchange(org, company, draws, other, is_start=False)
    return mails


def _other_topic(
    org: OrgPlan, draws: Draws, talk: _Talk, deals: Sequence[DealLife]
) -> _Talk | None:
    """Return a conversation that goes on with another topic, usually another deal."""
    earliest = talk.time + draws.between(2 * HOUR, 60 * DAY)
    others = [
        deal
        for deal in deals
        if deal is not talk.deal and deal.concerns(talk.person) and deal.active_until > earliest
    ]
    deal = draws.pick(others) if others and draws.chance(900) else None
    moment = max(earliest, deal.created - draws.below(2 * DAY)) if deal else earliest
    moment = working_time(draws, moment + draws.below(10 * DAY), org.zone)
    if moment >= WORLD_END or (deal is None and not draws.chance(300)):
        return None
    phrases = org.language.office if deal is None else org.language.phrases[draws.below(6)]
    return _Talk(
        talk.number,
        talk.person,
        talk.shared,
        talk.subject,
        moment,
        draws.pick(phrases),
        deal,
        kind="hijacked",
    )


def _exchange(
    org: OrgPlan, company: Company, draws: Draws, talk: _Talk, *, is_start: bool
) -> list[Mail]:
    """Return emails that go to and fro about one topic, and leave `talk` at the last one."""
    mean = org.knobs.emails_per_thread
    count = max(1, draws.rounded(draws.between(10, 2 * mean - 10), 10))
    sent = draws.chance(org.knobs.sent_emails) and not _is_before_deal(talk)
    mails: list[Mail] = []
    for index in range(count):
        if index:
            sent = _turn(org, draws, sent=sent)
            talk.time = _reply_time(org, draws, talk)
        if talk.time >= WORLD_END:
            break
        mails.append(
            _write(org, company, draws, talk, sent=sent, is_reply=index > 0 or not is_start)
        )
    return mails


def _is_before_deal(talk: _Talk) -> bool:
    return talk.deal is not None and talk.time < talk.deal.created


def _turn(org: OrgPlan, draws: Draws, *, sent: bool) -> bool:
    """Return whether a user sends the next email: mostly the other side answers."""
    return draws.chance(min(950, 2 * org.knobs.sent_emails - 50)) if not sent else draws.chance(120)


def _reply_time(org: OrgPlan, draws: Draws, talk: _Talk) -> int:
    if draws.chance(org.knobs.long_gaps):
        gap = draws.between(7 * DAY, 42 * DAY)
    else:
        gap = draws.between(5 * MINUTE, 2 * draws.between(1, 2 * org.knobs.reply_hours) * HOUR)
    return working_time(draws, talk.time + gap, org.zone)


def _write(
    org: OrgPlan, company: Company, draws: Draws, talk: _Talk, *, sent: bool, is_reply: bool
) -> Mail:
    """Return the next email of a conversation."""
    user = talk.shared or _caretaker(company, talk)
    forward = draws.chance(org.knobs.forwards)
    if is_reply or forward:
        talk.subject = _next_subject(org, company, draws, talk, user, sent=sent, forward=forward)
    mail = Mail(
        time=talk.time,
        sent=sent,
        user=user,
        person=talk.person,
        subject=talk.subject,
        summary=summarise(org, draws, company.language, talk.deal, talk.topic),
        thread=talk.number,
        has_thread_id=draws.chance(org.knobs.known_threads),
        deal=talk.deal,
        kind=talk.kind,
        writer_name=_caretaker(company, talk).name,
    )
    _add_address(draws, mail)
    _add_copies(org, company, draws, mail)
    return mail


def _caretaker(company: Company, talk: _Talk) -> OrgUser:
    """Return the user who answers: the owner of the deal."""
    return talk.deal.owner_at(talk.time) if talk.deal else company.users[0]


def _next_subject(
    org: OrgPlan,
    company: Company,
    draws: Draws,
    talk: _Talk,
    user: OrgUser,
    *,
    sent: bool,
    forward: bool,
) -> str:
    if draws.chance(org.knobs.changed_subjects) and talk.deal and not _is_before_deal(talk):
        return deal_subject(org, draws, company.language, talk.deal, draws.pick(TOPICS[1:]))
    writer_language = org.language if sent else company.language
    local = user.local_prefixes if sent else talk.person.local_prefixes
    return answer_subject(talk.subject, writer_language, local=local, forward=forward)


def _add_address(draws: Draws, mail: Mail) -> None:
    """Choose the address of a contact who has two: mostly the one of the deal's record."""
    is_other = draws.chance(_SECOND_ADDRESS)
    if mail.person.duplicate:
        of_duplicate = bool(
            mail.deal and mail.deal.person.id == mail.person.id and mail.deal.from_duplicate
        )
        mail.at_duplicate = of_duplicate != is_other


def _add_copies(org: OrgPlan, company: Company, draws: Draws, mail: Mail) -> None:
    if draws.chance(org.knobs.cc_colleagues):
        mail.copy_people = (draws.pick(company.others),)
    contacts = [p for p in company.people if p.id != mail.person.id and not p.is_program]
    if draws.chance(org.knobs.cc_contacts) and contacts:
        mail.copy_contact = draws.pick(contacts)
    if mail.user.shared and draws.chance(org.knobs.copies) and not mail.sent:
        mail.copy_user = company.users[0]


def add_pages(org: OrgPlan, draws: Draws, mails: Sequence[Mail], deals: Sequence[DealLife]) -> None:
    """Send a share of the sent emails from the page of a deal that exists by then."""
    for mail in mails:
        is_from_page = draws.chance(org.knobs.from_deal_page * 5 // 3)
        is_wrong = draws.chance(org.knobs.wrong_page)
        mail.in_crm = draws.chance(org.knobs.crm_mail) and mail.sent
        pages = [deal for deal in deals if _has_page_for(deal, mail)]
        if not (mail.sent and mail.user.uses_deal_page and is_from_page and pages):
            continue
        others = [deal for deal in pages if deal is not mail.deal]
        if is_wrong and others:
            mail.page = draws.pick(others)
        elif mail.deal in pages:
            mail.page = mail.deal
        mail.in_crm = mail.in_crm or mail.page is not None


def _has_page_for(deal: DealLife, mail: Mail) -> bool:
    """Return whether a user could write an email to its contact from the page of a deal."""
    if deal.created >= mail.time or not deal.concerns(mail.person):
        return False
    duplicate = mail.person.duplicate
    if duplicate is None or mail.time >= duplicate.merged:
        return True
    is_own = deal.person.id == mail.person.id
    return mail.at_duplicate == (is_own and deal.from_duplicate)


def add_notes(org: OrgPlan, draws: Draws, mails: Sequence[Mail]) -> None:
    """Let users edit the deal of an email within a day of it, now and then."""
    for mail in mails:
        delay = draws.between(3 * MINUTE, DAY)
        if draws.chance(org.knobs.notes) and mail.deal:
            mail.deal.touch(working_time(draws, mail.time + delay, org.zone), "crm_ui")
