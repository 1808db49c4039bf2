"""Jobs: one mapping, sealed as several plans, sent and judged as a whole."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from bulklink.errors import ExitCode
from bulklink.mapping.sharding import shard_of
from bulklink.runs.job_folder import job_digest
from tests.e2e.command import (
    Command,
    ensure_terminated,
    free_rows,
    interrupt_and_wait,
    rows,
    wait_for_exit,
    write_mapping,
)
from tests.e2e.servers import StandIn, answer_links, hold_calls, item_error
from tests.e2e.world import UNKNOWN_ID, World

CONTACTS, SHARDS = 12, 3
PLAN = ("plan", "--op", "link", "m.csv", "--shards", str(SHARDS), "--run-dir", "job")
EMAILS = CONTACTS * 3


def seal_job(bulklink: Command, world: World, *options: str) -> str:
    """Seal a job of three shards, and return its digest."""
    contacts = [world.add(free=3) for _ in range(CONTACTS)]
    write_mapping(bulklink.folder / "m.csv", free_rows(contacts))
    result = bulklink(*PLAN, *options, "--json")
    assert result.code == 0, result
    assert result.object["shards"] == SHARDS
    return str(result.object["digest"])


def test_a_job_is_sent_exported_and_merged_as_a_whole(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    digest = seal_job(bulklink, world)
    assert not standin.requests
    command = bulklink.with_env(**standin.env())
    other = command("apply", "job", "--expect", "0" * 64, "--json")
    assert (other.code, other.error["code"]) == (ExitCode.REFUSED, "digest")
    assert digest in other.error["message"]
    assert not standin.requests
    result = command("apply", "job", "--expect", digest, "--json")
    assert result.code == 0, result
    assert result.object["state"] == "finished"
    assert result.object["counts"]["done"] == EMAILS
    assert [shard["state"] for shard in result.object["shards"]] == ["finished"] * SHARDS
    assert result.object["credits"] == len(standin.requests) - len(standin.requests_of("token"))
    linked = [message for call in standin.requests_of("link") for message in call.messages]
    assert sorted(linked) == sorted(email.message for c in world.contacts for email in c.free)

    assert bulklink("export", "job", "-o", "out.csv").code == 0
    with (bulklink.folder / "out.csv").open(newline="") as file:
        exported = list(csv.DictReader(file))
    with (bulklink.folder / "m.csv").open(newline="") as file:
        mapping = list(csv.DictReader(file))
    assert len(exported) == EMAILS
    for row in exported:  # each row has the number and the cells of the mapping
        original = mapping[int(row["bulklink_row"]) - 1]
        assert original == {name: row[name] for name in original}
    assert {row["bulklink_status"] for row in exported} == {"done"}

    merged = bulklink("merge", "job", "--json")
    assert merged.code == 0, merged
    assert merged.object["faults"] == []
    assert merged.object["digest"] == digest
    written = json.loads((bulklink.folder / "job" / "merge.json").read_text("utf-8"))
    assert written["counts"]["done"] == EMAILS
    again = bulklink.with_env(**standin.env())("resume", "job", "--json")
    assert (again.code, again.object["credits"]) == (0, result.object["credits"])


def test_a_job_stops_and_goes_on_where_it_was(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    seal_job(bulklink, world, "--concurrency", "1")
    standin.script = hold_calls(standin, "link", after=5)
    command = bulklink.with_env(**standin.env())
    with ensure_terminated(command.start("apply", "job", "--canary", "0", "--json")) as process:
        standin.wait_until(lambda: len(standin.requests_of("link")) == 6)
        interrupt_and_wait(process)
        standin.gate.set()
        result = wait_for_exit(process)
    assert result.code == ExitCode.INTERRUPTED, result
    states = [shard["state"] for shard in result.object["shards"]]
    assert states.count("stopped") <= 1
    assert states == sorted(states, key=["finished", "stopped", "planned"].index)
    status = bulklink("status", "job", "--json").object
    assert status["state"] == "stopped"
    assert status["counts"]["done"] == 18
    resumed = command("resume", "job", "--json")
    assert (resumed.code, resumed.object["counts"]["done"]) == (0, EMAILS)
    assert len(standin.requests_of("link")) == CONTACTS, "nothing is sent twice"


def test_only_the_first_shard_has_a_canary_and_credits_are_those_of_all(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    seal_job(bulklink, world)
    command = bulklink.with_env(**standin.env())
    spent = command("apply", "job", "--canary", "2", "--max-credits", "9", "--json")
    assert (spent.code, spent.object["stopped_by"]) == (ExitCode.CREDITS, "max-credits")
    assert spent.object["credits"] == 9
    assert "(9)" in spent.err
    assert command("resume", "job", "--json").code == 0
    folders = sorted((bulklink.folder / "job").glob("shard-*"))
    records = [json.loads((folder / "run.json").read_text("utf-8")) for folder in folders]
    assert [record["canary"] is not None for record in records] == [True, False, False]


def test_refused_rows_refuse_the_whole_or_are_listed_once(bulklink: Command, world: World) -> None:
    contacts = [world.add(free=3) for _ in range(CONTACTS)]
    mapping = free_rows(contacts)
    mapping[7]["deal_id"] = "x"
    write_mapping(bulklink.folder / "m.csv", mapping)
    result = bulklink(*PLAN, "--json")
    assert (result.code, result.error["code"]) == (ExitCode.REFUSED, "invalid-rows")
    left = [path.name for path in (bulklink.folder / "job").iterdir()]
    assert left == ["rejects.csv"]
    with (bulklink.folder / "job" / "rejects.csv").open(newline="") as file:
        assert [row["bulklink_row"] for row in csv.DictReader(file)] == ["8"]
    shutil.rmtree(bulklink.folder / "job")
    result = bulklink(*PLAN, "--on-invalid", "skip", "--json")
    assert (result.code, result.object["rejected"]) == (ExitCode.ROWS_NOT_DONE, 1)
    assert bulklink("export", "job", "-o", "out.csv", "--status", "rejected").code == 0
    with (bulklink.folder / "out.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["bulklink_row"], row["deal_id"]) == ("8", "x")
    assert bulklink("merge", "job").code == 0


@pytest.mark.parametrize("shards", [1, SHARDS])
def test_a_plan_of_which_all_rows_are_refused_is_sent_with_no_call(
    bulklink: Command, standin: StandIn, world: World, shards: int
) -> None:
    contacts = [world.add(free=3) for _ in range(CONTACTS)]
    mapping = free_rows(contacts)
    for line in mapping:
        if shard_of(line["contact_id"], shards) == 1:
            line["message_id"] = "not an id"
    write_mapping(bulklink.folder / "m.csv", mapping)
    refused = sum(line["message_id"] == "not an id" for line in mapping)
    words = PLAN if shards > 1 else ("plan", "--op", "link", "m.csv", "--run-dir", "job")
    sealed = bulklink(*words, "--on-invalid", "skip")
    assert sealed.code == ExitCode.ROWS_NOT_DONE
    assert ("nothing is left to send" in sealed.out) == (shards == 1)
    assert "sends it" not in sealed.out
    command = bulklink.with_env(**standin.env())
    result = command("apply", "job", "--json")
    assert (result.code, result.object["state"]) == (ExitCode.ROWS_NOT_DONE, "finished"), result
    counts = result.object["counts"]
    assert (counts["rejected"], counts["done"]) == (refused, EMAILS - refused)
    assert len(standin.requests_of("link")) == (shards > 1) * (CONTACTS - refused // 3)
    assert bulklink("status", "job", "--check").code == ExitCode.OK
    if shards > 1:
        assert bulklink("merge", "job").code == ExitCode.OK


@pytest.mark.parametrize(
    ("options", "needle"),
    [
        (("--shards", "0"), "--shards"),
        (("--shards", "1"), "--shards"),
        (("--shards", "13"), "12 contacts"),
        (("--rows-per-shard", "0"), "--rows-per-shard"),
        (("--rows-per-shard", "1000"), "--rows-per-shard"),
        (("--shards", "3", "--rows-per-shard", "5"), "--rows-per-shard"),
    ],
)
def test_numbers_that_make_no_job_are_refused(
    bulklink: Command, world: World, options: tuple[str, ...], needle: str
) -> None:
    contacts = [world.add(free=1) for _ in range(CONTACTS)]
    write_mapping(bulklink.folder / "m.csv", free_rows(contacts))
    result = bulklink("plan", "--op", "link", "m.csv", "--run-dir", "job", *options)
    assert result.code == ExitCode.REFUSED
    assert needle in result.err
    assert sorted(path.name for path in bulklink.folder.iterdir()) == ["m.csv"]


def test_a_mapping_of_which_all_rows_are_refused_makes_no_job(
    bulklink: Command, world: World
) -> None:
    mapping = free_rows([world.add(free=1) for _ in range(CONTACTS)])
    write_mapping(bulklink.folder / "m.csv", [{**line, "deal_id": "x"} for line in mapping])
    result = bulklink(*PLAN, "--on-invalid", "skip")
    assert result.code == ExitCode.REFUSED
    assert "0 contacts with a row that is not refused, too few for 3 shards" in result.err
    assert sorted(path.name for path in bulklink.folder.iterdir()) == ["m.csv"]


def test_a_job_needs_a_folder_that_is_not_in_use(bulklink: Command, world: World) -> None:
    seal_job(bulklink, world)
    before = (bulklink.folder / "job" / "job.json").read_bytes()
    again = bulklink(*PLAN)
    assert (again.code, "in use" in again.err) == (ExitCode.REFUSED, True)
    assert (bulklink.folder / "job" / "job.json").read_bytes() == before
    nowhere = bulklink("plan", "--op", "link", "m.csv", "--shards", "2")
    assert (nowhere.code, "--run-dir" in nowhere.err) == (ExitCode.REFUSED, True)


def test_a_full_disk_in_the_middle_of_sealing_leaves_nothing(
    bulklink: Command, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bulklink.errors import LedgerError  # noqa: PLC0415 - only here
    from bulklink.operations import prepare  # noqa: PLC0415 - only here

    created = []
    create = prepare.create_ledger

    def fail_at_the_second(path: Path, *arguments: object) -> None:
        created.append(path)
        if len(created) == 2:
            raise LedgerError("Cannot write the ledger: No space left on device.")
        create(path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(prepare, "create_ledger", fail_at_the_second)
    contacts = [world.add(free=3) for _ in range(CONTACTS)]
    write_mapping(bulklink.folder / "m.csv", free_rows(contacts))
    result = bulklink(*PLAN)
    assert (result.code, "No space left" in result.err) == (ExitCode.STOPPED, True), result
    assert sorted(path.name for path in bulklink.folder.iterdir()) == ["m.csv"]


def damage_lost(job: Path) -> None:
    shutil.rmtree(job / "shard-2")


def damage_doubled(job: Path) -> None:
    shutil.rmtree(job / "shard-2")
    shutil.copytree(job / "shard-1", job / "shard-2")


def damage_copied(job: Path) -> None:
    shutil.copytree(job / "shard-1", job / "shard-1-copy")


def damage_plan(job: Path) -> None:
    shutil.copy(job / "shard-1" / "plan.parquet", job / "shard-2" / "plan.parquet")


def damage_ledger(job: Path) -> None:
    ledger = job / "shard-2" / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes()[:-200])


def damage_record(job: Path) -> None:
    path = job / "shard-2" / "run.json"
    record = json.loads(path.read_text("utf-8"))
    record["digest"] = "0" * 64
    path.write_text(json.dumps(record), "utf-8")


def damage_job_record(job: Path) -> None:
    path = job / "job.json"
    record = json.loads(path.read_text("utf-8"))
    del record["entries"][1]
    path.write_text(json.dumps(record), "utf-8")


def damage_link(job: Path) -> None:
    (job / "shard-2").rename(job.parent / "elsewhere")
    (job / "shard-2").symlink_to(job.parent / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "needle"),
    [
        (damage_lost, "Shard 2 of 3 is missing"),
        (damage_doubled, "holds shard 1"),
        (damage_copied, "shard-1-copy"),
        (damage_plan, "plan"),
        (damage_ledger, "ledger"),
        (damage_record, "Shard 2 is not as it was sealed"),
        (damage_job_record, "job.json was changed"),
        (damage_link, "Shard 2 of 3 is missing"),
    ],
)
def test_merge_names_each_damage(
    bulklink: Command, standin: StandIn, world: World, damage: object, needle: str
) -> None:
    seal_job(bulklink, world)
    assert bulklink.with_env(**standin.env())("apply", "job").code == 0
    assert callable(damage)
    damage(bulklink.folder / "job")
    result = bulklink("merge", "job")
    assert result.code == ExitCode.REFUSED, result
    assert needle in result.output, result
    assert not (bulklink.folder / "job" / "merge.json").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"entries": [], "rows": 0, "messages": 0},
        {"left_out": 10**18},
        {"created": "yesterday"},
        {"shards": 10**9},
        {"entries": None},
    ],
    ids=["no shard", "too many rows", "no time", "too many shards", "no list"],
)
def test_a_job_that_was_not_written_by_bulklink_is_refused_by_every_command(
    bulklink: Command, standin: StandIn, world: World, changes: dict[str, object]
) -> None:
    seal_job(bulklink, world)
    path = bulklink.folder / "job" / "job.json"
    record = json.loads(path.read_text("utf-8")) | changes
    if record["entries"] == []:
        record["digest"] = job_digest(record["hash"], record["shards"], ())
    path.write_text(json.dumps(record), "utf-8")
    command = bulklink.with_env(**standin.env())
    for words in (("status",), ("apply",), ("merge",), ("report",), ("undo", "--dry-run")):
        result = command(*words, "job", "--json")
        assert (result.code, result.error["code"]) in {(2, "run-dir"), (2, "digest")}, result
    assert command("status", "--runs-dir", ".").code == 0, "the others are listed"
    assert not standin.requests


def test_a_shard_of_another_job_is_not_sent(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    seal_job(bulklink, world)
    other = ("plan", "--op", "link", "m.csv", "--shards", "3", "--run-dir", "other")
    assert bulklink(*other).code == 0
    shutil.rmtree(bulklink.folder / "job" / "shard-2")
    shutil.copytree(bulklink.folder / "other" / "shard-2", bulklink.folder / "job" / "shard-2")
    command = bulklink.with_env(**standin.env())
    result = command("apply", "job", "--json")
    assert (result.code, result.error["code"]) == (ExitCode.REFUSED, "run-dir")
    assert "of another one" in result.error["message"]
    assert not standin.requests


def test_the_question_names_the_emails_of_all_shards_whatever_a_shard_says(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    seal_job(bulklink, world)
    path = bulklink.folder / "job" / "shard-1" / "run.json"
    record = json.loads(path.read_text("utf-8"))
    assert record["shard"]["job_messages"] == EMAILS
    record["shard"]["job_messages"] = 1
    path.write_text(json.dumps(record), "utf-8")
    result = bulklink.with_env(**standin.env())("apply", "job", "--json")
    assert (result.code, result.error["code"]) == (ExitCode.REFUSED, "digest")
    assert not standin.requests


def test_a_shard_that_says_its_columns_were_forgotten_is_still_the_approved_one(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    digest = seal_job(bulklink, world)
    other = world.add(free=40)
    write_mapping(bulklink.folder / "other.csv", free_rows([other]))
    assert bulklink("plan", "--op", "link", "other.csv", "--run-dir", "other").code == 0
    job = bulklink.folder / "job"
    sealed = json.loads((job / "shard-1" / "run.json").read_text("utf-8"))
    shutil.rmtree(job / "shard-1")
    shutil.copytree(bulklink.folder / "other", job / "shard-1")
    record = json.loads((job / "shard-1" / "run.json").read_text("utf-8"))
    forgotten = {"at": record["created"], "plan_before": None, "ledger_before": None}
    record |= {"shard": sealed["shard"], "forgotten": [{**forgotten, "complete": True}]}
    (job / "shard-1" / "run.json").write_text(json.dumps(record), "utf-8")
    result = bulklink.with_env(**standin.env())("apply", "job", "--expect", digest, "--json")
    assert result.code == ExitCode.REFUSED, result
    assert result.error["code"] == "digest"
    assert not standin.requests_of("link")


def test_a_shard_is_not_sent_by_itself(bulklink: Command, standin: StandIn, world: World) -> None:
    seal_job(bulklink, world)
    command = bulklink.with_env(**standin.env())
    for verb in ("apply", "resume", "retry"):
        result = command(verb, "job/shard-1")
        assert result.code == ExitCode.REFUSED
        assert "job" in result.err
    assert not standin.requests
    assert "bulklink apply" in command("apply", "job/shard-1").err


def test_failed_emails_of_all_shards_are_retried(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contacts = [world.add(free=1) for _ in range(CONTACTS)]
    mapping = [row for contact in contacts for row in rows(contact.free, contact.a)]
    write_mapping(bulklink.folder / "m.csv", mapping)
    assert bulklink(*PLAN).code == 0
    command = bulklink.with_env(**standin.env())
    refused = {contact.free[0].message for contact in contacts[:4]}
    standin.script = answer_links(
        standin,
        lambda _, message: item_error("NOT_ALLOWED", message) if message in refused else None,
    )
    result = command("apply", "job", "--canary", "0", "--json")
    assert (result.code, result.object["counts"]["failed"]) == (1, 4), result
    refused.clear()
    retried = command("retry", "job", "--json")
    assert (retried.code, retried.object["counts"]["done"]) == (0, CONTACTS), retried


def test_a_canary_that_fails_stops_the_job_and_names_it(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    seal_job(bulklink, world)
    command = bulklink.with_env(**standin.env())
    refused = {email.message for contact in world.contacts for email in contact.free}
    standin.script = answer_links(
        standin,
        lambda _, message: item_error("NOT_ALLOWED", message) if message in refused else None,
    )
    result = command("apply", "job", "--canary", "2", "--max-failures", "100")
    assert result.code == ExitCode.STOPPED, result
    assert "job/shard" not in result.err
    again = command("resume", "job")
    assert again.code == ExitCode.REFUSED
    assert "bulklink resume job --accept-canary" in " ".join(again.err.split())
    refused.clear()
    accepted = command("resume", "job", "--accept-canary", "--json")
    assert accepted.object["state"] == "finished"
    assert command("retry", "job", "--json").object["counts"]["done"] == EMAILS


def plan_unknown_deal(bulklink: Command, world: World, shard: int) -> int:
    """Seal a job of which one row names an unknown deal; return how many rows its shard has."""
    contacts = [world.add(free=3) for _ in range(CONTACTS)]
    mapping = free_rows(contacts)
    for row in mapping:
        row["deal_name"] = "A name"  # so that only one deal is looked up
        row["owner_name"] = "Pat"
    of_shard = [row for row in mapping if shard_of(row["contact_id"], SHARDS) == shard]
    of_shard[0] |= {"deal_id": UNKNOWN_ID, "deal_name": ""}
    write_mapping(bulklink.folder / "m.csv", mapping)
    assert bulklink(*PLAN).code == 0
    return len(of_shard)


def test_a_shard_whose_deals_do_not_exist_is_left_out_once_others_were_changed(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    left_out = plan_unknown_deal(bulklink, world, 2)
    result = bulklink.with_env(**standin.env())("apply", "job")
    assert result.code == ExitCode.ROWS_NOT_DONE, result
    assert "shard-2 is left out: 1 of " in result.err
    status = bulklink("status", "job", "--json").object
    states = [shard["state"] for shard in status["shards"]]
    assert (status["state"], states) == ("finished", ["finished", "refused", "finished"])
    assert status["exit_code"] == ExitCode.ROWS_NOT_DONE
    export = "export job --status pending --status rejected -o rest.csv"
    assert f"bulklink {export}" in result.out
    assert "Refused rows: job/shard-2/rejects.csv" in result.out
    assert bulklink(*export.split()).code == 0
    with (bulklink.folder / "rest.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == left_out


def test_a_job_whose_first_shard_is_refused_changes_nothing_and_can_be_resumed(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    plan_unknown_deal(bulklink, world, 1)
    command = bulklink.with_env(**standin.env())
    refused = command("apply", "job", "--json")
    assert (refused.code, refused.error["code"]) == (ExitCode.REFUSED, "invalid-rows")
    assert not standin.requests_of("link")
    status = bulklink("status", "job", "--json").object
    states = [shard["state"] for shard in status["shards"]]
    assert (status["state"], status["stopped_by"]) == ("stopped", None)
    assert states == ["refused", "planned", "planned"]
    resumed = command("resume", "job", "--json")
    assert resumed.code == ExitCode.ROWS_NOT_DONE, resumed
    assert "shard-1 was refused" in resumed.err
    states = [shard["state"] for shard in resumed.object["shards"]]
    assert (resumed.object["state"], states) == ("finished", ["refused", "finished", "finished"])
