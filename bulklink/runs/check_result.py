"""Result of checking the files of a run."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from bulklink.runs.record import ForgetResult


class CheckStatus(StrEnum):
    """Outcome of one check."""

    OK = "ok"
    DIFFERS = "differs"
    MISSING = "missing"
    NOT_YET = "not-yet"


class CheckItem(msgspec.Struct, frozen=True):
    """One checked part of a run.

    Args:
        verdict: ok, differs, missing or not-yet.
        detail: explanation; may be empty.
    """

    verdict: CheckStatus
    detail: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether nothing differs and nothing is missing."""
        return self.verdict in (CheckStatus.OK, CheckStatus.NOT_YET)


class CheckResult(msgspec.Struct, frozen=True):
    """Outcome of checking a run.

    Args:
        plan: check of the plan file, and of the digest over its rows and options.
        names: check of the names that were looked up.
        ledger: check of the ledger file.
        accounting: check of the row counts.
        mappings: check of each input, by name; a missing input is not a difference.
        forgotten: times at which columns and names were removed, with the hashes before and after.
    """

    plan: CheckItem
    names: CheckItem
    ledger: CheckItem
    accounting: CheckItem
    mappings: dict[str, CheckItem]
    forgotten: tuple[ForgetResult, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing differs and no required part is missing."""
        required_items = (self.plan, self.names, self.ledger, self.accounting)
        unchanged = all(item.verdict is not CheckStatus.DIFFERS for item in self.mappings.values())
        return unchanged and all(item.is_ok for item in required_items)
