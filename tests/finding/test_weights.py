"""A file of weights is read whole, or refused with the place and the reason."""

from __future__ import annotations

import pytest

from bulklink.finding.verdicts import ChangeKind, Tier
from bulklink.finding.weights import Weights, WeightsError, load_weights
from bulklink.operations.weights import default_weights

HUGE = "1" + "0" * 400
FLAWS = {
    "no TOML": ("[weights", "not valid TOML"),
    "a key twice": ("[weights]\nsent = 1\nsent = 2", "not valid TOML"),
    "a number of 5,000 digits": (f"weights.sent = {'1' * 5_000}", "not valid TOML"),
    "deeply nested": ("weights.sent = " + "[" * 100_000, "not valid TOML"),
    "unknown table": ("[wieghts]\nsent = 1", "the file: wieghts is unknown; known are weights"),
    "unknown evidence": ("[weights]\nsentt = 1", "weights.sentt: no evidence has this name"),
    "unknown key": ("[weights.sent]\nlogodds = 1", "weights.sent: logodds is unknown"),
    "no log-odds": ('[weights.sent]\nmeaning = "x"', "weights.sent: log_odds is missing"),
    "meaning no text": (
        "weights.sent = {log_odds = 1, meaning = 2}",
        "weights.sent.meaning: not a text",
    ),
    "weights no table": ("weights = 3", "the file: weights is not a table"),
    "weights a list of tables": ("[[weights]]\nsent = 1", "the file: weights is not a table"),
    "thresholds no table": ('thresholds = "x"', "the file: thresholds is not a table"),
    "a text": ('weights.sent = "4"', "weights.sent: not a number"),
    "a truth value": ("weights.sent = true", "weights.sent: not a number"),
    "a truth value in a table": (
        "weights.sent.log_odds = true",
        "weights.sent.log_odds: not a number",
    ),
    "a date": ("weights.sent = 2026-01-01", "weights.sent: not a number"),
    "a list": ("weights.sent = [1]", "weights.sent: not a number"),
    "not a number": ("weights.sent = nan", "weights.sent: not a number"),
    "infinite": ("weights.sent = inf", "weights.sent: not a number"),
    "minus infinite": ("weights.sent.log_odds = -inf", "weights.sent.log_odds: not a number"),
    "too great": ("weights.sent = 30.1", "weights.sent: not from -30 to 30"),
    "too low": ("weights.sent = -31", "weights.sent: not from -30 to 30"),
    "a huge integer": (f"weights.sent = {HUGE}", "weights.sent: not from -30 to 30"),
    "a huge threshold": (f"thresholds.move.sure = {HUGE}", "thresholds.move.sure: not from 0 to 1"),
    "unknown kind": (
        "[thresholds.copy]\nsure = 1",
        "thresholds: copy is unknown; known are attach",
    ),
    "kind no table": ("thresholds.move = 1", "thresholds: move is not a table"),
    "unknown tier": (
        "thresholds.move.certain = 1",
        "thresholds.move: certain is unknown; known are sure",
    ),
    "above 1": ("thresholds.move.sure = 1.1", "thresholds.move.sure: not from 0 to 1"),
    "below 0": ("thresholds.move.look = -0.1", "thresholds.move.look: not from 0 to 1"),
    "a threshold that is no number": (
        "thresholds.move.sure = nan",
        "thresholds.move.sure: not a number",
    ),
    "sure below likely": (
        "thresholds.move.sure = 0.5",
        "thresholds.move: sure is less than likely",
    ),
    "likely below look": (
        "thresholds.attach = {likely = 0.1}",
        "thresholds.attach: likely is less than look",
    ),
}


@pytest.fixture(scope="module")
def default() -> Weights:
    return load_weights(default_weights())


@pytest.mark.parametrize(("text", "message"), FLAWS.values(), ids=FLAWS.keys())
def test_a_flaw_is_refused_with_its_place(text: str, message: str, default: Weights) -> None:
    with pytest.raises(WeightsError) as refusal:
        load_weights(text, default)
    assert str(refusal.value).startswith(message)
    assert len(str(refusal.value)) < 300


def test_a_file_changes_only_what_it_names(default: Weights) -> None:
    text = "thresholds.move = {sure = 1}\nweights.sent = 5\nweights.near.log_odds = -1\n"
    changed = load_weights(text, default)
    assert changed.log_odds == {**default.log_odds, "sent": 5.0, "near": -1.0}
    assert changed.sentences == default.sentences
    assert changed.thresholds == {**default.thresholds, (ChangeKind.MOVE, Tier.SURE): 1.0}


def test_a_file_may_reword_a_sentence(default: Weights) -> None:
    changed = load_weights('weights.sent = {log_odds = 1, meaning = "Ours."}', default)
    assert changed.sentences["sent"] == "Ours."


@pytest.mark.parametrize("text", ["", "[weights]", "[thresholds]", "[thresholds.move]", "# only"])
def test_an_empty_file_changes_nothing(text: str, default: Weights) -> None:
    assert load_weights(text, default) == default


def test_the_default_weights_are_their_own_default(default: Weights) -> None:
    assert load_weights(default_weights(), default) == default


@pytest.mark.parametrize("text", ["", "thresholds.move = {sure = 1}", "weights.sent = 1"])
def test_a_file_without_default_needs_all_thresholds(text: str) -> None:
    with pytest.raises(WeightsError, match="is missing"):
        load_weights(text)


@pytest.mark.parametrize(
    ("probability", "tier"),
    [
        (1.0, Tier.SURE),
        (0.75, Tier.SURE),
        (0.74, Tier.LIKELY),
        (0.5, Tier.LIKELY),
        (0.49, Tier.LOOK),
        (0.25, Tier.LOOK),
        (0.24, None),
    ],
)
def test_a_tier_begins_at_its_threshold(
    probability: float, tier: Tier | None, default: Weights
) -> None:
    text = "thresholds.move = {sure = 0.75, likely = 0.5, look = 0.25}"
    assert load_weights(text, default).tier(ChangeKind.MOVE, probability) is tier
