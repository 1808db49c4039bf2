"""Budget of an invocation, and credits reserved to complete relinks."""

from __future__ import annotations

from bulklink.engine.quota.budget import Budget, CreditLimits, Reservation, Shortage


def spend(budget: Budget, calls: int) -> None:
    for _ in range(calls):
        budget.take(None, 0)
        budget.start_call()


def test_a_relink_reserves_the_credits_that_complete_it() -> None:
    budget, reservation = Budget(CreditLimits(per_invocation=5)), Reservation()
    spend(budget, 2)
    assert budget.shortage(3, daily_limited=False) is None
    budget.take(reservation, 2)
    assert budget.shortage(1, daily_limited=False) is Shortage.INVOCATION
    budget.take_to_complete_relink(reservation)
    assert (reservation.amount, budget.reserved, budget.unreserved_finishes) == (1, 1, 0)
    budget.release(reservation)
    assert budget.shortage(1, daily_limited=False) is None


def test_calls_that_complete_relinks_beyond_the_limit_are_counted() -> None:
    budget, reservation = Budget(CreditLimits(per_invocation=3)), Reservation()
    budget.take(reservation, 2)
    budget.start_call()
    for _ in range(4):
        budget.take_to_complete_relink(reservation)
        budget.start_call()
    assert (budget.overrun, budget.unreserved_finishes) == (2, 2)


def test_later_calls_are_subtracted_from_the_reported_credits() -> None:
    budget = Budget(CreditLimits(reserve=10))
    spend(budget, 8)
    budget.on_reported_left(5, 20)
    assert budget.org_left == 17
    budget.on_reported_left(3, 90)
    assert budget.org_left == 17, "a later call has already reported"
    budget.take(None, 6)
    assert budget.org_left == 10
    assert budget.shortage(1, daily_limited=False) is Shortage.ORG


def test_an_answer_without_credits_left_matters_only_after_a_recheck() -> None:
    budget = Budget(CreditLimits(reserve=5))
    spend(budget, 4)
    budget.on_reported_left(4, 5)
    budget.on_reported_left(4, None)
    assert budget.shortage(1, daily_limited=False) is Shortage.ORG
    budget.recheck_reported_left()
    assert budget.shortage(3, daily_limited=False) is None
    budget.on_reported_left(5, None)
    assert budget.org_left is None


def test_without_a_report_the_reserve_lowers_the_daily_limit() -> None:
    budget = Budget(CreditLimits(per_day=90, reserve=20, per_day_if_unreported=80))
    assert budget.daily_limit == 80
    budget.on_reported_left(0, 500)
    assert budget.daily_limit == 90


def test_the_credit_of_an_unsent_call_is_returned() -> None:
    budget = Budget(CreditLimits(per_invocation=1))
    budget.take(None, 0)
    assert budget.shortage(1, daily_limited=False) is Shortage.INVOCATION
    budget.return_unsent()
    assert budget.shortage(1, daily_limited=False) is None


def test_the_lowest_limit_determines_the_spendable_credits() -> None:
    assert Budget(CreditLimits(reserve=10)).spendable is None
    budget = Budget(CreditLimits(reserve=10))
    spend(budget, 5)
    budget.on_reported_left(5, 100)
    assert [budget.reported_left, budget.spendable] == [100, 90]
    spend(budget, 20)
    assert [budget.reported_left, budget.spendable] == [80, 70]
    budget.day_call_limit = 60
    assert budget.spendable == 35
    budget.limits = CreditLimits(per_invocation=30, reserve=10)
    assert budget.spendable == 5
    spend(budget, 7)
    assert budget.spendable == 0


def test_an_outdated_report_of_credits_left_is_not_used() -> None:
    budget = Budget(CreditLimits())
    spend(budget, 1)
    budget.on_reported_left(1, 100)
    budget.recheck_reported_left()
    assert budget.org_left is not None
    assert budget.reported_left is None
    assert budget.spendable is None


def test_a_call_of_three_credits_counts_as_three() -> None:
    budget = Budget(CreditLimits(per_invocation=5))
    budget.take(None, 0, 3)
    assert budget.shortage(3, daily_limited=False) is Shortage.INVOCATION
    assert budget.start_call(3) == 3
    spend(budget, 1)
    assert (budget.sent, budget.spendable) == (4, 1)
    budget.on_reported_left(3, 10)
    assert budget.org_left == 9, "the call after the report costs one credit"


def test_all_credits_of_a_call_that_was_not_sent_are_returned() -> None:
    budget = Budget(CreditLimits(per_invocation=3))
    budget.take(None, 0, 3)
    budget.return_unsent(3)
    assert (budget.unsent, budget.granted) == (0, 0)
    assert budget.shortage(3, daily_limited=False) is None
