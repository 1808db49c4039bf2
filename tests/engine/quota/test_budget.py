"""What an invocation may spend, and what it sets aside to finish relinks."""

from __future__ import annotations

from bulklink.engine.quota.budget import Budget, CreditLimits, Reservation, Shortage


def spend(budget: Budget, calls: int) -> None:
    for _ in range(calls):
        budget.take(None, 0)
        budget.start_call()


def test_a_relink_needs_what_finishes_it_and_leaves_that_to_nobody_else() -> None:
    book, hold = Budget(CreditLimits(per_invocation=5)), Reservation()
    spend(book, 2)
    assert book.shortage(3, daily_limited=False) is None
    book.take(hold, 2)
    assert book.shortage(1, daily_limited=False) is Shortage.INVOCATION
    book.take_to_complete_relink(hold)
    assert (hold.amount, book.reserved, book.unreserved_finishes) == (1, 1, 0)
    book.release(hold)
    assert book.shortage(1, daily_limited=False) is None


def test_what_finishes_a_relink_beyond_the_cap_is_counted_as_beyond() -> None:
    book, hold = Budget(CreditLimits(per_invocation=3)), Reservation()
    book.take(hold, 2)
    book.start_call()
    for _ in range(4):
        book.take_to_complete_relink(hold)
        book.start_call()
    assert (book.overrun, book.unreserved_finishes) == (2, 2)


def test_what_an_answer_tells_is_less_what_left_after_its_call() -> None:
    book = Budget(CreditLimits(reserve=10))
    spend(book, 8)
    book.on_reported_left(5, 20)
    assert book.org_left == 17
    book.on_reported_left(3, 90)
    assert book.org_left == 17, "a later call told it already"
    book.take(None, 6)
    assert book.org_left == 10
    assert book.shortage(1, daily_limited=False) is Shortage.ORG


def test_an_answer_without_a_word_of_it_counts_only_where_it_was_asked_for() -> None:
    book = Budget(CreditLimits(reserve=5))
    spend(book, 4)
    book.on_reported_left(4, 5)
    book.on_reported_left(4, None)
    assert book.shortage(1, daily_limited=False) is Shortage.ORG
    book.recheck_reported_left()
    assert book.shortage(3, daily_limited=False) is None
    book.on_reported_left(5, None)
    assert book.org_left is None


def test_until_the_crm_tells_the_reserve_is_kept_by_counting() -> None:
    book = Budget(CreditLimits(per_day=90, reserve=20, per_day_if_unreported=80))
    assert book.daily_limit == 80
    book.on_reported_left(0, 500)
    assert book.daily_limit == 90


def test_the_credit_of_a_call_that_did_not_leave_is_free_again() -> None:
    book = Budget(CreditLimits(per_invocation=1))
    book.take(None, 0)
    assert book.shortage(1, daily_limited=False) is Shortage.INVOCATION
    book.return_unsent()
    assert book.shortage(1, daily_limited=False) is None


def test_what_can_still_be_spent_is_what_the_first_limit_leaves() -> None:
    assert Budget(CreditLimits(reserve=10)).spendable is None
    book = Budget(CreditLimits(reserve=10))
    spend(book, 5)
    book.on_reported_left(5, 100)
    assert [book.reported_left, book.spendable] == [100, 90]
    spend(book, 20)
    assert [book.reported_left, book.spendable] == [80, 70]
    book.day_call_limit = 60
    assert book.spendable == 35
    book.limits = CreditLimits(per_invocation=30, reserve=10)
    assert book.spendable == 5
    spend(book, 7)
    assert book.spendable == 0


def test_what_was_told_too_long_ago_is_not_told_again() -> None:
    book = Budget(CreditLimits())
    spend(book, 1)
    book.on_reported_left(1, 100)
    book.recheck_reported_left()
    assert book.org_left is not None
    assert book.reported_left is None
    assert book.spendable is None
