"""Checks that hold after every run: accounting, ledger, folder, CRM."""

from __future__ import annotations

import json
import re
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb

from tests.e2e.command import CommandResult

RUN_KEYS = {
    "run_dir", "op", "state", "stopped_by", "resume_at", "rows", "counts", "calls", "credits",
    "seconds", "exit_code", "undo_of", "undone", "undone_by", "messages_per_second",
    "calls_per_second", "sending_seconds", "waited_seconds", "latency", "limited_by", "settings",
    "load_test",
}  # fmt: skip
COUNTS = ["done", "unchanged", "failed", "in_doubt", "rejected", "duplicate", "pending"]
CALLS = {"link", "unlink", "read", "lookup", "retried", "least"}
PLAN_KEYS = {
    "op", "run_dir", "rows", "messages", "rejected", "duplicate", "groups", "calls",
    "credits", "seconds", "digest", "refusals",
}  # fmt: skip
PLAN_CALLS = {"link", "unlink", "read_at_least", "lookup_at_least", "least", "roles_at_most"}
KEYS = {
    "call": {"call", "op", "attempt", "contact_id", "rows"},
    "unsent": {"call", "op", "attempt", "contact_id", "rows"},
    "snapshot": {"row", "call"},
    "step": {"row", "current_deal_id"},
    "result": {
        "row", "op", "contact_id", "owner_id", "message_id", "deal_id", "status", "code",
        "http_status", "message", "attempts", "call",
    },
}  # fmt: skip
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
Line = dict[str, Any]


@dataclass(frozen=True)
class AuditedRun:
    """A run folder and the object that the command showed for it.

    Args:
        folder: the run folder.
        summary: the object of --json.
    """

    folder: Path
    summary: Mapping[str, Any]

    @property
    def counts(self) -> dict[str, int]:
        """Return the counts that are not 0."""
        return {status: count for status, count in self.summary["counts"].items() if count}

    @property
    def calls(self) -> dict[str, int]:
        """Return the calls of the run."""
        return dict(self.summary["calls"])

    @cached_property
    def ledger(self) -> list[Line]:
        """Return the lines of the ledger."""
        text = (self.folder / "ledger.jsonl").read_text("utf-8")
        assert not text or text.endswith("\n")
        return [json.loads(line) for line in text.splitlines()]

    def lines(self, event: str) -> list[Line]:
        """Return the lines of one kind."""
        return [line for line in self.ledger if line["event"] == event]

    @cached_property
    def results(self) -> dict[int, Line]:
        """Return the last result of each row."""
        return {line["row"]: line for line in self.lines("result")}

    def result(self, message: str) -> Line:
        """Return the result of a message, ignoring duplicates."""
        (result_line,) = (
            line
            for line in self.results.values()
            if line["message_id"] == message and line["status"] != "duplicate"
        )
        return result_line

    def plan(self, *columns: str) -> list[tuple[Any, ...]]:
        """Return these columns of the sealed plan."""
        chosen = ", ".join(f'"{column}"' for column in columns) or "*"
        path = str(self.folder / "plan.parquet")
        with duckdb.connect() as connection:
            return connection.execute(f"SELECT {chosen} FROM read_parquet(?)", [path]).fetchall()

    def plan_columns(self) -> list[str]:
        """Return the names of the sealed plan's columns."""
        path = str(self.folder / "plan.parquet")
        with duckdb.connect() as connection:
            described = connection.execute(
                "DESCRIBE SELECT * FROM read_parquet(?)", [path]
            ).fetchall()
        return [str(name) for name, *_ in described]

    def text(self) -> bytes:
        """Return all bytes of all files."""
        return b"\n".join(file.read_bytes() for file in sorted(self.folder.iterdir()))


def audit_run(result: CommandResult, cwd: Path, rows: int | None = None) -> AuditedRun:
    """Return the run that a command with --json shows, after checking its invariants."""
    summary = result.object
    assert set(summary) == RUN_KEYS, summary
    assert set(summary["counts"]) == set(COUNTS), summary
    assert set(summary["calls"]) == CALLS, summary
    kinds = ("link", "unlink", "read", "lookup")
    assert summary["credits"] == sum(summary["calls"][kind] for kind in kinds), summary
    assert summary["exit_code"] == result.code, result
    assert summary["rows"] == sum(summary["counts"].values()), summary
    assert rows is None or summary["rows"] == rows, summary
    run = AuditedRun(cwd / summary["run_dir"], summary)
    _check_end(run)
    _check_ledger_format(run)
    _check_ledger_counts(run)
    _check_order(run)
    return run


def _check_end(run: AuditedRun) -> None:
    summary = run.summary
    record = json.loads((run.folder / "run.json").read_text("utf-8"))
    assert record["state"] == summary["state"]
    assert record["stopped_by"] == summary["stopped_by"]
    if summary["state"] == "finished":
        assert summary["counts"]["pending"] == 0, summary
        assert summary["stopped_by"] is None, summary
        bad = {"failed", "in_doubt", "rejected"} & set(run.counts)
        assert summary["exit_code"] == (1 if bad else 0), summary
    else:
        assert summary["state"] == "stopped", summary
        assert summary["stopped_by"] is not None, summary


def _check_ledger_format(run: AuditedRun) -> None:
    for line in run.ledger:
        assert line["event"] in KEYS, line
        assert KEYS[line["event"]] <= set(line), line
        assert MOMENT.fullmatch(line["ts"]), line
        assert line.get("op") in {None, "link", "unlink", "relink", "read", "lookup"}, line
        if line["event"] == "result":
            assert line["status"] in COUNTS[:-1], line
            assert line["op"] != "unlink" or line["deal_id"] is None, line
            assert ("duplicate_of" in line) == (line["status"] == "duplicate"), line
        if line["event"] == "step":
            assert line["current_deal_id"] is None, line


def _check_ledger_counts(run: AuditedRun) -> None:
    counts = Counter(line["status"] for line in run.results.values())
    _check_one_result_per_row(run)
    assert dict(counts) == {s: n for s, n in run.counts.items() if s != "pending"}
    unsent = {line["call"] for line in run.lines("unsent")}
    calls = [line for line in run.lines("call") if line["call"] not in unsent]
    sent = Counter(line["op"] for line in calls)
    for op in ("link", "unlink", "read", "lookup"):
        assert sent[op] == run.calls[op], (op, run.calls)
    retries = [line for line in calls if line["attempt"] > 1]
    assert len(retries) == run.calls["retried"]
    numbers = [line["call"] for line in run.lines("call")]
    assert len(set(numbers)) == len(numbers)


def _check_one_result_per_row(run: AuditedRun) -> None:
    """Check that no row has two results, except where the canary corrects a success."""
    last_results: dict[int, Line] = {}
    for line in run.lines("result"):
        before = last_results.get(line["row"])
        if line["code"] != "not-applied":
            assert before is None, f"settled twice: {before}, {line}"
        else:
            assert before is not None, f"corrects nothing: {line}"
            assert (before["status"], before["code"]) == ("done", "SUCCESS"), before
            assert line["status"] == "failed", line
            assert line["current_deal_id"] != line["deal_id"], line
            unchanged_keys = set(line) - {
                "ts",
                "status",
                "code",
                "message",
                "call",
                "current_deal_id",
            }
            assert {key: line[key] for key in unchanged_keys} == {
                key: before[key] for key in unchanged_keys
            }
            assert line["call"] in {c["call"] for c in run.lines("call") if c["op"] == "read"}
        last_results[line["row"]] = line


def _check_order(run: AuditedRun) -> None:
    calls: dict[int, Line] = {}
    changed_rows: set[int] = set()
    unsent = {line["call"] for line in run.lines("unsent")}
    for line in run.ledger:
        match line["event"]:
            case "call":
                calls[line["call"]] = line
                assert (line["op"] == "lookup") <= (line["rows"] == []), line
                if line["op"] in {"link", "unlink"} and line["call"] not in unsent:
                    changed_rows |= set(line["rows"])
            case "snapshot":
                assert line["row"] not in changed_rows, f"changed before its snapshot: {line}"
            case "result" if line["call"] is not None:
                assert line["row"] in calls[line["call"]]["rows"], line
            case "result":
                assert line["status"] != "done", line


def assert_crm_matches(
    run: AuditedRun, before: Mapping[str, str | None], after: Mapping[str, str | None]
) -> None:
    """Check each message of a finished run in the CRM, and that no other was touched."""
    expected = dict(before)
    for line in run.results.values():
        message = line["message_id"]
        if line["status"] in {"done", "unchanged"}:
            expected[message] = line["deal_id"]
        elif line.get("current_deal_id", "?") != "?":
            expected[message] = line["current_deal_id"]
    assert expected == dict(after)


def mode(path: Path) -> int:
    """Return the permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def find_secrets(text: str | bytes, *secrets: str) -> list[str]:
    """Return the secrets that a text holds."""
    raw = text.encode() if isinstance(text, str) else text
    return [secret for secret in secrets if secret.encode() in raw]
