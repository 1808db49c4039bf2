"""Every command escapes control characters in texts from any source."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import pytest

from tests.e2e.command import Command, CommandResult, row, rows, write_mapping
from tests.e2e.servers import ReceivedRequest, Reply, StandIn
from tests.e2e.world import Contact, World
from tests.hostile_text import HOSTILE, find_acting_characters, without_styles

FILE = HOSTILE.replace("/", "").replace("\0", "")[:80]
"""A name of a file that acts."""


def assert_harmless(result: CommandResult) -> None:
    """Check that the screen has no control characters except line breaks and our own styles."""
    shown = without_styles(result.output).replace("\r\n", "\n")
    assert find_acting_characters(shown) == [], shown
    assert "error: faked" not in shown.splitlines()
    if result.out.startswith("{"):
        json.loads(result.out)


def hostile_pages(request: ReceivedRequest, contact: Contact) -> Reply | None:
    """Answer each request with texts that have control characters."""
    match request.kind:
        case "org":
            org = {"id": "58", "company_name": HOSTILE, "type": HOSTILE}
            return Reply(200, {"org": [{**org, "license_details": {"paid_type": HOSTILE}}]})
        case "users":
            users = [{"id": email.owner, "full_name": HOSTILE} for email in contact.emails]
            return Reply(200, {"users": users, "info": {"more_records": False}})
        case "deals":
            deals = [{"id": d, "Deal_Name": HOSTILE} for d in request.query["ids"].split(",")]
            return Reply(200, {"data": deals, "info": {"more_records": False}})
        case "read":
            deal = {"id": contact.a, "name": HOSTILE, "module": {"api_name": "Deals", "id": "5"}}
            owner = {"id": contact.free[0].owner, "name": HOSTILE}
            emails = [
                {"message_id": e.message, "linked_record": deal, "owner": owner, "subject": HOSTILE}
                for e in contact.emails
            ]
            return Reply(200, {"Emails": emails, "info": {"more_records": False}})
        case "link":
            error = {"code": HOSTILE, "message": HOSTILE, "status": "error", "details": {}}
            return Reply(400, {"Emails": [[error]]})
    return None


@pytest.fixture
def hostile_crm(standin: StandIn, world: World) -> tuple[StandIn, Contact]:
    """Return a CRM whose texts have control characters, and its contact."""
    contact = world.add(free=1, linked=1)

    async def script(request: ReceivedRequest) -> Reply | None:
        return hostile_pages(request, contact)

    standin.script = script
    return standin, contact


def test_control_characters_of_a_server_are_escaped_in_every_command(
    bulklink: Command, hostile_crm: tuple[StandIn, Contact]
) -> None:
    standin, contact = hostile_crm
    command = bulklink.with_env(**standin.env())
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.b))
    (bulklink.folder / "ids.txt").write_text(f"contact_id\n{contact.id}\n")
    message = contact.free[0].message
    commands: Sequence[tuple[str, ...]] = (
        ("link", "m.csv", "--run-dir", "run", "-v", "--canary", "0"),
        ("status", "run"),
        ("status", "run", "--json"),
        ("history", message),
        ("history", message, "--json"),
        ("verify", "run"),
        ("retry", "run", "-v"),
        ("report", "run", "-o", "page.html"),
        ("export", "run", "-o", "out.csv"),
        ("fetch", "--contacts", "ids.txt", "-o", "fetched.csv"),
        ("plan", "--op", "link", "m.csv", "--compare-with", "fetched.csv"),
    )
    for arguments in commands:
        assert_harmless(command(*arguments))
        assert_harmless(command.run_at_terminal("y\n" * 3, *arguments))
    page = (bulklink.folder / "page.html").read_text("utf-8")
    content = re.sub(r"<(script|style)>.*?</\1>", "", page, flags=re.DOTALL)  # our own
    assert find_acting_characters(content, allowed="\n") == []
    assert "owned" in content
    assert "<b>" not in content


@pytest.mark.parametrize(
    "arguments",
    [
        ("link", FILE),
        ("plan", "--op", HOSTILE.replace("\0", ""), "m.csv"),
        ("link", "m.csv", f"--{FILE}", "x"),
        (FILE,),
        ("link", "m.csv", "--run-dir", f"no/{FILE}/x"),
        ("status", FILE),
        ("resume", FILE),
        ("run", FILE),
        ("report", FILE),
        ("history", FILE),
        ("link", "m.csv", "--profile", FILE),
        ("auth", "status", "--profile", FILE),
        ("link", "m.csv", "--only", FILE),
        ("link", "m.csv", "--log", f"no/{FILE}"),
        ("export", "run", "-o", f"no/{FILE}"),
        ("generate", "--messages", FILE, "--contacts", "1", "--out", FILE),
        ("emulator", "--world", FILE),
        ("completion", FILE),
    ],
    ids=lambda arguments: " ".join(arguments)[:30].encode("ascii", "backslashreplace").decode(),
)
@pytest.mark.parametrize("options", [(), ("--json",)], ids=["", "json"])
def test_control_characters_of_options_are_escaped(
    connected_command: Command, arguments: tuple[str, ...], options: tuple[str, ...]
) -> None:
    result = connected_command(*arguments, *options)
    assert result.code, result
    assert_harmless(result)


@pytest.mark.parametrize(
    "name",
    [
        *("DC", "ENVIRONMENT", "API_URL", "ACCOUNTS_URL", "ACCESS_TOKEN", "CLIENT_ID"),
        *("CLIENT_SECRET", "REFRESH_TOKEN", "DEALS_MODULE_ID", "PROFILE", "RATE", "GROUP_BY"),
        *("JSON", "RUNS_DIR"),
    ],
)
def test_control_characters_of_environment_variables_are_escaped(
    connected_command: Command, contact: Contact, name: str
) -> None:
    write_mapping(connected_command.folder / "m.csv", rows(contact.free[:1], "7"))
    result = connected_command.with_env(**{f"BULKLINK_{name}": HOSTILE.replace("\0", "")})(
        "link", "m.csv"
    )
    assert result.code, result
    assert_harmless(result)


@pytest.mark.parametrize(
    "line",
    [
        "{hostile} = 1",
        "[{hostile}]\nx = 1",
        "op = {hostile}",
        "mapping = {hostile}",
        'mapping = "m.csv"\nop = "link"\nrate = {hostile}',
        'mapping = "m.csv"\nop = "link"\nprofile = {hostile}',
        'mapping = "m.csv"\nop = "link"\ncolumn = [{hostile}]',
        "\x1b[2J = ",
        "mapping = [\x1b]0;x\x07",
    ],
)
def test_control_characters_of_a_job_file_are_escaped(
    connected_command: Command, line: str
) -> None:
    hostile = json.dumps(HOSTILE, ensure_ascii=True)
    job = connected_command.folder / "job.toml"
    job.write_text(line.replace("{hostile}", hostile), "utf-8")
    result = connected_command("run", "job.toml")
    assert result.code == 2, result
    assert_harmless(result)


@pytest.mark.parametrize("column", ["contact_id", "owner_id", "message_id", "deal_id", "Note"])
def test_control_characters_of_a_mapping_are_escaped(
    connected_command: Command, contact: Contact, column: str
) -> None:
    given = [{**row(contact.free[0], contact.a), column: HOSTILE.replace("\0", "")}]
    write_mapping(connected_command.folder / "m.csv", given)
    assert_harmless(connected_command("plan", "--op", "link", "m.csv"))
    header = HOSTILE.replace("\0", "")
    renamed = {header if key == column else key: cell for key, cell in given[0].items()}
    write_mapping(connected_command.folder / "n.csv", [renamed])
    assert_harmless(connected_command("plan", "--op", "link", "n.csv"))
