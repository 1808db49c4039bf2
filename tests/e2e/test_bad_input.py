"""Bad input: what is wrong, where, and what to do; an exit code; never a traceback."""

from __future__ import annotations

import json
import re
import socket
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.command import Command, CommandResult, as_csv, rows, write_mapping
from tests.e2e.servers import (
    ReceivedRequest,
    Reply,
    Script,
    StandIn,
    connection,
    error,
    serve_stand_in,
)
from tests.e2e.world import PAT, Contact, World, message_id

CONTACT = World().add(free=6, linked=2)
GOOD = rows(CONTACT.free, CONTACT.a)
HEADER = "contact_id,owner_id,message_id,deal_id\n"
CLIENT = ("BULKLINK_CLIENT_ID", "BULKLINK_CLIENT_SECRET", "BULKLINK_REFRESH_TOKEN")
NOBODY = "http://127.0.0.1:9"


def line(contact: str = CONTACT.id, *, at: int = 0, deal: str = CONTACT.a) -> str:
    """Return a line of a mapping."""
    return f"{contact},{PAT},{message_id('bad', at)},{deal}\n"


@dataclass(frozen=True)
class Case:
    """A command that is refused: how it is given, and what the refusal must say."""

    arguments: tuple[str, ...] = ("link", "m.csv")
    content: str | bytes | None = as_csv(GOOD)
    code: str = "invalid-rows"
    texts: tuple[str, ...] = ()
    reason: str = ""
    env: tuple[tuple[str, str], ...] = (("BULKLINK_API_URL", NOBODY),)


ROUNDED = "".join(line(f"58431040000{n:04}0000", at=n) for n in range(20))
UNCLOSED = HEADER + line(at=1) + f'{CONTACT.id},{PAT},"{message_id("open")},1\n' + line(at=2)
CONFLICT = HEADER + line(at=1) + line(at=2) + line(at=1, deal=CONTACT.b)
CASES = {
    "no-such-file": Case(("link", "nope.csv"), code="bad-file", texts=("nope.csv",)),
    "empty-file": Case(content="", code="bad-file", texts=("m.csv",)),
    "header-only": Case(content=HEADER, code="bad-file", texts=("m.csv",)),
    "missing-column": Case(
        content="contact_id,owner_id,deal_id\n1,2,3\n", code="bad-file", texts=("message_id",)
    ),
    "two-headers-for-one-column": Case(
        content="contact_id,Contact ID,owner_id,message_id,deal_id\n1,1,2,a,3\n",
        code="bad-file",
        texts=("contact_id",),
    ),
    "directory": Case(("link", "folder"), code="bad-file", texts=("folder",)),
    "utf-16": Case(content=as_csv(GOOD).encode("utf-16"), code="bad-file", texts=("m.csv",)),
    "rounded": Case(content=HEADER + ROUNDED, texts=("text",), reason="rounded-id"),
    "scientific": Case(content=HEADER + line("5.84E+18"), texts=("5.84E+18",), reason="rounded-id"),
    "broken-quoting": Case(
        content=HEADER + line(at=1) + f'{CONTACT.id},{PAT},"ab"c,1\n' + line(at=2),
        reason="broken-record",
    ),
    "too-many-cells": Case(
        content=HEADER + line(at=1) + line(at=2)[:-1] + ",5,6\n", reason="broken-record"
    ),
    "unclosed-quote": Case(content=UNCLOSED, reason="broken-record"),
    "unclosed-quote-under-skip": Case(
        ("link", "m.csv", "--on-invalid", "skip"), UNCLOSED, reason="broken-record"
    ),
    "not-utf-8": Case(
        content=(HEADER + line(at=1)).encode() + line(at=2).encode()[:-1] + b"\xff\n",
        reason="bad-encoding",
    ),
    "conflict": Case(content=CONFLICT, reason="conflict"),
    "no-contact": Case(content=HEADER + line(at=1) + line("", at=2), reason="missing-value"),
    "bad-id": Case(content=HEADER + line("abc", at=2), reason="bad-id", texts=("abc",)),
    "bad-op": Case(
        ("run", "m.csv"), as_csv([{**GOOD[0], "op": "move"}]), reason="bad-op", texts=("move",)
    ),
    "other-op": Case(content=as_csv([{**GOOD[0], "op": "unlink"}]), reason="bad-op"),
    "no-op": Case(("run", "m.csv"), as_csv([{**GOOD[0], "op": ""}]), reason="missing-value"),
    "broken-json": Case(("link", "m.jsonl"), '{"contact_id": 1\n', reason="broken-record"),
    "run-dir-is-a-file": Case(("link", "m.csv", "--run-dir", "file"), code="run-dir"),
    "run-dir-below-a-file": Case(("link", "m.csv", "--run-dir", "file/here"), code="run-dir"),
    "runs-dir-is-a-file": Case(("link", "m.csv", "--runs-dir", "file"), code="run-dir"),
    "used-run-dir": Case(("link", "m.csv", "--run-dir", "used"), code="run-dir", texts=("used",)),
    "plain-http": Case(
        code="config", env=(("BULKLINK_API_URL", "http://example.com"),), texts=("https",)
    ),
    "plain-http-for-tokens": Case(
        code="config",
        env=(("BULKLINK_DC", "eu"), ("BULKLINK_ACCOUNTS_URL", "http://example.com")),
        texts=("https",),
    ),
    "no-data-centre": Case(code="config", env=(), texts=("BULKLINK_DC",)),
    "unknown-data-centre": Case(code="config", env=(("BULKLINK_DC", "mars"),), texts=("mars",)),
    "unknown-environment": Case(
        code="config",
        env=(("BULKLINK_DC", "eu"), ("BULKLINK_ENVIRONMENT", "moon")),
        texts=("moon",),
    ),
    "batch-size-21": Case(("link", "m.csv", "--batch-size", "21"), code="usage", texts=("21",)),
    "batch-size-0": Case(("link", "m.csv", "--batch-size", "0"), code="usage"),
    "concurrency": Case(("link", "m.csv", "--concurrency", "many"), code="usage", texts=("many",)),
    "rate": Case(("link", "m.csv", "--rate", "-1"), code="usage"),
    "on-invalid": Case(("link", "m.csv", "--on-invalid", "ask"), code="usage", texts=("ask",)),
    "group-by": Case(("link", "m.csv", "--group-by", "owner"), code="usage"),
    "column": Case(("link", "m.csv", "--column", "contact_id"), code="usage"),
    "relink-without-snapshot": Case(
        ("relink", "m.csv", "--no-snapshot"), code="usage", texts=("--accept-no-put-back",)
    ),
    "mixed-relinks-without-snapshot": Case(
        ("run", "m.csv", "--no-snapshot"),
        as_csv([{**one, "op": "relink"} for one in GOOD]),
        code="usage",
        texts=("--accept-no-put-back",),
    ),
    "guards-without-snapshot": Case(
        ("unlink", "m.csv", "--no-snapshot"),
        as_csv([{**one, "from_deal_id": "none"} for one in GOOD]),
        code="usage",
        texts=("from_deal_id", "snapshot"),
    ),
    "bad-guard": Case(
        ("relink", "m.csv"),
        as_csv([{**one, "from_deal_id": "the old one"} for one in GOOD]),
        reason="bad-id",
        texts=("the old one", "none"),
    ),
    "no-mapping": Case(("link",), code="usage"),
    "unknown-command": Case(("lnk", "m.csv"), code="usage", texts=("lnk",)),
    "unknown-option": Case(("link", "m.csv", "--fast"), code="usage", texts=("--fast",)),
    "no-such-run": Case(("status", "nothing-here"), texts=("nothing-here",), code=""),
    "unknown-job-key": Case(("run", "unknown.toml"), code="config", texts=("btch_size",)),
    "broken-job": Case(("run", "broken.toml"), code="", texts=("broken.toml",)),
    "job-without-its-mapping": Case(("run", "lost.toml"), code="bad-file", texts=("nope.csv",)),
    "bad-value-in-a-job": Case(("run", "bad.toml"), code="", texts=("batch_size",)),
    "bad-value-in-the-environment": Case(
        env=(("BULKLINK_API_URL", NOBODY), ("BULKLINK_BATCH_SIZE", "99")), code="", texts=("99",)
    ),
}


def prepare_folder(folder: Path, case: Case) -> Command:
    """Return a command in a folder with all that the cases name."""
    folder.mkdir()
    (folder / "folder").mkdir()
    (folder / "file").write_text("kept\n", "utf-8")
    (folder / "used").mkdir()
    (folder / "used" / "mine.txt").write_text("kept\n", "utf-8")
    (folder / "unknown.toml").write_text('op = "link"\nmapping = "m.csv"\nbtch_size = 2\n', "utf-8")
    (folder / "broken.toml").write_text("op = link\n", "utf-8")
    (folder / "lost.toml").write_text('op = "link"\nmapping = "nope.csv"\n', "utf-8")
    (folder / "bad.toml").write_text('op = "link"\nmapping = "m.csv"\nbatch_size = 21\n', "utf-8")
    if case.content is not None:
        raw = case.content if isinstance(case.content, bytes) else case.content.encode()
        name = "m.jsonl" if "m.jsonl" in case.arguments else "m.csv"
        (folder / name).write_bytes(raw)
    return Command(folder, {**dict(case.env), "BULKLINK_ACCESS_TOKEN": "x"})


Outcomes = dict[str, tuple[Path, CommandResult]]


@pytest.fixture(scope="module")
def case_results(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """Run all cases."""
    top = tmp_path_factory.mktemp("bad")

    def run(named: tuple[str, Case]) -> tuple[str, tuple[Path, CommandResult]]:
        name, case = named
        folder = top / name.replace(" ", "-")
        return name, (folder, prepare_folder(folder, case)(*case.arguments, "--json"))

    return dict(map(run, CASES.items()))


@pytest.mark.parametrize("name", CASES)
def test_bad_input_ends_with_2_and_says_what_where_and_what_to_do(
    case_results: Outcomes, name: str
) -> None:
    case, (_, ended) = CASES[name], case_results[name]
    assert ended.code == 2, ended
    shown = ended.error
    assert shown["message"], shown
    assert shown["where"], shown
    assert shown["advice"], shown
    if case.code:
        assert shown["code"] == case.code, shown
    for word in case.texts:
        assert word in ended.output, ended


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.reason])
def test_refused_rows_are_in_the_rejects_with_their_reason(
    case_results: Outcomes, name: str
) -> None:
    folder, _ = case_results[name]
    (rejects,) = folder.glob("runs/*/rejects.csv")
    assert CASES[name].reason in rejects.read_text("utf-8")
    kept = json.loads((rejects.parent / "run.json").read_text("utf-8"))
    assert kept["state"] == "refused"


@pytest.mark.parametrize("name", ["used-run-dir", "run-dir-is-a-file"])
def test_what_the_user_keeps_where_a_run_folder_was_wanted_is_left_alone(
    case_results: Outcomes, name: str
) -> None:
    folder, _ = case_results[name]
    assert (folder / "used" / "mine.txt").read_text("utf-8") == "kept\n"
    assert (folder / "file").read_text("utf-8") == "kept\n"


def test_help_names_commands_and_options(bulklink: Command) -> None:
    commands = {line.split()[0] for line in bulklink("--help").out.split("\n") if line.strip()}
    assert {"link", "status"} <= commands
    options = set(bulklink("relink", "--help").out.split())
    assert {"--batch-size", "--yes"} <= options


@pytest.mark.parametrize(
    "name", ["missing-column", "rounded", "conflict", "no-data-centre", "unknown-job-key"]
)
def test_a_person_reads_the_same_on_standard_error(
    case_results: Outcomes, tmp_path: Path, name: str
) -> None:
    case, (_, asked) = CASES[name], case_results[name]
    ended = prepare_folder(tmp_path / "person", case)(*case.arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert asked.error["message"] in ended.err
    assert re.split(r"runs/\S*", asked.error["advice"])[-1] in " ".join(ended.err.split())
    for word in case.texts:
        assert word in ended.err


def test_twenty_faults_are_shown_and_all_are_in_the_rejects(bulklink: Command) -> None:
    bad = "".join(line("x", at=at) for at in range(30))
    (bulklink.folder / "m.csv").write_text(HEADER + bad, "utf-8")
    command = bulklink.with_env(BULKLINK_API_URL=NOBODY, BULKLINK_ACCESS_TOKEN="x")
    ended = command("link", "m.csv", "--run-dir", "here")
    assert ended.code == 2
    assert sum("bad-id" in shown or "m.csv:" in shown for shown in ended.err.split("\n")) <= 22
    rejects = (bulklink.folder / "here" / "rejects.csv").read_text("utf-8")
    assert rejects.count("bad-id") == 30


def test_each_row_of_a_conflict_names_the_other(case_results: Outcomes) -> None:
    folder, _ = case_results["conflict"]
    (rejects,) = folder.glob("runs/*/rejects.csv")
    lines = rejects.read_text("utf-8").splitlines()
    assert len(lines) == 3
    assert all("conflict" in one for one in lines[1:])


def test_a_port_that_nobody_listens_on_ends_with_3_within_15_seconds(bulklink: Command) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        write_mapping(bulklink.folder / "m.csv", GOOD)
        started = time.monotonic()
        ended = bulklink.with_env(**connection(url))("link", "m.csv")
        assert time.monotonic() - started < 16
    assert ended.code == 3, ended
    assert url.removeprefix("http://") in ended.err


async def _html(_: ReceivedRequest) -> Reply | None:
    return Reply(200, b"<!doctype html><title>Welcome</title>", kind="text/html")


async def _empty(_: ReceivedRequest) -> Reply | None:
    return Reply(200, b"")


async def _html_but_tokens(request: ReceivedRequest) -> Reply | None:
    return None if request.kind == "token" else await _html(request)


async def _empty_but_tokens(request: ReceivedRequest) -> Reply | None:
    return None if request.kind == "token" else await _empty(request)


async def _no_token_good(request: ReceivedRequest) -> Reply | None:
    return None if request.kind == "token" else error(401, "INVALID_TOKEN")


async def _no_refresh(request: ReceivedRequest) -> Reply | None:
    return Reply(200, {"error": "invalid_code"}) if request.kind == "token" else None


async def _not_found(_: ReceivedRequest) -> Reply | None:
    return Reply(404, b"<h1>Not Found</h1>", kind="text/html")


@pytest.fixture(scope="module")
def scripted_crm() -> Iterator[StandIn]:
    """Serve one contact; each test scripts what is answered."""
    world = World()
    contact: Contact = world.add(free=6, linked=2)
    assert contact == CONTACT
    with serve_stand_in(world) as server:
        yield server


@pytest.mark.parametrize(
    ("script", "env"),
    [
        (_html, {}),
        (_html, {"BULKLINK_ACCESS_TOKEN": "x"}),
        (_html_but_tokens, {}),
        (_empty, {}),
        (_empty_but_tokens, {}),
        (_not_found, {"BULKLINK_ACCESS_TOKEN": "x"}),
        (_no_token_good, {}),
        (_no_token_good, {"BULKLINK_ACCESS_TOKEN": "x", **dict.fromkeys(CLIENT, "")}),
        (_no_refresh, {}),
    ],
    ids=[
        "html", "html-with-a-token", "html-but-tokens", "empty", "empty-but-tokens", "404",
        "wrong-token", "wrong-access-token", "wrong-refresh-token",
    ],
)  # fmt: skip
def test_a_server_that_is_not_zoho_or_takes_no_token_ends_with_3(
    bulklink: Command,
    scripted_crm: StandIn,
    script: Script,
    env: dict[str, str],
) -> None:
    scripted_crm.script = script
    scripted_crm.requests.clear()
    write_mapping(bulklink.folder / "m.csv", GOOD)
    given = {name: text for name, text in scripted_crm.env(**env).items() if text}
    ended = bulklink.with_env(**given)("link", "m.csv", "--run-dir", "here", "-q", "--json")
    assert ended.code == 3, ended
    assert ended.err.startswith("error: ")
    assert (ended.object["state"], ended.object["exit_code"]) == ("stopped", 3)
    assert len(scripted_crm.requests) <= 20
    shown = bulklink("status", "here", "--json").object
    assert (shown["state"], shown["exit_code"]) == ("stopped", 3)
    assert shown["counts"]["pending"] == 6


def test_files_below_a_run_folder_are_for_the_user_alone(case_results: Outcomes) -> None:
    folder, _ = case_results["conflict"]
    (rejects,) = folder.glob("runs/*/rejects.csv")
    assert stat.S_IMODE(rejects.stat().st_mode) == 0o600
    assert stat.S_IMODE(rejects.parent.stat().st_mode) == 0o700
