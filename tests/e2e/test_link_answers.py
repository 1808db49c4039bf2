"""For every answer of Zoho, each message gets a true status and the run ends as documented."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.audit import AuditedRun, Line, assert_crm_matches, audit_run
from tests.e2e.command import Command, free_rows, rows, write_mapping
from tests.e2e.servers import (
    ReceivedRequest,
    Reply,
    Script,
    StandIn,
    error,
    item_error,
    serve_stand_in,
)
from tests.e2e.world import Contact, World


def reply_from(number: int, kind: str, reply: Reply) -> Script:
    """Return a script that sends a reply from the nth request of a kind on."""

    async def script(request: ReceivedRequest) -> Reply | None:
        return reply if request.kind == kind and request.number >= number else None

    return script


@pytest.mark.parametrize(
    ("status", "code", "shown"),
    [
        (401, "OAUTH_SCOPE_MISMATCH", "scope"),
        (400, "FEATURE_NOT_SUPPORTED", "Standard"),
        (400, "AMBIGUITY_DURING_PROCESSING", "module"),
    ],
)
def test_a_fatal_code_stops_the_run_with_its_resolution(
    bulklink: Command, standin: StandIn, world: World, status: int, code: str, shown: str
) -> None:
    many = [world.add(free=20) for _ in range(6)]
    given = free_rows(many)
    standin.script = reply_from(3, "link", error(status, code))
    ended = bulklink.with_env(**standin.env())(
        "link",
        write_mapping(bulklink.folder / "m.csv", given),
        *("--json", "--concurrency", "1", "--run-dir", "here"),
    )
    assert ended.code == 3, ended
    run = audit_run(ended, bulklink.folder, 120)
    assert run.summary["stopped_by"] == "fatal"
    assert run.counts == {"done": 40, "pending": 80}
    assert len(standin.requests_of("link")) == 3
    assert code in ended.err
    assert shown.lower() in ended.err.lower()
    answers = (run.folder / "answers.jsonl").read_text("utf-8").splitlines()
    assert any(code in line for line in answers)
    assert_crm_matches(run, world.links(), standin.links())


def test_one_forbidden_contact_among_many_fails_alone(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    many = [world.add(free=3) for _ in range(5)]
    forbidden = many[0]

    async def forbid(seen: ReceivedRequest) -> Reply | None:
        here = seen.kind == "link" and seen.contact == forbidden.id
        return error(403, "NO_PERMISSION") if here else None

    standin.script = forbid
    given = free_rows(many)
    ended = bulklink.with_env(**standin.env())(
        "link", write_mapping(bulklink.folder / "m.csv", given), "--json"
    )
    assert ended.code == 1, ended
    run = audit_run(ended, bulklink.folder, 15)
    assert run.counts == {"done": 12, "failed": 3}
    assert {run.result(email.message)["code"] for email in forbidden.free} == {"NO_PERMISSION"}
    assert_crm_matches(run, world.links(), standin.links())


def test_a_profile_without_permission_stops_the_run(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    many = [world.add(free=3) for _ in range(8)]
    standin.script = reply_from(1, "link", error(403, "NO_PERMISSION"))
    given = free_rows(many)
    ended = bulklink.with_env(**standin.env()).run_in_subprocess(
        "link",
        write_mapping(bulklink.folder / "m.csv", given),
        *("--json", "--concurrency", "1"),
        timeout=20,
    )
    assert ended.code == 3, ended
    run = audit_run(ended, bulklink.folder, 24)
    assert run.summary["stopped_by"] == "fatal"
    assert run.counts == {"pending": 24}
    assert len(standin.requests_of("link")) == 3
    assert "NO_PERMISSION" in ended.err


def test_calls_wait_for_retry_after_and_one_second(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=1)
    refused = error(429, "TOO_MANY_REQUESTS")
    refused = Reply(429, refused.body, {"Retry-After": "1"})

    async def once(seen: ReceivedRequest) -> Reply | None:
        return refused if seen.kind == "link" and seen.number == 1 else None

    standin.script = once
    mapping = write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    ended = bulklink.with_env(**standin.env())("link", mapping, "--json")
    run = audit_run(ended, bulklink.folder, 1)
    assert run.counts == {"done": 1}
    first, second = standin.requests_of("link")
    assert second.at - first.at >= 1.9
    assert run.calls["retried"] == 1


def test_a_token_that_expires_is_refreshed_once_for_all_callers(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    many = [world.add(free=20) for _ in range(12)]
    given = free_rows(many)

    async def expire(seen: ReceivedRequest) -> Reply | None:
        if seen.kind == "token" and seen.number == 2:
            body = {"access_token": "fresh", "expires_in": 3600, "token_type": "Bearer"}
            return Reply(body={**body, "api_domain": standin.url})
        stale = seen.headers.get("Authorization") != "Zoho-oauthtoken fresh"
        return error(401, "INVALID_TOKEN") if seen.kind == "link" and stale else None

    standin.script = expire
    ended = bulklink.with_env(**standin.env())(
        "link", write_mapping(bulklink.folder / "m.csv", given), "--json"
    )
    run = audit_run(ended, bulklink.folder, 240)
    assert run.counts == {"done": 240}
    assert len(standin.requests_of("token")) == 2
    assert_crm_matches(run, world.links(), standin.links())


def test_answers_in_another_order_are_matched_by_message_id(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=12, linked=8)
    standin.shuffled = True
    mapping = write_mapping(bulklink.folder / "m.csv", rows(contact.emails, contact.b))
    ended = bulklink.with_env(**standin.env())("link", mapping, "--json")
    assert ended.code == 1, ended
    run = audit_run(ended, bulklink.folder, 20)
    assert run.counts == {"done": 12, "failed": 8}
    assert {run.result(email.message)["status"] for email in contact.linked} == {"failed"}
    assert_crm_matches(run, world.links(), standin.links())


Shape = Callable[[ReceivedRequest, int], Reply]


def _bad_alone(request: ReceivedRequest, bad: int) -> Reply:
    details = {"api_name": "linked_record.id", "json_path": f"Emails[{bad}].linked_record.id"}
    entry = {"status": "error", "code": "INVALID_DATA", "message": "bad", "details": details}
    return Reply(400, {"Emails": [[entry]]})


def _named_207(request: ReceivedRequest, bad: int) -> Reply:
    good = {"code": "SUCCESS", "message": "ok", "status": "success"}
    entries = [
        item_error("INVALID_DATA", message)
        if at == bad
        else {**good, "details": {"message_id": message}}
        for at, message in enumerate(request.messages)
    ]
    return Reply(207, {"Emails": entries[::-1]})


def _unnamed(request: ReceivedRequest, bad: int) -> Reply:
    good = {"code": "SUCCESS", "message": "ok", "status": "success", "details": {}}
    refused = {"code": "INVALID_DATA", "message": "bad", "status": "error", "details": {}}
    count = len(request.messages)
    return Reply(200, {"Emails": [refused if at == bad else good for at in range(count)]})


SHAPES: dict[str, Shape] = {
    "bad-alone": _bad_alone,
    "unnamed": _unnamed,
    "html": lambda *_: Reply(200, b"<html>maintenance</html>", kind="text/html"),
    "empty": lambda *_: Reply(200, b""),
    "no-entries": lambda *_: Reply(200, {"Emails": []}),
    "odd": lambda *_: Reply(200, ["?"]),
}
TROUBLE = {
    "500": error(500, "INTERNAL_ERROR"),
    "502-html": Reply(502, b"<html>bad gateway</html>", kind="text/html"),
    "503-empty": Reply(503, b""),
}
BAD = 1
"""The place of the email that an unclear answer refuses in its call."""


@dataclass(frozen=True)
class TroubledRun:
    """A run in which each contact's first call gets another kind of faulty answer."""

    run: AuditedRun
    standin: StandIn
    contacts: dict[str, Contact]

    def results(self, name: str) -> list[Line]:
        """Return the results of a contact."""
        contact_id = self.contacts[name].id
        return [line for line in self.run.results.values() if line["contact_id"] == contact_id]

    def check_statuses(self, name: str) -> None:
        """Check the statuses of a contact in the CRM."""
        now = self.standin.links()
        for line in self.results(name):
            if line["status"] in {"done", "unchanged"}:
                assert now[line["message_id"]] == line["deal_id"], line
            if line["status"] == "failed":
                assert now[line["message_id"]] != line["deal_id"], line


@pytest.fixture(scope="module")
def troubled_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TroubledRun]:
    """Run all faults concurrently, because settling each by a read takes two seconds."""
    world = World()
    unclear = {f"{name}-{how}": world.add(free=4) for name in SHAPES for how in ("applied", "lost")}
    late = {f"link-{name}": world.add(free=3) for name in TROUBLE}
    off = {f"unlink-{name}": world.add(linked=3) for name in TROUBLE}
    contacts = {**unclear, **late, **off}
    names = {contact.id: name for name, contact in contacts.items()}
    refused: dict[str, str] = {}

    async def script(request: ReceivedRequest) -> Reply | None:
        if request.kind not in {"link", "unlink"} or request.contact is None:
            return None
        name = names[request.contact]
        first = name not in refused
        refused.setdefault(name, request.messages[BAD])
        kind, _, how = name.rpartition("-")
        if name not in unclear:
            return TROUBLE[name.partition("-")[2]] if first else None
        if not first:
            return error(400, "INVALID_DATA") if request.messages == [refused[name]] else None
        if how == "applied":
            good = [contact for contact in request.messages if contact != refused[name]]
            server.deals.update(dict.fromkeys(good, contacts[name].a))
        return SHAPES[kind](request, BAD)

    mapping_rows = [
        line
        for name, contact in contacts.items()
        for line in rows(contact.emails, contact.a, op="unlink" if name in off else "link")
    ]
    with serve_stand_in(world) as server:
        server.script = script
        command = Command(tmp_path_factory.mktemp("muddle"), server.env())
        mapping = write_mapping(command.folder / "m.csv", mapping_rows)
        options = ("--json", "--concurrency", "25", "--settle-after", "2")
        result = command("run", mapping, *options)
        assert result.code in {0, 1}, result
        run = audit_run(result, command.folder, len(mapping_rows))
        yield TroubledRun(run, server, contacts)


@pytest.mark.parametrize("how", ["applied", "lost"])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_inconclusive_answer_is_settled_by_a_read(
    troubled_run: TroubledRun, shape: str, how: str
) -> None:
    troubled_run.check_statuses(f"{shape}-{how}")
    assert len(troubled_run.results(f"{shape}-{how}")) == 4
    if how == "applied":
        line_statuses = [line["status"] for line in troubled_run.results(f"{shape}-{how}")]
        assert line_statuses.count("failed") <= 1


@pytest.mark.parametrize("trouble", TROUBLE)
@pytest.mark.parametrize("op", ["link", "unlink"])
def test_server_errors_are_retried(troubled_run: TroubledRun, op: str, trouble: str) -> None:
    name = f"{op}-{trouble}"
    troubled_run.check_statuses(name)
    assert [line["status"] for line in troubled_run.results(name)] == ["done"] * 3
    assert {line["attempts"] for line in troubled_run.results(name)} == {2}
    here = troubled_run.contacts[name].id
    assert len([call for call in troubled_run.standin.requests_of(op) if call.contact == here]) == 2


def test_answers_that_are_not_a_clean_success_are_stored(troubled_run: TroubledRun) -> None:
    kept = (troubled_run.run.folder / "answers.jsonl").read_text("utf-8").splitlines()
    assert len(kept) >= len(troubled_run.contacts)
    assert all(isinstance(json.loads(line), dict) for line in kept)
    assert any("maintenance" in line for line in kept)


def test_a_multi_status_answer_names_its_messages(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=4)
    refused = ""

    async def script(seen: ReceivedRequest) -> Reply | None:
        nonlocal refused
        if seen.kind != "link":
            return None
        refused = seen.messages[2]
        standin.deals.update({one: contact.a for one in seen.messages if one != refused})
        return _named_207(seen, 2)

    standin.script = script
    mapping = write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    ended = bulklink.with_env(**standin.env())("link", mapping, "--json")
    assert ended.code == 1, ended
    run = audit_run(ended, bulklink.folder, 4)
    assert run.counts == {"done": 3, "failed": 1}
    assert run.result(refused)["code"] == "INVALID_DATA"
    assert_crm_matches(run, world.links(), standin.links())


def test_a_refused_call_is_halved_until_the_bad_email_is_isolated(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=8)
    bad = contact.free[5].message

    async def script(seen: ReceivedRequest) -> Reply | None:
        here = seen.kind == "link" and bad in seen.messages
        return error(400, "INVALID_DATA") if here else None

    standin.script = script
    mapping = write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    ended = bulklink.with_env(**standin.env())("link", mapping, "--json", "--settle-after", "0")
    assert ended.code == 1, ended
    run = audit_run(ended, bulklink.folder, 8)
    assert run.counts == {"done": 7, "failed": 1}
    assert run.result(bad)["status"] == "failed"
    assert_crm_matches(run, world.links(), standin.links())


@pytest.mark.parametrize("field", ["owner.name", "linked_record.name"])
@pytest.mark.parametrize(
    ("code", "options", "cure"),
    [
        ("INVALID_DATA", (), "with --no-names"),
        ("MANDATORY_NOT_FOUND", ("--no-names",), "without --no-names"),
    ],
)
def test_a_refused_or_missing_name_has_its_advice_in_every_output(
    bulklink: Command,
    standin: StandIn,
    world: World,
    code: str,
    options: tuple[str, ...],
    cure: str,
    field: str,
) -> None:
    contact = world.add(free=2)

    async def keep_to_one_schema(seen: ReceivedRequest) -> Reply | None:
        if seen.kind != "link":
            return None
        parent, key = field.split(".")
        items = seen.body["Emails"]
        if all((key in item[parent]) is (code == "MANDATORY_NOT_FOUND") for item in items):
            return None
        details = [{"api_name": key, "json_path": f"Emails[{n}].{field}"} for n in range(2)]
        errors = [
            [{"status": "error", "code": code, "message": "no", "details": detail}]
            for detail in details
        ]
        return Reply(400, {"Emails": errors})

    standin.script = keep_to_one_schema
    mapping = write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    command = bulklink.with_env(**standin.env())
    ended = command("link", mapping, "--run-dir", "here", *options)
    assert ended.code == 1, ended
    ledger = (bulklink.folder / "here/ledger.jsonl").read_text("utf-8")
    assert f"no (field {field})" in ledger
    assert cure in " ".join(ended.out.split())
    assert command("report", "here", "-o", "page.html").code == 0
    assert cure in (bulklink.folder / "page.html").read_text("utf-8")
    other = () if options else ("--no-names",)
    assert command("link", mapping, *other).code == 0


def test_a_documented_400_names_every_item_by_its_path(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact: Contact = world.add(free=2)

    async def script(seen: ReceivedRequest) -> Reply | None:
        if seen.kind != "link":
            return None
        paths = ["Emails[0].message_id", "Emails[1].linked_record.id"]
        codes = ["MANDATORY_NOT_FOUND", "INVALID_DATA"]
        return Reply(
            400,
            {
                "Emails": [
                    [
                        {
                            "status": "error",
                            "code": code,
                            "message": "no",
                            "details": {"api_name": path.split(".", 1)[1], "json_path": path},
                        }
                    ]
                    for code, path in zip(codes, paths, strict=True)
                ]
            },
        )

    standin.script = script
    mapping = write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    ended = bulklink.with_env(**standin.env())("link", mapping, "--json")
    assert ended.code == 1, ended
    run = audit_run(ended, bulklink.folder, 2)
    first, second = standin.requests_of("link")[0].messages
    assert run.result(first)["code"] == "MANDATORY_NOT_FOUND"
    assert run.result(second)["code"] == "INVALID_DATA"
    assert run.counts == {"failed": 2}
