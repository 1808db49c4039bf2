"""Profiles: their selection and their default options."""

from __future__ import annotations

import re

import pytest

from tests.cli.command_tree import LEAVES
from tests.e2e.auth.sign_in_env import (
    ROOT,
    SIGN_IN_ENV,
    api_env,
    refresh_token,
)
from tests.e2e.command import Command, rows, write_mapping
from tests.e2e.world import Contact, World


def test_an_existing_profile_is_replaced_only_by_force(signed_in: Command, url: str) -> None:
    before = refresh_token(signed_in.folder)
    again = signed_in.with_env(**api_env(url), **SIGN_IN_ENV)
    result = again("auth", "login", "--json")
    assert result.code == 2, result
    assert result.error["code"] == "not-confirmed"
    assert "--force" in result.error["advice"]
    assert refresh_token(signed_in.folder) == before
    assert again("auth", "login", "--force").code == 0
    assert refresh_token(signed_in.folder) != before


@pytest.mark.parametrize("command", [("link", "m.csv"), ("auth", "status"), ("auth", "logout")])
def test_the_error_of_an_unknown_profile_lists_the_known_ones(
    signed_in: Command, command: tuple[str, ...]
) -> None:
    result = signed_in(*command, "--profile", "prod", "--json")
    assert result.code == 2, result
    assert "The profiles are: default." in result.error["advice"]
    assert signed_in.with_env(BULKLINK_PROFILE="prod")(*command, "--json").code == 2


def test_a_job_file_names_a_profile(signed_out: Command, contact: Contact) -> None:
    assert signed_out.with_env(**SIGN_IN_ENV)("auth", "login", "--profile", "test").code == 0
    command = Command(signed_out.folder)
    write_mapping(command.folder / "m.csv", rows(contact.free[:2], contact.a))
    job = 'op = "link"\nmapping = "m.csv"\nprofile = "{}"\n'
    (command.folder / "job.toml").write_text(job.format("test"), "utf-8")
    (command.folder / "other.toml").write_text(job.format("prod"), "utf-8")
    assert command("run", "job.toml").code == 0
    assert command("run", "other.toml").code == 2
    assert command("run", "other.toml", "--profile", "test").code == 0


def suggested(text: str) -> list[str]:
    """Return the commands that need a connection among those suggested in a text."""
    found = re.findall(r"bulklink (?:apply|resume|retry|run|undo|verify) [^`\n]*", text)
    return [command.strip() for command in found]


@pytest.mark.parametrize("arguments", [["run", "job.toml"], ["link", "m.csv", "--profile", "test"]])
def test_suggested_commands_use_the_profile_of_the_run(
    signed_out: Command, contact: Contact, arguments: list[str]
) -> None:
    assert signed_out.with_env(**SIGN_IN_ENV)("auth", "login", "--profile", "test").code == 0
    command = Command(signed_out.folder)
    write_mapping(command.folder / "m.csv", rows(contact.free[:2], contact.a))
    job = 'op = "link"\nmapping = "m.csv"\nprofile = "test"\n'
    (command.folder / "job.toml").write_text(job, "utf-8")
    stopped = command(*arguments, "--run-dir", "run", "--max-credits", "1")
    assert stopped.code == 4, stopped
    assert suggested(stopped.out) == ["bulklink resume run --profile test"]
    assert suggested(command("status", "run").out) == ["bulklink resume run --profile test"]
    assert command("report", "run").code == 0
    page = (command.folder / "run" / "report.html").read_text("utf-8")
    assert "bulklink resume run --profile test" in page
    assert command("report", "run", "--counts-only", "-o", "counts.html").code == 0
    assert "--profile" not in (command.folder / "counts.html").read_text("utf-8")
    finished = command("resume", "run", "--profile", "test", "--max-credits", "50")
    assert finished.code == 0, finished
    assert suggested(finished.out) == [
        "bulklink verify run --profile test",
        "bulklink undo run --profile test",
    ]


def test_a_plan_is_sent_with_the_profile_it_was_made_with(
    signed_out: Command, contact: Contact
) -> None:
    assert signed_out.with_env(**SIGN_IN_ENV)("auth", "login", "--profile", "test").code == 0
    command = Command(signed_out.folder)
    write_mapping(command.folder / "m.csv", rows(contact.free[:2], contact.a))
    arguments = ("plan", "--op", "link", "m.csv", "--run-dir", "run", "--profile", "test")
    assert suggested(command(*arguments).out) == ["bulklink apply run --profile test"]


def test_no_profile_is_suggested_where_none_is_needed(signed_in: Command, contact: Contact) -> None:
    write_mapping(signed_in.folder / "m.csv", rows(contact.free[:2], contact.a))
    result = signed_in("link", "m.csv", "--run-dir", "run")
    assert suggested(result.out) == ["bulklink verify run", "bulklink undo run"]


def with_options(command: Command, name: str, options: str) -> None:
    file = command.folder / "config" / "bulklink" / "profiles" / f"{name}.toml"
    text = file.read_text("utf-8")
    file.write_text(f"{text}\n[options]\n{options}\n", "utf-8")


@pytest.mark.parametrize(
    ("arguments", "env", "job", "calls"),
    [
        ([], {}, "", 6),
        ([], {}, "batch_size = 4\n", 3),
        ([], {"BULKLINK_BATCH_SIZE": "6"}, "batch_size = 4\n", 2),
        (["--batch-size", "12"], {"BULKLINK_BATCH_SIZE": "6"}, "batch_size = 4\n", 1),
    ],
    ids=["profile", "job-beats-profile", "environment-beats-job", "command-line-beats-all"],
)
@pytest.mark.parametrize("named_by", ["default", "job"])
def test_options_of_a_profile_are_overridden_by_all_other_sources(
    signed_out: Command,
    arguments: list[str],
    env: dict[str, str],
    job: str,
    calls: int,
    named_by: str,
) -> None:
    wrong, right = ("5", "2") if named_by == "job" else ("2", "5")
    for name, size in (("default", wrong), ("test", right)):
        assert signed_out.with_env(**SIGN_IN_ENV)("auth", "login", "--profile", name).code == 0
        with_options(signed_out, name, f'batch_size = {size}\nyes = true\nrate = "off"')
    contact = World().add(free=12)
    command = Command(signed_out.folder, env)
    write_mapping(command.folder / "m.csv", rows(contact.free, contact.a))
    profile = 'profile = "test"\n' if named_by == "job" else ""
    text = f'op = "link"\nmapping = "m.csv"\n{profile}{job}'
    (command.folder / "job.toml").write_text(text, "utf-8")
    result = command("run", "job.toml", "--dry-run", "--json", *arguments)
    assert result.code == 0, result
    assert result.object["calls"]["link"] == calls


def test_a_profile_only_sets_limits_that_the_plan_lacks(
    signed_in: Command, contact: Contact
) -> None:
    write_mapping(signed_in.folder / "m.csv", rows(contact.free[:4], contact.a))
    plan = ("plan", "--op", "link", "m.csv", "--reserve-credits", "3")
    signed_in(*plan, "--run-dir", "run")
    with_options(signed_in, "default", "max_credits = 2\nreserve_credits = 7\nsync = 'off'")
    stopped = signed_in("apply", "run", "--json")
    assert (stopped.code, stopped.object["stopped_by"]) == (4, "max-credits")
    assert signed_in("resume", "run", "--json").object["stopped_by"] == "max-credits"
    assert signed_in("resume", "run", "--max-credits", "50").code == 0


@pytest.mark.parametrize("options", ["btch_size = 2", "batch_size = 21", "yes = 'x'"])
def test_the_error_of_a_wrong_option_in_a_profile_names_file_line_and_key(
    signed_in: Command, options: str
) -> None:
    with_options(signed_in, "default", options)
    result = signed_in("link", "m.csv", "--json")
    assert result.code == 2, result
    file = signed_in.folder / "config" / "bulklink" / "profiles" / "default.toml"
    key = options.split(maxsplit=1)[0]
    line = file.read_text("utf-8").splitlines().index(options) + 1
    assert result.error["where"] == f"{file}:{line}, key {key}"


@pytest.mark.parametrize(
    "options",
    ["rate = 'x'", "rate = 'x'\nbatch_size = 2", "batch_size = 2\nclient_secret = 's3cr3t'"],
)
def test_a_profile_whose_options_commands_refuse_does_not_work(
    signed_in: Command, options: str
) -> None:
    with_options(signed_in, "default", options)
    refused = signed_in("link", "m.csv", "--json")
    assert refused.code == 2, refused
    result = signed_in("auth", "status", "--json")
    assert result.code == 1, result
    (entry,) = result.object["profiles"]
    assert entry["works"] is False
    assert entry["problem"]["message"] == refused.error["message"]
    assert entry["problem"]["where"] == refused.error["where"]
    assert "s3cr3t" not in result.output
    shown = signed_in("auth", "status")
    assert refused.error["message"] in " ".join(shown.out.split())
    assert "s3cr3t" not in shown.output


@pytest.mark.parametrize("options", ["rate = 20", 'code = "NOT_ALLOWED"', 'code = ["NOT_ALLOWED"]'])
def test_a_profile_works_if_some_command_accepts_its_options(
    signed_in: Command, options: str
) -> None:
    with_options(signed_in, "default", options)
    result = signed_in("auth", "status", "--json")
    assert result.code == 0, result
    (entry,) = result.object["profiles"]
    assert entry["works"] is True
    assert len(entry["options"]) == 1


def test_an_option_of_another_command_does_no_harm_in_a_profile(signed_in: Command) -> None:
    with_options(signed_in, "default", 'code = "NOT_ALLOWED"')
    contact = World().add(free=1)
    write_mapping(signed_in.folder / "m.csv", rows(contact.free, contact.a))
    assert signed_in("link", "m.csv", "--dry-run").code == 0


def test_every_command_that_contacts_the_crm_takes_a_profile_and_a_log() -> None:
    rooms = (ROOT / "bulklink" / "cli").rglob("*.py")
    sources = {path.stem: path.read_text("utf-8") for path in rooms}
    assert [name for name, text in sources.items() if "from_environment(" in text] == []
    lacking = [
        name
        for name, command in LEAVES.items()
        if command.callback is not None
        and "connection_from(" in sources[command.callback.__module__.rpartition(".")[2]]
        and not {"profile", "log"} <= {param.name for param in command.params}
    ]
    assert lacking == []
