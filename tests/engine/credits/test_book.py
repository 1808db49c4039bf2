"""What an invocation may spend, and what it sets aside to finish relinks."""

from __future__ import annotations

from bulklink.engine.quota.budget import Book, Hold, Limits, Short


def spend(book: Book, calls: int) -> None:
    for _ in range(calls):
        book.take(None, 0)
        book.leave()


def test_a_relink_needs_what_finishes_it_and_leaves_that_to_nobody_else() -> None:
    book, hold = Book(Limits(most=5)), Hold()
    spend(book, 2)
    assert book.short(3, counted=False) is None
    book.take(hold, 2)
    assert book.short(1, counted=False) is Short.OF_INVOCATION
    book.take_to_finish(hold)
    assert (hold.amount, book.aside, book.finished) == (1, 1, 0)
    book.release(hold)
    assert book.short(1, counted=False) is None


def test_what_finishes_a_relink_beyond_the_cap_is_counted_as_beyond() -> None:
    book, hold = Book(Limits(most=3)), Hold()
    book.take(hold, 2)
    book.leave()
    for _ in range(4):
        book.take_to_finish(hold)
        book.leave()
    assert (book.overrun, book.finished) == (2, 2)


def test_what_an_answer_tells_is_less_what_left_after_its_call() -> None:
    book = Book(Limits(reserve=10))
    spend(book, 8)
    book.told(5, 20)
    assert book.left == 17
    book.told(3, 90)
    assert book.left == 17, "a later call told it already"
    book.take(None, 6)
    assert book.left == 10
    assert book.short(1, counted=False) is Short.OF_ORG


def test_an_answer_without_a_word_of_it_counts_only_where_it_was_asked_for() -> None:
    book = Book(Limits(reserve=5))
    spend(book, 4)
    book.told(4, 5)
    book.told(4, None)
    assert book.short(1, counted=False) is Short.OF_ORG
    book.forget_told()
    assert book.short(3, counted=False) is None
    book.told(5, None)
    assert book.left is None


def test_until_the_crm_tells_the_reserve_is_kept_by_counting() -> None:
    book = Book(Limits(a_day=90, reserve=20, untold=80))
    assert book.a_day == 80
    book.told(0, 500)
    assert book.a_day == 90


def test_the_credit_of_a_call_that_did_not_leave_is_free_again() -> None:
    book = Book(Limits(most=1))
    book.take(None, 0)
    assert book.short(1, counted=False) is Short.OF_INVOCATION
    book.keep()
    assert book.short(1, counted=False) is None


def test_what_can_still_be_spent_is_what_the_first_limit_leaves() -> None:
    assert Book(Limits(reserve=10)).spendable is None
    book = Book(Limits(reserve=10))
    spend(book, 5)
    book.told(5, 100)
    assert [book.told_left, book.spendable] == [100, 90]
    spend(book, 20)
    assert [book.told_left, book.spendable] == [80, 70]
    book.day_from = 60
    assert book.spendable == 35
    book.limits = Limits(most=30, reserve=10)
    assert book.spendable == 5
    spend(book, 7)
    assert book.spendable == 0


def test_what_was_told_too_long_ago_is_not_told_again() -> None:
    book = Book(Limits())
    spend(book, 1)
    book.told(1, 100)
    book.forget_told()
    assert book.left is not None
    assert book.told_left is None
    assert book.spendable is None
