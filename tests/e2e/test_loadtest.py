"""`bulklink loadtest` as a user runs it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aiohttp import web

from bulklink.cli.load_target import connection_to
from tests.e2e.command import Command, ensure_terminated, free_rows, interrupt, write_mapping
from tests.e2e.servers import Emulator, connection
from tests.e2e.world import Contact

SMALL = ("--world-messages", "800", "--world-contacts", "40", "--latency", "0.01", "--quiet")
KEYS = {
    *("version", "versions", "settings", "seed", "plan_digest", "machine", "target", "started"),
    *("phases", "series", "seconds", "messages", "calls", "retried", "asked_calls_per_second"),
    *("calls_per_second", "messages_per_second", "late", "dropped", "errors", "answered_429"),
    *("latency", "client", "limited_by", "thresholds", "cut_short", "stopped_by", "histogram"),
    *("run_dir", "exit_code"),
}


@contextmanager
def plain_server(delay: float) -> Iterator[str]:
    """Serve a server that knows nothing of the CRM, from a thread."""
    started, stop = threading.Event(), asyncio.Event()
    loop, urls = asyncio.new_event_loop(), []

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(delay)
        return web.json_response({"ok": True})

    async def serve() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        started.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert started.wait(20)
        yield urls[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()


def test_one_command_shows_the_figures_and_where_its_files_are(bulklink: Command) -> None:
    result = bulklink(
        *("loadtest", *SMALL, "--arrival-rate", "50", "--duration", "1s", "--warm-up", "0.2s"),
        *("--threshold", "p99 < 20s", "--threshold", "errors < 1%"),
    )
    assert result.code == 0, result.output
    shown = result.out
    assert len(shown.splitlines()) <= 20, "it fits on a screen"
    for text in ("load test: finished", "open model", "from intended start", "service time"):
        assert text in shown
    assert "of 50.0 asked" in shown
    assert "✓ p99 < 20s" in shown
    (folder,) = (bulklink.folder / "runs").glob("*-link-*")
    for name in ("loadtest.json", "report.html", "percentiles.hgrm", "ledger.jsonl"):
        assert (folder / name).stat().st_size, name
    status = bulklink("status", str(folder), "--check", "--json").object
    assert (status["state"], status["check"]["ok"]) == ("finished", True)


def test_json_is_the_content_of_the_file(bulklink: Command) -> None:
    options = ("--messages", "200", "--concurrency", "4", "--op", "unlink", "--json")
    result = bulklink("loadtest", *SMALL, *options)
    assert (result.code, result.err) == (0, ""), result
    content = result.object
    assert content.keys() == KEYS
    assert content == json.loads(
        (bulklink.folder / content["run_dir"] / "loadtest.json").read_text()
    )
    assert (content["messages"], content["calls"], content["errors"]) == (200, 10, {})
    assert content["settings"]["op"] == "unlink"
    assert content["target"]["url"] == "emulator"
    assert content["asked_calls_per_second"] is None
    assert content["latency"]["service"] == content["latency"]["intended"]


def test_a_missed_threshold_is_exit_code_1(bulklink: Command) -> None:
    options = ("--messages", "100", "--threshold", "p50 < 1ms")
    result = bulklink("loadtest", *SMALL, *options)
    assert result.code == 1
    assert "✗ p50 < 1ms" in result.out


def test_a_mapping_gets_a_world_of_its_own(bulklink: Command, contacts: list[Contact]) -> None:
    mapping = write_mapping(bulklink.folder / "mapping.csv", free_rows(contacts))
    options = ("--latency", "0.01", "--duration", "0.5s", "--concurrency", "2", "--quiet", "--json")
    for op in ("alternate", "unlink"):
        content = bulklink("loadtest", str(mapping), "--op", op, *options).object
        assert (content["exit_code"], content["errors"]) == (0, {}), content["errors"]
        assert content["messages"] > 0
        assert content["seed"] is None


def test_refused_rows_are_where_the_error_says(bulklink: Command, contacts: list[Contact]) -> None:
    mapping = write_mapping(bulklink.folder / "mapping.csv", free_rows(contacts))
    with mapping.open("a") as file:
        file.write("not-an-id,,\n")
    result = bulklink("loadtest", str(mapping), "--duration", "0.5s", "--quiet")
    assert result.code == 2, result.output
    (rejects,) = (bulklink.folder / "runs").glob("*/rejects.csv")
    assert str(rejects.relative_to(bulklink.folder)) in result.err


def test_a_server_that_is_no_crm_is_measured_too(bulklink: Command) -> None:
    with plain_server(delay=0.05) as url:
        content = bulklink(
            *("loadtest", *SMALL, "--own-server", url, "--duration", "1s", "--concurrency", "5"),
            "--json",
        ).object
    assert content["exit_code"] == 0
    assert content["target"] == {"url": url, "world_digest": None}
    assert 0.05 <= content["latency"]["service"]["p50"] < 0.5
    assert content["calls"] > 5
    assert content["errors"] == {"unnamed": content["calls"]}


def test_only_the_named_server_gets_the_credentials_of_the_environment() -> None:
    url, secret = "http://127.0.0.1:9", "1000.secret"
    env = connection(url, BULKLINK_ACCESS_TOKEN=secret)
    assert connection_to(url, None, env).access_token == secret
    assert connection_to(f"{url}/", None, env).access_token == secret
    for other in ("http://127.0.0.1:10", "https://127.0.0.1:9", "http://localhost:9"):
        assert connection_to(other, None, env).access_token == "demo"


def test_a_sandbox_gets_its_links_back(connected_command: Command, emulator: Emulator) -> None:
    with_links = [
        email for email in emulator.state()["world"]["emails"] if email["deal_id"] is not None
    ][:30]
    before = emulator.links()
    lines = ["contact_id,owner_id,message_id,deal_id"]
    lines += [
        f"{e['contact_id']},{e['owner_id']},{e['message_id']},{e['deal_id']}" for e in with_links
    ]
    mapping = connected_command.folder / "sandbox.csv"
    mapping.write_text("\n".join(lines) + "\n")
    result = connected_command(
        *("loadtest", str(mapping), "--environment", "sandbox", "--duration", "0.5s", "--quiet")
    )
    assert result.code == 0, result.output
    assert "set BULKLINK_ENVIRONMENT=sandbox, then put the links back with" in result.err
    after = emulator.links()
    assert {e["message_id"]: after[e["message_id"]] for e in with_links} == {
        e["message_id"]: before[e["message_id"]] for e in with_links
    }


def test_a_sandbox_whose_emails_cannot_be_unlinked_says_why(
    connected_command: Command, contacts: list[Contact]
) -> None:
    mapping = write_mapping(connected_command.folder / "mapping.csv", free_rows(contacts))
    refused = connected_command.with_env(BULKLINK_CLIENT_SECRET="wrong")
    result = refused(
        *("loadtest", str(mapping), "--environment", "sandbox", "--duration", "0.5s", "--quiet")
    )
    assert result.code == 3, result.output
    assert "could not all be unlinked: No access token was issued" in result.err


def test_ctrl_c_ends_with_the_figures_so_far(bulklink: Command) -> None:
    process = bulklink.start("loadtest", *SMALL[:-1], "--duration", "60s", "--progress", "lines")
    with ensure_terminated(process):
        runs = bulklink.folder / "runs"
        while not list(runs.glob("*/timeline.jsonl")):
            assert process.poll() is None
            threading.Event().wait(0.05)
        interrupt(process)
        out, err = process.communicate(timeout=40)
    assert process.returncode == 130, err
    assert "cut short (interrupted)" in out
    (result,) = runs.glob("*/loadtest.json")
    assert json.loads(result.read_text())["cut_short"] is True


def run_two(bulklink: Command) -> list[str]:
    folders = []
    for latency in ("0.01", "0.03"):
        options = ("--latency", latency, "--arrival-rate", "40", "--duration", "1s", "--json")
        folders.append(bulklink("loadtest", *SMALL, *options).object["run_dir"])
    return folders


def test_results_are_compared_and_merged(bulklink: Command) -> None:
    a, b = run_two(bulklink)
    compared = bulklink("loadtest", "--compare", a, b, "-o", "page.html", "--json").object
    assert compared.keys() >= {"verdict", "ratio", "interval", "smallest_visible", "rounds"}
    assert compared["rounds"] == 1
    assert "<html" in (bulklink.folder / "page.html").read_text()
    shown = bulklink("loadtest", "--compare", a, b, "--figure", "p50")
    assert (shown.code, "p50" in shown.out) == (0, True)
    refused = bulklink("loadtest", "--merge", a, b, "-o", "c.json")
    assert refused.code == 2
    assert "emulator of its own" in refused.err
    assert not (bulklink.folder / "c.json").exists()


def test_the_merged_result_of_clients_of_one_server_is_shown(bulklink: Command) -> None:
    with plain_server(delay=0.01) as url:
        options = ("--own-server", url, "--arrival-rate", "20", "--duration", "0.5s", "--json")
        first = bulklink("loadtest", *SMALL, *options).object["run_dir"]
    content = json.loads((bulklink.folder / first / "loadtest.json").read_text())
    (bulklink.folder / "second.json").write_text(json.dumps(content | {"seed": 2}))
    merged = bulklink("loadtest", "--merge", first, "second.json", "-o", "merged.json")
    assert merged.code == 0, merged.output
    assert "2 clients, open model, measured for 0.5 s" in merged.out
    assert "Merged result: merged.json" in merged.out
    assert "report.html" not in merged.out


def test_two_sets_of_options_run_in_turn(bulklink: Command) -> None:
    result = bulklink(
        *("loadtest", *SMALL, "--messages", "100", "--rounds", "1", "--figure", "p50"),
        *("--against", "--latency 0.2", "--json"),
    )
    content = result.object
    assert (content["rounds"], content["figure"]) == (1, "p50")
    assert content["ratio"] > 3
    assert len(list((bulklink.folder / "runs").glob("*/loadtest.json"))) == 2


def test_a_search_says_if_no_rate_meets_the_threshold(bulklink: Command) -> None:
    result = bulklink(
        *("loadtest", *SMALL, "--search", "p99 < 1ms", "--arrival-rate", "2"),
        *("--duration", "0.6s", "--json"),
    )
    content = result.object
    assert (result.code, content["ended"], content["rate"]) == (1, "never met", None)


BAD: dict[str, tuple[list[str], str, str]] = {
    "no such threshold": (["--threshold", "p98 < 1s"], "--threshold", "no known figure"),
    "no unit": (["--threshold", "p99 < 1"], "--threshold", "has no unit"),
    "a rate of 0": (["--arrival-rate", "0"], "--arrival-rate", "0"),
    "a ramp from 0": (["--ramp", "0..10:5s"], "--ramp", "not a valid value"),
    "a schedule longer than the duration": (
        ["--steps", "5,10:30s", "--duration", "20s"],
        "--duration",
        "takes 60 s",
    ),
    "two schedules": (
        ["--arrival-rate", "5", "--ramp", "1..2:3s"],
        "--arrival-rate, --ramp",
        "one schedule",
    ),
    "a rate above the limit": (["--arrival-rate", "5", "--rate", "2"], "--rate", "more than"),
    "production": (["--environment", "production"], "--environment", "production"),
    "production by its address": (
        ["--own-server", "https://www.zohoapis.eu"],
        "https://www.zohoapis.eu",
        "production",
    ),
    "an address of another kind": (
        ["--own-server", "ftp://crm"],
        "--own-server",
        "not an address",
    ),
    "two servers": (
        ["--environment", "sandbox", "--own-server", "http://127.0.0.1:9"],
        "--environment, --own-server",
        "one server",
    ),
    "two modes": (["--compare", "--merge"], "--compare, --merge", "one of them"),
    "one file to compare": (["--compare", "a.json"], "--compare", "in pairs"),
    "a missing file": (["--compare", "a.json", "b.json"], "a.json", "no such file"),
    "no output": (["--merge", "a.json", "b.json"], "--merge", "no file"),
    "an output of one load test": (["-o", "a.json"], "--output", "only used with --compare"),
    "rounds of one load test": (["--rounds", "3"], "--rounds", "only used with --against"),
    "a duration of files": (
        ["--compare", "a.json", "b.json", "--duration", "2s"],
        "--duration",
        "measures nothing",
    ),
    "one folder of several tests": (
        ["--search", "p99 < 1s", "--run-dir", "x"],
        "--run-dir",
        "folder of its own",
    ),
    "a threshold of a comparison": (
        ["--against", "--sync off", "--threshold", "p99 < 1s"],
        "--threshold",
        "for one",
    ),
    "a threshold of a search": (
        ["--search", "p99 < 1s", "--threshold", "errors < 1%"],
        "--threshold",
        "for one",
    ),
    "a threshold of B": (["--against", "--threshold 'p99 < 1s'"], "--against", "not options"),
    "production as B": (
        ["--against", "--environment production"],
        "--environment",
        "never measures a production",
    ),
    "two servers of B": (
        ["--own-server", "http://127.0.0.1:9", "--against", "--environment sandbox"],
        "--environment, --own-server",
        "one server",
    ),
    "no options of B": (["--against", ""], "--against", ""),
    "an option of the comparison": (["--against", "--rounds 3"], "--against", "not options"),
    "unknown options of B": (["--against", "--nonsense 3"], "", "nonsense"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_a_sentence_that_says_where(bulklink: Command, case: str) -> None:
    options, where, message = BAD[case]
    result = bulklink("loadtest", *options)
    assert result.code == 2, result.output
    assert where in result.err
    assert message in result.err
    assert not (bulklink.folder / "runs").exists()


def test_an_emulator_that_only_shows_its_help_has_not_started(bulklink: Command) -> None:
    result = bulklink("loadtest", *SMALL, "--messages", "20", "--emulator", "--help")
    assert "The local CRM did not start." in result.err, result.output


def test_a_server_that_is_not_there_is_an_error(bulklink: Command) -> None:
    result = bulklink("loadtest", *SMALL, "--own-server", "http://127.0.0.1:9", "--messages", "20")
    assert result.code == 3, result.output
    assert "nothing accepts connections there" in result.err


def test_files_of_other_versions_are_refused(bulklink: Command) -> None:
    (folder,) = {bulklink("loadtest", *SMALL, "--messages", "20", "--json").object["run_dir"]}
    content: dict[str, Any] = json.loads((bulklink.folder / folder / "loadtest.json").read_text())
    content["version"] = 99
    (bulklink.folder / "newer.json").write_text(json.dumps(content))
    result = bulklink("loadtest", "--compare", folder, "newer.json")
    assert result.code == 2
    assert "version 99" in result.err
