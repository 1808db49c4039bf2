"""Masking of secrets in any notation, and of nothing else."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.zoho.secret_mask import MASK, SecretMask

TOKEN = "1000.8cb99dd2e6ac1f0b7e4a9be93.9b8c5d1e2f3a4b5c6d7e8f9f"
mask = SecretMask(TOKEN, "s3cr3t+8")

NOTATIONS = {
    "plain": TOKEN,
    "capitals": TOKEN.upper(),
    "json-escapes": "".join(f"\\u{ord(c):04x}" for c in TOKEN),
    "one-json-escape": "\\u0031" + TOKEN[1:],
    "json-within-json": json.dumps(json.dumps("".join(f"\\u{ord(c):04x}" for c in TOKEN))),
    "percent": "".join(f"%{ord(c):02X}" for c in TOKEN),
    "percent-twice": quote("".join(f"%{ord(c):02x}" for c in TOKEN)),
    "html-decimal": "".join(f"&#{ord(c)};" for c in TOKEN),
    "html-hexadecimal": "".join(f"&#x{ord(c):x};" for c in TOKEN),
    "hexadecimal": TOKEN.encode().hex(),
    "a-list-of-characters": json.dumps(list(TOKEN)),
    "two-parts-in-a-list": json.dumps([TOKEN[:20], TOKEN[20:]]),
    "two-fields": json.dumps({"first": TOKEN[:25], "second": TOKEN[25:]}),
    "its-beginning": TOKEN[:24],
    "its-end": TOKEN[-24:],
    "line-breaks": TOKEN[:9] + "\\n\n" + TOKEN[9:],
}


@pytest.mark.parametrize("text", NOTATIONS.values(), ids=NOTATIONS)
def test_a_secret_is_masked_in_any_notation(text: str) -> None:
    masked = mask(f"You sent {text}, which is wrong.")
    assert MASK in masked
    assert TOKEN[:20].lower() not in masked.lower()
    assert TOKEN[-20:].lower() not in masked.lower()
    assert masked.startswith("You sent ")
    assert masked.endswith(", which is wrong.")


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
def test_a_secret_is_masked_within_base64(before: str, encode: type[bytes]) -> None:
    encoded = encode(f"{before}{TOKEN} and more".encode()).decode()
    masked = mask(f"text {encoded} text")
    assert MASK in masked
    assert encoded[8:40] not in masked


@pytest.mark.parametrize("text", ["s3cr3t+8", "S3CR3T+8", "s3cr3t%2B8", "s3cr3t\\u002b8"])
def test_a_secret_of_eight_characters_is_masked(text: str) -> None:
    assert mask(f"<{text}>") == f"<{MASK}>"


@pytest.mark.parametrize("secret", ["demo", "1234567", ""])
def test_a_shorter_text_is_not_masked(secret: str) -> None:
    text = f"Product {secret} and democracy, 12345678, '{secret}'"
    assert SecretMask(secret)(text) == text


@given(st.text(alphabet=st.characters(exclude_characters="13579"), max_size=300))
def test_a_text_without_a_secret_is_not_changed(text: str) -> None:
    assert mask(text) == text


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_secret_is_masked_between_any_texts(before: str, after: str) -> None:
    masked = mask(f"{before}{TOKEN}{after}")
    assert TOKEN not in masked
    assert MASK in masked


def test_a_mask_shows_no_secret() -> None:
    assert TOKEN not in f"{mask!r} {mask}"
