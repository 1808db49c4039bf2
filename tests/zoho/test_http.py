"""The JSON value of an answer."""

from __future__ import annotations

import json

import pytest

from bulklink.zoho.http import Answer


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        (rb"\ud83d", "\ufffd"),
        (rb"a\uD83D", "a\ufffd"),
        (rb"\ude00 b", "\ufffd b"),
        (rb"\ud83d\ud83d\ude00", "\ufffd\N{GRINNING FACE}"),
        (rb"\\ud83d \ud83d", r"\ud83d " + "\ufffd"),
        (rb"\"\\\ud83d\u0041\n", '"\\\ufffdA\n'),
        (b"caf\xe9", "caf\ufffd"),
        (b"\xf0\x9f", "\ufffd"),
    ],
)
def test_half_a_character_is_replaced_and_the_rest_is_read(subject: bytes, text: str) -> None:
    answer = Answer(200, b'{"Emails": [{"message_id": "a1", "subject": "' + subject + b'"}]}')
    assert answer.content == {"Emails": [{"message_id": "a1", "subject": text}]}
    json.dumps(answer.content, ensure_ascii=False).encode()


@pytest.mark.parametrize("body", [b"", b"<html>\xff", b'{"a": "\\ud83', b'{"a": "\\ud83d"', b"NaN"])
def test_what_is_not_json_has_no_value(body: bytes) -> None:
    assert Answer(200, body).content is None
