"""What a checked sample says is in plain words, and never more than is proved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from bulklink.cli.sample_summary import sample_lines
from bulklink.finding.sample_check import DrawnEmail, SampleVerdict, check_sample
from bulklink.finding.verdicts import ChangeKind, Tier
from bulklink.operations.auditing.sample import AuditCheck

DOCS = Path(__file__).parents[2] / "docs" / "auditing.md"
RIGHT, WRONG, UNSURE = SampleVerdict


def summary(
    proposed: int,
    right: int,
    wrong: int = 0,
    unsure: int = 0,
    tier: Tier = Tier.SURE,
    to_draw: int | None = None,
) -> str:
    group = (tier, ChangeKind.ATTACH)
    verdicts = [RIGHT] * right + [WRONG] * wrong + [UNSURE] * unsure
    check = check_sample({group: proposed}, [DrawnEmail(*group, verdict) for verdict in verdicts])
    counts = {name.value: {"attach": 0, "move": 0, "detach": 0} for name in Tier}
    counts[check[0].becomes]["attach"] = proposed
    check = tuple(msgspec.structs.replace(one, to_draw=to_draw) for one in check)
    result = AuditCheck(check, counts, {"check": "m.check.csv"}, 0, 1)
    return " ".join(" ".join(map(str, sample_lines(result, "m.csv"))).split())


def test_the_guide_shows_what_the_command_prints() -> None:
    (example,) = (
        line for line in DOCS.read_text("utf-8").splitlines() if line.startswith("sure, attach: ")
    )
    assert example in summary(1240, 35, to_draw=742)


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ((1240, 0), "0 of 1,240 drawn; 431 without an error would prove the promise of 99.5%."),
        ((10_000, 595, 0, 5), "5 unsure or skipped: at least "),
        ((10_000, 299, 1), "without a further error would prove the promise of 99.5%."),
        (
            (1240, 431),
            "at least 99.5% right at 95 % confidence, which proves the promise of 99.5%.",
        ),
        ((100, 40, 0, 1), "no sample proves the promise of 99.5% any more."),
        ((1000, 50, 20), "That is less than sure promises: attachments that were sure are look."),
        ((50, 25, 25, 0, Tier.LOOK), "25 wrong: at least 50.0% right at 95 % confidence. Sample"),
    ],
)
def test_a_summary_says_what_is_proved_and_what_would_prove_more(
    counts: tuple[Any, ...], text: str
) -> None:
    assert text in summary(*counts)


def test_a_bound_is_rounded_down() -> None:
    group = (Tier.SURE, ChangeKind.ATTACH)
    (check,) = check_sample({group: 10_000}, [DrawnEmail(*group, RIGHT)] * 560)
    assert check.at_least == 0.9949
    assert "at least 99.4% right" in summary(10_000, 560)


def test_an_audit_without_proposals_has_nothing_to_check() -> None:
    result = AuditCheck((), {tier.value: {} for tier in Tier}, {"check": "m.check.csv"}, 0, 0)
    assert list(sample_lines(result, "m.csv")) == [
        "Nothing is proposed, so there is nothing to check."
    ]
