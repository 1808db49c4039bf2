"""The summary adds up by op and status, explains what failed, and ends with what to type next."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator

import pytest

from .audit import RUN_KEYS
from .command import PROGRAM, Command, row, rows, write_mapping
from .servers import Emulator, Reply, Script, Seen, StandIn, item_error
from .world import STRANGER, Contact, World

CODES = ["NOT_ALLOWED"] * 4 + ["CANNOT_PROCESS"] * 3 + ["X_ONE", "X_TWO", "X_THREE", "X_FOUR"]


def refusing(standin: StandIn) -> Script:
    """Return a script that refuses the first emails of each link call, each with its code."""

    async def refuse(seen: Seen) -> Reply | None:
        if seen.kind != "link":
            return None
        told = []
        for at, one in enumerate(seen.body["Emails"]):
            message = one["message_id"]
            if at < len(CODES):
                told.append(item_error(CODES[at], message))
            else:
                standin.deals[message] = one["linked_record"]["id"]
                told.append({"code": "SUCCESS", "details": {"message_id": message},
                             "message": "linked", "status": "success"})  # fmt: skip
        return Reply(body={"Emails": told})

    return refuse


def failing(bulklink: Command, standin: StandIn, world: World) -> Command:
    """Write a mixed mapping of which eleven links are refused, and one row has no op."""
    one = world.add(free=20, linked=5)
    standin.script = refusing(standin)
    given = [
        *rows(one.free, one.a, op="link"),
        *rows(one.linked, op="unlink"),
        row(one.free[0], one.a, op="lonk"),
    ]
    write_mapping(bulklink.folder / "m.csv", given)
    return bulklink.given(**standin.env())


RUN = ("run", "m.csv", "--on-invalid", "skip", "--max-failures", "off", "--run-dir", "my run")


def commands(text: str) -> Iterator[list[str]]:
    """Yield the commands to type that a summary ends with."""
    for line in text.splitlines():
        if line.startswith("  bulklink "):
            yield shlex.split(line)[1:]


def test_a_mixed_run_adds_up_by_op_and_status(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    told = failing(bulklink, standin, world)(*RUN)
    assert told.code == 1, told
    assert told.out.splitlines()[:6] == [
        "mixed: finished",
        "            link  unlink  no op  all",
        "  done         9       5      0   14",
        "  failed      11       0      0   11",
        "  rejected     0       0      1    1",
        "  rows        20       5      1   26",
    ]


@pytest.mark.parametrize("refused", [0, 1])
def test_a_run_that_stopped_adds_up_too(
    bulklink: Command, standin: StandIn, world: World, refused: int
) -> None:
    many = [world.add(free=20, linked=5) for _ in range(4)]
    unknown = rows(world.add(free=refused).free, STRANGER, op="link")
    free = [line for one in many for line in rows(one.free, one.a, op="link")]
    linked = [line for one in many for line in rows(one.linked, op="unlink")]
    write_mapping(bulklink.folder / "m.csv", [*free, *linked, *unknown])
    told = bulklink.given(**standin.env())(
        "run", "m.csv", "--max-credits", "10", "--on-invalid", "skip"
    )
    assert told.code == 4, told
    lines = [re.split(r" {2,}", line.strip()) for line in told.out.splitlines() if "  " in line]
    header, *states, total = lines[: [line[0] for line in lines].index("rows") + 1]
    assert header == ["link", "unlink", "all"]
    assert states[-1][0] == "pending"
    sums = [sum(map(int, column)) for column in zip(*(s[1:] for s in states), strict=True)]
    assert [str(one) for one in sums] == total[1:]
    assert sums == [80 + refused, 20, 100 + refused]


def test_the_five_commonest_failures_have_count_resolution_and_a_row(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    told = failing(bulklink, standin, world)(*RUN)
    _, _, after = told.out.partition("Failed or in doubt:\n")
    lines = after.partition("\nCalls:")[0].splitlines()
    assert [line.split(":")[0] for line in lines[0:10:2]] == [
        "  4 NOT_ALLOWED", "  3 CANNOT_PROCESS", "  1 X_FOUR", "  1 X_ONE", "  1 X_THREE"
    ]  # fmt: skip
    assert lines[0].endswith("The contact is not on that deal: add it to the deal first.")
    assert re.fullmatch(
        r"    For example row \d+: contact \d+, message \w+, deal \d+\.", lines[1]
    ), lines[1]
    assert lines[10:] == ["  1 of 1 other codes."]
    assert bulklink("status", "my run").out == told.out


def at_a_terminal(command: Command, columns: int, *arguments: str) -> str:
    """Return what a command prints at a terminal so wide."""
    ours, theirs = pytest.importorskip("pty").openpty()
    try:
        process = subprocess.run(
            [PROGRAM, *arguments],
            cwd=command.folder,
            env=command.given(COLUMNS=str(columns), NO_COLOR="1", TERM="dumb").environment(),
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.DEVNULL,
            timeout=45,
        )
        assert process.returncode == 0
        return re.sub(r"\x1b\[\d*m", "", os.read(ours, 1 << 16).decode()).replace("\r\n", "\n")
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("columns", [60, 200])
def test_no_line_is_wider_than_the_terminal_but_ids_and_commands(
    bulklink: Command, standin: StandIn, world: World, columns: int
) -> None:
    plain = failing(bulklink, standin, world)(*RUN).out
    shown = at_a_terminal(bulklink, columns, "status", "my run")
    kept = [line for line in shown.splitlines() if not line.startswith("  bulklink")]
    assert not [line for line in kept if len(line) > columns and " " in line.strip(" ,.")]
    assert max(map(len, kept)) > columns * 0.6
    assert shown.split() == plain.split()


@pytest.mark.parametrize(
    ("many", "expected"),
    [(3, ["verify", "undo"]), (300, ["verify", "undo"])],
)
def test_after_a_clean_run_it_can_be_read_back_and_taken_back(
    bulklink: Command, standin: StandIn, world: World, many: int, expected: list[str]
) -> None:
    one = world.add(free=many)
    write_mapping(bulklink.folder / "m.csv", rows(one.free, one.a))
    command = bulklink.given(**standin.env())
    told = command("link", "m.csv", "--run-dir", "it's", "--rate", "off", "--canary", "0")
    next_ones = list(commands(told.out))
    assert [words[:2] for words in next_ones] == [[name, "it's"] for name in expected]
    assert next_ones[0][2:] == (["--sample", "299"] if many > 299 else [])
    for words in next_ones:
        ended = command(*words, "--rate", "off", "--settle-after", "0")
        assert ended.code == 0, ended


def test_what_failed_can_be_exported_and_sent_again(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    documented = standin.script
    command = failing(bulklink, standin, world)
    page, export, retry = commands(command(*RUN).out)
    assert page == ["report", "my run"]
    assert export == ["export", "my run", "--status", "failed", "-o", "again.csv"]
    assert command(*export).code == 0
    assert len((bulklink.folder / "again.csv").read_text("utf-8").splitlines()) == 12
    standin.script = documented
    last = command(*retry)
    assert last.code == 1
    assert "  done        20       5      0   25" in last.out
    assert "Failed or in doubt" not in last.out


def test_a_planned_run_is_applied_and_a_stopped_one_resumed(
    linker: Command, contact: Contact
) -> None:
    write_mapping(linker.folder / "m.csv", rows(contact.free, contact.a))
    assert linker("plan", "--op", "link", "m.csv", "--run-dir", "sealed").code == 0
    (apply,) = commands(linker("status", "sealed").out)
    assert apply == ["apply", "sealed"]
    stopped = linker(*apply, "--max-credits", "5")
    assert stopped.code == 4
    (resume,) = commands(stopped.out)
    assert resume == ["resume", "sealed"]
    assert linker(*resume).code == 0


def test_what_is_in_doubt_can_be_read_back(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    one = world.add(linked=2)

    async def lost(seen: Seen) -> Reply | None:
        return Reply(500, {}) if seen.kind == "unlink" else None

    standin.script = lost
    write_mapping(bulklink.folder / "m.csv", rows(one.linked))
    command = bulklink.given(**standin.env())
    told = command("unlink", "m.csv", "--run-dir", "r", "--read-back", "never")
    assert "in_doubt  2" in told.out, told
    _, verify = commands(told.out)
    assert verify == ["verify", "r", "--in-doubt"]


def test_times_are_local_with_their_offset(linker: Command, contact: Contact) -> None:
    write_mapping(linker.folder / "m.csv", rows(contact.free[:1], contact.a))
    assert linker("link", "m.csv", "--run-dir", "r").code == 0
    told = linker.given(TZ="Asia/Kolkata").alone("status", "r")
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+05:30"
    assert re.search(f"^Started {moment}, ended {moment}$", told.out, re.MULTILINE), told


def test_json_has_nothing_of_it(linker: Command, emulator: Emulator, contact: Contact) -> None:
    write_mapping(linker.folder / "m.csv", rows(contact.free[:1], contact.a))
    told = linker("link", "m.csv", "--json")
    assert set(told.object) == RUN_KEYS
    assert "To " not in told.err
    assert "Started" not in told.err
