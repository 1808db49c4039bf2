"""What an explanation says of the prediction rule."""

from __future__ import annotations

import pytest

from bulklink.cli.explanation import explanation_lines
from bulklink.operations.explain import Explanation


@pytest.mark.parametrize(
    ("direction", "mail", "rule"),
    [
        ("sent", "sent at an unknown time", "says nothing of sent mail"),
        (None, "received or sent at an unknown time", "unknown, as it applies only to received"),
    ],
)
def test_the_rule_says_nothing_of_mail_that_was_not_certainly_received(
    direction: str | None, mail: str, rule: str
) -> None:
    explanation = Explanation("5843104000000424162", "8937fb4a", direction=direction)
    _, _, mail_line, _, rule_line, *_ = map(str, explanation_lines([explanation]))
    assert mail_line.split(None, 1)[1].startswith(mail)
    assert rule_line.split(None, 1)[1].startswith(rule)
