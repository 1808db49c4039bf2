"""Checks of the runs of a cluster against the CRM that they changed, and of their history."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from bulklink.operations.check import check_run
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import RunRecord
from bulklink.runs.status import status
from tests.cluster.worked_cluster import pull_run
from tests.crash.agreement import compare_with_the_crm, read_lines
from tests.crash.worked_orgs import PLACES, WorkedOrg
from tests.guard import off_loop


async def check_org(url: str, org: WorkedOrg, folder: Path) -> list[RunRecord]:
    """Check the finished runs of an org against its CRM; return their records.

    Args:
        url: address of the database.
        org: the org.
        folder: folder into which the runs are pulled.
    """
    assert org.crm.state.answered_429 == 0, "two drivers would make more calls than it accepts"
    assert org.crm.state.peak_in_flight <= PLACES
    records, spans = [], []
    for name, op in org.runs.items():
        pulled = RunFolder(await pull_run(url, name, folder / name))
        state = await off_loop(status, pulled.path)
        assert (state.state, state.counts["done"]) == ("finished", state.rows), (name, state)
        checked = await off_loop(check_run, pulled.path)
        assert checked.ok, checked
        lines = read_lines(pulled.ledger)
        assert await off_loop(compare_with_the_crm, op, lines, org.crm.url) == state.rows
        check_calls(lines)
        records.append(pulled.read())
        check_invocations(records[-1])
        spans.append((lines[0]["ts"], lines[-1]["ts"]))
    assert all(first[1] <= second[0] for first, second in pairwise(spans)), spans
    return records


def check_calls(lines: Sequence[dict[str, Any]]) -> None:
    """Check that nothing is sent again that has a result, or before it was read back.

    A call without a result may have been executed: the emails of its contact are read before they
    are sent again, unless the ledger says that it was not sent.
    """
    settled: set[int] = set()
    open_calls: dict[int, dict[str, Any]] = {}
    for line in lines:
        rows = line.get("rows", ())
        match line["event"]:
            case "result":
                settled.add(line["row"])
            case "unsent":
                open_calls.pop(line["call"], None)
            case "call" if line["op"] == "read":
                contact = line["contact_id"]
                open_calls = {
                    number: call
                    for number, call in open_calls.items()
                    if call["contact_id"] != contact
                }
            case "call" if rows:
                assert settled.isdisjoint(rows), line
                for call in open_calls.values():
                    is_same = call["op"] == line["op"] and not set(rows).isdisjoint(call["rows"])
                    assert not is_same, (call, line, "it was not read back")
                open_calls[line["call"]] = line


def check_invocations(record: RunRecord) -> None:
    """Check that the drivers of a run did not overlap, and that each has an end."""
    assert record.invocations[-1].stopped_by is None
    for first, second in pairwise(record.invocations):
        assert first.ended is not None
        assert first.ended <= second.started, record.invocations
