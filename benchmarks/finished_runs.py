"""Run folders of any size, written in seconds.

The plans are sealed by bulklink, and the ledgers written as bulklink writes them: 20 messages a
call. A finished run is written to FOLDER/runs/finished, one with 2 % of its rows left to
FOLDER/stopped.

    python benchmarks/finished_runs.py ROWS FOLDER
"""

from __future__ import annotations

import argparse
import math
import shutil
import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import orjson
from servers import BULKLINK, PER_CALL, write_mapping

from bulklink.errors import StoppedBy
from bulklink.ledger.done_batch import DoneBatch, done_lines
from bulklink.ledger.records import CallLine, call_line, timestamp
from bulklink.mapping.plan_reader import SealedPlan
from bulklink.models import Message, Status
from bulklink.runs.folder import RunFolder
from bulklink.runs.hashes import ledger_hash
from bulklink.runs.record import Invocation, RunState
from bulklink.runs.timeline import TimelineInterval, append_interval

_STARTED_AT = 1_763_800_000.0
_IN_FLIGHT = 10
_SECONDS_PER_CALL = 0.002
_SHARE_LEFT = 0.02
_TEXT = "email has been linked with the deal successfully"


def write_runs(rows: int, folder: Path) -> None:
    """Write both runs of a size into an empty folder."""
    mapping = folder / "mapping.csv"
    write_mapping(mapping, rows, names=True)
    finished, stopped = RunFolder(folder / "runs" / "finished"), RunFolder(folder / "stopped")
    plan = [*BULKLINK, "plan", "--op", "link", "--run-dir", str(finished.path), str(mapping)]
    subprocess.run(plan, check=True, stdout=subprocess.DEVNULL)
    mapping.unlink()
    shutil.copytree(finished.path, stopped.path)
    _write_ledger(finished, rows)
    _write_ledger(stopped, rows - math.ceil(rows * _SHARE_LEFT))


def _write_ledger(run: RunFolder, rows: int) -> None:
    """Write the ledger and the record of a run that has linked its first rows."""
    record, calls, done = run.read(), 0, 0
    batches = _batches(run)
    with run.ledger.open("ab") as ledger:
        while done < rows and (group := list(islice(batches, _IN_FLIGHT))):
            sent_at = _STARTED_AT + calls * _SECONDS_PER_CALL
            numbers = range(calls + 1, calls + len(group) + 1)
            for call, batch in zip(numbers, group, strict=True):
                numbered = tuple(message.row for message in batch)
                line = CallLine(call, "link", 1, batch[0].contact_id, numbered)
                ledger.write(call_line(timestamp(sent_at), line))
            for call, batch in zip(numbers, group, strict=True):
                results = DoneBatch(batch, "SUCCESS", _TEXT, 200, 1, call)
                ids = [orjson.dumps(message.message_id).decode() for message in batch]
                ledger.write(done_lines(timestamp(sent_at + 0.25), results, ids))
                done += len(batch)
            calls += len(group)
    is_finished = done == record.rows
    for second in range(1, int(calls * _SECONDS_PER_CALL) + 1):
        append_interval(run.timeline, _interval(_STARTED_AT + second))
    seconds = calls * _SECONDS_PER_CALL + 1
    stopped_by = None if is_finished else StoppedBy.INTERRUPTED
    ended = timestamp(_STARTED_AT + seconds)
    counts = {str(status): 0 for status in Status} | {"done": done, "pending": record.rows - done}
    run.write(
        record.replace(
            state=RunState.FINISHED if is_finished else RunState.STOPPED,
            stopped_by=stopped_by,
            invocations=(Invocation(timestamp(_STARTED_AT), ended, seconds, stopped_by, 0),),
            counts=counts,
            **ledger_hash(run.ledger),
        )
    )


def _interval(ended: float) -> TimelineInterval:
    per_second = round(1 / _SECONDS_PER_CALL)
    return TimelineInterval(
        ts=timestamp(ended),
        seconds=1.0,
        settled={"done": per_second * PER_CALL},
        calls={"link": per_second, "unlink": 0, "read": 0, "lookup": 0},
        answered_429=0,
        in_flight=float(_IN_FLIGHT),
        most_in_flight=float(_IN_FLIGHT),
        latency={0.25: per_second},
        credits_left=None,
        waited=0.0,
        limited_by="calls in flight",
    )


def _batches(run: RunFolder) -> Iterator[list[Message]]:
    """Yield the messages of each call; each contact has as many as a call takes."""
    messages = (message for chunk in SealedPlan(run.plan).chunks() for message in chunk)
    while batch := list(islice(messages, PER_CALL)):
        yield batch


def main() -> None:
    """Write the runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, help="rows of each run")
    parser.add_argument("folder", type=Path, help="an empty folder")
    arguments = parser.parse_args()
    write_runs(arguments.rows, arguments.folder)


if __name__ == "__main__":
    main()
