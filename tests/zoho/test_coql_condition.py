"""Conditions of COQL: what is refused and where, and that none can leave its brackets."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulklink.zoho.coql_condition import (
    MAX_CONDITION_LENGTH,
    MAX_DEPTH,
    Condition,
    ConditionError,
    parse_condition,
)


@pytest.mark.parametrize(
    "text",
    [
        "Stage = 'Qualification'",
        "((Stage = 'Closed Won' and Amount > 1000) and Owner = '5843104000000424672')",
        "Deal_Name like '%limit;-- select (%'",
        "Deal_Name = 'O''Brien'",
        r"Deal_Name = 'O\'Brien'",
        'Deal_Name = "Müller) or (x"',
        "Stage in ('A', 'B') and Account_Name.Industry is not null",
        "'Limit' is not null",
        "Credit_Limit > 5 and Order = 1 and by_whom = 2",
    ],
)
def test_a_condition_stays_as_it_was_written(text: str) -> None:
    assert parse_condition(f"  {text} ") == Condition(text)


@pytest.mark.parametrize(
    ("text", "message", "position"),
    [
        ("", "The condition is empty", 0),
        (" ", "The condition is empty", 0),
        ("a = 'x", "A quote is not closed", 4),
        ("a = 'x\" and b = 1", "A quote is not closed", 4),
        ("(a = 1", "A bracket is not closed", 0),
        ("a = 1) or (b = 1", "A bracket is closed that was not opened", 5),
        ("a = 1 LIMIT 5", "`limit` cannot be", 6),
        ("a = 1limit 5", "`limit` cannot be", 4),
        ("a = 1 order  by id", "`order by` cannot be", 13),
        ("a = 1 Group By id", "`group by` cannot be", 12),
        ("a in (select id from Deals)", "`select` cannot be", 6),
        ("where a = 1", "`where` cannot be", 0),
        ("a = 1 offset 5", "`offset` cannot be", 6),
        ("a = 1; b", "A semicolon", 5),
        ("a = 1 -- b", "A comment", 6),
        ("a = 1 /* b", "A comment", 6),
        ("a = 1 # b", "A comment", 6),
        ("`a` = 1", "A backquote", 0),
        ("a = \\'x\\'", "A backslash outside quotes", 4),
        ("a = 1\nand b = 2", "The condition has a control character (U+000A)", 5),
        ("a = '\x00'", "The condition has a control character (U+0000)", 5),
        ("a = '\ud800'", "The condition has a control character (U+D800)", 5),
        ("a = \u2018x\u2019", "'\u2018' is only allowed inside", 4),
        ("a\xa0= 1", "'\\xa0' is only allowed inside", 1),
        ("\u017felect = 1", "'\u017f' is only allowed inside", 0),
        ("a = '" + "x" * MAX_CONDITION_LENGTH + "'", "longer than 10,000", MAX_CONDITION_LENGTH),
        ("(" * (MAX_DEPTH + 1) + ")" * (MAX_DEPTH + 1), "More than 100 brackets", MAX_DEPTH),
    ],
)
def test_a_refusal_says_what_is_wrong_and_where(text: str, message: str, position: int) -> None:
    with pytest.raises(ConditionError) as caught:
        parse_condition(text)
    assert message in caught.value.message
    assert caught.value.position == position
    assert f"(character {position + 1})" in str(caught.value)


def test_a_backslash_before_a_quote_must_be_safe_whether_or_not_it_escapes() -> None:
    with pytest.raises(ConditionError, match="closed that was not opened"):
        parse_condition(r"a = '\' ) or (id > 0) and (b = \'x'")


_STRINGS = {
    "backslash escapes": r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""",
    "doubled quotes": r"""'(?:''|[^'])*'|"(?:""|[^"])*\"""",
}


def _stays_inside(text: str, strings: str) -> bool:
    """Return whether brackets around a text enclose all of it, or it has an open quote."""
    rest = re.sub(strings, "?", f"({text})", flags=re.DOTALL)
    if "'" in rest or '"' in rest:
        return True
    depth = 0
    for position, character in enumerate(rest):
        depth += (character == "(") - (character == ")")
        if depth <= 0 and position < len(rest) - 1:
            return False
    return depth == 0 and not re.search(
        r"(?<![a-z0-9_])(select|limit|offset|(order|group)\s+by)(?![a-z0-9_])|;|--", rest.lower()
    )


_PIECES = st.sampled_from(
    [
        *"'\"\\() a=1,;é\n_.",
        "--",
        "/*",
        "''",
        "\\'",
        "limit",
        "by",
        "order",
        "group",
        "select",
        "and",
    ]
)


def parse(text: str) -> Condition | ConditionError:
    try:
        return parse_condition(text)
    except ConditionError as error:
        return error


@given(st.lists(_PIECES, max_size=30).map("".join))
@example(r"a='\')or(b=\'")
@example("a='''')or('")
@example("order=by")
@example("order  by")
def test_no_condition_leaves_the_brackets_around_it(text: str) -> None:
    condition = parse(text)
    if isinstance(condition, Condition):
        for strings in _STRINGS.values():
            assert _stays_inside(condition.text, strings)


@given(st.text(max_size=40))
def test_any_text_is_refused_or_unchanged(text: str) -> None:
    match parse(text):
        case Condition(unchanged):
            assert unchanged == text.strip()
        case error:
            assert 0 <= error.position <= max(0, len(text) - 1)
