"""Mask for secrets in texts that are written or shown.

A server may repeat what it was sent, in whole or in part, in any notation. Only texts are masked:
data that is compared, looked up or sent stays as received.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from functools import lru_cache
from string import ascii_lowercase, ascii_uppercase
from urllib.parse import quote

MIN_SECRET_LENGTH = 8
"""Fewest characters of a text treated as a secret; all of Zoho's secrets are longer."""
MASK = "[secret]"
_MIN_PART_LENGTH = 16
_TEXTS_REMEMBERED = 64
_MAX_DECODINGS = 3
"""Most nested notations that are decoded, such as JSON within JSON or a query within a page."""
_ESCAPE = re.compile(
    r"\\u([0-9a-f]{4})|\\x([0-9a-f]{2})|%([0-9a-f]{2})|&#x([0-9a-f]{1,6});|&#([0-9]{1,7});"
    r"|\\(.)",
    re.IGNORECASE | re.DOTALL,
)
_UNSPLIT = re.compile(r"""[^\s\x00-\x1f\x7f-\x9f"'`,+\[\]{}()<>\\]+""")
"""Runs of characters other than those that can separate the parts of a split secret."""
_SMALL_LETTERS = str.maketrans(ascii_uppercase, ascii_lowercase)


class SecretMask:
    """Masks secrets in texts, whatever notation a server repeats them in.

    A secret and any 16 consecutive characters of it are found: plain, in upper case, escaped as in
    JSON, URLs and HTML, in base64 or hexadecimal, and split by quotes, brackets, commas or spaces.

    Answers repeat the same texts thousands of times, so recently masked texts are cached.

    Args:
        secrets: the secrets; those of fewer than eight characters are not masked.
    """

    def __init__(self, *secrets: str) -> None:
        self._parts: dict[int, set[str]] = {}
        self._unjoined: list[str] = []
        for secret in secrets:
            if len(secret) >= MIN_SECRET_LENGTH:
                for notation in _notations(secret):
                    self._add(notation)
        self._mask = lru_cache(_TEXTS_REMEMBERED)(self._mask_uncached)

    def __repr__(self) -> str:
        return "SecretMask(…)"

    def __call__(self, text: str) -> str:
        """Return a text with `[secret]` in place of each secret."""
        return self._mask(text) if self._parts or self._unjoined else text

    def _mask_uncached(self, text: str) -> str:
        spans = _Spans.of(text)
        found = list(self._find(spans))
        for _ in range(_MAX_DECODINGS):
            decoded = spans.decoded()
            if decoded.text == spans.text:
                break
            spans = decoded
            found += self._find(spans)
        return _replace(text, found)

    def _add(self, secret: str) -> None:
        joined = _Spans.of(secret).joined().text
        if len(joined) < MIN_SECRET_LENGTH:  # so short that it would match parts of other words
            self._unjoined.append(secret.translate(_SMALL_LETTERS))
            return
        length = min(len(joined), _MIN_PART_LENGTH)
        parts = self._parts.setdefault(length, set())
        parts.update(joined[i : i + length] for i in range(len(joined) - length + 1))

    def _find(self, spans: _Spans) -> Iterator[tuple[int, int]]:
        small = spans.text.translate(_SMALL_LETTERS) if self._unjoined else ""
        for secret in self._unjoined:
            start = small.find(secret)
            while start >= 0:
                yield spans.starts[start], spans.ends[start + len(secret) - 1]
                start = small.find(secret, start + 1)
        joined = spans.joined()
        for length, parts in self._parts.items():
            for start in range(len(joined.text) - length + 1):
                if joined.text[start : start + length] in parts:
                    yield joined.starts[start], joined.ends[start + length - 1]


class _Spans:
    """A text derived from another, with the position of each character in the original."""

    __slots__ = ("ends", "starts", "text")

    def __init__(self, text: str, starts: list[int], ends: list[int]) -> None:
        self.text, self.starts, self.ends = text, starts, ends

    @classmethod
    def of(cls, text: str) -> _Spans:
        return cls(text, list(range(len(text))), list(range(1, len(text) + 1)))

    def decoded(self) -> _Spans:
        """Return the text with each escape replaced by its character."""
        characters: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        position = 0
        for match in _ESCAPE.finditer(self.text):
            start, end = match.span()
            characters += self.text[position:start]
            starts += self.starts[position:start]
            ends += self.ends[position:start]
            characters.append(_unescape(match))
            starts.append(self.starts[start])
            ends.append(self.ends[end - 1])
            position = end
        return _Spans(
            "".join(characters) + self.text[position:],
            starts + self.starts[position:],
            ends + self.ends[position:],
        )

    def joined(self) -> _Spans:
        """Return the text in lower case, without the characters that can separate its parts."""
        pieces: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        for match in _UNSPLIT.finditer(self.text):
            pieces.append(match[0])
            starts += self.starts[match.start() : match.end()]
            ends += self.ends[match.start() : match.end()]
        return _Spans("".join(pieces).translate(_SMALL_LETTERS), starts, ends)


def _notations(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="")
    encoded = secret.encode("utf-8", "surrogateescape")
    yield encoded.hex()
    for padding in range(3):  # the base64 form of a secret depends on its offset in the text
        padded = b64encode(bytes(padding) + encoded).decode().rstrip("=")
        inner = padded[(padding * 8 + 5) // 6 : len(padded) - 1]
        yield inner
        yield inner.replace("+", "-").replace("/", "_")


def _unescape(match: re.Match[str]) -> str:
    *hexadecimals, decimal, character = match.groups()
    if character is not None:
        return character
    digits = next(filter(None, hexadecimals), None)
    code = int(digits, 16) if digits is not None else int(decimal)
    return chr(code) if code <= 0x10FFFF else "\ufffd"


def _replace(text: str, found: list[tuple[int, int]]) -> str:
    pieces: list[str] = []
    position = 0
    for start, end in _merge(found):
        pieces += text[position:start], MASK
        position = end
    return "".join([*pieces, text[position:]])


def _merge(found: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the places in order, merging those that touch."""
    places = iter(sorted(found))
    first = next(places, None)
    if first is None:
        return
    begin, finish = first
    for start, end in places:
        if start > finish:
            yield begin, finish
            begin = start
        finish = max(finish, end)
    yield begin, finish
