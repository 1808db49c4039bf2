"""Timelines of deals: entries, their order, and contradictions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.zoho.http import Answer
from bulklink.zoho.timeline import (
    Timeline,
    TimelineEntry,
    TimelinePage,
    build_timeline,
    parse_timeline,
)
from tests.zoho.fakes import answer

DEAL = "4400001"
START = datetime(2026, 1, 1, tzinfo=UTC)


def entry(**fields: Any) -> dict[str, Any]:
    return {
        "id": "1",
        "audited_time": "2026-01-01T05:30:00+05:30",
        "action": "updated",
        "source": "crm_ui",
        "record": {"id": DEAL, "name": "Travel", "module": {"api_name": "Deals", "id": "5"}},
        "done_by": {"name": "Patricia", "id": "9"},
        "field_history": [{"api_name": "Stage", "_value": {"old": "New", "new": "Won"}, "id": "3"}],
        **fields,
    }


def parse(*entries: Any, **info: Any) -> TimelinePage:
    page = parse_timeline(answer({"__timeline": list(entries), "info": info}), DEAL)
    assert page is not None
    return page


def test_an_entry_has_time_source_and_changes() -> None:
    expected = TimelineEntry(START, "crm_ui", (("Stage", "New", "Won"),), "1")
    page = parse(entry(), more_records=True, next_page_token="abc")
    assert page == TimelinePage((expected,), 0, more=True, next_token="abc")


@pytest.mark.parametrize(
    "time",
    [None, 5, "", "x", "2026-01-01", "2026-01-01T00:00:00", "9" * 101],
    ids=repr,
)
def test_an_entry_without_a_time_is_unreadable(time: Any) -> None:
    page = parse(entry(audited_time=time), None, "x", entry())
    assert (len(page.entries), page.unreadable) == (1, 3)


ANYTHING_ELSE: tuple[Any, ...] = (None, 5, [], "x")
WRONG_HISTORIES: list[Any] = [None, 5, "x", {}, [None], [5], [{}], [{"api_name": "Stage"}]]
WRONG_HISTORIES += [[{"_value": {"new": "x"}}]]
WRONG_HISTORIES += [[{"api_name": "Stage", "_value": value}] for value in ANYTHING_ELSE]


@pytest.mark.parametrize("history", WRONG_HISTORIES, ids=repr)
def test_a_history_of_the_wrong_type_has_no_changes(history: Any) -> None:
    assert parse(entry(field_history=history)).entries[0].changes == ()


def test_changes_of_another_record_are_left_out() -> None:
    assert parse(entry(record={"id": "77"})).entries[0].changes == ()
    assert parse(entry(record=None)).entries[0].changes != ()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("", None),
        ("x" * 5_000, "x" * 1_000),
        (5, "5"),
        (True, "true"),
        ({"name": "Carl", "id": "7"}, "7"),
        ({"name": "Carl"}, "Carl"),
        (["a"], '["a"]'),
    ],
    ids=repr,
)
def test_a_value_becomes_a_text(value: Any, text: str | None) -> None:
    history = [{"api_name": "F", "_value": {"old": "a", "new": value}}]
    assert parse(entry(field_history=history)).entries[0].changes == (("F", "a", text),)


def test_http_204_means_no_entries() -> None:
    assert parse_timeline(Answer(204), DEAL) == TimelinePage(())


@pytest.mark.parametrize("wrong", [None, 5, [], {}, {"__timeline": {}}, {"data": []}], ids=repr)
def test_another_answer_is_not_a_timeline(wrong: Any) -> None:
    assert parse_timeline(answer(wrong), DEAL) is None
    assert parse_timeline(answer({"__timeline": []}, 400), DEAL) is None


def change(minute: int, old: str | None, new: str | None, field: str = "Stage") -> TimelineEntry:
    return TimelineEntry(START + timedelta(minutes=minute), None, ((field, old, new),))


def test_entries_are_sorted_by_time_whatever_the_order_of_the_pages() -> None:
    history = [change(1, None, "a"), change(2, "a", "b"), change(2, "b", "c"), change(3, "c", "d")]
    expected = Timeline(tuple(history))
    assert build_timeline(history) == expected
    assert build_timeline(reversed(history)) == expected


def test_a_timeline_is_readable_whatever_its_values_and_not_if_an_entry_could_not_be_read() -> None:
    history = [change(1, "0", "50", "Probability"), change(2, "30", "60", "Probability")]
    assert build_timeline(history).readable
    assert not build_timeline(history, readable=False).readable


@pytest.mark.parametrize(
    ("minutes", "reaches"),
    [([3, 2, 1], True), ([1, 2, 3], False), ([3, 1, 2], False), ([1], False), ([], False)],
    ids=repr,
)
def test_only_a_page_with_its_newest_entries_first_ends_the_reading(
    minutes: list[int], reaches: bool
) -> None:
    page = TimelinePage(tuple(change(minute, "a", "b") for minute in minutes))
    assert page.reaches_back_before(START + timedelta(minutes=1.5)) is reaches
    assert not page.reaches_back_before(START)


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from([*entry(), "_value", "old", "new", "api_name"]), inner),
))  # fmt: skip
def test_no_answer_breaks_the_parser(content: Any) -> None:
    for body in (
        content,
        {"__timeline": [content]},
        {"__timeline": [entry(field_history=content)]},
    ):
        parse_timeline(answer(body), DEAL)
