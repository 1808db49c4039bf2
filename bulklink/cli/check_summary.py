"""Result of checking the files of a run, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from bulklink.cli.console import Line, Styled
from bulklink.runs.check_result import CheckItem, CheckResult, CheckStatus

_STATUS_COLOURS = {CheckStatus.OK: "green", CheckStatus.DIFFERS: "red"}
_STATUS_TEXTS = {CheckStatus.MISSING: "missing", CheckStatus.NOT_YET: "nothing to check"}


def check_object(check_result: CheckResult) -> dict[str, Any]:
    """Return the result of a check as in JSON output; `ok` is whether nothing differs."""
    content: dict[str, Any] = msgspec.to_builtins(check_result)
    return {"ok": check_result.ok, **content}


def check_lines(check_result: CheckResult) -> Iterator[Line]:
    """Yield a line for each part that was checked."""
    items = {
        "plan": check_result.plan,
        "names": check_result.names,
        "ledger": check_result.ledger,
        "accounting": check_result.accounting,
    }
    items |= {f"mapping {name}": item for name, item in check_result.mappings.items()}
    width = max(map(len, items))
    yield "Check:"
    for name, item in items.items():
        yield (f"  {name:<{width}}  ", *_item_parts(item))
    for redaction in check_result.forgotten:
        if redaction.complete:
            yield f"  Columns and names were removed at {redaction.at}; hashes before:"
            yield f"    plan    {redaction.plan_before}"
            yield f"    ledger  {redaction.ledger_before}"


def _item_parts(item: CheckItem) -> tuple[Styled, str]:
    status_text = _STATUS_TEXTS.get(item.verdict, item.verdict)
    styled = Styled(status_text, _STATUS_COLOURS.get(item.verdict))
    return styled, f": {item.detail}" if item.detail else ""
