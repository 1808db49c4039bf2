"""Emails are one conversation by subject, mailbox and time, in whatever order they are given."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.finding.conversations import group_conversations
from bulklink.finding.values import EmailFacts
from tests.finding.builders import DAY, email

OTHER = "o2"


def groups(*emails: EmailFacts) -> list[list[str]]:
    """Return the message ids of each conversation."""
    return [
        [parsed.email.message_id for parsed in conversation.emails]
        for conversation in group_conversations(emails)
    ]


def shared(first: EmailFacts, second: EmailFacts) -> bool:
    """Return whether two emails are one conversation."""
    return len(groups(first, second)) == 1


@pytest.mark.parametrize(
    ("subject", "days", "together"),
    [
        ("Re: Plan", 0, True),
        ("Re: Plan", 6, True),
        ("Re: Plan", 6.01, False),
        ("Plan", 4, True),
        ("Plan", 4.01, False),
        ("Re: Plans", 0, False),
    ],
)
def test_a_conversation_ends_with_a_long_gap(subject: str, days: float, together: bool) -> None:
    first = email(0.0, message_id="a", subject="Plan")
    assert shared(first, email(days * DAY, message_id="b", subject=subject)) is together


def test_the_gap_is_that_to_the_email_before() -> None:
    emails = [email(day * DAY, message_id=f"m{day}", subject="Re: Plan") for day in (0, 6, 12, 18)]
    assert groups(*emails) == [["m0", "m6", "m12", "m18"]]


def test_an_email_after_a_gap_begins_a_conversation_that_goes_on() -> None:
    days = (0, 3, 20, 24)
    emails = [email(day * DAY, message_id=f"m{day}", subject="Re: Plan") for day in days]
    assert groups(*emails) == [["m0", "m3"], ["m20", "m24"]]


@pytest.mark.parametrize(
    ("subject", "together"),
    [
        ("Documents", False),
        ("Two words", False),
        ("Three telling words", True),
        ("Order 10432", True),
        ("Order 104", False),
    ],
)
def test_only_a_telling_subject_joins_two_mailboxes(subject: str, together: bool) -> None:
    first = email(0.0, message_id="a", subject=subject)
    reply = f"Re: {subject}"
    second = email(DAY, message_id="b", subject=reply, owner_id=OTHER)
    assert shared(first, second) is together
    assert shared(first, email(DAY, message_id="b", subject=reply))


@pytest.mark.parametrize("subject", [None, "", "Re:", "Re: [EXT] Fwd:"])
def test_emails_without_a_subject_are_each_alone(subject: str | None) -> None:
    emails = [email(0.0, message_id=name, subject=subject) for name in "abc"]
    assert groups(*emails) == [["a"], ["b"], ["c"]]


def test_emails_without_a_time_are_each_alone_and_first() -> None:
    subject = "Three telling words"
    emails = [
        email(DAY, message_id="a", subject=subject),
        email(None, message_id="c", subject=subject),
        email(None, message_id="b", subject=f"Re: {subject}"),
    ]
    assert groups(*emails) == [["b"], ["c"], ["a"]]


def test_a_thread_joins_subjects_and_mailboxes() -> None:
    first = email(0.0, message_id="a", subject="Plan", thread_id="t")
    second = email(DAY, message_id="b", subject="Something new", owner_id=OTHER, thread_id="t")
    assert shared(first, second)


def test_equal_subjects_of_two_threads_are_apart() -> None:
    first = email(0.0, message_id="a", subject="Three telling words", thread_id="t")
    second = email(DAY, message_id="b", subject="Re: Three telling words", thread_id="u")
    assert not shared(first, second)


def test_a_thread_without_times_is_no_conversation() -> None:
    emails = [
        email(time, message_id=name, subject="Re: Plan", thread_id="t")
        for name, time in (("a", None), ("b", None), ("c", 0.0), ("d", DAY))
    ]
    assert groups(*emails) == [["a"], ["b"], ["c", "d"]]


def test_conversations_are_numbered_by_their_first_emails() -> None:
    emails = [
        email(2 * DAY, message_id="b", subject="Beta"),
        email(3 * DAY, message_id="c", subject="Re: Alpha"),
        email(1 * DAY, message_id="a", subject="Alpha"),
    ]
    conversations = group_conversations(emails)
    assert [conversation.number for conversation in conversations] == [0, 1]
    assert [parsed.index for parsed in conversations[0].emails] == [2, 1]
    assert (conversations[0].first_time, conversations[0].last_time) == (DAY, 3 * DAY)
    assert conversations[0].subject.key == "alpha"


def test_no_email_is_no_conversation() -> None:
    assert group_conversations(()) == []


def email_lists() -> st.SearchStrategy[list[EmailFacts]]:
    """Return emails of few subjects, mailboxes and times, so that many belong together."""
    one = st.builds(
        email,
        st.none() | st.integers(0, 40).map(lambda day: day * DAY / 2),
        subject=st.sampled_from([None, "", "Plan", "Re: Plan", "Three telling words", "RE: 10432"]),
        owner_id=st.sampled_from([None, "o1", OTHER]),
        thread_id=st.sampled_from([None, None, "t", "u"]),
    )
    return st.lists(one, max_size=12).map(number_emails)


def number_emails(emails: Iterable[EmailFacts]) -> list[EmailFacts]:
    return [
        email(
            message.time,
            message_id=f"m{number:02}",
            subject=message.subject,
            owner_id=message.owner_id,
            thread_id=message.thread_id,
        )
        for number, message in enumerate(emails)
    ]


@given(email_lists(), st.randoms(use_true_random=False))
def test_the_order_of_the_emails_does_not_matter(emails: list[EmailFacts], random: Random) -> None:
    shuffled = list(emails)
    random.shuffle(shuffled)
    assert groups(*shuffled) == groups(*emails)


@given(email_lists())
def test_each_email_is_in_one_conversation_by_its_place(emails: list[EmailFacts]) -> None:
    conversations = group_conversations(emails)
    parsed = [email for conversation in conversations for email in conversation.emails]
    assert sorted(email.index for email in parsed) == list(range(len(emails)))
    assert all(emails[email.index] is email.email for email in parsed)
