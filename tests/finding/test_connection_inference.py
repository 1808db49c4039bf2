"""When a mailbox was connected is inferred from the days on which its emails are linked."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from bulklink.finding.connection_inference import infer_connection
from bulklink.finding.connection_span import ConnectionSpan
from bulklink.finding.values import DAY


def days_of(outcomes: str, first: int = 0) -> list[tuple[int, int, int]]:
    """Return one email a day: `x` is on the deal of the rule, `-` on none."""
    return [(first + day, outcome == "x", outcome == "-") for day, outcome in enumerate(outcomes)]


def span(first: float, last: float) -> ConnectionSpan:
    return ConnectionSpan(first * DAY, last * DAY)


def test_a_mailbox_was_connected_between_days_of_no_links_and_days_of_links() -> None:
    assert infer_connection(days_of("-" * 40 + "x" * 40)) == span(38, 42)


def test_a_mailbox_all_of_whose_emails_are_linked_was_connected_before_most_of_them() -> None:
    assert infer_connection(days_of("x" * 80)) == span(-inf, 6)


def test_a_mailbox_none_of_whose_emails_is_linked_was_connected_after_most_of_them() -> None:
    assert infer_connection(days_of("-" * 80)) == span(74, inf)


def test_a_few_emails_tell_nothing() -> None:
    assert infer_connection(days_of("x-x")) == ConnectionSpan()
    assert infer_connection(days_of("xx")) == ConnectionSpan()
    assert infer_connection([]) == ConnectionSpan()


def test_emails_that_people_corrected_widen_the_span() -> None:
    """Most old emails were linked by a program, and some new ones unlinked by people."""
    clean = infer_connection(days_of("-" * 40 + "x" * 40))
    corrected = infer_connection(days_of("-x" * 20 + "xxxxxxx-" * 5))
    assert corrected.earliest < clean.earliest < clean.latest < corrected.latest
    assert corrected != ConnectionSpan()


@given(st.text("x-", max_size=60), st.integers(0, 20_000))
def test_the_span_moves_with_the_days(outcomes: str, first: int) -> None:
    span_at_start = infer_connection(days_of(outcomes))
    moved = first * DAY
    assert infer_connection(days_of(outcomes, first)) == ConnectionSpan(
        span_at_start.earliest + moved, span_at_start.latest + moved
    )


@given(st.text("x-", max_size=60))
def test_the_span_begins_before_it_ends(outcomes: str) -> None:
    found = infer_connection(days_of(outcomes))
    assert found.earliest < found.latest
