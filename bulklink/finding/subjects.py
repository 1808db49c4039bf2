"""Subjects of emails: what a conversation has in common, and what marks automatic mail."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

import msgspec

_PREFIXES = (
    # Replies, then forwards, in the languages of common mail programs.
    *("re", "aw", "antw", "antwort", "sv", "vs", "ref", "rif", "r", "rép", "rep", "res", "resp"),
    *("odp", "ynt", "yan", "ang", "bls", "atb", "vá", "va", "σχετ", "απ", "на", "ответ", "отв"),
    *("odg", "回复", "回覆", "答复", "返信", "답장", "رد", "תשובה", "תגובה"),
    *("fw", "fwd", "wg", "tr", "i", "enc", "rv", "vb", "vl", "doorst", "pd", "ilt", "i̇lt", "hl"),
    *("trs", "továbbítás", "vidarebefordra", "пересл", "прд", "转发", "轉寄", "転送", "전달"),
    *("πρθ", "yml", "הועבר", "إعادة توجيه"),
)
_PREFIX = re.compile(
    rf"(?:{'|'.join(map(re.escape, _PREFIXES))})\s*(?:\[\d+\]|\(\d+\)|\^\d+)?\s*\.?\s*:\s*"
)
_TAG = re.compile(
    r"[\[(](?:ext|extern|external|externe|externo|esterno|spam|suspected spam|bulk)[\])]:?\s*"
)
LEADING_MARKS = f"^(?:{_TAG.pattern}|{_PREFIX.pattern})+"
"""Pattern of the prefixes and tags that a key lacks, for the regular expressions of databases."""
_AUTOMATIC = re.compile(
    r"(?:(?:updated |new )?invitation(?: with note)?|(?:tentatively )?accepted|tentative|declined"
    r"|cancell?ed(?: event)?|reminder|automatic reply|auto(?:matic)? ?(?:reply|response)"
    r"|out of office|undeliverable|delivery status notification[^:]*|mail delivery failed[^:]*"
    r"|returned mail|read(?: receipt)?|not read"
    r"|einladung|aktualisierte einladung|zugesagt|zusage|abgesagt|absage|mit vorbehalt|abgelehnt"
    r"|erinnerung|automatische antwort|abwesenheitsnotiz|unzustellbar|gelesen|ungelesen"
    r"|invitation mise à jour|accepté|acceptée|refusé|refusée|annulé|annulée|rappel"
    r"|réponse automatique|absence du bureau|lu|non remis"
    r"|invitación|aceptado|aceptada|rechazado|rechazada|cancelado|cancelada|recordatorio"
    r"|respuesta automática|fuera de la oficina"
    r"|invito|accettato|accettata|rifiutato|rifiutata|annullato|annullata|promemoria"
    r"|risposta automatica|fuori sede"
    r"|convite|aceito|aceite|recusado|lembrete|resposta automática"
    r"|uitnodiging|geaccepteerd|geweigerd|geannuleerd|herinnering|automatisch antwoord"
    r"|inbjudan|accepterat|avböjt|inställt|autosvar|invitasjon|invitation|påmindelse"
    r"|zaproszenie|zaakceptowano|odrzucono|odwołano|odpowiedź automatyczna)\s*[:]"
)
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Characters of Chinese and Japanese, which are written without spaces: each is a word."""
_LETTER = rf"[^\W_{_UNSPACED}]"
_WORD = re.compile(rf"[{_UNSPACED}]|{_LETTER}+(?:['’&.+-]{_LETTER}+)*")  # noqa: RUF001 - in names
_NUMBER = re.compile(r"(?<![^\W_])[^\W\d_]{0,6}[-/#._]?\d[\w/.-]*")
_SIGNS = re.compile(r"[\W_]")
_DIGIT = re.compile(r"\d")
_LEAST_DIGITS = 4
"""Digits that a number must have at least, to be more than a year's month or a count."""
_KNOWN_SUBJECTS = 2000
"""Subjects that were parsed last, which are not parsed once more: those of a contact recur."""
_INVISIBLE = re.compile("[\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
"""Characters without width, which mail programs put around prefixes and web pages leave."""
_MAX_LENGTH = 1_000
"""Maximum characters of a text that are looked at."""
_MAX_KEY = 400
"""Maximum characters of a key: fewer, so that a prefix does not change where it is cut."""


class Subject(msgspec.Struct, frozen=True, gc=False):
    """What a subject tells.

    Args:
        key: the subject without prefixes and tags, case and white space made uniform.
        is_reply: whether it begins with a prefix of replies or forwards.
        is_automatic: whether it is that of an invitation or another automatic mail.
        words: the words of the key.
        numbers: the numbers in it, as `squeeze_number` returns them.
    """

    key: str
    is_reply: bool
    is_automatic: bool
    words: tuple[str, ...]
    numbers: tuple[str, ...]


_NO_SUBJECT = Subject("", is_reply=False, is_automatic=False, words=(), numbers=())


@lru_cache(_KNOWN_SUBJECTS)
def parse_subject(text: str | None) -> Subject:
    """Return what a subject tells."""
    if not text:
        return _NO_SUBJECT
    rest = normalize(text)
    key = _strip(rest)[:_MAX_KEY].rstrip()
    is_reply = ":" in rest and _PREFIX.match(_TAG.sub("", rest)) is not None
    is_automatic, words, numbers = _parse_key(key)
    return Subject(key, is_reply, is_automatic, words, numbers)


@lru_cache(_KNOWN_SUBJECTS)
def _parse_key(key: str) -> tuple[bool, tuple[str, ...], tuple[str, ...]]:
    is_automatic = ":" in key and _AUTOMATIC.match(key) is not None
    return is_automatic, split_words(key), find_numbers(key)


def normalize(text: str) -> str:
    """Return a text with uniform characters, case and white space."""
    text = text[:_MAX_LENGTH]
    if not text.isascii():
        text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
    return " ".join(text.casefold().split())


def split_words(normalized: str) -> tuple[str, ...]:
    """Return the words of a normalized text."""
    return tuple(_WORD.findall(normalized))


def find_numbers(normalized: str) -> tuple[str, ...]:
    """Return the numbers of at least four digits in a normalized text, such as `q10432`."""
    if _DIGIT.search(normalized) is None:
        return ()
    numbers = (squeeze_number(number) for number in _NUMBER.findall(normalized))
    return tuple(number for number in numbers if number is not None)


def squeeze_number(text: str) -> str | None:
    """Return a number without signs, in lower case; None if it has less than four digits."""
    number = _SIGNS.sub("", text).casefold()
    return number if len(_DIGIT.findall(number)) >= _LEAST_DIGITS else None


def parse_deal_number(text: str | None) -> str | None:
    """Return a deal's number as `find_numbers` returns those of subjects; None if it is none."""
    return squeeze_number(normalize(text)) if text else None


def number_shape(number: str) -> str:
    """Return the shape of a squeezed number: each digit is a 9."""
    return _DIGIT.sub("9", number)


def contains_phrase(words: tuple[str, ...], phrase: tuple[str, ...]) -> bool:
    """Return whether a phrase occurs among words, its own words one after the other."""
    length = len(phrase)
    if not length or length > len(words):
        return False
    return any(words[start : start + length] == phrase for start in range(len(words) - length + 1))


def telling_words(names: Iterable[tuple[str, ...]]) -> frozenset[str]:
    """Return the words that only one of several names has."""
    seen: set[str] = set()
    repeated: set[str] = set()
    for words in names:
        for word in set(words):
            (repeated if word in seen else seen).add(word)
    return frozenset(seen - repeated)


def _strip(text: str) -> str:
    """Remove prefixes and tags from the beginning, however many there are."""
    while True:
        rest = _TAG.sub("", text, count=1) if _TAG.match(text) else text
        match = _PREFIX.match(rest) if ":" in rest else None
        rest = rest[match.end() :] if match else rest
        if rest == text:
            return text
        text = rest
