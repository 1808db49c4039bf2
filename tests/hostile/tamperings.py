"""Ways of tampering with a run folder, and the expected refusals.

To add a case, add a `Tampering` to one of the lists; `test_tamperings.py` runs every command on it.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import duckdb

from tests.hostile.folders import LEDGER_READERS, READERS, edit_record

Change = Callable[[Path, Path], None]


@dataclass(frozen=True)
class Tampering:
    """One way to tamper with a folder.

    Args:
        name: name of the case.
        change: changes the run folder (first argument); the second is a file outside of it.
        named: text that a refusal must contain.
        kind: the good folder that is changed.
        refused_by: commands that must refuse the folder; others may end in any documented way.
        untouched: whether no command may change anything in the folder.
    """

    name: str
    change: Change
    named: str
    kind: str = "stopped"
    refused_by: frozenset[str] = READERS
    untouched: bool = True


WRITTEN_FILES = (
    *("ledger.jsonl", "ledger.torn", "answers.jsonl", "timeline.jsonl", "rejects.csv"),
    *("verify.jsonl", "verify.torn", "verify-answers.jsonl", "lock", "verify.lock"),
)
"""Files that are changed in place."""
OTHER_FILES = ("run.json", "plan.parquet", "names.parquet", "report.html")


def link(name: str) -> Change:
    def change(run: Path, outside: Path) -> None:
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(outside)

    return change


def dangling_link(name: str) -> Change:
    def change(run: Path, outside: Path) -> None:
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(outside.with_name("made"))

    return change


def hard_link(name: str) -> Change:
    def change(run: Path, outside: Path) -> None:
        if (run / name).exists():
            outside.write_bytes((run / name).read_bytes())
        (run / name).unlink(missing_ok=True)
        (run / name).hardlink_to(outside)

    return change


def pipe(name: str) -> Change:
    def change(run: Path, _: Path) -> None:
        (run / name).unlink(missing_ok=True)
        if sys.platform != "win32":
            os.mkfifo(run / name)

    return change


def _socket(name: str) -> Change:
    def change(run: Path, _: Path) -> None:
        (run / name).unlink(missing_ok=True)
        if sys.platform != "win32":
            # The path of a socket is short.
            with chdir(run), socket.socket(socket.AF_UNIX) as server:
                server.bind(name)

    return change


def folder(name: str) -> Change:
    def change(run: Path, _: Path) -> None:
        (run / name).unlink(missing_ok=True)
        (run / name).mkdir()

    return change


def _device(name: str) -> Change:
    def change(run: Path, _: Path) -> None:
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to("/dev/zero")

    return change


def _scratch_link(run: Path, outside: Path) -> None:
    (run / "scratch").symlink_to(outside.parent, target_is_directory=True)


def _planted() -> Iterator[Tampering]:
    for name in (*WRITTEN_FILES, *OTHER_FILES):
        yield Tampering(f"link-{name}", link(name), name)
    for name in ("ledger.torn", "lock", "names.parquet"):
        yield Tampering(f"dangling-{name}", dangling_link(name), name)
    for name in ("ledger.jsonl", "timeline.jsonl", "run.json", "plan.parquet"):
        yield Tampering(f"pipe-{name}", pipe(name), name)
        yield Tampering(f"folder-{name}", folder(name), name)
    for name in ("ledger.jsonl", "run.json"):
        yield Tampering(f"device-{name}", _device(name), name)
        yield Tampering(f"socket-{name}", _socket(name), name)
    yield Tampering("link-scratch", _scratch_link, "scratch")
    yield Tampering("torn-line-to-a-link", link("ledger.torn"), "ledger.torn", kind="killed")
    for name in WRITTEN_FILES:
        yield Tampering(
            f"hard-link-{name}",
            hard_link(name),
            name,
            refused_by=frozenset({"resume", "retry", "verify", "forget"}),
            untouched=False,
        )


def _lines(change: Callable[[list[bytes]], object], *, recorded: bool = True) -> Change:
    """Change the lines of the ledger; `recorded` updates its hash in run.json."""

    def change_lines(run: Path, _: Path) -> None:
        lines = (run / "ledger.jsonl").read_bytes().splitlines(keepends=True)
        change(lines)
        content = b"".join(lines)
        (run / "ledger.jsonl").write_bytes(content)
        if recorded:
            edit_record(
                run, ledger_sha256=hashlib.sha256(content).hexdigest(), ledger_bytes=len(content)
            )

    return change_lines


def _result(lines: list[bytes]) -> dict[str, object]:
    line = next(line for line in lines if b'"event":"result"' in line)
    read = json.loads(line)
    assert isinstance(read, dict)
    return read


def _with(**fields: object) -> Change:
    def add(lines: list[bytes]) -> None:
        lines.append(json.dumps(_result(lines) | fields).encode() + b"\n")

    return _lines(add)


def _raw(line: bytes) -> Change:
    return _lines(lambda lines: lines.append(line))


def _sparse(run: Path, _: Path) -> None:
    with (run / "ledger.jsonl").open("ab") as ledger:
        ledger.truncate(8 << 30)


def _damaged_lines() -> Iterator[Tampering]:
    values: dict[str, dict[str, object]] = {
        "row--1": {"row": -1},
        "row-0": {"row": 0},
        "row-1e14": {"row": 10**14},
        "row-huge": {"row": 10**40},
        "row-beyond": {"row": 31},
        "row-float": {"row": 1.5},
        "row-1e14-float": {"row": 1e14},
        "row-bool": {"row": True},
        "row-null": {"row": None},
        "row-text": {"row": "1"},
        "status-unknown": {"status": "sent"},
        "status-null": {"status": None},
        "status-list": {"status": ["done"]},
        "time-null": {"ts": None},
        "time-number": {"ts": 1},
        "time-13th-month": {"ts": "2026-13-01T00:00:00.000Z"},
        "time-year-1": {"ts": "0001-01-01T00:00:00.000+23:59"},
        "time-year-9999": {"ts": "9999-12-31T23:59:59.999-23:59"},
        "time-naive": {"ts": "2026-11-22T10:15:00.000"},
        "attempts-huge": {"attempts": 10**30},
        "attempts-negative": {"attempts": -1},
        "code-number": {"code": 7},
        "message-id-list": {"message_id": []},
        "call-without-number": {"event": "call", "call": None, "op": "link", "rows": [1]},
        "call-of-unknown-kind": {"event": "call", "call": 9, "op": "delete", "rows": [1]},
        "call-rows-number": {"event": "call", "call": 9, "op": "link", "rows": 5},
        "call-rows-beyond": {"event": "call", "call": 9, "op": "link", "rows": [10**7]},
        "call-huge": {"event": "call", "call": 10**40, "op": "link", "rows": [1]},
        "snapshot-without-row": {"event": "snapshot", "row": None},
        "step-beyond": {"event": "step", "row": 99},
        "event-number": {"event": 5},
    }
    for name, fields in values.items():
        yield _damaged(name, _with(**fields))
    raw = {
        "empty-line": b"\n",
        "no-json": b"hello\n",
        "json-null": b"null\n",
        "json-list": b"[]\n",
        "nan": b'{"event":"result","ts":"2026-11-22T10:15:00.000Z","row":NaN,"status":"done"}\n',
        "nested": b'{"event":"result","x":' + b"[" * 200_000 + b"\n",
        "not-utf-8": b'{"event":"result\xff","ts":"2026-11-22T10:15:00.000Z"}\n',
        "surrogate": b'{"event":"\\ud800","ts":"2026-11-22T10:15:00.000Z"}\n',
        "nul": b"\0" * 100 + b"\n",
        "utf-16": '{"event":"result"}\n'.encode("utf-16"),
        "long": b'{"event":"call","ts":"' + b"x" * (2 << 20) + b'"}\n',
    }
    for name, line in raw.items():
        yield _damaged(name, _raw(line))
    yield _damaged("no-newline-in-8-GiB", _sparse)


#: Commands that do not read every line need not see a damaged one: an export skips steps, ...
_EVERY_LINE = READERS - {"export", "check", "forget", "apply"}


def _damaged(name: str, change: Change) -> Tampering:
    return Tampering(f"line-{name}", change, "ledger.jsonl", refused_by=_EVERY_LINE)


def _forge_done(lines: list[bytes]) -> None:
    lines.append(json.dumps(_result(lines) | {"row": 30, "status": "done"}).encode() + b"\n")


def _forge_inside(lines: list[bytes]) -> None:
    lines.insert(1, json.dumps(_result(lines) | {"row": 30, "status": "done"}).encode() + b"\n")


def _change_inside(lines: list[bytes]) -> None:
    lines[:] = [line.replace(b'"attempts":1', b'"attempts":2') for line in lines]


def _changed_ledgers() -> Iterator[Tampering]:
    changes: dict[str, Callable[[list[bytes]], object]] = {
        "cut": lambda lines: lines.__delitem__(slice(-2, None)),
        "emptied": lambda lines: lines.clear(),
        "forged-inside": _forge_inside,
        "changed-inside": _change_inside,
        "reordered": lambda lines: lines.reverse(),
    }
    for kind in ("stopped", "killed", "finished"):
        for name, change in changes.items():
            yield Tampering(
                f"{kind}-ledger-{name}",
                _lines(change, recorded=False),
                "ledger.jsonl",
                kind,
                (LEDGER_READERS | {"check"}) - {"apply"},
                untouched=False,
            )
    yield Tampering(
        "stopped-ledger-goes-on",
        _lines(_forge_done, recorded=False),
        "ledger.jsonl",
        refused_by=frozenset({"check", "resume", "retry"}),
        untouched=False,
    )
    yield Tampering(
        "planned-ledger-goes-on",
        _content(
            "ledger.jsonl",
            b'{"event":"result","ts":"2026-11-22T10:15:00.000Z","row":1,"status":"done"}\n',
        ),
        "ledger.jsonl",
        "planned",
        frozenset({"check", "apply"}),
        untouched=False,
    )
    for kind in ("planned", "stopped", "finished"):
        yield Tampering(
            f"{kind}-no-ledger",
            lambda run, _: (run / "ledger.jsonl").unlink(),
            "ledger",
            kind,
            frozenset({"check"} | ({"apply"} if kind == "planned" else {"resume", "retry"})),
            untouched=False,
        )
    yield Tampering(
        "finished-with-pending-rows",
        _fields(state="finished", stopped_by=None),
        "ledger.jsonl",
        refused_by=frozenset({"check", "resume", "retry"}),
        untouched=False,
    )


def _record_changes() -> Iterator[Tampering]:
    wrong: dict[str, tuple[object, ...]] = {
        "rows": (-1, 10**14, "30", None, 1.5, True),
        "messages": (-1, 10**40, None),
        "ledger_bytes": (-1, "0", 10**40),
        "state": ("done", None, 5),
        "created": ("yesterday", "2026-11-22T10:15:00", "9999-12-31T23:59:59Z", 5),
        "resume_at": ("10000-01-01T00:00:00Z", "2026-02-30T00:00:00Z", 1e300),
        "counts": ({"done": "1"}, {"done": 10**30}, [], None),
        "by_op": ({"link": -1}, {"link": None}),
        "inputs": (None, [{"name": "m.csv"}], [5]),
        "invocations": (
            [{"started": "soon"}],
            [{"started": "2026-11-22T10:15:00.000Z", "seconds": -1}],
            [{"started": "2026-11-22T10:15:00.000Z", "seconds": 1e300}],
            [{"started": "2026-11-22T10:15:00.000Z", "exit_code": 10**6}],
            [None],
        ),
        "forecast": ({"link": -1, "unlink": 0, "read": 0, "lookup": 0, "seconds": 1},),
        "limited": ({"by": "rate", "figures": {"x": "y"}},),
        "canary": ({"messages": -5}, {"messages": 1, "state": "unknown"}),
        "forgotten": ([{"at": "then", "plan_before": None, "ledger_before": None}],),
        "api_url": (5, "http://[", "http://x:port"),
        "org": (5, {"id": 5}),
        "asked": (None, [], 5),
        "undo_of": ({}, {"run_dir": 5}),
        "version": (None, 1),
        "op": (None, []),
    }
    for field, values in wrong.items():
        for number, value in enumerate(values):
            yield Tampering(
                f"record-{field}-{number}",
                _fields(**{field: value}),
                "run.json",
            )
    options: tuple[object, ...] = (
        {"batch_size": 0},
        {"batch_size": "many"},
        {"rate": -1},
        {"op": "delete"},
        {"settle_after": 1e300},
        {"columns": 5},
        {"concurrency": [1]},
    )
    for number, option in enumerate(options):
        yield Tampering(
            f"record-options-{number}",
            _fields(asked=option),
            "run.json",
            refused_by=frozenset({"resume", "retry"}) if number != 4 else frozenset(),
            untouched=False,
        )
    texts = {
        "empty": b"",
        "list": b"[]",
        "cut": b'{"version": "1"',
        "nested": b'{"asked":' + b"[" * 200_000,
        "not-utf-8": b'{"version": "\xff"}',
        "large": b" " * (17 << 20) + b"{}",
    }
    for name, text in texts.items():
        yield Tampering(f"record-{name}", _content("run.json", text), "run.json")
    yield Tampering("record-missing", lambda run, _: (run / "run.json").unlink(), "run.json")


def _fields(**fields: object) -> Change:
    """Change fields of `run.json`."""

    def change(run: Path, _: Path) -> None:
        edit_record(run, **fields)

    return change


def _content(name: str, content: bytes) -> Change:
    """Replace a file."""

    def change(run: Path, _: Path) -> None:
        (run / name).write_bytes(content)

    return change


def _replace_plan(query: str) -> Change:
    """Replace the plan by the rows of a query over it, and record its hash."""

    def change(run: Path, outside: Path) -> None:
        plan, changed = run / "plan.parquet", outside.with_name("changed.parquet")
        with duckdb.connect() as database:
            metadata = database.execute(
                f"SELECT key::VARCHAR, value::VARCHAR FROM parquet_kv_metadata('{plan}')"
            ).fetchall()
            entries = ", ".join(
                f"{key}: '{value.encode().decode('unicode_escape')}'" for key, value in metadata
            )
            database.execute(
                f"COPY ({query.format(plan=plan)}) TO '{changed}'"
                f" (FORMAT parquet, KV_METADATA {{{entries}}})"
            )
        changed.replace(plan)
        _record_plan(run)

    return change


def _record_plan(run: Path) -> None:
    digest = hashlib.sha256((run / "plan.parquet").read_bytes()).hexdigest()
    edit_record(run, plan_sha256=digest)


def _plan_bytes(change_bytes: Callable[[bytes], bytes]) -> Change:
    def change(run: Path, _: Path) -> None:
        plan = run / "plan.parquet"
        plan.write_bytes(change_bytes(plan.read_bytes()))
        _record_plan(run)

    return change


_PLAN_READERS = frozenset({"export", "report", "resume", "retry", "undo", "plan-undo", "forget"})
_REPLACE = "SELECT * REPLACE ({}) FROM read_parquet('{{plan}}')"


def _plans() -> Iterator[Tampering]:
    contents: dict[str, Change] = {
        "empty": _plan_bytes(lambda content: b""),
        "text": _plan_bytes(lambda content: b"contact_id,owner_id\n1,2\n"),
        "cut": _plan_bytes(lambda content: content[: len(content) // 2]),
        "no-start": _plan_bytes(lambda content: content[100:]),
        "zeros": _plan_bytes(lambda content: content[:50] + bytes(200) + content[250:]),
        "other-columns": _replace_plan("SELECT 1 AS a FROM read_parquet('{plan}')"),
        "row-text": _replace_plan(_REPLACE.format("'x' AS bulklink_row")),
        "row-null": _replace_plan(_REPLACE.format("NULL::BIGINT AS bulklink_row")),
        "row--1": _replace_plan(_REPLACE.format("-bulklink_row AS bulklink_row")),
        "row-1e14": _replace_plan(
            _REPLACE.format("(bulklink_row + 100000000000000)::BIGINT AS bulklink_row")
        ),
        "contact-null": _replace_plan(_REPLACE.format("NULL::VARCHAR AS contact_id")),
        "contact-number": _replace_plan(_REPLACE.format("1.5 AS contact_id")),
    }
    for name, change in contents.items():
        yield Tampering(f"plan-{name}", change, "plan", refused_by=frozenset({"resume", "retry"}))
    yield Tampering(
        "names-text",
        _content("names.parquet", b"names"),
        "names",
        refused_by=frozenset(),
        untouched=False,
    )


def _other_files() -> Iterator[Tampering]:
    line = b"{}\n"
    intervals = (
        b'{"ts":"9999-12-31T23:59:59Z","seconds":1e300}\n',
        b"[" * 100_000 + b"\n",
        b"\xff\xfe\n",
    )
    for name in ("timeline.jsonl", "verify.jsonl", "answers.jsonl"):
        for number, content in enumerate((line, *intervals)):
            yield Tampering(
                f"{name}-{number}",
                _content(name, content),
                "",
                "finished",
                frozenset(),
                untouched=False,
            )
    yield Tampering(
        "timeline-long-line",
        _content("timeline.jsonl", b"x" * (3 << 20)),
        "timeline.jsonl",
        "finished",
        frozenset({"report"}),
        untouched=False,
    )
    for number, content in enumerate(
        (b"", b"\0\0", b'bulklink_row\n"', b"bulklink_row\n" + b"9" * 10_000, b"x" * (20 << 20))
    ):
        yield Tampering(
            f"rejects-{number}",
            _content("rejects.csv", content),
            "rejects.csv",
            "finished",
            frozenset(),
            untouched=False,
        )


TAMPERINGS = (
    *_planted(),
    *_damaged_lines(),
    *_changed_ledgers(),
    *_record_changes(),
    *_plans(),
    *_other_files(),
)
