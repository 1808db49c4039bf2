"""Commands that take a job: verify, undo, history, report and forget."""

from __future__ import annotations

import csv
import shutil

import pytest

from bulklink.errors import ExitCode
from tests.e2e.command import Command
from tests.e2e.servers import ReceivedRequest, Reply, StandIn
from tests.e2e.test_jobs import EMAILS, SHARDS, seal_job
from tests.e2e.world import World

QUICK = ("--settle-after", "0", "--json")


def test_a_job_is_verified_undone_reported_and_forgotten_as_a_whole(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    seal_job(bulklink, world)
    command = bulklink.with_env(**standin.env())
    assert command("apply", "job", "--json").code == 0

    sampled = command("verify", "job", "--sample", "9", *QUICK)
    assert (sampled.code, sampled.object["as_recorded"]) == (0, 9)
    assert sampled.object["sample"]["population"] == EMAILS
    before = len(standin.requests)
    planned = command("verify", "job", "--sample", "9", "--dry-run", "--json")
    assert (planned.code, planned.object["emails"]) == (0, 9)
    dry = command("undo", "job", "--dry-run", "--json")
    assert (dry.code, dry.object["messages"]) == (0, EMAILS)
    assert dry.object["shards"] == SHARDS
    assert len(standin.requests) == before
    assert "shard-*/verify.jsonl" in command("verify", "job", "--settle-after", "0").out

    undone = command("undo", "job", "--json")
    assert (undone.code, undone.object["counts"]["done"]) == (0, EMAILS), undone
    assert undone.object["undo_of"] == str(bulklink.folder / "job")
    summary = command("status", "job")
    assert summary.out.splitlines()[1].startswith("Undone by ")
    assert command("status", "job", "--json").object["undone"] is True
    assert command("merge", undone.object["run_dir"], "--json").object["faults"] == []

    with (bulklink.folder / "m.csv").open(newline="") as file:
        row = list(csv.DictReader(file))[20]
    history = command("history", row["message_id"], "--runs-dir", ".", "--json").object
    assert {event["row"] for event in history["events"]} == {21}
    assert all("job/shard-" in event["run_dir"] for event in history["events"])

    assert command("report", "job", "--counts-only", "-o", "page.html", "--json").code == 0
    page = (bulklink.folder / "page.html").read_text("utf-8")
    assert '<th scope="row">shard-1</th>' in page
    assert row["contact_id"] not in page
    assert "m.csv" not in page
    forgotten = command("forget", "job", "--json")
    assert (forgotten.code, forgotten.object["forgotten"]["complete"]) == (0, True)
    assert "only ids and results" in command("export", "job", "-o", "out.csv").err


def test_emails_in_doubt_are_verified_in_every_shard(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    seal_job(bulklink, world)

    async def silent(seen: ReceivedRequest) -> Reply | None:
        return Reply(200, b"") if seen.kind == "link" else None

    standin.script = silent
    command = bulklink.with_env(**standin.env())
    options = ("--read-back", "never", "--canary", "0", "--max-failures", "100%")
    applied = command("apply", "job", *options, *QUICK)
    assert applied.object["counts"]["in_doubt"] == EMAILS, applied
    first = world.contacts[0]
    for email in first.free:
        standin.deals[email.message] = first.a
    verified = command("verify", "job", "--in-doubt", *QUICK)
    assert verified.code == 0, verified
    assert verified.object["as_wanted"] == len(first.free)
    assert verified.object["not_as_wanted"] == EMAILS - len(first.free)


@pytest.mark.parametrize("verb", ["verify", "undo", "report", "forget"])
def test_a_job_without_one_of_its_shards_is_refused(
    verb: str, bulklink: Command, standin: StandIn, world: World
) -> None:
    seal_job(bulklink, world)
    command = bulklink.with_env(**standin.env())
    shutil.rmtree(bulklink.folder / "job" / "shard-2")
    result = command(verb, "job", "--json")
    assert (result.code, result.error["code"]) == (ExitCode.REFUSED, "run-dir")
    assert "shard-2" in result.error["where"]
    assert not standin.requests


def test_a_shard_is_undone_only_with_its_job(bulklink: Command, world: World) -> None:
    seal_job(bulklink, world)
    for verb in (("undo", "--dry-run"), ("forget",)):
        result = bulklink(verb[0], "job/shard-2", *verb[1:], "--json")
        assert result.code == ExitCode.REFUSED
        assert f"bulklink {verb[0]} " in result.error["advice"]
        assert result.error["advice"].rstrip("`.").endswith("job")
