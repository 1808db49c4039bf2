"""Start-up of `bulklink ui`, and the CPU that it takes: idle, watching, and sending while watched.

A window is a connection that asks for the state of a run as the script of the page does. The run of
another process is a run folder whose lock is held and whose timeline grows by a line a second. The
runs that the page sends make 40 calls a second, as against a CRM that needs half a second for each
of 20 calls in flight; `apply` sends the same plan without a view.

    python benchmarks/ui.py [--rounds 5] [--seconds 20] [--write]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from servers import BULKLINK, serve, token_environment
from tables import put_table, table

assert sys.platform != "win32", "Windows has no /proc"
LIBRARIES = "import aiohttp.web, anyio, click, jinja2, msgspec"
MESSAGES, RATE, IN_FLIGHT = 10_000, 40.0, 50
MAX_IDLE_SHARE = 0.005
"""Maximum share of a core that an idle page may take."""
COLUMNS = ("what", "figure")


class Page:
    """A running `bulklink ui`.

    Args:
        runs: the folder of runs.
        env: its environment.
    """

    def __init__(self, runs: Path, env: Mapping[str, str]) -> None:
        command = [*BULKLINK, "ui", "--no-browser", "--runs-dir", str(runs)]
        self.process = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdout is not None
        parts = urlsplit(json.loads(self.process.stdout.readline())["url"])
        self._host, self.token = parts.netloc, parse_qs(parts.query)["token"][0]

    def get(self, path: str) -> bytes:
        """Return a page."""
        return self._request("GET", f"{path}{'&' if '?' in path else '?'}token={self.token}")

    def post(self, path: str, **form: str) -> bytes:
        """Send a form."""
        return self._request("POST", path, urlencode({"token": self.token, **form}))

    def cpu(self) -> float:
        """Return the CPU seconds that it took so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.communicate()

    def _request(self, method: str, path: str, body: str | None = None) -> bytes:
        connection = http.client.HTTPConnection(self._host, timeout=60)
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        connection.request(method, path, body, headers)
        with contextlib.closing(connection):
            return connection.getresponse().read()


@contextlib.contextmanager
def serving(runs: Path, env: Mapping[str, str]) -> Iterator[Page]:
    """Run a page."""
    page = Page(runs, env)
    try:
        yield page
    finally:
        page.end()


@contextlib.contextmanager
def watching(page: Page, name: str) -> Iterator[None]:
    """Watch a run in a window."""
    ended = threading.Event()

    def watch() -> None:
        version = -1
        while not ended.is_set():
            version = json.loads(page.get(f"/runs/{name}/state?after={version}"))["version"]

    window = threading.Thread(target=watch)
    window.start()
    try:
        yield
    finally:
        ended.set()
        window.join()


@contextlib.contextmanager
def run_of_another_process(folder: Path) -> Iterator[None]:
    """Hold a run whose timeline grows by a line a second."""
    from bulklink.runs.folder import RunFolder
    from bulklink.runs.record import Invocation, RunRecord, RunState
    from bulklink.runs.timeline import TimelineInterval, append_interval

    folder.mkdir(parents=True)
    run, started = RunFolder(folder), "2026-01-01T00:00:00Z"
    record = RunRecord(version="1", op="link", asked={}, inputs=(), created=started, rows=10**6)
    run.write(record.replace(state=RunState.RUNNING, invocations=(Invocation(started),)))
    line: dict[str, Any] = {"seconds": 1.0, "settled": {"done": 800}, "calls": {"link": 40}}
    line |= {"answered_429": 0, "in_flight": 20.0, "most_in_flight": 20.0, "latency": {}}
    line |= {"credits_left": None, "waited": 0.0, "limited_by": "calls in flight"}
    ended = threading.Event()

    def grow() -> None:
        while not ended.wait(1.0):
            append_interval(run.timeline, TimelineInterval(ts="2026-01-01T00:00:01Z", **line))

    with run.run_lock():
        writer = threading.Thread(target=grow)
        writer.start()
        try:
            yield
        finally:
            ended.set()
            writer.join()


def time_starts(runs: Path, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """Return how long libraries alone, the address, and the first page take, in seconds."""
    libraries, addresses, pages = [], [], []
    for _ in range(rounds):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", LIBRARIES], check=True)
        libraries.append(time.perf_counter() - started)
        started = time.perf_counter()
        with serving(runs, os.environ) as page:
            addresses.append(time.perf_counter() - started)
            page.get("/")
            pages.append(time.perf_counter() - started)
    return libraries, addresses, pages


def share_of_core(page: Page, seconds: float) -> float:
    """Return the share of a core that a page takes."""
    before = page.cpu()
    time.sleep(seconds)
    return (page.cpu() - before) / seconds


def seal_plan(mapping: Path, run_dir: Path) -> str:
    """Seal a plan, and return its digest."""
    from bulklink import Job, Op, plan

    job = Job(
        mappings=(str(mapping),),
        op=Op.LINK,
        run_dir=run_dir,
        names=False,
        canary=0,
        concurrency=IN_FLIGHT,
        rate=RATE,
    )
    return str(plan(job).digest)


def send_by_page(page: Page, name: str, digest: str) -> float:
    """Send a plan by the page, and return the CPU seconds that the page took meanwhile."""
    before = page.cpu()
    page.post(f"/runs/{name}/apply", digest=digest)
    while b'"finished"' not in page.get(f"/runs/{name}/state"):
        time.sleep(1.0)
    return page.cpu() - before


def measure_sending(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Return the CPU seconds of runs: by `apply`, by the page, and by the page while watched."""
    from processes import measure
    from sending import SERVER
    from servers import write_mapping

    cpu: dict[str, list[float]] = {"apply": [], "page": [], "watched": []}
    mapping, runs = folder / "mapping.csv", folder / "sent"
    write_mapping(mapping, MESSAGES)
    with serve(SERVER) as url, serving(runs, token_environment(url)) as page:
        for turn in range(rounds):
            digests = {how: seal_plan(mapping, runs / f"{how}-{turn}") for how in cpu}
            command = [*BULKLINK, "apply", str(runs / f"apply-{turn}"), "--progress", "none"]
            cpu["apply"].append(measure(command, env=token_environment(url)).cpu)
            cpu["page"].append(send_by_page(page, f"page-{turn}", digests["page"]))
            with watching(page, f"watched-{turn}"):
                cpu["watched"].append(send_by_page(page, f"watched-{turn}", digests["watched"]))
    return cpu


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20, help="time of each measurement of CPU")
    parser.add_argument("--write", action="store_true", help="write the table to README.md")
    arguments = parser.parse_args()
    assert sys.platform == "linux", "CPU times are read from /proc"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        libraries, addresses, pages = time_starts(folder / "none", arguments.rounds)
        with serving(folder / "runs", os.environ) as page:
            page.get("/")
            idle = share_of_core(page, arguments.seconds)
            with run_of_another_process(folder / "runs" / "other"), watching(page, "other"):
                watched = share_of_core(page, arguments.seconds)
        cpu = measure_sending(folder, arguments.rounds)
    rows = [
        ("a Python that imports the same libraries", seconds(libraries)),
        ("until the address is printed", seconds(addresses)),
        ("until the first page is answered", seconds(pages)),
        ("CPU of an idle page", f"{idle:.2%} of a core"),
        ("CPU while a window watches a run of another process", f"{watched:.2%} of a core"),
        (
            f"CPU of a run of {MESSAGES:,} messages by `apply`, without a view",
            seconds(cpu["apply"]),
        ),
        ("CPU of the same run by the page", seconds(cpu["page"])),
        ("CPU of the same run by the page, watched in a window", seconds(cpu["watched"])),
    ]
    text = table(COLUMNS, rows)
    print(text)
    if idle > MAX_IDLE_SHARE:
        raise SystemExit(f"An idle page takes more than {MAX_IDLE_SHARE:.1%} of a core.")
    if arguments.write:
        put_table("ui", text)


def seconds(values: list[float]) -> str:
    """Return the median and the extremes."""
    return f"{statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
