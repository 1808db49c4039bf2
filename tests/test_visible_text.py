"""Texts from any source are shown in one line without control characters."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.visible_text import escape_controls, escape_json_controls
from tests.hostile_text import HOSTILE_TEXTS, find_acting_characters


@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS)
def test_control_characters_are_escaped(text: str) -> None:
    shown = escape_controls(f"a{text}b")
    assert find_acting_characters(shown, allowed="") == []
    assert "\\" in shown


@pytest.mark.parametrize(
    "text",
    [
        "Žluťoučký kůň",
        "日本語",
        "שלום",
        "می‌خواهم",
        "👩‍👩‍👧",
        "a\u00a0b\u3000c",
        "[bold]x[/bold]",
        "C:\\new",
    ],
)
def test_other_texts_are_unchanged(text: str) -> None:
    assert escape_controls(text) == text


@given(st.text(st.characters()))
def test_any_text_becomes_one_harmless_line_and_is_escaped_once(text: str) -> None:
    shown = escape_controls(text)
    assert find_acting_characters(shown, allowed="") == []
    assert len(shown.splitlines()) <= 1
    assert escape_controls(shown) == shown


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_keeps_its_meaning(text: str) -> None:
    shown = escape_json_controls(json.dumps([text], ensure_ascii=False))
    assert json.loads(shown) == [text]
    assert find_acting_characters(shown, allowed="") == []
