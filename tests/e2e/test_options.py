"""Options, environment and job file are equivalent, in this order of precedence."""

from __future__ import annotations

import re

import pytest

from tests.e2e.audit import PLAN_KEYS, audit_run
from tests.e2e.command import (
    Command,
    as_csv,
    as_jsonl,
    ensure_terminated,
    row,
    rows,
    wait_for_exit,
    write_mapping,
)
from tests.e2e.servers import Emulator, ReceivedRequest, Reply, StandIn
from tests.e2e.world import PAT, Contact, World

NOBODY = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("arguments", "env", "calls"),
    [
        ([], {}, 6),
        ([], {"BULKLINK_BATCH_SIZE": "5"}, 3),
        (["--batch-size", "12"], {"BULKLINK_BATCH_SIZE": "5"}, 1),
    ],
    ids=["job-file", "environment-beats-job-file", "command-line-beats-environment"],
)
def test_the_nearer_setting_wins(
    bulklink: Command, arguments: list[str], env: dict[str, str], calls: int
) -> None:
    contact = World().add(free=12)
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    (bulklink.folder / "job.toml").write_text(
        'op = "link"\nmapping = "m.csv"\nbatch_size = 2\n', "utf-8"
    )
    result = bulklink.with_env(**env)("run", "job.toml", "--dry-run", "--json", *arguments)
    assert result.code == 0, result
    assert result.object["calls"]["link"] == calls


def test_repeatable_options_are_lines_in_the_environment_and_lists_in_a_job(
    bulklink: Command,
) -> None:
    contact = World().add(free=6)
    renamed = [
        {"Who": email.contact, "Mail": email.message, "team": "ab"[at % 2], "go": "yes"}
        for at, email in enumerate(contact.free)
    ]
    write_mapping(bulklink.folder / "m.csv", renamed)
    by_environment = bulklink.with_env(
        BULKLINK_COLUMN="contact_id=Who\nmessage_id=Mail",
        BULKLINK_DEFAULT=f"owner_id={PAT}\ndeal_id={contact.a}",
        BULKLINK_ONLY="team=a\ngo",
    )("plan", "m.csv", "--op", "link", "--json")
    (bulklink.folder / "job.toml").write_text(
        'op = "link"\nmapping = ["m.csv"]\ndry_run = true\n'
        'column = ["contact_id=Who", "message_id=Mail"]\n'
        f'default = ["owner_id={PAT}", "deal_id={contact.a}"]\nonly = ["team=a", "go"]\n',
        "utf-8",
    )
    by_job = bulklink("run", "job.toml", "--json")
    for plan_output in (by_environment, by_job):
        assert plan_output.code == 0, plan_output
        assert (plan_output.object["rows"], plan_output.object["messages"]) == (3, 3)


def test_json_in_the_environment_asks_for_json_under_every_command(bulklink: Command) -> None:
    contact = World().add(free=1)
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    command = bulklink.with_env(BULKLINK_JSON="1")
    assert set(command("plan", "m.csv", "--op", "link").object) == PLAN_KEYS
    assert command("status").object == {"runs": []}


def test_a_dry_run_sends_nothing_and_shows_the_plan(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=3)
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    command = bulklink.with_env(**standin.env())
    result = command("link", "m.csv", "--dry-run", "--json")
    assert result.code == 0, result
    assert result.object == command("plan", "m.csv", "--op", "link", "--json").object
    assert not standin.requests
    assert not (bulklink.folder / "runs").exists()


def test_a_run_folder_is_named_by_time_op_and_a_random_tag(
    connected_command: Command, contact: Contact
) -> None:
    write_mapping(connected_command.folder / "m.csv", rows(contact.free[:1], contact.a))
    result = connected_command("link", "m.csv", "--json", "--runs-dir", "mine")
    run = audit_run(result, connected_command.folder, 1)
    assert run.folder.parent == connected_command.folder / "mine"
    assert re.fullmatch(r"\d{8}T\d{6}Z-link-[0-9a-f]{4}", run.folder.name)
    shown = connected_command("status", "--runs-dir", "mine", "--json")
    assert shown.object == {"runs": [run.summary]}


def test_an_empty_folder_can_be_the_run_folder_and_a_used_one_cannot(
    connected_command: Command, emulator: Emulator, contact: Contact
) -> None:
    write_mapping(connected_command.folder / "m.csv", rows(contact.free[:1], contact.a))
    (connected_command.folder / "here").mkdir()
    run = audit_run(
        connected_command("link", "m.csv", "--json", "--run-dir", "here"),
        connected_command.folder,
        1,
    )
    assert run.folder == connected_command.folder / "here"
    kept = run.text()
    again = connected_command("link", "m.csv", "--json", "--run-dir", "here")
    assert again.code == 2
    assert again.error["code"] == "run-dir"
    assert run.text() == kept


def test_a_loopback_address_needs_no_confirmation_for_any_org(
    bulklink: Command, world: World, standin: StandIn
) -> None:
    contact = world.add(free=1)

    async def production(seen: ReceivedRequest) -> Reply | None:
        org = {"id": "58", "company_name": "Real", "zgid": "9", "type": "Production"}
        return Reply(body={"org": [org]}) if seen.kind == "org" else None

    standin.script = production
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    result = bulklink.with_env(**standin.env())("link", "m.csv", "--json")
    assert audit_run(result, bulklink.folder, 1).counts == {"done": 1}


def test_calls_in_flight_stay_below_concurrency(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    many = [world.add(free=1) for _ in range(12)]

    async def hold(seen: ReceivedRequest) -> Reply | None:
        if seen.kind == "link":
            await standin.wait_for_gate()
        return None

    standin.script = hold
    write_mapping(bulklink.folder / "m.csv", [row(one.free[0], one.a) for one in many])
    command = bulklink.with_env(**standin.env())
    with ensure_terminated(
        command.start("link", "m.csv", "--json", "--concurrency", "3")
    ) as process:
        standin.wait_until(lambda: standin.in_flight["link"] == 3)
        standin.gate.set()
        run = audit_run(wait_for_exit(process), bulklink.folder, 12)
    assert run.counts == {"done": 12}
    assert standin.most_in_flight == 3


def test_the_rate_limit_is_observed(bulklink: Command, standin: StandIn, world: World) -> None:
    many = [world.add(free=1) for _ in range(16)]
    write_mapping(bulklink.folder / "m.csv", [row(one.free[0], one.a) for one in many])
    result = bulklink.with_env(**standin.env())("link", "m.csv", "--json", "--rate", "10")
    assert audit_run(result, bulklink.folder, 16).counts == {"done": 16}
    calls = standin.requests_of("link")
    most = max(sum(one.at <= other.at < one.at + 1 for other in calls) for one in calls)
    assert most < 16
    assert calls[-1].at - calls[0].at >= 0.5


@pytest.mark.parametrize("name", ["csv", "jsonl"])
def test_a_mapping_on_standard_input_has_the_given_format(bulklink: Command, name: str) -> None:
    contact = World().add(free=2)
    given = rows(contact.free, contact.a)
    text = as_csv(given) if name == "csv" else as_jsonl(given)
    result = bulklink.run_in_subprocess(
        "plan", "-", "--format", name, "--op", "link", "--json", stdin=text
    )
    assert result.code == 0, result
    assert result.object["messages"] == 2


@pytest.mark.parametrize("named", [(), ("--format", "csv"), ("--format", "jsonl")], ids=repr)
def test_the_format_of_standard_input_is_detected_from_its_first_bytes(
    bulklink: Command, named: tuple[str, ...]
) -> None:
    contact = World().add(free=2)
    for text in (as_csv(rows(contact.free, contact.a)), as_jsonl(rows(contact.free, contact.a))):
        result = bulklink.run_in_subprocess(
            "plan", "-", *named, "--op", "link", "--json", stdin=text
        )
        assert result.code == 0, result
        assert result.object["messages"] == 2


ODD_TEXT = "Emails\nof March\ncontact_id;owner_id;message_id;deal_id;Note\n1;2;m;3;'a \\'b\\'; c'\n"


def test_csv_quoting_and_skipped_lines_are_options(bulklink: Command) -> None:
    (bulklink.folder / "m.csv").write_text(ODD_TEXT)
    options = ("--skip-lines", "2", "--quote", "'", "--escape", "\\")
    result = bulklink("plan", "m.csv", "--op", "link", *options, "--json")
    assert (result.code, result.object["messages"]) == (0, 1), result
    result = bulklink("plan", "m.csv", "--op", "link", "--quote", "x", "--json")
    assert (result.code, result.object["error"]["where"]) == (2, "--quote")


def test_csv_options_can_be_set_in_a_job_file(bulklink: Command) -> None:
    (bulklink.folder / "m.csv").write_text(ODD_TEXT)
    job = "op = 'link'\nmapping = 'm.csv'\nskip_lines = 2\nquote = \"'\"\nescape = '\\'\n"
    (bulklink.folder / "job.toml").write_text(job)
    result = bulklink("run", "job.toml", "--dry-run", "--json")
    assert (result.code, result.object["messages"]) == (0, 1), result
    (bulklink.folder / "job.toml").write_text(job.replace("= 2", "= -1"))
    result = bulklink("run", "job.toml", "--dry-run", "--json")
    assert (result.code, result.object["error"]["code"]) == (2, "config"), result


def test_the_suggested_command_for_lines_above_the_headers_works(
    bulklink: Command,
) -> None:
    (bulklink.folder / "m.csv").write_text(
        f"Emails\n\n{as_csv(rows(World().add(free=2).free, '5'))}"
    )
    result = bulklink("plan", "m.csv", "--op", "link", "--json")
    option = re.search(r"--skip-lines \d+", result.object["error"]["advice"])
    assert option is not None
    result = bulklink("plan", "m.csv", "--op", "link", *option[0].split(), "--json")
    assert (result.code, result.object["messages"]) == (0, 2)


def test_rows_are_numbered_over_all_files(connected_command: Command, contact: Contact) -> None:
    write_mapping(connected_command.folder / "one.csv", rows(contact.free[:2], contact.a))
    write_mapping(connected_command.folder / "two.jsonl", rows(contact.free[2:4], contact.a))
    run = audit_run(
        connected_command("link", "one.csv", "two.jsonl", "--json"), connected_command.folder, 4
    )
    assert [run.results[number]["message_id"] for number in (1, 2, 3, 4)] == [
        email.message for email in contact.free[:4]
    ]


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1"])
def test_the_emulator_serves_only_loopback_addresses(bulklink: Command, address: str) -> None:
    result = bulklink.run_in_subprocess("emulator", "--host", address, timeout=10)
    assert result.code == 2
    assert "loopback" in result.err


def test_the_emulator_names_an_unreadable_world(bulklink: Command) -> None:
    (bulklink.folder / "world.json").write_text("{", "utf-8")
    result = bulklink.run_in_subprocess("emulator", "--world", "world.json", timeout=10)
    assert result.code == 2
    assert "world.json" in result.err


def test_a_quiet_run_shows_only_its_summary(connected_command: Command, contact: Contact) -> None:
    write_mapping(connected_command.folder / "m.csv", rows(contact.free[:2], contact.a))
    result = connected_command("link", "m.csv", "-q")
    assert result.code == 0
    assert "done" in result.out
    assert not result.err.strip()


def test_standard_output_may_be_closed_early(connected_command: Command, contact: Contact) -> None:
    write_mapping(connected_command.folder / "m.csv", rows(contact.free[:2], contact.a))
    with ensure_terminated(
        connected_command.start("link", "m.csv", "--run-dir", "here")
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        text = process.stderr.read()
        process.wait(20)
    assert "Traceback" not in text
    shown = connected_command("status", "here", "--json").object
    assert shown["counts"]["done"] == 2
