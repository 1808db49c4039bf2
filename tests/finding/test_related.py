"""What other conversations of a contact are about is evidence, by time, subject and number."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bulklink.finding.conversations import group_conversations
from bulklink.finding.related import Probabilities, RelatedConversations
from bulklink.finding.values import EmailFacts
from tests.finding.builders import DAY, email
from tests.finding.judged import judge_contact, known_deal, make_judge


def mail(
    name: str, day: float | None, subject: str = "Re: plan", owner_id: str = "o1"
) -> EmailFacts:
    time = None if day is None else day * DAY
    return email(time, message_id=name, subject=subject, owner_id=owner_id)


def added(
    emails: Sequence[EmailFacts],
    probabilities: Sequence[Probabilities],
    *,
    number: int = -1,
    own: Sequence[str] = (),
) -> dict[str, float]:
    """Return what is added for d1 to a conversation, with the amount of each evidence.

    Args:
        emails: an email of each conversation, in order.
        probabilities: of the conversations, in order.
        number: the conversation.
        own: names of the evidence that it has for d1 by itself.
    """
    conversations = group_conversations(emails)
    assert len(conversations) == len(probabilities)
    related = RelatedConversations(conversations, probabilities)
    candidates = [("d1", [(name, 1.0, "") for name in own]), ("d2", []), (None, [])]
    found = dict(related.evidence(conversations[number], candidates))
    assert found[None] == []
    return {name: amount for name, amount, _ in found["d1"]}


SURE: Probabilities = {"d1": 1.0, "d2": 0.0, None: 0.0}
OPEN: Probabilities = {"d1": 0.4, "d2": 0.3, None: 0.3}
NOTHING: Probabilities = {"d1": 0.0, "d2": 0.0, None: 1.0}


@pytest.mark.parametrize(
    ("days", "amount"), [(0, 1.0), (3, 0.5), (6, 1 / 3), (14, 3 / 17), (14.01, None)]
)
def test_a_conversation_counts_less_the_longer_ago_it_was(days: int, amount: float | None) -> None:
    for day in (1000 - days, 1000 + days):
        emails = [mail("a", day, "Re: budget"), mail("b", 1000)]
        place = 0 if days and day > 1000 else 1
        near = added(emails, [SURE, SURE], number=place).get("near")
        assert near == (None if amount is None else pytest.approx(amount))


def test_what_was_probably_about_a_deal_counts_in_proportion() -> None:
    emails = [mail("a", 1000, "Re: budget"), mail("b", 1000)]
    assert added(emails, [OPEN, NOTHING])["near"] == pytest.approx(0.4)
    assert added(emails, [NOTHING, OPEN])["near"] == 0.0


def test_many_conversations_count_no_more_than_one_that_is_certain() -> None:
    emails = [mail(f"m{number}", 1000, f"Re: t{number}x") for number in range(9)]
    half: Probabilities = {"d1": 0.5, "d2": 0.5, None: 0.0}
    assert added(emails, [half] * 9)["near"] == pytest.approx(0.5)


def test_only_the_same_mailbox_is_near() -> None:
    emails = [mail("a", 1000, "Re: budget", "o2"), mail("b", 1000)]
    assert added(emails, [SURE, OPEN]) == {}


def test_a_long_conversation_is_near_what_came_while_it_went_on() -> None:
    days = (980, 986, 992, 998, 1004, 1010)
    emails = [mail(f"a{day}", day, "Re: budget") for day in days]
    assert added([*emails, mail("b", 1010)], [SURE, OPEN])["near"] == 1.0


@pytest.mark.parametrize(
    ("days", "names"),
    [
        (8, {"near", "continued"}),
        (21, {"continued"}),
        (22, {"continued", "stale_text"}),
        (60, {"continued", "stale_text"}),
        (61, {"resumed", "stale_text"}),
    ],
)
def test_a_reply_after_a_gap_goes_on_with_its_subject(days: int, names: set[str]) -> None:
    emails = [mail("a", 1000 - days, "plan"), mail("b", 1000)]
    found = added(emails, [{**OPEN}, SURE], own=["words"])
    assert found.keys() == names
    amounts = {found[name] for name in names & {"continued", "resumed"}}
    assert amounts == {0.4}


def test_the_latest_conversation_under_a_subject_is_the_one_that_goes_on() -> None:
    emails = [mail("a", 900, "plan"), mail("b", 950), mail("c", 1000)]
    assert added(emails, [SURE, OPEN, SURE]) == {"continued": 0.4}


def test_a_new_email_with_an_old_subject_does_not_go_on() -> None:
    emails = [mail("a", 970, "plan"), mail("b", 1000, "plan")]
    assert added(emails, [SURE, OPEN], own=["words"]) == {}


def test_only_text_gets_stale() -> None:
    emails = [mail("a", 970, "plan"), mail("b", 1000)]
    assert "stale_text" not in added(emails, [SURE, OPEN], own=["alive", "owner", "sent"])


def test_a_deal_that_an_earlier_conversation_was_surely_not_about_gets_nothing() -> None:
    emails = [mail("a", 970, "plan"), mail("b", 1000)]
    assert added(emails, [NOTHING, OPEN]) == {}


def test_the_same_number_counts_by_the_most_probable_conversation() -> None:
    emails = [
        mail("a", 100, "Re: invoice 55-555"),
        mail("b", 200, "Re: reminder 55555"),
        mail("c", 1000, "Re: order 55555"),
    ]
    assert added(emails, [OPEN, SURE, OPEN]) == {"same_number": 1.0}
    assert added(emails, [OPEN, NOTHING, OPEN]) == {"same_number": 0.4}


def test_the_number_of_its_own_subject_proves_nothing() -> None:
    emails = [mail("a", 100, "order 55555"), mail("b", 1000, "order 55555")]
    assert added(emails, [SURE, OPEN]) == {}


@pytest.mark.parametrize("days", [(None, None), (None, 1000)], ids=["none", "the first"])
def test_conversations_without_a_time_are_near_nothing(days: tuple[float | None, ...]) -> None:
    """How long a subject has rested is unknown if the time of an email is."""
    emails = [mail(f"m{place}", day) for place, day in enumerate(days)]
    assert added(emails, [SURE, OPEN], own=["words"]) == {}
    verdicts = judge_contact(make_judge(), [known_deal("d1")], emails)
    assert all(0 < verdict.confidence < 1 for verdict in verdicts.values())
