"""A subject tells the same with and without prefixes, in every language and however it is typed."""

from __future__ import annotations

import unicodedata
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.finding.subjects import (
    contains_phrase,
    find_numbers,
    normalize,
    number_shape,
    parse_subject,
    squeeze_number,
)

PREFIXES = {
    "english": ("Re:", "RE :", "Fw:", "Fwd:", "re:"),
    "german": ("AW:", "Antw:", "Antwort:", "WG:"),
    "dutch": ("Antw:", "Doorst:"),
    "scandinavian": ("SV:", "VS:", "VB:", "VL:", "Ang:"),
    "french": ("RÉP:", "TR:", "Ref:", "Tr :"),
    "italian": ("R:", "I:", "Rif:"),
    "spanish": ("RV:", "Rv:"),
    "portuguese": ("RES:", "ENC:"),
    "polish": ("Odp:", "PD:"),
    "turkish": ("YNT:", "İLT:", "ilt:"),
    "hungarian": ("Vá:", "Továbbítás:"),
    "greek": ("ΑΠ:", "ΣΧΕΤ:", "ΠΡΘ:"),
    "croatian": ("Odg:",),
    "welsh": ("ATB:", "YML:"),
    "russian": ("НА:", "Ответ:", "Пересл:"),  # noqa: RUF001
    "arabic": ("رد:", "إعادة توجيه:"),
    "hebrew": ("תשובה:", "תגובה:", "הועבר:"),
    "chinese": ("回复:", "回复：", "回覆：", "答复：", "转发：", "轉寄："),  # noqa: RUF001
    "japanese": ("返信:", "転送：", "Ｒｅ："),  # noqa: RUF001
    "korean": ("전달:",),
    "counters": ("Re[2]:", "RE(4):", "Re^3:", "Re [12] :", "Fwd (2):", "AW[3]:"),
}
ALL_PREFIXES = sorted({prefix for prefixes in PREFIXES.values() for prefix in prefixes})
TAGS = (
    *("[EXTERNAL]", "[EXT]:", "(External)", "[Extern]", "[Externe]", "[SPAM]"),
    *("[Suspected Spam]", "[BULK]", "［EXT］"),  # noqa: RUF001
)
SUBJECTS = (
    *("Rollout Berlin", "Angebot Nr. 10432", "réunion: demain", "Ünïcödé ﬁle", "見積書について"),
    *("Q-10432/A", "Straße 7", "a", "¡Hola!", "re", "Report: Q3", "İstanbul ofisi", "ΟΔΟΣ"),
)


@pytest.mark.parametrize("language", PREFIXES)
def test_a_reply_has_the_key_of_its_subject(language: str) -> None:
    for prefix, subject in product(PREFIXES[language], SUBJECTS):
        key = parse_subject(subject).key
        for text in (f"{prefix} {subject}", f"{prefix}{subject}", f"  {prefix}\t{subject} "):
            parsed = parse_subject(text)
            assert (parsed.key, parsed.is_reply) == (key, True), text


@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_of_a_mail_filter_is_no_part_of_the_subject(tag: str) -> None:
    plain = parse_subject("Rollout Berlin")
    assert parse_subject(f"{tag} Rollout Berlin") == plain
    for text in (f"{tag} Re: Rollout Berlin", f"Re: {tag} Rollout Berlin"):
        parsed = parse_subject(text)
        assert (parsed.key, parsed.is_reply) == (plain.key, True)


@pytest.mark.parametrize(
    "subject",
    [
        *("Really: no", "Refund: 12", "Area: north", "Rest API", "AWS: invoice", "Tree: oak"),
        *("Re Berlin", "[Berlin] plan", "Iris: hello", "Fw Berlin", "RE[x]: plan", "externals"),
    ],
)
def test_a_word_that_only_begins_like_a_prefix_stays(subject: str) -> None:
    parsed = parse_subject(subject)
    assert (parsed.key, parsed.is_reply) == (subject.casefold(), False)


@pytest.mark.parametrize(
    "subject",
    [
        *("Invitation: Plan", "Updated invitation: Plan", "Accepted: Plan", "Declined: Plan"),
        *("Tentatively accepted: Plan", "Canceled: Plan", "Cancelled event: Plan", "Reminder: x"),
        *("Automatic reply: Plan", "Auto reply: Plan", "Out of Office: x"),
        *("Undeliverable: Plan", "Delivery Status Notification (Failure): x", "Read: Plan"),
        *("Einladung: Plan", "Zugesagt: Plan", "Abgesagt: Plan", "Automatische Antwort: Plan"),
        *("Abwesenheitsnotiz: Plan", "Unzustellbar: Plan", "Gelesen: Plan"),
        *("Accepté : Plan", "Réponse automatique : Plan", "Absence du bureau: Plan", "Rappel: x"),
        *("Aceptado: Plan", "Respuesta automática: Plan", "Accettato: Plan"),
        *("Risposta automatica: Plan", "Aceito: Plan", "Resposta automática: Plan"),
        *("Uitnodiging: Plan", "Automatisch antwoord: Plan", "Autosvar: Plan", "Påmindelse: x"),
        *("Zaproszenie: Plan", "Odpowiedź automatyczna: Plan", "ACCEPTED： Plan"),  # noqa: RUF001
    ],
)
def test_automatic_mail_is_known_by_its_subject(subject: str) -> None:
    for text in (subject, f"Re: {subject}", f"[EXTERNAL] {subject}"):
        assert parse_subject(text).is_automatic, text
    decomposed = unicodedata.normalize("NFD", subject)
    assert parse_subject(decomposed).is_automatic


@pytest.mark.parametrize(
    "subject",
    ["Accepted", "Plan accepted: yes", "Invitation to tender", "Reminders: x", "Reading: list", ""],
)
def test_other_mail_is_not_automatic(subject: str) -> None:
    assert not parse_subject(subject).is_automatic


@pytest.mark.parametrize("subject", [None, "", "   ", "Re:", "[EXT] Re: Fwd:", "\u3000\n\t"])
def test_a_subject_without_text_has_no_key(subject: str | None) -> None:
    parsed = parse_subject(subject)
    assert (parsed.key, parsed.words, parsed.numbers) == ("", (), ())


@pytest.mark.parametrize(
    ("subject", "numbers"),
    [
        ("Order 10432", ("10432",)),
        ("Offer Q-10432.", ("q10432",)),
        ("Offer #10432, 2nd draft", ("10432",)),
        ("INV/2024/0017: paid", ("inv20240017",)),
        ("SO_10432 and PO-77001", ("so10432", "po77001")),
        ("Ｑ-１０４３２", ("q10432",)),  # noqa: RUF001
        ("Room 204, 3 people", ()),
        ("Meeting 09:30", ()),
        ("abcdefgh10432", ()),
        ("no digits at all", ()),
    ],
)
def test_numbers_are_those_of_four_digits_without_signs(
    subject: str, numbers: tuple[str, ...]
) -> None:
    assert parse_subject(subject).numbers == numbers
    assert find_numbers(normalize(subject)) == numbers


@pytest.mark.parametrize(
    ("text", "number", "shape"),
    [
        ("Q-10432", "q10432", "q99999"),
        ("2024/00-17", "20240017", "99999999"),
        ("SO_1.234", "so1234", "so9999"),
        ("Q-104", None, None),
        ("", None, None),
        ("abcd", None, None),
    ],
)
def test_numbers_of_one_series_have_one_shape(
    text: str, number: str | None, shape: str | None
) -> None:
    assert squeeze_number(text) == number
    assert (number and number_shape(number)) == shape


@pytest.mark.parametrize(
    ("phrase", "occurs"),
    [
        (("rollout", "berlin"), True),
        (("the", "rollout"), True),
        (("berlin", "rollout"), False),
        (("the", "berlin"), False),
        (("the", "rollout", "berlin", "x"), False),
        ((), False),
    ],
)
def test_a_phrase_is_whole_words_one_after_the_other(phrase: tuple[str, ...], occurs: bool) -> None:
    assert contains_phrase(("the", "rollout", "berlin"), phrase) is occurs


def test_words_keep_the_signs_of_names() -> None:
    words = parse_subject("O'Neill & Söhne: AT&T roll-out_2").words
    assert words == ("o'neill", "söhne", "at&t", "roll-out", "2")


@pytest.mark.parametrize("length", [399, 400, 401, 999, 5_000, 1_000_000])
def test_a_very_long_subject_is_cut_alike_with_and_without_prefix(length: int) -> None:
    subject = ("long subject " * (length // 13 + 1))[:length]
    parsed = parse_subject(subject)
    assert parse_subject(f"Re: {subject}").key == parsed.key
    assert len(parsed.key) <= 400
    assert parse_subject(parsed.key).key == parsed.key


INVISIBLE = {
    "zero-width space": "\u200b",
    "byte order mark": "\ufeff",
    "left-to-right mark": "\u200e",
    "right-to-left mark": "\u200f",
    "right-to-left override": "\u202e",
    "isolate": "\u2067",
    "soft hyphen": "\u00ad",
    "word joiner": "\u2060",
}


@pytest.mark.parametrize("name", INVISIBLE)
def test_invisible_characters_do_not_make_another_subject(name: str) -> None:
    """Mail programs put direction marks around prefixes, and web pages leave the others."""
    sign = INVISIBLE[name]
    plain = parse_subject("Re: Rollout 10432")
    for text in (f"{sign}Re: Rollout 10432", f"Re{sign}:{sign} Rollout{sign} 104{sign}32{sign}"):
        assert parse_subject(text) == plain


@pytest.mark.parametrize(
    "subject",
    [
        *("\u0301Re: x", "Re: \u0301" * 50, "\u202eeR :x", "\ud800Re: x", "\x00Re: x"),
        *("Re:" * 100_000, "(" * 10_000, "1" * 10_000, "a-" * 5_000, "\ufdfa" * 1_000),
        *("delivery status notification " * 500, "e" + "\u0301" * 5_000),
    ],
    ids=lambda subject: f"{subject[:12]!a}x{len(subject)}",
)
def test_a_hostile_subject_is_read_like_any_other(subject: str) -> None:
    parsed = parse_subject(subject)
    assert len(parsed.key) <= 400
    assert parsed == parse_subject(subject)


@given(
    st.lists(st.sampled_from([*ALL_PREFIXES, *TAGS]), max_size=12),
    st.sampled_from(SUBJECTS)
    | st.text(max_size=60).filter(lambda text: ":" not in normalize(text)),
    st.sampled_from(["", " ", "  ", "\u00a0"]),
)
def test_any_number_of_prefixes_and_tags_leaves_the_key(
    prefixes: list[str], subject: str, space: str
) -> None:
    text = "".join(prefix + space for prefix in prefixes) + subject
    assert parse_subject(text).key == parse_subject(subject).key


@given(st.text(max_size=80))
def test_the_key_of_a_key_is_itself_but_for_prefixes_within(text: str) -> None:
    key = parse_subject(text).key
    assert parse_subject(f"Re: {key}").key == parse_subject(key).key
