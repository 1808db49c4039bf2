"""The weights of a user's file take the place of the default ones, or are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulklink.errors import ConfigError
from bulklink.finding.weights import load_weights
from bulklink.operations.weights import default_weights, read_weights
from tests.finding.test_weights import FLAWS


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_users_file_with_a_flaw_is_refused_by_its_path(flaw: str, tmp_path: Path) -> None:
    text, message = FLAWS[flaw]
    path = tmp_path / "weights.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refusal:
        read_weights(path)
    assert message in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_a_users_file_may_name_a_single_weight(tmp_path: Path) -> None:
    path = tmp_path / "weights.toml"
    path.write_text("weights.sent = 5")
    assert read_weights(path).log_odds == {**load_weights(default_weights()).log_odds, "sent": 5.0}


def test_without_a_file_the_default_weights_are_taken() -> None:
    assert read_weights(None) == load_weights(default_weights())
