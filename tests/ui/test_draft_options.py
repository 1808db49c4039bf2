"""Options of a mapping on its page: what is read, what is kept, and names that are looked up."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from html import unescape
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import duckdb
import pytest

from bulklink.errors import ConfigError
from bulklink.models import Op
from bulklink.operations.environment import real_environment
from bulklink.ui.connections import Connections
from bulklink.ui.draft_form import form_fields, read_settings
from bulklink.ui.drafts import OWN_CONNECTION, DraftSettings
from bulklink.zoho.connection import Connection
from tests.e2e.command import TIMEOUT, Command
from tests.e2e.servers import ReceivedRequest, Reply, StandIn, hold_calls, serve_stand_in
from tests.e2e.world import PAT, UNKNOWN_ID, USERS, World
from tests.operations.local_crm import CONTACT, DEAL, OWNER, message
from tests.ui.form_client import PageClient, Shown, page_client
from tests.ui.test_connections import save

SETTINGS = {"op": "link", "on_invalid": "stop"}
ZOHO_HEADERS = ("Contact Name.id", "Owner.id", "Message Id", "Deal Name.id", "tier", "note")
OPTION_WORDS = ("--preset", "zoho", "--only", "tier=sure", "--keep", "tier")


def mapping(
    headers: Sequence[str] = ZOHO_HEADERS, tiers: Sequence[str] = ("sure", "sure", "look")
) -> bytes:
    """Return a CSV file with a tier and a note in each row."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(headers)
    for number, tier in enumerate(tiers):
        writer.writerow([CONTACT, OWNER, message(number), DEAL, tier, f"note {number}"])
    return file.getvalue().encode()


def field(shown: Shown, name: str) -> str:
    """Return what a field of the page shows."""
    area = re.search(
        rf'<textarea[^>]* name="{name}"[^>]*>\n?(.*?)</textarea>', shown.html, re.DOTALL
    )
    if area is not None:
        return unescape(area[1]).strip()
    menu = re.search(rf'<select[^>]* name="{name}"[^>]*>(.*?)</select>', shown.html, re.DOTALL)
    assert menu, f"no field {name}"
    chosen = re.search(r'<option value="([^"]*)" selected>', menu[1])
    return chosen[1] if chosen else ""


def problem_at(shown: Shown, name: str) -> str:
    """Return what the page says is wrong with a field."""
    assert f'aria-describedby="{name}-problem"' in shown.html, f"{name} is not marked"
    text = re.search(rf'id="{name}-problem">(.*?)</p>', shown.html, re.DOTALL)
    assert text
    return unescape(text[1])


def options_are_open(shown: Shown) -> bool:
    """Return whether the part with the options is open."""
    return re.search(r"<details open>\s*<summary>Options", shown.html) is not None


async def planned(command: Command, *options: str) -> dict[str, Any]:
    """Return what `bulklink plan` prints about mapping.csv."""

    def run() -> dict[str, Any]:
        with command.start("plan", "mapping.csv", "--json", *options) as process:
            printed: dict[str, Any] = json.loads(process.communicate(timeout=TIMEOUT)[0])
        return printed

    return await anyio.to_thread.run_sync(run)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[PageClient]:
    async with page_client(tmp_path / "runs") as running:
        yield running


async def test_the_digest_is_that_of_the_command_with_the_same_options(
    client: PageClient, tmp_path: Path
) -> None:
    uploaded = await client.upload(mapping())
    assert "use “Headers” (Zoho's exports too)" in uploaded.text
    shown = await client.check(uploaded, **SETTINGS, preset="zoho", only="tier=sure", keep="tier")
    (tmp_path / "mapping.csv").write_bytes(mapping())
    command = Command(tmp_path)
    expected = await planned(command, "--op", "link", *OPTION_WORDS)
    assert (expected["rows"], expected["messages"]) == (2, 2)
    assert shown.field("digest") == expected["digest"]
    everything = await planned(command, "--op", "link", "--preset", "zoho")
    assert everything["digest"] != expected["digest"]
    await client.post(f"{shown.path}/seal", digest=shown.field("digest"))
    (folder,) = (tmp_path / "runs").glob("[!.]*")
    record = json.loads((folder / "run.json").read_text())
    assert record["digest"] == expected["digest"]
    asked = {name: record["asked"][name] for name in ("preset", "only", "keep")}
    assert asked == {"preset": "zoho", "only": [["tier", "sure"]], "keep": ["tier"]}
    columns = duckdb.connect().execute(f"SELECT * FROM '{folder / 'plan.parquet'}'").description
    kept = [name for name, *_ in columns or ()]
    assert "tier" in kept
    assert "note" not in kept


async def test_none_of_the_own_columns_is_kept(client: PageClient, tmp_path: Path) -> None:
    shown = await client.upload(mapping())
    checked = await client.check(shown, **SETTINGS, preset="zoho", keep_none="yes")
    await client.post(f"{checked.path}/seal", digest=checked.field("digest"))
    (folder,) = (tmp_path / "runs").glob("[!.]*")
    assert json.loads((folder / "run.json").read_text())["asked"]["keep"] == []


async def test_the_options_are_closed_until_one_is_set(client: PageClient) -> None:
    shown = await client.upload(mapping(), op="link")
    assert "<summary>Options</summary>" in shown.html
    assert not options_are_open(shown)
    checked = await client.check(shown, **SETTINGS, preset="zoho", only="tier=sure\r\n\r\ntier")
    assert options_are_open(checked)
    assert field(checked, "preset") == "zoho"
    assert field(checked, "only") == "tier=sure\ntier"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("preset", "hubspot", "not a valid value for “Headers”"),
        ("only", "=sure", "has no header"),
        ("only", "\n".join("abcdefgh" * 10 for _ in range(51)), "50 lines at most"),
        ("keep", "x" * 201, "200 characters at most"),
        ("look_up_names", "nobody", "not a valid value for “Look up missing names”"),
        ("encoding", "x" * 201, "not a valid value for “Encoding”"),
        ("skip_lines", "999999999", "not a valid value"),
    ],
)
async def test_an_invalid_value_is_explained_at_its_field_and_kept(
    client: PageClient, name: str, value: str, text: str
) -> None:
    shown = await client.upload(mapping())
    refused = await client.post(f"{shown.path}/check", **SETTINGS | {name: value, "sheet": "Q3"})
    assert refused.status == 400
    assert text in problem_at(refused, name)
    assert f'href="#{name}"' in refused.html, "the top of the page leads to the field"
    assert 'name="sheet" value="Q3"' in refused.html, "nothing that was typed is lost"
    again = await client.get(shown.path)
    assert 'value="Q3"' not in again.html


async def test_columns_to_keep_and_none_exclude_each_other(client: PageClient) -> None:
    shown = await client.upload(mapping())
    refused = await client.post(f"{shown.path}/check", **SETTINGS, keep="tier", keep_none="yes")
    assert "not both" in problem_at(refused, "keep")
    assert options_are_open(refused)


@pytest.mark.parametrize(("name", "value"), [("only", "level=sure"), ("keep", "level")])
async def test_a_header_that_the_file_lacks_is_explained_at_its_field(
    client: PageClient, name: str, value: str
) -> None:
    shown = await client.upload(mapping())
    checked = await client.check(shown, **SETTINGS, preset="zoho", **{name: value})
    assert "no header 'level'" in problem_at(checked, name)
    assert options_are_open(checked)
    assert field(checked, name) == value
    assert "Choose the header of each column" not in checked.text
    assert "--" not in checked.text


async def test_markup_in_an_option_is_text(client: PageClient) -> None:
    evil = "</textarea><script>alert(1)</script>"
    shown = await client.upload(mapping())
    checked = await client.check(shown, **SETTINGS, preset="zoho", only=evil)
    assert "<script>alert" not in checked.html
    assert field(checked, "only") == evil


def test_a_form_sets_what_it_shows() -> None:
    settings = DraftSettings(
        op=Op.LINK,
        defaults=(("deal_id", "7"),),
        skip_lines=2,
        allow_round_ids=True,
        preset="zoho",
        only=(("a", "b=c"), ("d", None), ("e", "")),
        keep=("x", "y"),
        names_from="work",
        delimiter=";",
    )
    assert read_settings(form_fields(settings), profiles=["work"]) == settings
    nothing_kept = DraftSettings(keep=(), names_from=OWN_CONNECTION)
    assert read_settings(form_fields(nothing_kept)) == nothing_kept
    assert read_settings(form_fields(DraftSettings())) == DraftSettings()


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """Serve a CRM from a thread; its gate is open."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with serve_stand_in(World()) as server:
        yield server
        server.gate.set()


def connection_to(crm: StandIn) -> Connection:
    return Connection.from_values(
        api_url=crm.url,
        accounts_url=crm.url,
        client_id="demo",
        client_secret="demo",
        refresh_token="demo",
    )


@pytest.fixture
async def named(tmp_path: Path, crm: StandIn) -> AsyncIterator[PageClient]:
    """Serve a page with a CRM and a profile "work"."""
    folder = tmp_path / "config"
    save(folder, "work", crm.url)

    def connect(profile: str | None) -> Connection:
        if profile not in (None, "work"):
            raise ConfigError(f"There is no profile {profile}.")
        return connection_to(crm)

    connections = Connections(real_environment(), folder)
    async with page_client(tmp_path / "runs", connect, connections=connections) as running:
        yield running


def swaps(world: World, *, unknown: bool = False) -> bytes:
    """Return a mapping that moves the emails of deal a to deal b, and a free one to deal a."""
    contact = world.add(linked=2, free=1)
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(["op", "contact_id", "owner_id", "message_id", "deal_id", "from_deal_id"])
    for email in contact.linked:
        writer.writerow(["relink", contact.id, PAT, email.message, contact.b, contact.a])
    writer.writerow(["link", contact.id, PAT, contact.free[0].message, contact.a, ""])
    if unknown:
        writer.writerow(["link", contact.id, PAT, message(1), UNKNOWN_ID, ""])
    return file.getvalue().encode()


MIXED = {"op": "", "on_invalid": "stop"}


async def test_a_plan_shows_the_names_that_were_looked_up(
    named: PageClient, crm: StandIn, tmp_path: Path
) -> None:
    content = swaps(crm.world)
    shown = await named.upload(content, **MIXED)
    deal_a, deal_b = crm.world.deal_names().values()
    assert "Costs credits: at least 3, and up to 2 more" in shown.text, "said before"
    assert "With profile work" in shown.text
    assert deal_a not in shown.text
    assert not crm.requests
    checked = await named.check(shown, **MIXED, look_up_names="work")
    assert "4 names looked up" not in checked.text
    assert "3 names looked up in Stand-in for 3 credits" in checked.text
    contact = crm.world.contacts[0]
    row = f"{USERS[PAT]} {PAT} {deal_a} {contact.a} {deal_b} {contact.b}"
    assert row in checked.text, "owner, from and to"
    assert f"Owner Contacts Emails {USERS[PAT]} {PAT} 1 3" in checked.text
    assert "The plan lacks no name." in checked.text
    assert field(checked, "look_up_names") == "work"
    (tmp_path / "mapping.csv").write_bytes(content)
    command = Command(tmp_path).with_env(**crm.env())
    expected = await planned(command, "--look-up-names")
    assert checked.field("digest") == expected["digest"]
    assert expected["names"]["credits"] == 3
    await named.post(f"{checked.path}/seal", digest=checked.field("digest"))
    (folder,) = (tmp_path / "runs").glob("[!.]*")
    record = json.loads((folder / "run.json").read_text())
    assert (record["digest"], record["org"]["id"]) == (expected["digest"], "58")


async def test_a_deal_that_the_crm_does_not_show_is_a_refused_row(
    named: PageClient, crm: StandIn
) -> None:
    shown = await named.upload(swaps(crm.world, unknown=True), **MIXED)
    assert shown.can_seal
    checked = await named.check(shown, **MIXED, look_up_names=OWN_CONNECTION)
    assert "1 row is refused" in checked.text
    assert f"4 5 deal_id The CRM shows no deal {UNKNOWN_ID}." in checked.text
    assert not checked.can_seal


async def test_a_look_up_can_be_stopped(named: PageClient, crm: StandIn) -> None:
    shown = await named.upload(swaps(crm.world), **MIXED)
    crm.script = hold_calls(crm, "deals")
    started = await named.post(f"{shown.path}/check", **MIXED, look_up_names="work")
    assert "Stop the check" in started.text
    await anyio.to_thread.run_sync(crm.wait_until, lambda: bool(crm.in_flight.get("deals")))
    stopping = await named.post(f"{shown.path}/stop")
    assert "Stopping …" in stopping.text
    assert "Stop the check" not in stopping.text
    crm.gate.set()
    stopped = await named.checked(stopping)
    assert "The check was stopped. Check again to see the plan." in stopped.text
    assert not stopped.can_seal
    assert (await named.check(stopped, **MIXED)).can_seal


async def test_a_look_up_that_is_refused_is_explained(named: PageClient, crm: StandIn) -> None:
    async def refuse(request: ReceivedRequest) -> Reply | None:
        if request.kind != "deals":
            return None
        return Reply(403, {"code": "NO_PERMISSION", "message": "permission denied"})

    shown = await named.upload(swaps(crm.world), **MIXED)
    crm.script = refuse
    checked = await named.check(shown, **MIXED, look_up_names="work")
    assert "Without “Look up missing names” no connection is needed." in checked.text
    assert not checked.can_seal
    assert (await named.check(checked, **MIXED)).can_seal


async def test_a_connection_that_is_missing_is_explained_at_the_field(client: PageClient) -> None:
    shown = await client.upload(mapping())
    refused = await client.post(f"{shown.path}/check", **SETTINGS, look_up_names=OWN_CONNECTION)
    assert refused.status == 400
    assert "There is no connection for None" in problem_at(refused, "look_up_names")
