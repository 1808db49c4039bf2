"""The run folder is private, complete, readable by other programs and free of secrets."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable, Mapping

import pytest

from tests.e2e.audit import audit_run, find_secrets, mode
from tests.e2e.command import TIMEOUT, Command, ensure_terminated, row, rows, write_mapping
from tests.e2e.servers import REFRESH, SECRET, TOKEN, ReceivedRequest, Reply, Script, StandIn
from tests.e2e.world import Contact, World

SECRETS = (TOKEN, SECRET, REFRESH)


def test_the_folder_is_private_and_kept_out_of_git(
    connected_command: Command, contact: Contact
) -> None:
    write_mapping(connected_command.folder / "m.csv", rows(contact.free[:2], contact.a))
    run = audit_run(connected_command("link", "m.csv", "--json"), connected_command.folder, 2)
    assert mode(run.folder) == 0o700
    files = {file.name: mode(file) for file in run.folder.iterdir()}
    assert {".gitignore", "run.json", "plan.parquet", "ledger.jsonl"} <= set(files)
    assert set(files.values()) == {0o600}, files
    assert "*" in (run.folder / ".gitignore").read_text("utf-8").split()


def test_run_json_has_the_options_and_the_org(connected_command: Command, contact: Contact) -> None:
    mapping = write_mapping(connected_command.folder / "m.csv", rows(contact.free[:2], contact.a))
    run = audit_run(connected_command("link", "m.csv", "--json"), connected_command.folder, 2)
    text = (run.folder / "run.json").read_text("utf-8")
    kept = json.loads(text)
    assert kept["state"] == "finished"
    assert {"stopped_by", "counts", "version", "org", "invocations"} <= set(kept)
    assert hashlib.sha256(mapping.read_bytes()).hexdigest() in text
    assert connected_command.env["BULKLINK_API_URL"] in text
    assert kept["org"]["type"] == "Sandbox"
    assert len(kept["invocations"]) == 1


def test_the_plan_holds_every_valid_row_with_the_users_own_columns(
    connected_command: Command, contact: Contact
) -> None:
    given = [
        *rows(contact.free[:4], contact.a, Note="keep, me", Größe="1"),
        row(contact.free[0], contact.a, Note="again"),
        row(contact.free[5], "x", Note="refused"),
    ]
    write_mapping(connected_command.folder / "m.csv", given)
    result = connected_command("link", "m.csv", "--json", "--on-invalid", "skip")
    run = audit_run(result, connected_command.folder, 6)
    assert run.counts == {"done": 4, "duplicate": 1, "rejected": 1}
    assert run.results[5]["duplicate_of"] == 1
    assert sorted(note for (note,) in run.plan("Note")) == ["again", *["keep, me"] * 4]
    assert len(run.plan("Größe")) == 5
    assert len(run.plan()) == 5
    rejects = (run.folder / "rejects.csv").read_text("utf-8")
    assert "bad-id" in rejects
    assert "refused" in rejects


def test_fixed_rejects_are_a_mapping(connected_command: Command, contact: Contact) -> None:
    given = [row(contact.free[0], contact.a), row(contact.free[1], "x", Note="a,b")]
    write_mapping(connected_command.folder / "m.csv", given)
    first = audit_run(
        connected_command("link", "m.csv", "--json", "--on-invalid", "skip"),
        connected_command.folder,
        2,
    )
    text = (first.folder / "rejects.csv").read_text("utf-8")
    (connected_command.folder / "mended.csv").write_text(
        text.replace(",x,", f",{contact.a},", 1), "utf-8"
    )
    again = audit_run(
        connected_command("link", "mended.csv", "--json"), connected_command.folder, 1
    )
    assert again.counts == {"done": 1}


def _error_reply(text: str) -> Reply:
    entry = {"code": "INVALID_DATA", "message": text, "status": "error", "details": {"x": text}}
    return Reply(400, entry)


_ESCAPES: tuple[Callable[[str], str], ...] = (
    lambda text: "".join(f"\\u{ord(c):04x}" for c in text),
    lambda text: "".join(f"%{ord(c):02x}" for c in text),
    lambda text: b64encode(text.encode()).decode()[:16],
)


async def _as_documented(_: ReceivedRequest) -> Reply | None:
    return None


async def _echo(request: ReceivedRequest) -> Reply | None:
    text = f"refused {request.headers.get('Authorization')} {request.body}"
    return _error_reply(text) if request.kind == "link" else None


async def _name_all(request: ReceivedRequest) -> Reply | None:
    return _error_reply(" ".join(SECRETS)) if request.kind == "link" else None


async def _name_all_in_escapes(request: ReceivedRequest) -> Reply | None:
    escaped = "".join(f"\\u{ord(c):04x}" for c in " ".join(SECRETS))
    body = f'{{"code":"INVALID_DATA","message":"{escaped}","details":{{"x":"{escaped}"}}}}'
    return Reply(400, body.encode()) if request.kind == "link" else None


async def _name_all_encoded(request: ReceivedRequest) -> Reply | None:
    text = " ".join(SECRETS)
    percent = "".join(f"%{ord(c):02x}" for c in text)
    code = [*text]
    reply = {"code": percent, "message": b64encode(text.encode()).decode(), "details": code}
    return Reply(400, reply) if request.kind == "link" else None


async def _echo_html(request: ReceivedRequest) -> Reply | None:
    page = f"<p>{request.headers.get('Authorization')} {request.body}</p>".encode()
    return Reply(200, page, kind="text/html") if request.kind != "token" else None


async def _echo_token(request: ReceivedRequest) -> Reply | None:
    if request.kind != "token":
        return None
    return Reply(400, {"error": "Access Denied", "error_description": request.body})


@pytest.mark.parametrize(
    ("script", "options", "env"),
    [
        (_as_documented, ("--debug", "-v"), {}),
        (_echo, ("--debug", "-v"), {}),
        (_echo, (), {"BULKLINK_ACCESS_TOKEN": TOKEN}),
        (_name_all, (), {}),
        (_name_all_in_escapes, ("--debug", "-v"), {}),
        (_name_all_encoded, ("--debug", "-v"), {}),
        (_echo_html, ("--debug",), {}),
        (_echo_token, ("--debug",), {}),
    ],
    ids=[
        "success",
        "refused",
        "refused-with-a-given-token",
        "all-named",
        "escaped",
        "encoded",
        "html",
        "no-token",
    ],
)
def test_no_secret_is_in_any_file_or_output(
    bulklink: Command,
    standin: StandIn,
    world: World,
    script: Script,
    options: tuple[str, ...],
    env: Mapping[str, str],
) -> None:
    contact = world.add(free=2)
    standin.script = script
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    command = bulklink.with_env(**standin.env(**env))
    quick = ("--settle-after", "0", *options)
    with ensure_terminated(command.start("link", "m.csv", "--run-dir", "x", *quick)) as process:
        out, err = process.communicate(timeout=TIMEOUT)
    assert standin.requests_of("token") or env
    notations = [*SECRETS, *(escape(s) for s in SECRETS for escape in _ESCAPES)]
    assert not find_secrets(out + err, *notations)
    for file in (bulklink.folder / "x").iterdir():
        assert not find_secrets(file.read_bytes(), *notations), file


@pytest.mark.parametrize("secret", ["demo", SECRET], ids=["short", "long"])
def test_a_name_that_contains_a_secret_is_sent_and_recorded_unchanged(
    bulklink: Command, standin: StandIn, world: World, secret: str
) -> None:
    contact = world.add(linked=1)
    name = f"Product {secret}"

    async def rename(request: ReceivedRequest) -> Reply | None:
        if request.kind == "deals":
            deals = [{"id": deal, "Deal_Name": name} for deal in request.query["ids"].split(",")]
            return Reply(200, {"data": deals, "info": {"more_records": False}})
        if request.kind == "read" and request.number == 1:
            deal = {"id": contact.a, "name": name, "module": {"api_name": "Deals", "id": "5"}}
            email = {"message_id": contact.linked[0].message, "linked_record": deal}
            return Reply(200, {"Emails": [email], "info": {"more_records": False}})
        return None

    standin.script = rename
    write_mapping(bulklink.folder / "m.csv", rows(contact.linked, contact.b))
    env = standin.env(BULKLINK_CLIENT_SECRET=secret)
    run = audit_run(
        bulklink.with_env(**env)("relink", "m.csv", "--json", "--canary", "0"), bulklink.folder, 1
    )
    (request,) = standin.requests_of("link")
    assert [item["linked_record"]["name"] for item in request.body["Emails"]] == [name]
    assert run.result(contact.linked[0].message)["previous_deal_name"] == name
