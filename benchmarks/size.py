"""CPU and memory of the commands that read a run, by the number of its rows.

`finished_runs.py` writes a finished run of each size, and one with 2 % of its rows left. Each
command is a process of its own, and so is DuckDB's count of the lines of the same ledger; the CPU
is compared with it in each round. `resume` is measured until its first link call. Quote the ratios.

    python benchmarks/size.py [--rows 10000 100000 1000000] [--rounds 3] [--write]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

from plots import log_plot
from processes import Figures, MeasuredProcess, measure
from servers import BULKLINK, token_environment
from tables import put_table, table

_PLOT = Path(__file__).with_name("size.svg")
_MAKER = Path(__file__).with_name("finished_runs.py")
_MAX_SHEET_ROWS = 1_048_575
_COUNT = """
import duckdb, sys
duckdb.connect(config={"threads": 1}).execute(
    "SELECT event, status, count(*) FROM read_json($1, format = 'newline_delimited', "
    "columns = {event: 'VARCHAR', status: 'VARCHAR'}) GROUP BY ALL", [sys.argv[1]]
).fetchall()
"""
COUNT, RESUME, XLSX = "DuckDB's count", "`resume` until its first call", "`export` .xlsx"


@contextmanager
def silent_crm() -> Iterator[tuple[str, threading.Event]]:
    """Serve a CRM that answers look-ups only; yield its URL and an event set by the first link."""
    linked, ended = threading.Event(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = b'{"org":[{"id":"1","company_name":"Bench","type":"Sandbox"}]}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            linked.set()
            ended.wait()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", linked
    finally:
        ended.set()
        server.shutdown()
        server.server_close()


def measure_resume(run: Path) -> Figures:
    """Resume a run until its first link call, and return it to its former state."""
    record, ledger = run / "run.json", run / "ledger.jsonl"
    content, length = record.read_bytes(), ledger.stat().st_size
    with silent_crm() as (url, linked):
        command = [*BULKLINK, "resume", str(run), "--progress", "none", "--yes"]
        env = token_environment(url)
        process = MeasuredProcess(command, env)
        while not linked.wait(0.01) and not process.has_ended():
            pass
        if not linked.is_set():
            raise SystemExit(f"{' '.join(command)} ended without a call.")
        process.kill()
        figures = process.wait(expected=(-9,))
    record.write_bytes(content)
    os.truncate(ledger, length)
    return figures


def commands(rows: int, folder: Path) -> dict[str, list[str]]:
    """Return the measured commands but `resume`, by name."""
    run, message = str(folder / "runs" / "finished"), f"{rows // 2:064x}"
    lines = {
        COUNT: [sys.executable, "-c", _COUNT, f"{run}/ledger.jsonl"],
        "`status`": [*BULKLINK, "status", run],
        "`report`": [*BULKLINK, "report", run],
        "`history`": [*BULKLINK, "history", message, "--runs-dir", str(folder / "runs")],
        "`verify --dry-run`": [*BULKLINK, "verify", run, "--dry-run"],
        "`undo --dry-run`": [*BULKLINK, "undo", run, "--dry-run"],
        "`export` CSV": [*BULKLINK, "export", run, "--force", "--output", str(folder / "t.csv")],
    }
    if rows <= _MAX_SHEET_ROWS:
        lines[XLSX] = [*BULKLINK, "export", run, "--force", "--output", str(folder / "t.xlsx")]
    return lines


def measure_size(rows: int, rounds: int) -> dict[str, list[Figures]]:
    """Return the figures of each command, in the order of the rounds."""
    figures: dict[str, list[Figures]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, _MAKER, str(rows), name], check=True)
        env = token_environment("http://127.0.0.1:9")
        for _ in range(rounds):
            for label, command in commands(rows, folder).items():
                figures.setdefault(label, []).append(measure(command, env=env))
                print(f"  {rows:,} {label}: {figures[label][-1].cpu:.2f} s", flush=True)
            figures.setdefault(RESUME, []).append(measure_resume(folder / "stopped"))
    return figures


def table_rows(figures: dict[int, dict[str, list[Figures]]]) -> Iterator[list[str]]:
    """Yield the rows of the table: medians over the rounds, ratios within each round."""
    for rows, by_command in figures.items():
        for label, measured in by_command.items():
            pairs = zip(measured, by_command[COUNT], strict=True)
            yield [
                f"{rows:,}",
                label,
                f"{median(run.cpu for run in measured):.2f} s",
                f"{median(run.cpu / count.cpu for run, count in pairs):.1f}",
                f"{median(run.memory for run in measured) / 1e6:.0f} MB",
            ]


def plot(figures: dict[int, dict[str, list[Figures]]]) -> str:
    """Return an SVG of the CPU of each command by the number of rows."""
    lines = {
        label.replace("`", ""): [
            (rows, median(run.cpu for run in figures[rows][label])) for rows in figures
        ]
        for label in min(figures.values(), key=len)
    }
    return log_plot(
        "CPU seconds of each command by the number of rows",
        lines,
        {rows: f"{rows:,}" for rows in figures},
        lambda seconds: f"{seconds:g} s",
    )


def main() -> None:
    """Measure and print the table, and write table and plot on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write table and plot")
    arguments = parser.parse_args()
    figures = {rows: measure_size(rows, arguments.rounds) for rows in arguments.rows}
    header = ("rows", "command", "CPU", "times DuckDB's count", "peak memory")
    text = table(header, table_rows(figures))
    print(text)
    if arguments.write:
        put_table("size", text)
        _PLOT.write_text(plot(figures), "utf-8")


if __name__ == "__main__":
    main()
