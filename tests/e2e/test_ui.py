"""`bulklink ui` as a process: its address, its port, its end, and what it tells about its token."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bulklink import Job, Op, plan
from tests.e2e.audit import audit_run
from tests.e2e.command import (
    Command,
    CommandResult,
    ensure_terminated,
    free_rows,
    wait_for_exit,
    write_mapping,
)
from tests.e2e.servers import StandIn, hold_calls
from tests.e2e.world import World

CALLS, HELD = 12, 3


class Ui:
    """A running `bulklink ui`.

    Args:
        process: the command.
        url: the address that it printed.
    """

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url
        self.token = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["token"][0]

    def get(self, path: str = "/") -> str:
        """Return a page."""
        address = urllib.parse.urljoin(self.url, f"{path}?token={self.token}")
        with urllib.request.urlopen(address, timeout=20) as answer:
            return str(answer.read(), "utf-8")

    def post(self, path: str, **form: str) -> None:
        """Send a form."""
        data = urllib.parse.urlencode({"token": self.token, **form}).encode()
        with urllib.request.urlopen(urllib.parse.urljoin(self.url, path), data, 20) as answer:
            assert answer.status == 200

    def end(self) -> CommandResult:
        """Wait for its end."""
        return wait_for_exit(self.process)


@contextmanager
def serving(command: Command, *options: str) -> Iterator[Ui]:
    """Start the page, and yield it once it has printed its address."""
    with ensure_terminated(command.start("ui", *options)) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, wait_for_exit(process)
        yield Ui(process, json.loads(line)["url"])


def plan_run(bulklink: Command, world: World) -> str:
    """Seal a plan of 12 calls, one at a time, and return its digest."""
    contacts = [world.add(free=20) for _ in range(CALLS)]
    mapping = write_mapping(bulklink.folder / "m.csv", free_rows(contacts))
    job = Job(
        mappings=(str(mapping),),
        op=Op.LINK,
        run_dir=bulklink.folder / "runs" / "march",
        concurrency=1,
        rate=None,
        canary=0,
        settle_after=0.0,
    )
    return str(plan(job).digest)


def test_the_page_lives_until_it_is_ended(bulklink: Command) -> None:
    with serving(bulklink, "--no-browser") as ui:
        assert "There is no run yet" in ui.get()
        assert "There is no run yet" in ui.get()
        ui.process.terminate()
        result = ui.end()
    assert (result.code, result.out) == (0, "")
    assert not (bulklink.folder / "runs").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals to a process")
@pytest.mark.parametrize(
    ("sent", "stopped_by"),
    [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_its_end_stops_its_runs_gently_and_a_terminal_resumes_them(
    bulklink: Command, standin: StandIn, world: World, sent: signal.Signals, stopped_by: str
) -> None:
    digest = plan_run(bulklink, world)
    standin.script = hold_calls(standin, "link", after=HELD - 1)
    command = bulklink.with_env(**standin.env())
    with serving(command, "--no-browser") as ui:
        ui.post("/runs/march/apply", digest=digest)
        standin.wait_until(lambda: len(standin.requests_of("link")) == HELD)
        ui.process.send_signal(sent)
        assert ui.process.stderr is not None
        while "Stopping" not in (line := ui.process.stderr.readline()):
            assert line, "the page ended"
        assert "stopping" in ui.get("/runs/march"), "it still shows how the runs end"
        standin.gate.set()
        assert ui.end().code == 0
    shown = bulklink("status", "runs/march", "--json").object
    assert (shown["state"], shown["stopped_by"]) == ("stopped", stopped_by)
    assert shown["counts"]["done"] == HELD * 20
    run = audit_run(command("resume", "runs/march", "--json"), bulklink.folder, CALLS * 20)
    assert run.counts == {"done": CALLS * 20}
    assert len(standin.requests_of("link")) == CALLS, "nothing is sent twice"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals to a process")
def test_a_second_ctrl_c_ends_it_at_once(bulklink: Command, standin: StandIn, world: World) -> None:
    digest = plan_run(bulklink, world)
    standin.script = hold_calls(standin, "link")
    with serving(bulklink.with_env(**standin.env()), "--no-browser") as ui:
        ui.post("/runs/march/apply", digest=digest)
        standin.wait_until(lambda: standin.in_flight["link"] == 1)
        ui.process.send_signal(signal.SIGINT)
        assert ui.process.stderr is not None
        while "Stopping" not in (line := ui.process.stderr.readline()):
            assert line, "the page ended"
        ui.process.send_signal(signal.SIGINT)
        assert wait_for_exit(ui.process, timeout=10).code == 130
    assert len(standin.requests_of("link")) == 1


def test_a_taken_port_is_a_usage_error(bulklink: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = bulklink("ui", "--no-browser", "--port", port, "--json")
    assert result.code == 2
    assert (result.error["code"], result.error["where"]) == ("usage", f"127.0.0.1:{port}")


def test_a_chosen_port_is_used(bulklink: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving(bulklink, "--no-browser", "--port", str(port)) as ui:
        assert urllib.parse.urlsplit(ui.url).port == port


def test_without_a_connection_runs_are_shown_and_none_is_started(
    bulklink: Command, world: World
) -> None:
    digest = plan_run(bulklink, world)
    with serving(bulklink, "--no-browser") as ui:
        assert "waits for approval" in ui.get()
        with pytest.raises(urllib.error.HTTPError) as refused:
            ui.post("/runs/march/apply", digest=digest)
        assert refused.value.code == 409
        assert "This cannot be done" in str(refused.value.read(), "utf-8")
        refused.value.close()


BROWSER = """#!/bin/sh
printf '%s\\n' "$@" > opened.tmp
mv opened.tmp opened
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the browser is a shell script")
def test_the_browser_is_opened_by_a_file_that_only_the_user_reads(bulklink: Command) -> None:
    browser = bulklink.folder / "browser"
    browser.write_text(BROWSER, "utf-8")
    browser.chmod(0o700)
    opened = bulklink.folder / "opened"
    with serving(bulklink.with_env(BROWSER=f"{browser} %s")) as ui:
        wait_for_file(opened)
        command_line = opened.read_text("utf-8")
        assert ui.token not in command_line
        page = Path(urllib.request.url2pathname(urllib.parse.urlsplit(command_line.strip()).path))
        assert stat.S_IMODE(page.stat().st_mode) == 0o600
        assert stat.S_IMODE(page.parent.stat().st_mode) == 0o700
        assert ui.url in page.read_text("utf-8")
        own = Path(f"/proc/{ui.process.pid}/cmdline")
        if own.exists():
            assert ui.token not in own.read_text("utf-8")
        ui.process.terminate()
        assert ui.end().code == 0
    assert not page.exists()


def wait_for_file(path: Path) -> None:
    """Wait for a file that another process writes."""
    pause = threading.Event()
    for _ in range(400):
        if path.exists():
            return
        pause.wait(0.05)
    raise AssertionError(f"{path} was not written")


def test_its_runs_have_the_options_of_the_environment(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    digest = plan_run(bulklink, world)
    command = bulklink.with_env(
        **standin.env(), BULKLINK_EXPECT_ORG="999", BULKLINK_LOG="requests.jsonl"
    )
    with serving(command, "--no-browser") as ui:
        ui.post("/runs/march/apply", digest=digest)
        while "Stop gently" in (shown := ui.get("/runs/march")):
            pass
    assert "999" in shown
    assert "Approve and start" in shown
    assert standin.requests_of("link") == []
    assert "/org" in (bulklink.folder / "requests.jsonl").read_text("utf-8")
