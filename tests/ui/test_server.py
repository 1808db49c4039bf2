"""The page over a socket: who is served, what each route does, what no answer contains."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from yarl import URL

from bulklink.errors import UsageError
from bulklink.operations.environment import real_environment
from bulklink.runs.folder import RunFolder, list_run_folders
from bulklink.runs.record import InputRecord, OrgRecord, RunState, UndoneBy
from bulklink.ui.activity import Activity
from bulklink.ui.commands import Commands
from bulklink.ui.server import serve_page
from bulklink.zoho.connection import Connection
from tests.guard import off_loop
from tests.operations.local_crm import EMAILS, LocalCrm
from tests.ui.page_client import PageAnswer, PageClient
from tests.ui.planned import activity_of, digest_of, seal_plan, wait_for_end

PAGES = ("/", "/assets/ui.css", "/assets/ui.js", "/runs/march", "/runs/march/state")
PAGES_WITH_REPORT = (*PAGES, "/runs/march/report", "/runs/march/export/rows.csv")
FORMS = ("apply", "resume", "retry", "verify", "stop", "answer", "cancel", "undo")
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@pytest.fixture
async def run(runs: Path) -> RunFolder:
    """A plan that waits for approval."""
    return await seal_plan(runs)


@pytest.fixture
async def finished(run: RunFolder, page: PageClient, commands: Commands) -> RunFolder:
    """The same, sent by the page."""
    await approve(page, run)
    await wait_for_end(commands, run)
    return run


async def approve(page: PageClient, run: RunFolder) -> PageAnswer:
    return await page.post("/runs/march/apply", digest=digest_of(run))


def check_headers(answer: PageAnswer) -> None:
    """Check what every answer carries, whatever it says."""
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    policy = answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy
    assert "unsafe" not in policy
    assert not {"Server", "Set-Cookie", "Access-Control-Allow-Origin"} & answer.headers.keys()


async def test_a_missing_folder_is_an_empty_page(page: PageClient, runs: Path) -> None:
    answer = await page.get("/")
    assert answer.status == 200
    assert "There is no run yet" in answer.text
    assert not await off_loop(runs.exists)


@pytest.mark.parametrize("path", PAGES_WITH_REPORT)
async def test_each_page_is_served_with_the_token(
    page: PageClient, run: RunFolder, path: str
) -> None:
    answer = await page.get(path)
    assert answer.status == 200
    check_headers(answer)


async def test_pages_run_only_their_own_files(page: PageClient, run: RunFolder) -> None:
    answer = await page.get("/runs/march")
    assert "script-src 'self'; style-src 'self'" in answer.headers["Content-Security-Policy"]
    assert not re.search(r"<script(?! src)|<style|\son\w+=|\sstyle=|javascript:", answer.text)


async def test_a_report_runs_only_what_its_hashes_allow(page: PageClient, run: RunFolder) -> None:
    answer = await page.get("/runs/march/report")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-scripts allow-downloads;"), "it has no origin"
    assert "style-src &#39;sha256-" in answer.text or "style-src 'sha256-" in answer.text


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({}, {}, 401),
        ({}, {"token": ""}, 401),
        ({}, {"token": "f" * 32}, 403),
        ({"Cookie": "token={token}"}, {}, 401),
        ({"Authorization": "Bearer {token}"}, {}, 401),
        ({"X-Bulklink-Token": "\u00fc"}, {}, 403),
        ({"Host": "evil.example"}, {"token": "{token}"}, 421),
        ({"Host": "evil.example:{port}"}, {"token": "{token}"}, 421),
        ({"Host": "[::1]:{port}"}, {"token": "{token}"}, 421),
        ({"Origin": "https://evil.example"}, {"token": "{token}"}, 403),
        ({"Origin": "null"}, {"token": "{token}"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}, {"token": "{token}"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}, {"token": "{token}"}, 403),
    ],
    ids=[
        "no token",
        "empty token",
        "yesterday's token",
        "cookie",
        "bearer",
        "no ASCII",
        "foreign host",
        "rebound name",
        "IPv6",
        "foreign origin",
        "null origin",
        "foreign fetch",
        "image of another port",
    ],
)
@pytest.mark.parametrize("path", [*PAGES_WITH_REPORT, "/nothing"])
async def test_everybody_else_is_refused_everywhere(
    page: PageClient,
    path: str,
    headers: dict[str, str],
    query: dict[str, str],
    status: int,
) -> None:
    def fill(values: dict[str, str]) -> dict[str, str]:
        known = {"{token}": page.token, "{port}": str(page.base.port)}
        for old, new in known.items():
            values = {key: value.replace(old, new) for key, value in values.items()}
        return values

    answer = await page.request("GET", path, headers=fill(headers), query=fill(query))
    assert answer.status == status
    assert page.token not in answer.text
    assert answer.headers["Content-Type"].startswith("text/plain")
    check_headers(answer)


@pytest.mark.parametrize("form", FORMS)
async def test_a_form_without_its_token_does_nothing(
    page: PageClient, run: RunFolder, commands: Commands, form: str
) -> None:
    path, digest = f"/runs/march/{form}", {"digest": digest_of(run)}
    in_query = await page.request("POST", path, query={"token": page.token}, data=digest)
    cookie = {"Cookie": f"token={page.token}"}
    in_cookie = await page.request("POST", path, headers=cookie, data=digest)
    wrong = await page.request("POST", path, data={**digest, "token": "f" * 32})
    assert [in_query.status, in_cookie.status, wrong.status] == [401, 401, 403]
    for answer in (in_query, in_cookie, wrong):
        check_headers(answer)
    assert commands.activity_of("march") is None


@pytest.mark.parametrize(
    ("origin", "site", "status"),
    [
        ("null", "same-origin", 303),
        ("{base}", "same-origin", 303),
        (None, None, 303),
        ("null", "cross-site", 403),
        ("null", None, 403),
        ("https://evil.example", None, 403),
        ("http://127.0.0.1:1", "same-site", 403),
        ("{base}", "same-site", 403),
        (None, "cross-site", 403),
    ],
)
async def test_a_form_is_taken_from_the_page_alone(
    page: PageClient, run: RunFolder, origin: str | None, site: str | None, status: int
) -> None:
    base = str(page.base).rstrip("/")
    headers = {"Origin": origin and origin.replace("{base}", base), "Sec-Fetch-Site": site}
    answer = await page.request(
        "POST",
        "/runs/march/apply",
        headers={name: value for name, value in headers.items() if value is not None},
        data={"token": page.token, "digest": digest_of(run)},
    )
    assert answer.status == status


async def test_a_program_may_send_the_token_in_a_header(page: PageClient, run: RunFolder) -> None:
    headers, data = {"X-Bulklink-Token": page.token}, {"digest": digest_of(run)}
    answer = await page.request("POST", "/runs/march/apply", headers=headers, data=data)
    assert answer.status == 303


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
async def test_other_methods_do_nothing(page: PageClient, method: str) -> None:
    headers = {"X-Bulklink-Token": page.token}
    answer = await page.request(method, "/runs/march/apply", headers=headers)
    assert answer.status == 405
    check_headers(answer)
    answer = await page.request(method, "/runs/march/apply", query={"token": page.token})
    assert answer.status == 401


@pytest.mark.parametrize(
    "data",
    [b"x" * 100_000, {"token": "x" * 100_000}, {"digest": "y" * 100_000}],
    ids=["no form", "long token", "long digest"],
)
async def test_a_large_form_is_refused(page: PageClient, run: RunFolder, data: Any) -> None:
    if isinstance(data, dict):
        data = {"token": page.token, **data}
    answer = await page.request("POST", "/runs/march/apply", data=data)
    assert answer.status in (401, 413)
    check_headers(answer)
    with_header = await page.request(
        "POST", "/runs/march/apply", data=data, headers={"X-Bulklink-Token": page.token}
    )
    assert with_header.status in (400, 413)
    check_headers(with_header)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"token"),
        ("multipart/form-data; boundary=x", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: x\r\n\r\nz\r\n--x--"),
        ("application/x-www-form-urlencoded; charset=nothing", b"token=x"),
        ("application/x-www-form-urlencoded", b"token=%ff\xff"),
        ("application/json", b'{"token": 1}'),
        ("nonsense", b"token=x"),
    ],
)
async def test_what_is_no_form_has_no_token(
    page: PageClient, run: RunFolder, content_type: str, body: bytes
) -> None:
    answer = await page.request(
        "POST", "/runs/march/apply", headers={"Content-Type": content_type}, data=body
    )
    assert answer.status in (401, 403)
    check_headers(answer)


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/runs/other",
        "/runs/..",
        "/runs/%2e%2e",
        "/runs/..%2fmarch",
        "/runs/%2e%2e%2f%2e%2e%2fetc",
        "/runs/march%00",
        "/runs/march%2freport",
        "/assets/base.css",
        "/assets/..%2frender.py",
        "/assets/%2e%2e%2f%2e%2e%2f__init__.py",
        "/runs/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    ],
)
async def test_an_unknown_address_is_not_found(page: PageClient, run: RunFolder, path: str) -> None:
    answer = await page.get(path)
    assert answer.status == 404
    assert "<script>" not in answer.text
    check_headers(answer)


@pytest.mark.parametrize("action", ["delete", "start", "close", "__init__", "%2e%2e", "state"])
async def test_an_unknown_action_is_not_found(
    page: PageClient, run: RunFolder, action: str
) -> None:
    assert (await page.post(f"/runs/march/{action}")).status in (404, 405)


async def test_an_approval_without_a_digest_is_refused(page: PageClient, run: RunFolder) -> None:
    answer = await page.post("/runs/march/apply")
    assert answer.status == 400
    assert "Nothing was approved" in answer.text
    check_headers(answer)


async def test_another_plan_is_refused_and_said_so(
    page: PageClient, run: RunFolder, commands: Commands, crm: LocalCrm
) -> None:
    await page.post("/runs/march/apply", digest="1" * 64)
    await wait_for_end(commands, run)
    shown = await page.get("/runs/march")
    assert 'role="alert"' in shown.text
    assert f"<code>{run.path}</code>" in shown.text
    assert "Approve and start" in shown.text
    assert crm.linked == 0


async def test_an_approved_plan_is_sent_watched_and_verified(
    page: PageClient, run: RunFolder, commands: Commands, crm: LocalCrm
) -> None:
    answer = await approve(page, run)
    assert answer.status == 303
    assert URL(answer.headers["Location"]).path == "/runs/march"
    check_headers(answer)
    await wait_for_end(commands, run)
    assert crm.linked == EMAILS
    shown = await page.get("/runs/march")
    assert "finished" in shown.text
    await page.post("/runs/march/verify")
    await wait_for_end(commands, run)
    assert "Verified 30 emails: 30 as recorded." in (await page.get("/runs/march")).text


@pytest.mark.parametrize(
    ("name", "content_type", "rows"),
    [("rows.csv", "text/csv", EMAILS), ("not-done.csv", "text/csv", 0)],
)
async def test_rows_with_their_results_are_downloaded(
    page: PageClient, finished: RunFolder, name: str, content_type: str, rows: int
) -> None:
    answer = await page.get(f"/runs/march/export/{name}")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith(content_type)
    disposition = answer.headers["Content-Disposition"]
    assert disposition == f"attachment; filename*=UTF-8''march-{name}"
    assert len(answer.text.splitlines()) == 1 + rows
    check_headers(answer)


@pytest.mark.parametrize("name", ["rows.html", "..%2frows.csv", "ledger.jsonl", "ROWS.CSV"])
async def test_nothing_else_is_downloaded(page: PageClient, run: RunFolder, name: str) -> None:
    assert (await page.get(f"/runs/march/export/{name}")).status == 404


async def test_a_second_start_is_a_conflict(
    page: PageClient, run: RunFolder, crm: LocalCrm
) -> None:
    crm.gate.clear()
    assert (await approve(page, run)).status == 303
    answer = await approve(page, run)
    assert answer.status == 409
    assert "works on this run already" in answer.text
    crm.gate.set()


async def test_an_undo_is_planned_and_shown(page: PageClient, finished: RunFolder) -> None:
    answer = await page.post("/runs/march/undo")
    assert answer.status == 303
    undo = await page.get(URL(answer.headers["Location"]).path)
    assert "Undo a run" in undo.text
    assert "Approve and start" in undo.text


@pytest.mark.parametrize("form", ["stop", "answer"])
async def test_without_a_command_there_is_nothing_to_do(
    page: PageClient, run: RunFolder, form: str
) -> None:
    answer = await page.post(f"/runs/march/{form}", question="1", confirmed="yes")
    assert answer.status == 409
    check_headers(answer)


async def test_a_command_that_ended_with_a_bug_is_shown(
    page: PageClient, run: RunFolder, commands: Commands
) -> None:
    await approve(page, run)
    (await wait_for_end(commands, run)).error = None
    assert (await page.get("/runs/march")).status == 200


async def test_a_window_gets_the_next_state_as_it_changes(
    page: PageClient, run: RunFolder, commands: Commands, crm: LocalCrm
) -> None:
    crm.gate.clear()
    await approve(page, run)
    first = json.loads((await page.get("/runs/march/state", after="-1")).text)
    assert first["active"] is True
    await crm.arrived.wait()
    crm.gate.set()
    state = first
    with anyio.fail_after(20):
        while state["active"]:
            answer = await page.get("/runs/march/state", after=str(state["version"]))
            state = json.loads(answer.text)
            check_headers(answer)
    assert state["state"] == "finished"
    assert state["counts"]["done"] == EMAILS


@pytest.mark.parametrize("after", ["", "x", "-5", "²", "9" * 5000, "<script>"])
async def test_a_strange_version_gets_the_state_at_once(
    page: PageClient, run: RunFolder, after: str
) -> None:
    with anyio.fail_after(10):
        assert (await page.get("/runs/march/state", after=after)).status == 200


async def test_a_damaged_run_is_listed_and_said_to_be_so(page: PageClient, runs: Path) -> None:
    run = await seal_plan(runs)
    await off_loop(run.record.write_text, "{")
    listed = await page.get("/")
    assert "cannot be read" in listed.text
    assert str(run.record) in listed.text
    shown = await page.get("/runs/march")
    assert shown.status == 409
    assert str(run.record) in shown.text
    assert "run.json is not valid" in shown.text
    check_headers(shown)


async def test_an_unexpected_error_says_nothing(
    runs: Path, commands: Commands, run: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Commands):
        def activity_of(self, name: str) -> Activity | None:
            raise ZeroDivisionError("a secret")

    broken = Broken(
        runs,
        lambda profile: Connection.from_values(api_url="http://127.0.0.1:1"),
        real_environment(),
    )
    async with serve_page(broken) as url, aiohttp.ClientSession() as session:
        answer = await PageClient(session, url).get("/runs/march")
    assert answer.status == 500
    assert "secret" not in answer.text
    check_headers(answer)
    assert "ZeroDivisionError" in caplog.text


HOSTILE = '</td><script>document.title="x"</script><img src=x onerror=alert(1)>\x07\u202e{{7*7}}'


@pytest.fixture
async def hostile(run: RunFolder) -> RunFolder:
    """A run whose record has markup and control characters in every field that takes a text."""

    def tamper() -> None:
        record = run.read()
        run.write(
            record.replace(
                op=HOSTILE,
                digest=HOSTILE,
                state=RunState.STOPPED,
                stopped_by=HOSTILE,
                reason=HOSTILE,
                org=OrgRecord(HOSTILE, HOSTILE, HOSTILE),
                inputs=(InputRecord(HOSTILE, HOSTILE, 1, 1),),
                undone_by=(UndoneBy(HOSTILE, record.created, record.created, RunState.STOPPED),),
            )
        )

    await off_loop(tamper)
    return run


@pytest.mark.parametrize("path", ["/", "/runs/march", "/runs/march/report"])
async def test_hostile_texts_are_shown_as_texts(
    page: PageClient, hostile: RunFolder, path: str
) -> None:
    answer = await page.get(path)
    assert answer.status in (200, 409)
    assert "<img src=x" not in answer.text
    assert '<script>document.title="x"' not in answer.text
    assert not {"\x07", "\u202e"} & set(answer.text)
    assert "49" not in re.sub(r"[0-9a-f]{20,}", "", answer.text) or "{{7*7}}" in answer.text


async def test_a_hostile_folder_name_is_a_name(page: PageClient, runs: Path) -> None:
    name = 'a"><script>alert(1)</script>&?#%2e'
    await seal_plan(runs, name.replace("/", "\u2215"))
    listed = await page.get("/")
    assert "<script>alert" not in listed.text
    link = re.search(r'href="(/runs/[^"?]+)\?', listed.text)
    assert link is not None
    assert (await page.get(link[1])).status == 200


async def test_no_answer_has_a_secret_or_an_absolute_path(
    runs: Path, finished: RunFolder, page: PageClient, commands: Commands, tmp_path: Path
) -> None:
    """The user chose the folder of the page and, when it was planned, the mapping."""
    (source,) = (await off_loop(finished.read)).inputs
    mapping = source.name
    undo = await page.post("/runs/march/undo")
    paths = [*PAGES_WITH_REPORT, URL(undo.headers["Location"]).path]
    answers = [await page.get(path) for path in paths]
    answers += [await page.post(f"/runs/march/{form}") for form in ("apply", "stop", "answer")]
    for answer in answers:
        text = answer.text.replace(str(runs), "").replace(mapping, "")
        assert str(tmp_path) not in text
        assert "client_secret" not in text
        assert "demo" not in text
    assert activity_of(commands, finished).error is None


async def test_a_taken_port_is_a_usage_error(commands: Commands) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match="Cannot serve the page") as raised:
            async with serve_page(commands, port):
                pytest.fail("the port is taken")
    assert raised.value.where == f"127.0.0.1:{port}"
    assert "port" in raised.value.advice


async def test_each_page_has_a_token_of_128_bits_of_its_own(commands: Commands) -> None:
    async with serve_page(commands) as one, serve_page(commands) as other:
        tokens = [URL(url).query["token"] for url in (one, other)]
    assert [len(bytes.fromhex(token)) for token in tokens] == [16, 16]
    assert tokens[0] != tokens[1]


async def test_the_page_is_served_to_this_machine_alone(commands: Commands) -> None:
    async with serve_page(commands) as url:
        assert URL(url).host == "127.0.0.1"


@pytest.fixture
async def undecoded(runs: Path, run: RunFolder) -> str:
    """Rename the run to a name that is not UTF-8; return its name in addresses."""
    name = os.fsdecode(b"caf\xe9 %41")
    try:
        await off_loop(run.path.rename, runs / name)
    except OSError:
        pytest.skip("this file system has only names in Unicode")
    return "caf%E9%20%2541"


@pytest.mark.skipif(sys.platform == "win32", reason="names of files are Unicode there")
async def test_a_run_whose_name_is_not_utf_8_is_listed_and_works(
    page: PageClient, undecoded: str, commands: Commands, runs: Path, crm: LocalCrm
) -> None:
    listed = await page.get("/")
    assert listed.status == 200
    assert f"/runs/{undecoded}?token=" in listed.text
    assert "caf\\udce9 %41" in listed.text
    (folder,) = await off_loop(list_run_folders, runs)
    base = f"/runs/{undecoded}"
    applied = await page.post(f"{base}/apply", digest=digest_of(folder))
    assert applied.status == 303
    assert applied.headers["Location"].startswith(f"{base}?token=")
    await wait_for_end(commands, folder)
    assert crm.linked == EMAILS
    shown = await page.get(base)
    assert shown.status == 200
    assert f'action="{base}/verify"' in shown.text
    ticket = re.search(r'href="([^"]*/report\?ticket=[0-9a-f]+)"', shown.text)
    assert ticket is not None
    assert (await page.request("GET", ticket[1])).status == 200
    for path in ("/state", "/failures", "/report"):
        assert (await page.get(base + path)).status == 200, path
    exported = await page.get(f"{base}/export/rows.csv")
    assert exported.headers["Content-Disposition"].endswith("''caf%5Cxe9%20%2541-rows.csv")
    undo = await page.post(f"{base}/undo")
    assert undo.status == 303
    undone = commands.find(undo.headers["Location"].split("?")[0].removeprefix("/runs/"))
    assert undone is not None
    await page.post(f"/runs/{undone.path.name}/apply", digest=digest_of(undone))
    assert (await wait_for_end(commands, undone)).error is None
    assert crm.linked == 0
    assert (await page.get(base)).status == 200
    assert (await page.get(f"/runs/{undone.path.name}")).status == 200


@pytest.mark.parametrize("name", ["%ff", "caf%e9", "%ED%B3%A9"])
async def test_no_other_bytes_are_the_name_of_a_run(
    page: PageClient, run: RunFolder, name: str
) -> None:
    answer = await page.get(f"/runs/{name}")
    assert answer.status == 404
    check_headers(answer)
