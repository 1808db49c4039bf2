"""The numbers in docs/limits.md agree with the code."""

from __future__ import annotations

from pathlib import Path

from bulklink.engine.quota.daily_allowance import BLOCK_SIZE
from bulklink.engine.quota.gate import RELINK_RESERVE

TEXT = (Path(__file__).parents[2] / "docs" / "limits.md").read_text("utf-8")


def test_what_it_says_of_numbers_is_so() -> None:
    assert f"blocks of {BLOCK_SIZE} and" in TEXT
    assert RELINK_RESERVE == 2
