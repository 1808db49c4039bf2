"""Emails that concern no deal: newsletters, programs, calendars, private mail, office matters."""

from __future__ import annotations

from bulklink.emulator.conversations.mail import Mail
from bulklink.emulator.conversations.moments import DAY, HOUR, WORLD_END, working_time
from bulklink.emulator.conversations.org import OrgPlan
from bulklink.emulator.conversations.people import Company, Correspondent
from bulklink.emulator.conversations.randomness import Draws
from bulklink.emulator.conversations.subjects import answer_subject, summarise

_KINDS = ("bulk", "invitation", "private", "office")
_KIND_WEIGHTS = (40, 20, 15, 25)
FIRST_THREAD = 10_000
"""Number of the first conversation about no deal in a company."""


def plan_small_talk(org: OrgPlan, company: Company, draws: Draws, deal_mails: int) -> list[Mail]:
    """Return the emails of a company that concern no deal.

    Args:
        org: the org.
        company: the company.
        draws: where randomness comes from.
        deal_mails: number of its emails that concern a deal.
    """
    share = org.knobs.no_deal_mail
    wanted = draws.rounded(deal_mails * share, 1_000 - share)
    mails: list[Mail] = []
    thread = FIRST_THREAD
    while len(mails) < wanted:
        person = _correspondent(org, company, draws)
        mails += _talk(org, company, draws, person, thread)
        thread += 1
    return mails[:wanted]


def _correspondent(org: OrgPlan, company: Company, draws: Draws) -> Correspondent:
    """Return a contact with or without deals; the first contact of a company has deals."""
    bystanders = [person for person in company.people if not person.has_deals]
    is_bystander = draws.chance(org.knobs.bystander_mail)
    if is_bystander and bystanders:
        return draws.pick(bystanders)
    return draws.pick([person for person in company.people if person.has_deals])


def _talk(
    org: OrgPlan, company: Company, draws: Draws, person: Correspondent, thread: int
) -> list[Mail]:
    """Return one email, or two if somebody answers."""
    kind = "bulk" if person.is_program else draws.weighted(_KINDS, _KIND_WEIGHTS)
    language = company.language
    phrases = {
        "bulk": language.bulk,
        "invitation": language.invitations,
        "private": language.private,
        "office": language.office,
    }
    moment = org.start + draws.below(WORLD_END - org.start)
    if kind != "bulk":
        moment = working_time(draws, moment, org.zone)
    sent = kind != "bulk" and draws.chance(250)
    shared = draws.pick(org.shared) if org.shared else None
    user = shared if shared and draws.chance(org.knobs.shared_threads) else company.users[0]
    mail = Mail(
        time=min(moment, WORLD_END - DAY),
        sent=sent,
        user=user,
        person=person,
        subject=_vary(org, draws, kind, draws.pick(phrases[kind])),
        summary=None,
        thread=thread,
        has_thread_id=draws.chance(org.knobs.known_threads),
        deal=None,
        kind=kind,
        at_duplicate=person.duplicate is not None and draws.chance(300),
        writer_name=user.name,
    )
    mail.summary = summarise(org, draws, language, None, mail.subject)
    if kind in {"private", "office"} and draws.chance(300):
        return [mail, _reply(org, company, draws, mail)]
    return [mail]


def _vary(org: OrgPlan, draws: Draws, kind: str, subject: str) -> str:
    """Return a subject that may name a product, or the number of something that is no deal."""
    is_decoy, product = draws.chance(org.knobs.decoys), draws.pick(org.products)
    is_numbered, number = draws.chance(200), draws.below(30_000)
    if kind in {"bulk", "office"} and is_decoy:
        return f"{subject}: {product}"
    if kind == "bulk" and is_numbered:
        return f"{subject} [{org.deal_number(number)}]" if is_decoy else f"{subject} #{number}"
    return subject


def _reply(org: OrgPlan, company: Company, draws: Draws, mail: Mail) -> Mail:
    local = mail.person.local_prefixes if mail.sent else mail.user.local_prefixes
    language = company.language if mail.sent else org.language
    moment = working_time(draws, mail.time + draws.between(HOUR // 2, 20 * HOUR), org.zone)
    return Mail(
        time=min(moment, WORLD_END - 1),
        sent=not mail.sent,
        user=mail.user,
        person=mail.person,
        subject=answer_subject(mail.subject, language, local=local, forward=False),
        summary=mail.summary,
        thread=mail.thread,
        has_thread_id=mail.has_thread_id,
        deal=None,
        kind=mail.kind,
        at_duplicate=mail.at_duplicate,
        writer_name=mail.writer_name,
    )
