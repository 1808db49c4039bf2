"""Half-done relinks of a killed run."""

from __future__ import annotations

import csv
from pathlib import Path

from bulklink.ledger.records import CallLine, call_line, snapshot_line
from bulklink.mapping.checked import check
from bulklink.mapping.input.files import find_sources
from bulklink.mapping.schema import MappingOptions
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import RunRecord
from bulklink.runs.status import load_detached_relinks

TS = "2026-11-22T10:15:00.000Z"


def test_an_unlink_in_flight_is_not_a_half_done_relink(tmp_path: Path) -> None:
    mapping = tmp_path / "m.csv"
    with mapping.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["op", "contact_id", "owner_id", "message_id", "deal_id"])
        rows.writerows([["unlink", 1, 2, "a", ""], ["relink", 1, 2, "b", 5]])
    with check(find_sources([str(mapping)]), MappingOptions(op=None), tmp_path) as checked:
        checked.seal(tmp_path)
    folder = RunFolder(tmp_path)
    folder.write(RunRecord(version="", op="mixed", asked={}, inputs=(), created=TS, rows=2))
    lines = [snapshot_line(TS, row, "7", None, 1) for row in (1, 2)]
    folder.ledger.write_bytes(
        b"".join([*lines, call_line(TS, CallLine(2, "unlink", 1, "1", (1, 2)))])
    )
    assert load_detached_relinks(folder).unfinished == {2: "7"}
