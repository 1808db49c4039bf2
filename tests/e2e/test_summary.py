"""The summary adds up by op and status, explains failures, and suggests next commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.audit import RUN_KEYS
from tests.e2e.command import Command, row, rows, write_mapping
from tests.e2e.servers import (
    Emulator,
    ReceivedRequest,
    Reply,
    Script,
    StandIn,
    answer_links,
    item_error,
)
from tests.e2e.terminals import run_at_terminal
from tests.e2e.world import UNKNOWN_ID, Contact, World

CODES = ["NOT_ALLOWED"] * 4 + ["CANNOT_PROCESS"] * 3 + ["X_ONE", "X_TWO", "X_THREE", "X_FOUR"]


def refuse_first_links(standin: StandIn) -> Script:
    """Return a script that refuses the first emails of each link call, each with its code."""

    def refuse(position: int, message: str) -> dict[str, Any] | None:
        return item_error(CODES[position], message) if position < len(CODES) else None

    return answer_links(standin, refuse)


def prepare_failing_run(bulklink: Command, standin: StandIn, world: World) -> Command:
    """Write a mixed mapping with eleven refused links and a row without an op."""
    contact = world.add(free=20, linked=5)
    standin.script = refuse_first_links(standin)
    mapping_rows = [
        *rows(contact.free, contact.a, op="link"),
        *rows(contact.linked, op="unlink"),
        row(contact.free[0], contact.a, op="lonk"),
    ]
    write_mapping(bulklink.folder / "m.csv", mapping_rows)
    return bulklink.with_env(**standin.env())


RUN = ("run", "m.csv", "--on-invalid", "skip", "--max-failures", "off", "--run-dir", "my run")


def commands(text: str) -> Iterator[list[str]]:
    """Yield the suggested commands at the end of a summary."""
    for line in text.splitlines():
        if line.startswith("  bulklink "):
            yield shlex.split(line)[1:]


def test_a_mixed_run_adds_up_by_op_and_status(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    result = prepare_failing_run(bulklink, standin, world)(*RUN)
    assert result.code == 1, result
    assert result.out.splitlines()[:6] == [
        "mixed: finished",
        "            link  unlink  no op  all",
        "  done         9       5      0   14",
        "  failed      11       0      0   11",
        "  rejected     0       0      1    1",
        "  rows        20       5      1   26",
    ]


@pytest.mark.parametrize("refused", [0, 1])
def test_a_stopped_run_adds_up_too(
    bulklink: Command, standin: StandIn, world: World, refused: int
) -> None:
    many = [world.add(free=20, linked=5) for _ in range(4)]
    unknown = rows(world.add(free=refused).free, UNKNOWN_ID, op="link")
    free = [line for one in many for line in rows(one.free, one.a, op="link")]
    linked = [line for one in many for line in rows(one.linked, op="unlink")]
    write_mapping(bulklink.folder / "m.csv", [*free, *linked, *unknown])
    result = bulklink.with_env(**standin.env())(
        "run", "m.csv", "--max-credits", "10", "--on-invalid", "skip"
    )
    assert result.code == 4, result
    lines = [re.split(r" {2,}", line.strip()) for line in result.out.splitlines() if "  " in line]
    header, *states, total = lines[: [line[0] for line in lines].index("rows") + 1]
    assert header == ["link", "unlink", "all"]
    assert states[-1][0] == "pending"
    sums = [sum(map(int, column)) for column in zip(*(s[1:] for s in states), strict=True)]
    assert [str(one) for one in sums] == total[1:]
    assert sums == [80 + refused, 20, 100 + refused]


def test_the_five_commonest_failures_have_count_resolution_and_a_row(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    result = prepare_failing_run(bulklink, standin, world)(*RUN)
    _, _, after = result.out.partition("Failed or in doubt:\n")
    lines = after.partition("\nCalls:")[0].splitlines()
    assert [line.split(":")[0] for line in lines[0:10:2]] == [
        "  4 NOT_ALLOWED", "  3 CANNOT_PROCESS", "  1 X_FOUR", "  1 X_ONE", "  1 X_THREE"
    ]  # fmt: skip
    assert "The contact is not on that deal: add it to the deal first" in lines[0]
    assert re.fullmatch(
        r"    For example row \d+: contact \d+, message \w+, deal \d+\.", lines[1]
    ), lines[1]
    assert lines[10:] == ["  1 of 1 other code."]
    assert bulklink("status", "my run").out == result.out


@pytest.mark.parametrize("columns", [60, 200])
def test_lines_are_wrapped_to_the_terminal_except_ids_and_commands(
    bulklink: Command, standin: StandIn, world: World, columns: int
) -> None:
    plain = prepare_failing_run(bulklink, standin, world)(*RUN).out
    shown = run_at_terminal(
        bulklink, "status", "my run", columns=columns, NO_COLOR="1", TERM="dumb"
    )
    shown = re.sub(r"\x1b\[\d*m", "", shown)
    kept = [line for line in shown.splitlines() if not line.startswith("  bulklink")]
    assert not [line for line in kept if len(line) > columns and " " in line.strip(" ,.")]
    assert max(map(len, kept)) > columns * 0.6
    assert shown.split() == plain.split()


@pytest.mark.parametrize(
    ("many", "expected"),
    [(3, ["verify", "undo"]), (300, ["verify", "undo"])],
)
def test_after_a_clean_run_verify_and_undo_are_suggested(
    bulklink: Command, standin: StandIn, world: World, many: int, expected: list[str]
) -> None:
    one = world.add(free=many)
    write_mapping(bulklink.folder / "m.csv", rows(one.free, one.a))
    command = bulklink.with_env(**standin.env())
    result = command("link", "m.csv", "--run-dir", "it's", "--rate", "off", "--canary", "0")
    next_ones = list(commands(result.out))
    assert [words[:2] for words in next_ones] == [[name, "it's"] for name in expected]
    assert next_ones[0][2:] == (["--sample", "299"] if many > 299 else [])
    for words in next_ones:
        ended = command(*words, "--rate", "off", "--settle-after", "0")
        assert ended.code == 0, ended


def test_after_failures_export_and_retry_are_suggested(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    documented = standin.script
    command = prepare_failing_run(bulklink, standin, world)
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


def test_apply_is_suggested_for_a_planned_run_and_resume_for_a_stopped_one(
    connected_command: Command, contact: Contact
) -> None:
    write_mapping(connected_command.folder / "m.csv", rows(contact.free, contact.a))
    assert connected_command("plan", "--op", "link", "m.csv", "--run-dir", "sealed").code == 0
    (apply,) = commands(connected_command("status", "sealed").out)
    assert apply == ["apply", "sealed"]
    stopped = connected_command(*apply, "--max-credits", "5")
    assert stopped.code == 4
    (resume,) = commands(stopped.out)
    assert resume == ["resume", "sealed"]
    assert connected_command(*resume).code == 0


def test_verify_is_suggested_for_emails_in_doubt(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    one = world.add(linked=2)

    async def lost(seen: ReceivedRequest) -> Reply | None:
        return Reply(500, {}) if seen.kind == "unlink" else None

    standin.script = lost
    write_mapping(bulklink.folder / "m.csv", rows(one.linked))
    command = bulklink.with_env(**standin.env())
    result = command("unlink", "m.csv", "--run-dir", "r", "--read-back", "never")
    assert "in_doubt  2" in result.out, result
    _, verify = commands(result.out)
    assert verify == ["verify", "r", "--in-doubt"]


def test_suggested_commands_work_if_the_name_of_the_folder_begins_with_a_hyphen(
    connected_command: Command, contact: Contact
) -> None:
    write_mapping(connected_command.folder / "m.csv", rows(contact.free[:2], contact.a))
    planned = connected_command("plan", "--op", "link", "m.csv", "--run-dir", "./-r")
    assert "`bulklink apply ./-r`" in planned.out
    assert connected_command("report", "./-r").code == 0
    page = (connected_command.folder / "-r" / "report.html").read_text("utf-8")
    assert "bulklink apply ./-r" in page
    sent = connected_command("apply", "./-r", "--yes")
    suggested = list(commands(sent.out))
    assert [words[:2] for words in suggested] == [["verify", "./-r"], ["undo", "./-r"]]
    for words in suggested:
        assert connected_command(*words, "--settle-after", "0").code == 0


def test_times_are_local_with_their_offset(connected_command: Command, contact: Contact) -> None:
    write_mapping(connected_command.folder / "m.csv", rows(contact.free[:1], contact.a))
    assert connected_command("link", "m.csv", "--run-dir", "r").code == 0
    result = connected_command.with_env(TZ="Asia/Kolkata").run_in_subprocess("status", "r")
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+05:30"
    assert re.search(f"^Started {moment}, ended {moment}$", result.out, re.MULTILINE), result


def test_json_has_no_summary_text(
    connected_command: Command, emulator: Emulator, contact: Contact
) -> None:
    write_mapping(connected_command.folder / "m.csv", rows(contact.free[:1], contact.a))
    result = connected_command("link", "m.csv", "--json")
    assert set(result.object) == RUN_KEYS
    assert "To " not in result.err
    assert "Started" not in result.err
