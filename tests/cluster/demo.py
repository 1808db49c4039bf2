"""A cluster that one can watch: three workers send the runs of five orgs, and one worker dies.

python -m tests.cluster.demo

`make demo-cluster` runs it. Everything is on this machine: PostgreSQL in a temporary folder, a
local CRM for each org, and three workers, each with a state folder of its own, as on three
machines. In the end every ledger is compared with its CRM.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bulklink.cluster.database import ClusterDatabase, conninfo_from
from bulklink.cluster.schema import initialize
from bulklink.cluster.timing import ClusterTiming
from bulklink.errors import ExitCode
from bulklink.profiles.profile import Profile, Profiles, SecretBackend
from bulklink.profiles.secrets import FileSecretStore
from bulklink.zoho.connection import Credentials
from tests.cluster.postgres_server import find_programs, temporary_server

ORGS = ("acme", "globex", "initech", "umbrella", "hooli")
WORKERS = ("anna", "bert", "cleo")
"""Names of the machines."""
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_SECRETS = {"client_id": "demo", "client_secret": "demo", "refresh_token": "demo"}
_POLL_SECONDS = 0.1
_SENT_BEFORE_DEATH = 8
"""Segments of a ledger after which its driver dies: it has sent something then."""
_PROGRAM = (sys.executable, "-P", "-m", "bulklink")
_DRIVEN = """
SELECT name, run.driver,
    (SELECT count(*) FROM segment WHERE segment.run = run.run AND kind = 'ledger')
FROM run JOIN org USING (org_key)
WHERE run.state = 'running' AND until > clock_timestamp() ORDER BY position
"""
"""The runs that are sent, with their drivers and the length of their ledgers in segments."""


@dataclass(frozen=True, slots=True)
class Screen:
    """What is shown, each line with the seconds since the start."""

    started: float = field(default_factory=time.monotonic)

    def say(self, text: str, who: str = "") -> None:
        """Show a line."""
        elapsed = time.monotonic() - self.started
        sys.stdout.write(f"{elapsed:6.1f} s  {who:<5}  {text}\n")
        sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class Org:
    """An org with a local CRM and a mapping.

    Args:
        name: its name, that of its profile and of its run too.
        folder: folder with world.json, mapping.csv and truth.json.
        url: address of its CRM.
    """

    name: str
    folder: Path
    url: str

    def links(self) -> dict[str, str | None]:
        """Return the deal that each email is on in the CRM."""
        with urllib.request.urlopen(f"{self.url}/_emulator/state", timeout=20) as answer:
            emails = json.load(answer)["world"]["emails"]
        return {email["message_id"]: email["deal_id"] for email in emails}

    def wanted_links(self) -> dict[str, str | None]:
        """Return the deals that the emails must be on after a relink, as truth.json has it."""
        truth = json.loads((self.folder / "truth.json").read_text("utf-8"))
        unusual = {line["row"]: line for line in truth["unusual"]}
        with (self.folder / "mapping.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return {
            row["message_id"]: row["deal_id"]
            for number, row in enumerate(rows, 1)
            if {**truth["usual"], **unusual.get(number, {})}["relink"]["status"] != "failed"
        }


class Machine:
    """A worker with its drivers, as on a machine of its own.

    Args:
        name: its name.
        environment: its environment.
        screen: shows what it reports.
    """

    def __init__(self, name: str, environment: dict[str, str], screen: Screen) -> None:
        self.name = name
        self.worker = ""
        self.events: list[tuple[float, str]] = []
        self._screen = screen
        self._process = subprocess.Popen(
            [*_PROGRAM, "cluster", "worker", "--slots", "3", "--drain", "--json"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            text = line.rstrip("\n")
            if text.startswith("Worker "):
                self.worker = text.removeprefix("Worker ").partition(";")[0]
            self.events.append((time.monotonic(), text))
            self._screen.say(text, self.name)

    def die(self) -> None:
        """Kill the worker and its drivers, as when their machine loses its power."""
        drivers = self._drivers()
        for pid in (self._process.pid, *drivers):
            with suppress(ProcessLookupError):
                os.kill(pid, _KILL)
        self.wait()

    def _drivers(self) -> list[int]:
        """Return its drivers; each is in a process group of its own."""
        list_processes = ("ps", "-A", "-o", "pid=,ppid=")
        listed = subprocess.run(list_processes, capture_output=True, check=True, text=True)
        pairs = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
        return [pid for pid, parent in pairs if parent == self._process.pid]

    @property
    def has_ended(self) -> bool:
        """Whether the worker has ended."""
        return self._process.poll() is not None

    def drives(self, driver: str) -> bool:
        """Return whether a driver is one of this worker."""
        return self.worker != "" and driver.startswith(f"{self.worker}-")

    def wait(self) -> None:
        """Wait until it has ended."""
        self._process.wait()
        self._reader.join()

    def end(self) -> None:
        """Kill what is left of it."""
        if not self.has_ended:
            self.die()


class Demo:
    """The demo, in a folder.

    Args:
        folder: the folder.
        url: address of the database.
        factor: times of the cluster, as a share of the usual ones.
        emails: emails of each org.
    """

    def __init__(self, folder: Path, url: str, factor: float, emails: int) -> None:
        self.screen = Screen()
        self._folder = folder
        self._timing = ClusterTiming().scaled(factor)
        self._emails = emails
        self._conninfo = conninfo_from({"BULKLINK_CLUSTER_URL": url})
        self._environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("BULKLINK_")},
            "BULKLINK_CLUSTER_URL": url,
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_STATE_HOME": str(folder / "state"),
        }

    def run(self) -> bool:
        """Show a takeover; return whether every ledger is true in the end."""
        initialize(self._conninfo, self._timing)
        self.screen.say(
            f"A cluster: a lease lasts {self._timing.ttl:g} s, and the next driver begins"
            f" {self._timing.answer:g} s after a lease that nobody ended. Usual are 30 and 40 s."
        )
        with ExitStack() as stack:
            orgs = [stack.enter_context(self._serve(name)) for name in ORGS]
            for org in orgs:
                self._submit(org)
            machines = [self._start(name) for name in WORKERS]
            for machine in machines:
                stack.callback(machine.end)
            died_at, runs = self._kill_one(machines)
            for machine in machines:
                machine.wait()
            self._show_takeovers(machines, runs, died_at)
            untrue = [org.name for org in orgs if not self._is_true(org)]
            return not untrue

    @contextmanager
    def _serve(self, name: str) -> Iterator[Org]:
        """Serve a local CRM, with a profile that leads to it."""
        folder, seed = self._folder / name, ORGS.index(name) + 1
        recipe = ["--messages", str(self._emails), "--contacts", str(max(1, self._emails // 20))]
        recipe += ["--linked-wrong", "0.5", "--seed", str(seed), "--out", str(folder)]
        self._bulklink("generate", *recipe)
        command = ["emulator", "--port", "0", "--world", str(folder / "world.json")]
        process = subprocess.Popen(
            [*_PROGRAM, *command, "--latency", "0.5", "--concurrency", "5"],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            config = self._folder / "config" / "bulklink"
            profile = Profile("demo", SecretBackend.FILE, api_url=url, accounts_url=url)
            Profiles(config).save(name, profile)
            FileSecretStore(config).save(name, Credentials(**_SECRETS))
            yield Org(name, folder, url)
        finally:
            process.terminate()
            process.communicate()

    def _submit(self, org: Org) -> None:
        run = org.folder / org.name
        mapping, folder = org.folder / "mapping.csv", ("--run-dir", str(run))
        self._bulklink("plan", "--op", "relink", str(mapping), "--profile", org.name, *folder)
        pace = ("--profile", org.name, "--concurrency", "5", "--settle-after", "1")
        self._bulklink("cluster", "submit", str(run), "--yes", *pace)
        self.screen.say(f"{org.name}: {self._emails} emails are planned, approved and submitted.")

    def _start(self, name: str) -> Machine:
        state = {"XDG_STATE_HOME": str(self._folder / f"machine-{name}")}
        return Machine(name, self._environment | state, self.screen)

    def _kill_one(self, machines: Sequence[Machine]) -> tuple[float, list[str]]:
        """Kill a worker that is sending; return when, and the runs that it sent."""
        with closing(ClusterDatabase(self._conninfo)) as database:
            while not all(machine.has_ended for machine in machines):
                driven = database.query(_DRIVEN)
                for machine in machines:
                    own = [(name, sent) for name, driver, sent in driven if machine.drives(driver)]
                    if any(sent >= _SENT_BEFORE_DEATH for _, sent in own):
                        machine.die()
                        runs = [name for name, _ in own]
                        self.screen.say(
                            f"kill -9 of {machine.name} and its drivers, which were sending"
                            f" {' and '.join(runs)}."
                        )
                        return time.monotonic(), runs
                time.sleep(_POLL_SECONDS)
        raise SystemExit("All runs had finished before a worker could be killed: raise --emails.")

    def _show_takeovers(
        self, machines: Sequence[Machine], runs: Sequence[str], died_at: float
    ) -> None:
        for run in runs:
            seconds, name = min(
                (at - died_at, machine.name)
                for machine in machines
                for at, event in machine.events
                if at > died_at and event.startswith(f"{run}: started")
            )
            self.screen.say(f"{run}: {name} took it over {seconds:.1f} s after the kill.")

    def _is_true(self, org: Org) -> bool:
        """Pull a run, and compare its ledger with itself and with the CRM."""
        pulled = str(self._folder / "pulled" / org.name)
        self._bulklink("cluster", "pull", org.name, "-o", pulled)
        status = self._bulklink("status", pulled, "--check", "--json")
        counts, links, wanted = status["counts"], org.links(), org.wanted_links()
        is_done = counts["done"] + counts["unchanged"] == len(wanted) == self._emails
        wrong = sum(links[message] != deal for message, deal in wanted.items())
        verdict = "true" if is_done and status["exit_code"] == 0 and wrong == 0 else "NOT TRUE"
        self.screen.say(
            f"{org.name}: {counts['done']} done, {counts['unchanged']} unchanged;"
            f" {len(wanted) - wrong} of {self._emails} emails are on the right deal in the CRM."
            f" The ledger is {verdict}."
        )
        return verdict == "true"

    def _bulklink(self, *words: str) -> dict[str, Any]:
        """Run a command that must succeed, and return what it prints with --json."""
        json_option = [] if "--json" in words else ["--json"]
        completed = subprocess.run(
            [*_PROGRAM, *words, *json_option],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if completed.returncode != 0:
            raise SystemExit(f"bulklink {' '.join(words)}:\n{completed.stdout}{completed.stderr}")
        read: dict[str, Any] = json.loads(completed.stdout)
        return read


def main(arguments: Sequence[str] | None, programs: Path | None) -> int:
    """Run the demo.

    Args:
        arguments: words of the command line; None for those of this process.
        programs: folder of the programs of PostgreSQL; None without any.

    Returns:
        The exit code: 1 if a ledger is not true, 2 without PostgreSQL.
    """
    parser = argparse.ArgumentParser(description="Show how a cluster survives a worker's death.")
    parser.add_argument("--times", type=float, default=0.25, help="share of the usual times")
    parser.add_argument("--emails", type=int, default=800, help="emails of each org")
    options = parser.parse_args(arguments)
    if programs is None:
        sys.stderr.write(
            "PostgreSQL is not installed. Install its server (Debian: apt install postgresql;"
            " macOS: brew install postgresql), and run this again.\n"
        )
        return ExitCode.REFUSED
    with (
        tempfile.TemporaryDirectory(prefix="bulklink-demo-") as folder,
        temporary_server(programs) as server,
    ):
        demo = Demo(Path(folder), server.create_database(), options.times, options.emails)
        is_true = demo.run()
    demo.screen.say("Every ledger is true." if is_true else "A ledger is not true: see above.")
    return ExitCode.OK if is_true else ExitCode.ROWS_NOT_DONE


if __name__ == "__main__":
    sys.exit(main(None, find_programs()))
