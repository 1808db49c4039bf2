"""Subjects and summaries of emails."""

from __future__ import annotations

from bulklink.emulator.conversations.deals import DealLife
from bulklink.emulator.conversations.org import OrgPlan
from bulklink.emulator.conversations.randomness import Draws
from bulklink.emulator.conversations.texts import LANGUAGES, TOPICS, Language

_PREFIX_LENGTH_LIMIT = 16
_PREFIXES = tuple(
    dict.fromkeys(
        prefix
        for language in LANGUAGES.values()
        for prefix in ("Re: ", "Fwd: ", language.reply, language.forward)
    )
)


def deal_subject(org: OrgPlan, draws: Draws, language: Language, deal: DealLife, topic: str) -> str:
    """Return the subject of the first email of a conversation about a deal."""
    knobs = org.knobs
    phrase = draws.pick(language.phrases[TOPICS.index(topic)])
    plain = max(0, 1_000 - knobs.full_names - knobs.part_names - knobs.one_word - knobs.vague)
    way = draws.weighted(
        ("full", "part", "short", "vague", "plain"),
        (knobs.full_names, knobs.part_names, knobs.one_word, knobs.vague, plain),
    )
    match way:
        case "full":
            subject = _combine(draws, phrase, deal.name)
        case "part":
            subject = _combine(draws, phrase, _part_of(draws, deal))
        case "short":
            subject = draws.pick(language.short)
        case "vague":
            subject = draws.pick(language.vague)
        case _:
            subject = phrase
    return _add_number(org, draws, deal, subject)


def _combine(draws: Draws, phrase: str, name: str) -> str:
    patterns = ("{0} {1}", "{1}: {0}", "{0} - {1}", "{1} / {0}", "{1}")
    return draws.weighted(patterns, (30, 20, 25, 10, 15)).format(phrase, name)


def _part_of(draws: Draws, deal: DealLife) -> str:
    """Return a word of the name of a deal, as people write it."""
    words = [word for word in deal.name.split() if len(word) > 1 and any(map(str.isalnum, word))]
    word = draws.pick(words or [deal.name])
    return word.lower() if draws.chance(250) else word


def _add_number(org: OrgPlan, draws: Draws, deal: DealLife, subject: str) -> str:
    is_wanted, is_first = draws.chance(org.knobs.numbers), draws.chance(600)
    if not is_wanted or not deal.number:
        return subject
    return f"[{deal.number}] {subject}" if is_first else f"{subject} ({deal.number})"


def answer_subject(subject: str, language: Language, *, local: bool, forward: bool) -> str:
    """Return the subject of a reply or of a forwarded email.

    Mail programs know the prefix of their own language, and put it before any other.

    Args:
        subject: the subject of the email that is answered.
        language: the language of the writer.
        local: whether the mail program writes the prefixes of that language.
        forward: whether the email is forwarded.
    """
    reply, fwd = (language.reply, language.forward) if local else ("Re: ", "Fwd: ")
    prefix = fwd if forward else reply
    if subject.startswith(prefix):
        return subject
    kept = subject
    while (known := _prefix_of(kept)) and len(prefix) + len(subject) - len(kept) > (
        _PREFIX_LENGTH_LIMIT
    ):
        kept = kept.removeprefix(known)
    return prefix + kept


def _prefix_of(subject: str) -> str:
    return next((prefix for prefix in _PREFIXES if subject.startswith(prefix)), "")


def summarise(
    org: OrgPlan, draws: Draws, language: Language, deal: DealLife | None, topic: str
) -> str | None:
    """Return the summary of an email, or None where the CRM made none.

    Args:
        org: the org.
        draws: where randomness comes from.
        language: the language of the email.
        deal: its deal, or None.
        topic: what it is about, in the words of its language.
    """
    is_made, is_named = draws.chance(org.knobs.summaries), draws.chance(org.knobs.full_names)
    sentence = draws.weighted(("{}", draws.pick(language.summary)), (1, 3))
    if not is_made:
        return None
    return sentence.format(deal.name if deal and is_named else topic)
