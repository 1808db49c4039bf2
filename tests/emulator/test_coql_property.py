"""COQL queries select what a plain filter in Python selects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bulklink.emulator.settings import Settings
from tests.emulator.client import ANA, PAT, TOM, EmulatorClient, small_world

Row = dict[str, Any]
Test = Callable[[Row], bool]

_WORDS = ("North", "south", "O'Hare", "a\\b", 'say "x"', "")
_TIMES = ("2026-03-01T09:00:00+05:30", "2026-03-01T03:30:00+00:00", "2026-05-01T00:00:00-03:00")
_DATES = ("2026-01-31", "2026-03-01", "2026-12-24")
_NUMBERS = (-5, 0, 2.5, 100)
_IDS = tuple(str(number) for number in (7, 20, 21, 100, 3000))

# The types of further fields are those of their values, so one deal has a value of each.
FULL_DEAL: Row = {
    "id": "50",
    "name": "Full",
    "contact_id": ANA,
    "modified_time": _TIMES[0],
    "owner_id": PAT,
    "closing_date": _DATES[0],
    "fields": {"Region": "west", "Amount": 1},
}
deals: st.SearchStrategy[list[Row]] = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from(_IDS),
            "name": st.sampled_from([word or "x" for word in _WORDS]),
            "contact_id": st.sampled_from([ANA, TOM]),
            "modified_time": st.sampled_from(_TIMES),
            "owner_id": st.sampled_from([None, PAT]),
            "closing_date": st.sampled_from([None, *_DATES]),
            "fields": st.fixed_dictionaries(
                {
                    "Region": st.sampled_from([None, *_WORDS]),
                    "Amount": st.sampled_from([None, *_NUMBERS]),
                }
            ),
        }
    ),
    unique_by=lambda deal: str(deal["id"]),
    max_size=5,
).map(lambda drawn: [*drawn, FULL_DEAL])


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


_COLUMNS: dict[str, tuple[Callable[[Row], Any], Callable[[Any], Any], tuple[Any, ...], bool]] = {
    "id": (lambda deal: deal["id"], int, _IDS, True),
    "Deal_Name": (lambda deal: deal["name"], str.casefold, _WORDS, False),
    "Region": (lambda deal: deal["fields"]["Region"], str.casefold, _WORDS, False),
    "Amount": (lambda deal: deal["fields"]["Amount"], float, _NUMBERS, True),
    "Modified_Time": (lambda deal: deal["modified_time"], _instant, _TIMES, True),
    "Closing_Date": (lambda deal: deal["closing_date"], str, _DATES, True),
    "Owner": (lambda deal: deal["owner_id"], int, (PAT, "5"), False),
    "Contact_Name.id": (lambda deal: deal["contact_id"], int, (ANA, TOM), True),
}
"""For each column: its value of a deal, what that is compared by, values, whether it has order."""


def _literal(value: object, quote: str) -> str:
    if not isinstance(value, str):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace(quote, 2 * quote)
    return f"{quote}{escaped}{quote}"


@st.composite
def comparisons(draw: st.DrawFn) -> tuple[str, Test]:
    """Draw a comparison as a text and as a function on a deal of the world file."""
    name = draw(st.sampled_from(sorted(_COLUMNS)))
    read, key, values, has_order = _COLUMNS[name]
    ordered = ["<", "<=", ">", ">=", "between", "not between"] if has_order else []
    operator = draw(
        st.sampled_from(["=", "!=", "in", "not in", "is null", "is not null", *ordered])
    )
    drawn = draw(st.lists(st.sampled_from(values), min_size=2, max_size=3))
    quote = draw(st.sampled_from("'\""))
    texts = [_literal(value, quote) for value in drawn]
    keys = [key(value) for value in drawn]
    checks: dict[str, tuple[str, Callable[[Any], bool]]] = {
        "=": (texts[0], lambda k: k == keys[0]),
        "!=": (texts[0], lambda k: k != keys[0]),
        "<": (texts[0], lambda k: k < keys[0]),
        "<=": (texts[0], lambda k: k <= keys[0]),
        ">": (texts[0], lambda k: k > keys[0]),
        ">=": (texts[0], lambda k: k >= keys[0]),
        "in": (f"({','.join(texts)})", lambda k: k in keys),
        "not in": (f"({','.join(texts)})", lambda k: k not in keys),
        "between": (f"{texts[0]} and {texts[1]}", lambda k: keys[0] <= k <= keys[1]),
        "not between": (f"{texts[0]} and {texts[1]}", lambda k: not keys[0] <= k <= keys[1]),
        "is null": ("", lambda _k: False),
        "is not null": ("", lambda _k: True),
    }
    text, check = checks[operator]

    def test(deal: Row) -> bool:
        value = read(deal)
        return operator == "is null" if value is None else check(key(value))

    return f"{name} {operator} {text}", test


@st.composite
def pairs(draw: st.DrawFn, operands: st.SearchStrategy[tuple[str, Test]]) -> tuple[str, Test]:
    """Draw two conditions in brackets, joined by `and` or `or`."""
    (left, left_test), (right, right_test) = draw(operands), draw(operands)
    if draw(st.booleans()):
        return f"({left} AND {right})", lambda deal: left_test(deal) and right_test(deal)
    return f"({left} or {right})", lambda deal: left_test(deal) or right_test(deal)


conditions = st.recursive(comparisons(), pairs, max_leaves=6)


def select(world: dict[str, Any], query: str) -> list[str]:
    response = asyncio.run(EmulatorClient(Settings(tokens_per_window=0), world).query(query))
    if response.status == 204:
        return []
    assert response.status == 200, (query, response.json)
    return [row["id"] for row in response.json["data"]]


@given(
    deals=deals,
    condition=conditions,
    limit=st.integers(1, 4),
    offset=st.integers(0, 3),
    descending=st.booleans(),
)
@settings(deadline=None, max_examples=300)
def test_a_query_selects_what_a_plain_filter_selects(
    deals: list[Row], condition: tuple[str, Test], limit: int, offset: int, *, descending: bool
) -> None:
    text, test = condition
    order = "desc" if descending else "asc"
    selected = select(
        small_world(0, deals=deals),
        f"select id from Deals where {text} order by id {order} limit {offset}, {limit}",
    )
    matching = sorted((int(deal["id"]) for deal in deals if test(deal)), reverse=descending)
    assert selected == [str(number) for number in matching[offset : offset + limit]]


@given(text=st.text(alphabet="select fromwhDal'\"\\().,=<>!%0159_-\n", max_size=60))
@settings(deadline=None, max_examples=300)
def test_any_text_is_answered_with_rows_or_a_refusal(text: str) -> None:
    for query in (text, f"select id from Deals where {text}"):
        response = asyncio.run(EmulatorClient().query(query))
        assert response.status in {200, 204, 400}


@given(
    deals=deals,
    pattern=st.sampled_from(["%o%", "o%", "%h", "O'H%", "%\\b", "north", "%", "%%"]),
    negated=st.booleans(),
)
@settings(deadline=None, max_examples=100)
def test_like_selects_what_begins_ends_or_contains(
    deals: list[Row], pattern: str, *, negated: bool
) -> None:
    text = pattern.strip("%").casefold()

    def matches(value: str) -> bool:
        if pattern.startswith("%") and pattern.endswith("%"):
            return text in value
        if pattern.startswith("%"):
            return value.endswith(text)
        return value.startswith(text) if pattern.endswith("%") else value == text

    operator = "not like" if negated else "like"
    query = f"select id from Deals where Region {operator} {_literal(pattern, chr(39))}"
    regions = {deal["id"]: deal["fields"]["Region"] for deal in deals}
    expected = [
        deal_id
        for deal_id in sorted(regions, key=int)
        if regions[deal_id] is not None and matches(regions[deal_id].casefold()) != negated
    ]
    assert select(small_world(0, deals=deals), query) == expected
