"""Checks of a ledger against the CRM that it is about."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Any

import orjson


def read_lines(ledger: Path) -> list[dict[str, Any]]:
    """Return the lines of a ledger; a torn last one is not a line."""
    return [
        orjson.loads(line) for line in ledger.read_bytes().splitlines(True) if line[-1:] == b"\n"
    ]


def compare_with_the_crm(op: str, lines: list[dict[str, Any]], url: str) -> int:
    """Compare the last results with the deals in an emulator; return how many were compared."""
    with urllib.request.urlopen(f"{url}/_emulator/state") as answer:
        emails = orjson.loads(answer.read())["world"]["emails"]
    current_deals = {(e["contact_id"], e["message_id"]): e["deal_id"] for e in emails}
    last_results = {line["row"]: line for line in lines if line["event"] == "result"}
    compared = 0
    for result in last_results.values():
        if result["status"] in ("done", "unchanged"):
            expected_deal = None if op == "unlink" else result["deal_id"]
            current_deal = current_deals[result["contact_id"], result["message_id"]]
            assert current_deal == expected_deal, result
            compared += 1
    return compared
