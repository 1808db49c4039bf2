"""What was read is kept: for the next audit, and for the command that continues a stopped one."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bulklink import Job, StopController
from bulklink.errors import (
    BadFileError,
    ConfigError,
    LockedError,
    RefusedError,
    StoppedBy,
    UsageError,
    WrongOrgError,
)
from bulklink.finding.values import ContactFacts
from bulklink.models import ForecastType
from bulklink.operations.auditing.timelines import Contacts
from tests.operations.auditing.audit_world import (
    AuditWorld,
    contact_id,
    plan_changed_deals,
    read,
    serve,
)

CONTACTS = 60


def make_world(contacts: int = CONTACTS) -> AuditWorld:
    world = AuditWorld()
    for number in range(contacts):
        world.add_contact(deals=2 if number < 5 else 1, emails=2)
    return world


async def test_a_second_audit_makes_no_call_and_needs_no_connection(tmp_path: Path) -> None:
    world = make_world()
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        first = await read(file, crm)
    second = await read(file, None)
    assert second.contacts == first.contacts
    assert second.inputs.header == first.inputs.header
    assert second.inputs.deals == first.inputs.deals
    assert second.inputs.credits == 0
    assert not any(second.inputs.calls.values())
    assert second.inputs.deals_path == tmp_path / "emails.deals.jsonl"
    assert second.inputs.deals_path.stat().st_mode & 0o777 == 0o600
    assert names_in(tmp_path) == {"emails.csv", "emails.deals.jsonl"}


async def test_a_file_in_another_order_needs_no_call_either(tmp_path: Path) -> None:
    world = make_world()
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        first = await read(file, crm)
    world.emails.reverse()
    world.write(file)
    assert (await read(file, None)).contacts == first.contacts


async def test_only_contacts_that_are_new_in_the_file_are_read(tmp_path: Path) -> None:
    world = make_world()
    late = [world.add_contact(deals=2, emails=1) for _ in range(2)]
    later_emails = [email for email in world.emails if email["contact_id"] in late]
    world.emails = [email for email in world.emails if email["contact_id"] not in late]
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        await read(file, crm)
        crm.requests.clear()
        world.emails += later_emails
        world.write(file)
        result = await read(file, crm)
        assert crm.count("coql") == 1
        assert crm.count("__timeline") == 4
        fresh = await read(file, crm, force=True)
    assert result.contacts == fresh.contacts
    assert result.inputs.deals == fresh.inputs.deals


async def test_older_emails_have_the_histories_read_that_now_matter(tmp_path: Path) -> None:
    world = AuditWorld()
    contact = world.add_contact(deals=2)
    world.add_email(contact, day=9)
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        first = await read(file, crm)
        assert (crm.count("__timeline"), first.inputs.deals.with_history) == (0, 0)
        world.add_email(contact, day=2)
        world.write(file)
        second = await read(file, crm)
    assert crm.count("coql") == 1
    assert second.inputs.deals.with_history == 2


async def test_a_history_that_does_not_reach_back_to_older_emails_is_read_again(
    tmp_path: Path,
) -> None:
    world = AuditWorld()
    touches = [
        {"time": f"2026-01-03T{n // 60:02}:{n % 60:02}:00Z", "field": None} for n in range(450)
    ]
    contact = world.add_contact(deals=2, history=touches)
    world.add_email(contact, day=3, minute=400)
    file = world.write(tmp_path / "emails.csv")

    def plan(
        contacts: Contacts, stages: Mapping[str, ForecastType]
    ) -> Iterator[tuple[ContactFacts, list[str]]]:
        for facts in contacts():
            oldest = min(email.time or 0 for email in facts.emails)
            unknown = [
                deal.id
                for deal in facts.deals
                if deal.history is None or (deal.history_since or 0) > oldest
            ]
            if unknown:
                yield facts, unknown

    async with serve(world) as crm:
        await read(file, crm, plan_histories=plan)
        assert crm.count("__timeline") == 2
        world.add_email(contact, day=2)
        world.write(file)
        result = await read(file, crm, plan_histories=plan)
        assert crm.count("__timeline") == 2 + 2 * 3
        assert {deal.history_since for deal in result.contacts[0].deals} == {None}
        world.emails.reverse()
        world.write(file)
        calls = len(crm.requests)
        await read(file, crm, plan_histories=plan)
        assert len(crm.requests) == calls


async def test_without_a_connection_deals_that_were_not_read_are_an_error(tmp_path: Path) -> None:
    file = make_world().write(tmp_path / "emails.csv")
    with pytest.raises(ConfigError, match="not read yet"):
        await read(file, None)
    assert names_in(tmp_path) == {"emails.csv"}


async def test_deals_are_too_old_after_a_week_unless_more_is_allowed(tmp_path: Path) -> None:
    world = make_world(3)
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        first = await read(file, crm)
        deals = tmp_path / "emails.deals.jsonl"
        edit_header(deals, read_at="2020-01-01T00:00:00Z")
        with pytest.raises(BadFileError, match="days ago") as caught:
            await read(file, crm)
        assert caught.value.where == str(deals)
        assert "read_again" in caught.value.advice
        old = await read(file, crm, max_age=1e9)
        again = await read(file, crm, force=True)
    assert old.contacts == first.contacts == again.contacts
    assert again.inputs.header is not None
    assert again.inputs.header.read_at.year > 2020


async def test_deals_of_another_host_are_refused(tmp_path: Path) -> None:
    world = make_world(3)
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        await read(file, crm)
        edit_header(tmp_path / "emails.deals.jsonl", api_url="https://www.zohoapis.eu")
        with pytest.raises(WrongOrgError):
            await read(file, crm)


async def test_deals_of_another_org_are_not_added_to(tmp_path: Path) -> None:
    world = make_world(3)
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        await read(file, crm)
        edit_header(tmp_path / "emails.deals.jsonl", org={"id": "77", "name": "Other"})
        world.add_contact(deals=1, emails=1)
        world.write(file)
        with pytest.raises(WrongOrgError, match="Other") as refused:
            await read(file, crm)
        assert refused.value.where == str(tmp_path / "emails.deals.jsonl")
        assert "read_again=True" in str(refused.value.advice)
        assert not (tmp_path / "emails.csv.auditing").exists()
        assert (await read(file, crm, force=True)).inputs.complete


async def test_deals_of_another_org_are_refused_without_a_call_if_the_profile_knows_its_org(
    tmp_path: Path,
) -> None:
    world = make_world(3)
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        first = await read(file, crm)
        assert first.inputs.header is not None
        org_id = first.inputs.header.org.id
        crm.requests.clear()
        same = msgspec.structs.replace(crm.connection, org_id=org_id)
        other = msgspec.structs.replace(crm.connection, org_id="77")
        await read(file, crm, connection=same)
        with pytest.raises(WrongOrgError, match="77") as refused:
            await read(file, crm, connection=other)
    assert org_id is not None
    assert org_id in refused.value.message
    assert refused.value.where == str(tmp_path / "emails.deals.jsonl")
    assert "read_again=True" in str(refused.value.advice)
    assert crm.requests == []


async def test_deals_with_another_number_field_are_refused(tmp_path: Path) -> None:
    world = make_world(3)
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        await read(file, crm)
        with pytest.raises(UsageError, match="number field none"):
            await read(file, crm, number_field="Deal_Number")


def names_in(folder: Path) -> set[str]:
    """Return the files and folders of a test, without the state of the machine."""
    return {path.name for path in folder.iterdir()} - {"state"}


def edit_header(path: Path, **changes: Any) -> None:
    first, _, rest = path.read_bytes().partition(b"\n")
    path.write_bytes(json.dumps(json.loads(first) | changes).encode() + b"\n" + rest)


BAD_LINES: dict[str, tuple[int, bytes]] = {
    "no header": (1, b'{"contact_id":"1"}'),
    "another format": (1, b'{"format":"x","version":1}'),
    "no JSON": (2, b"hello"),
    "not UTF-8": (2, b'{"contact_id":"\xff"}'),
    "no id": (2, b'{"contact_id":"1 or 2"}'),
    "no text": (2, b'{"contact_id":1}'),
    "nested": (2, b'{"contact_id":"1","deals":' + b"[" * 100_000),
    "a deal without an id": (2, b'{"contact_id":"1","deals":[{}]}'),
    "a deal with a bad id": (2, b'{"contact_id":"1","deals":[{"id":"x"}]}'),
    "a time of no clock": (2, b'{"contact_id":"1","deals":[{"id":"1","created":1e300}]}'),
    "a change of no clock": (
        *(2, b'{"contact_id":"1","deals":[{"id":"1","history":[{"time":-1e300}]}]}'),
    ),
    "out of order": (3, b'{"contact_id":"0"}'),
    "long": (2, b'{"contact_id":"1","code":"' + b"x" * (2 << 20) + b'"}'),
}


@pytest.mark.parametrize(("number", "line"), BAD_LINES.values(), ids=BAD_LINES)
async def test_a_damaged_file_of_deals_is_refused_by_its_line(
    number: int, line: bytes, tmp_path: Path
) -> None:
    world = make_world(3)
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        await read(file, crm)
        deals = tmp_path / "emails.deals.jsonl"
        lines = deals.read_bytes().split(b"\n")
        lines[number - 1] = line
        deals.write_bytes(b"\n".join(lines))
        calls = len(crm.requests)
        with pytest.raises(RefusedError) as caught:
            await read(file, crm)
    assert f"{deals}:{number}" in caught.value.where or "long" in caught.value.message
    assert len(crm.requests) == calls


@pytest.mark.parametrize("cut", [1, 20, 300])
async def test_a_file_of_deals_that_was_cut_short_is_refused(cut: int, tmp_path: Path) -> None:
    world = make_world(3)
    file = world.write(tmp_path / "emails.csv")
    deals = tmp_path / "emails.deals.jsonl"
    async with serve(world) as crm:
        await read(file, crm)
        content = deals.read_bytes()
        deals.write_bytes(content[:-cut])
        with pytest.raises(BadFileError, match="2 of 3 contacts") as caught:
            await read(file, crm)
        assert caught.value.where == str(deals)
        assert "Remove the file" in str(caught.value.advice)
        lines = content.splitlines(keepends=True)
        deals.write_bytes(b"".join(lines[:2]))
        with pytest.raises(BadFileError, match="1 of 3 contacts"):
            await read(file, crm)


async def test_deals_without_any_stage_are_no_file_of_an_audit(tmp_path: Path) -> None:
    world = make_world(3)
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        await read(file, crm)
    edit_header(tmp_path / "emails.deals.jsonl", stages={})
    with pytest.raises(BadFileError, match="does not belong"):
        await read(file, None)


async def test_a_number_field_that_was_refused_can_be_omitted(tmp_path: Path) -> None:
    world = make_world(3)
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        with pytest.raises(UsageError, match="Deal_No"):
            await read(file, crm, number_field="Deal_No")
        assert (await read(file, crm)).inputs.complete


async def test_a_file_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    world = make_world(3)
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        await read(file, crm)
    edit_header(tmp_path / "emails.deals.jsonl", version=2)
    with pytest.raises(BadFileError, match="version 2"):
        await read(file, None)


async def test_a_contact_with_long_histories_takes_several_lines(tmp_path: Path) -> None:
    world = AuditWorld()
    history = [
        {
            "time": f"2026-01-03T{n // 60:02}:{n % 60:02}:00Z",
            "field": "Deal_Name",
            "old": f"{n:0200}",
            "new": f"{n + 1:0200}",
        }
        for n in range(600)
    ]
    world.add_contact(deals=9, emails=1, history=history)
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        first = await read(file, crm)
    lines = (tmp_path / "emails.deals.jsonl").read_bytes().splitlines()
    assert len(lines) > 3
    assert all(len(line) < 1 << 20 for line in lines)
    assert [len(deal.history or ()) for deal in first.contacts[0].deals] == [600] * 9


# Stopped and killed


async def test_a_reading_that_ran_out_of_credits_goes_on_and_reads_nothing_twice(
    tmp_path: Path,
) -> None:
    world = make_world()
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        whole = await read(file, crm)
        needed = set(crm.requests)
        (tmp_path / "emails.deals.jsonl").unlink()
        crm.requests.clear()
        kept = 0
        for _ in range(20):
            stop = StopController()
            job = Job(mappings=(), rate=None, max_credits=4)
            result = await read(file, crm, job=job, stop=stop)
            assert result.inputs.credits <= 4
            if stop.reason is None:
                break
            assert stop.reason.stopped_by is StoppedBy.MAX_CREDITS
            assert not result.inputs.complete
            assert len(result.contacts) >= kept
            kept = len(result.contacts)
        assert stop.reason is None
        counts = {path: crm.requests.count(path) for path in needed}
    assert result.contacts == whole.contacts
    assert kept == CONTACTS
    assert counts.pop("org") > 1
    assert counts.pop("coql") == 2
    assert set(counts.values()) == {1}


@pytest.mark.timeout(240)
async def test_a_killed_reading_goes_on_from_any_line(tmp_path: Path) -> None:
    world = make_world(53)
    file = world.write(tmp_path / "emails.csv")
    folder = tmp_path / "emails.csv.auditing"

    def plan(
        contacts: Contacts, stages: Mapping[str, ForecastType]
    ) -> Iterator[tuple[ContactFacts, list[str]]]:
        """Plan, and keep the folder as it is before each round."""
        shutil.copytree(folder, tmp_path / "kept", dirs_exist_ok=True)
        yield from plan_changed_deals(contacts, stages)

    async with serve(world) as crm:
        whole = await read(file, crm, plan_histories=plan)
        log = (tmp_path / "kept" / "read.jsonl").read_bytes()
        lines = log.splitlines(keepends=True)
        assert len(lines) > 60
        for number in range(0, len(lines) + 1, 9):
            (tmp_path / "emails.deals.jsonl").unlink()
            shutil.copytree(tmp_path / "kept", folder)
            torn = lines[number][: len(lines[number]) // 2] if number < len(lines) else b""
            (folder / "read.jsonl").write_bytes(b"".join(lines[:number]) + torn)
            crm.requests.clear()
            result = await read(file, crm)
            assert result.contacts == whole.contacts, number
            assert_nothing_twice(lines[:number], crm.requests)
            assert not folder.exists()


def assert_nothing_twice(lines: list[bytes], requests: list[str]) -> None:
    """Assert that what the log shows as read is not requested."""
    known = [json.loads(line) for line in lines]
    for line in known:
        if line["event"] == "timeline":
            assert f"Deals/{line['deal_id']}/__timeline" not in requests
    done = sum(line["event"] == "batch" and line["done"] for line in known)
    assert requests.count("coql") == 2 - done


async def test_a_page_that_was_read_before_a_kill_is_not_read_again(tmp_path: Path) -> None:
    world = AuditWorld()
    world.add_contact(deals=250, emails=1, modified_time="2026-01-01T00:00:00Z", history=[])
    file = world.write(tmp_path / "emails.csv")
    folder = tmp_path / "emails.csv.auditing"

    def plan(
        contacts: Contacts, stages: Mapping[str, ForecastType]
    ) -> Iterator[tuple[ContactFacts, list[str]]]:
        shutil.copytree(folder, tmp_path / "kept")
        return iter(())

    async with serve(world) as crm:
        whole = await read(file, crm, plan_histories=plan)
        log = (tmp_path / "kept" / "read.jsonl").read_bytes().splitlines(keepends=True)
        batches = [n for n, line in enumerate(log) if b'"event":"batch"' in line]
        assert len(batches) == 3
        (tmp_path / "emails.deals.jsonl").unlink()
        shutil.copytree(tmp_path / "kept", folder)
        (folder / "read.jsonl").write_bytes(b"".join(log[: batches[0] + 1]))
        crm.requests.clear()
        result = await read(file, crm)
    assert result.contacts == whole.contacts
    assert crm.count("coql") == 1


async def test_two_audits_of_a_file_do_not_run_at_once(tmp_path: Path) -> None:
    world = make_world(3)
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:

        def plan(
            contacts: Contacts, stages: Mapping[str, ForecastType]
        ) -> Iterator[tuple[ContactFacts, list[str]]]:
            import anyio.from_thread  # noqa: PLC0415

            with pytest.raises(LockedError, match="auditing"):
                anyio.from_thread.run(read, file, crm)
            return iter(())

        await read(file, crm, plan_histories=plan)


Change = Callable[[Path, Path], None]
FILES = ("audit.json", "read.jsonl", "read.torn", "answers.jsonl", "emails.parquet", "to_read.txt")


def _link(name: str) -> Change:
    def change(folder: Path, outside: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(outside)

    return change


def _hard_link(name: str) -> Change:
    def change(folder: Path, outside: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).hardlink_to(outside)

    return change


def _pipe(name: str) -> Change:
    def change(folder: Path, outside: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        if sys.platform == "win32":
            pytest.skip("Windows has no named pipes in folders")
        else:
            os.mkfifo(folder / name)

    return change


def _line(line: bytes) -> Change:
    def change(folder: Path, outside: Path) -> None:
        with (folder / "read.jsonl").open("ab") as log:
            log.write(line + b"\n")

    return change


def _record(**fields: Any) -> Change:
    def change(folder: Path, outside: Path) -> None:
        record = json.loads((folder / "audit.json").read_bytes())
        (folder / "audit.json").write_bytes(msgspec.json.encode(record | fields))

    return change


CHANGES: dict[str, tuple[Change, str]] = {
    **{f"link-{name}": (_link(name), name) for name in FILES},
    **{f"hard-link-{name}": (_hard_link(name), name) for name in FILES},
    **{f"pipe-{name}": (_pipe(name), name) for name in FILES},
    "no-json": (_line(b"hello"), "read.jsonl:"),
    "not-utf-8": (_line(b'{"event":"\xff"}'), "read.jsonl:"),
    "nested": (_line(b'{"event":' + b"[" * 100_000), "read.jsonl:"),
    "long": (_line(b"x" * (3 << 20)), "read.jsonl"),
    "a-bad-id": (_line(b'{"event":"contact","contact_id":"x"}'), "read.jsonl:"),
    "many-contacts": (
        _line(json.dumps({"event": "batch", "contacts": ["1"] * 51}).encode()),
        "read.jsonl:",
    ),
    "a-huge-life": (_line(b'{"event":"timeline","deal_id":"1","life":1e40}'), "read.jsonl:"),
    "a-bad-deal": (
        _line(
            json.dumps(
                {"event": "deal", "contact_id": contact_id(0), "deal_id": "1", "deal": {"id": 5}}
            ).encode()
        ),
        "read.jsonl",
    ),
    "a-bad-time": (
        _line(
            json.dumps(
                {
                    "event": "deal",
                    "contact_id": contact_id(0),
                    "deal_id": "1",
                    "deal": {"id": "1", "created": 1e300},
                }
            ).encode()
        ),
        "read.jsonl",
    ),
    "record-address": (_record(api_url="http://["), "audit.json"),
    "record-field": (_record(left_out=["id from Deals"]), "audit.json"),
    "record-stages": (_record(stages={"Won": "great"}), "audit.json"),
    "record-old": (_record(started=1e9), "emails.csv.auditing"),
    "record-other-host": (_record(api_url="https://www.zohoapis.eu"), "emails.csv.auditing"),
    "record-other-field": (_record(number_field="Deal_Number"), ""),
}


@pytest.fixture(scope="module")
def stopped_reading(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a file and the folder of its reading, which stopped partway."""
    folder = tmp_path_factory.mktemp("stopped")

    async def stop_partway() -> None:
        file = make_world().write(folder / "emails.csv")
        async with serve(make_world()) as crm:
            await read(file, crm, job=Job(mappings=(), rate=None, max_credits=6))

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", str(folder / "state"))
        asyncio.run(stop_partway())
    return folder


@pytest.fixture
def unfinished(stopped_reading: Path, tmp_path: Path) -> Path:
    """Return a copy of the stopped reading."""
    return Path(shutil.copytree(stopped_reading, tmp_path, dirs_exist_ok=True))


@pytest.mark.parametrize(("change", "named"), CHANGES.values(), ids=CHANGES)
async def test_a_folder_that_was_tampered_with_is_refused(
    unfinished: Path, change: Change, named: str
) -> None:
    outside = unfinished / "outside"
    outside.write_bytes(b"mine\n")
    change(unfinished / "emails.csv.auditing", outside)
    options: dict[str, Any] = {} if named else {"number_field": "Other_Number"}
    async with serve(make_world()) as crm:
        with pytest.raises(RefusedError) as caught:
            await read(unfinished / "emails.csv", crm, **options)
    assert named in caught.value.where
    assert outside.read_bytes() == b"mine\n"
    assert not (unfinished / "emails.deals.jsonl").exists()


async def test_a_folder_of_another_reading_is_dropped_by_force(unfinished: Path) -> None:
    _record(started=1e9)(unfinished / "emails.csv.auditing", unfinished)
    async with serve(make_world()) as crm:
        result = await read(unfinished / "emails.csv", crm, force=True)
    assert result.inputs.complete
    assert result.inputs.header is not None
    assert result.inputs.header.read_at.year > 2020


async def test_a_folder_of_another_org_is_refused_until_it_is_removed(unfinished: Path) -> None:
    folder = unfinished / "emails.csv.auditing"
    _record(org={"id": "77", "name": "Other"})(folder, unfinished)
    async with serve(make_world()) as crm:
        for force in (False, True):
            with pytest.raises(WrongOrgError, match="Other") as refused:
                await read(unfinished / "emails.csv", crm, force=force)
            assert refused.value.where == str(folder)
            assert "remove the folder" in str(refused.value.advice)
        shutil.rmtree(folder)
        assert (await read(unfinished / "emails.csv", crm)).inputs.complete
