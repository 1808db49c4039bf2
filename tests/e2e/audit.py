"""What must be so after every run, whatever happened: accounting, ledger, folder, CRM."""

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

from .command import Ended

RUN_KEYS = {
    "run_dir", "op", "state", "stopped_by", "resume_at", "rows", "counts", "calls", "seconds",
    "exit_code",
}  # fmt: skip
COUNTS = ["done", "unchanged", "failed", "in_doubt", "rejected", "duplicate", "pending"]
CALLS = {"link", "unlink", "read", "lookup", "retried", "least"}
PLAN_KEYS = {
    "op", "run_dir", "rows", "messages", "rejected", "duplicate", "groups", "calls",
    "credits_at_least", "seconds_at_least", "digest",
}  # fmt: skip
PLAN_CALLS = {"link", "unlink", "read_at_least", "lookup_at_least", "least"}
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
class Run:
    """A run folder and the object that the command showed for it."""

    folder: Path
    shown: Mapping[str, Any]

    @property
    def counts(self) -> dict[str, int]:
        """Return the counts that are not 0."""
        return {status: many for status, many in self.shown["counts"].items() if many}

    @property
    def calls(self) -> dict[str, int]:
        """Return the calls of the run."""
        return dict(self.shown["calls"])

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
        """Return the one result of a message whose row is no duplicate."""
        (found,) = (
            line
            for line in self.results.values()
            if line["message_id"] == message and line["status"] != "duplicate"
        )
        return found

    def plan(self, *columns: str) -> list[tuple[Any, ...]]:
        """Return these columns of the sealed plan."""
        chosen = ", ".join(f'"{column}"' for column in columns) or "*"
        path = str(self.folder / "plan.parquet")
        with duckdb.connect() as desk:
            return desk.execute(f"SELECT {chosen} FROM read_parquet(?)", [path]).fetchall()

    def plan_columns(self) -> list[str]:
        """Return the names of the sealed plan's columns."""
        path = str(self.folder / "plan.parquet")
        with duckdb.connect() as desk:
            described = desk.execute("DESCRIBE SELECT * FROM read_parquet(?)", [path]).fetchall()
        return [str(name) for name, *_ in described]

    def text(self) -> bytes:
        """Return all bytes of all files."""
        return b"\n".join(file.read_bytes() for file in sorted(self.folder.iterdir()))


def audited(ended: Ended, cwd: Path, rows: int | None = None) -> Run:
    """Return the run that a command with --json shows, with every promise about it checked."""
    shown = ended.object
    assert set(shown) == RUN_KEYS, shown
    assert set(shown["counts"]) == set(COUNTS), shown
    assert set(shown["calls"]) == CALLS, shown
    assert shown["exit_code"] == ended.code, ended
    assert shown["rows"] == sum(shown["counts"].values()), shown
    assert rows is None or shown["rows"] == rows, shown
    run = Run(cwd / shown["run_dir"], shown)
    _ends_as_counted(run)
    _ledger_is_well_formed(run)
    _ledger_is_counted(run)
    _calls_come_first(run)
    return run


def _ends_as_counted(run: Run) -> None:
    shown = run.shown
    kept = json.loads((run.folder / "run.json").read_text("utf-8"))
    assert kept["state"] == shown["state"]
    assert kept["stopped_by"] == shown["stopped_by"]
    if shown["state"] == "finished":
        assert shown["counts"]["pending"] == 0, shown
        assert shown["stopped_by"] is None, shown
        bad = {"failed", "in_doubt", "rejected"} & set(run.counts)
        assert shown["exit_code"] == (1 if bad else 0), shown
    else:
        assert shown["state"] == "stopped", shown
        assert shown["stopped_by"] is not None, shown


def _ledger_is_well_formed(run: Run) -> None:
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


def _ledger_is_counted(run: Run) -> None:
    told = Counter(line["status"] for line in run.results.values())
    _rows_are_settled_once(run)
    assert dict(told) == {s: n for s, n in run.counts.items() if s != "pending"}
    unsent = {line["call"] for line in run.lines("unsent")}
    calls = [line for line in run.lines("call") if line["call"] not in unsent]
    sent = Counter(line["op"] for line in calls)
    for op in ("link", "unlink", "read", "lookup"):
        assert sent[op] == run.calls[op], (op, run.calls)
    again = [line for line in calls if line["attempt"] > 1]
    assert len(again) == run.calls["retried"]
    numbers = [line["call"] for line in run.lines("call")]
    assert len(set(numbers)) == len(numbers)


def _rows_are_settled_once(run: Run) -> None:
    """Check that no row has two results, but where the canary shows that a success was none."""
    settled: dict[int, Line] = {}
    for line in run.lines("result"):
        before = settled.get(line["row"])
        if line["code"] != "not-applied":
            assert before is None, f"settled twice: {before}, {line}"
        else:
            assert before is not None, f"corrects nothing: {line}"
            assert (before["status"], before["code"]) == ("done", "SUCCESS"), before
            assert line["status"] == "failed", line
            assert line["current_deal_id"] != line["deal_id"], line
            kept = set(line) - {"ts", "status", "code", "message", "call", "current_deal_id"}
            assert {key: line[key] for key in kept} == {key: before[key] for key in kept}
            assert line["call"] in {c["call"] for c in run.lines("call") if c["op"] == "read"}
        settled[line["row"]] = line


def _calls_come_first(run: Run) -> None:
    left: dict[int, Line] = {}
    changed: set[int] = set()
    unsent = {line["call"] for line in run.lines("unsent")}
    for line in run.ledger:
        match line["event"]:
            case "call":
                left[line["call"]] = line
                assert (line["op"] == "lookup") <= (line["rows"] == []), line
                if line["op"] in {"link", "unlink"} and line["call"] not in unsent:
                    changed |= set(line["rows"])
            case "snapshot":
                assert line["row"] not in changed, f"changed before its snapshot: {line}"
            case "result" if line["call"] is not None:
                assert line["row"] in left[line["call"]]["rows"], line
            case "result":
                assert line["status"] != "done", line


def agrees(run: Run, before: Mapping[str, str | None], now: Mapping[str, str | None]) -> None:
    """Check each message of a finished run in the CRM, and that no other was touched."""
    expected = dict(before)
    for line in run.results.values():
        message = line["message_id"]
        if line["status"] in {"done", "unchanged"}:
            expected[message] = line["deal_id"]
        elif line.get("current_deal_id", "?") != "?":
            expected[message] = line["current_deal_id"]
    assert expected == dict(now)


def mode(path: Path) -> int:
    """Return the permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def leaks(text: str | bytes, *secrets: str) -> list[str]:
    """Return the secrets that a text holds."""
    raw = text.encode() if isinstance(text, str) else text
    return [secret for secret in secrets if secret.encode() in raw]
