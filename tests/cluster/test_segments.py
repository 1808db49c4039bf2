"""Segments of a ledger: accepted once, fenced by the epoch, and never joined with a fault."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

import pytest

from bulklink.cluster.database import ClusterDatabase
from bulklink.cluster.lease import LeaseOverError
from bulklink.cluster.parcels import unpack
from bulklink.cluster.runs import RunTable
from bulklink.cluster.segments import ANSWERS, LEDGER, DriverStore, Segment
from bulklink.errors import LedgerError, RunDirError
from bulklink.runs.folder import RunFolder
from tests.cluster.single_runs import add_named_run

ORG = "org"


@pytest.fixture
def run(database: ClusterDatabase) -> UUID:
    """Submit a run whose org has a driver of epoch 2."""
    run = UUID(add_named_run(RunTable(database), ORG))
    set_epoch(database, 2)
    return run


def set_epoch(database: ClusterDatabase, epoch: int) -> None:
    database.query(
        "UPDATE org SET epoch = %(epoch)s, until = clock_timestamp() + interval '1 hour'",
        {"epoch": epoch},
    )


def store_of(database: ClusterDatabase, run: UUID, epoch: int = 2) -> DriverStore:
    return DriverStore(database, org_key=ORG, run=run, epoch=epoch, seconds_left=lambda: 60.0)


def unpacked(database: ClusterDatabase, run: UUID, folder: Path) -> tuple[bytes, dict[str, int]]:
    next_seqs = unpack(database, run, RunFolder(folder))
    return RunFolder(folder).ledger.read_bytes(), next_seqs


SEGMENTS = [Segment(LEDGER, 0, b"a\n"), Segment(ANSWERS, 0, b"b\n")]


def test_segments_whose_answer_was_lost_are_accepted_once(
    database: ClusterDatabase, run: UUID, tmp_path: Path
) -> None:
    store = store_of(database, run)
    store.commit(SEGMENTS)
    store.commit(SEGMENTS)
    store.commit([Segment(LEDGER, 1, b"c\n")])
    ledger, next_seqs = unpacked(database, run, tmp_path / "run")
    assert ledger == b"a\nc\n"
    assert next_seqs == {LEDGER: 2, ANSWERS: 1, "timeline": 0}


@pytest.mark.parametrize(("epoch", "content"), [(1, b"a\n"), (3, b"a\n"), (2, b"other\n")], ids=str)
def test_the_same_segment_of_another_driver_or_content_is_refused(
    database: ClusterDatabase, run: UUID, epoch: int, content: bytes
) -> None:
    store_of(database, run).commit(SEGMENTS)
    with pytest.raises(LeaseOverError):
        store_of(database, run, epoch).commit([Segment(LEDGER, 0, content)])


def test_a_driver_commits_nothing_after_the_next_one_has_the_org(
    database: ClusterDatabase, run: UUID, tmp_path: Path
) -> None:
    former = store_of(database, run)
    former.commit(SEGMENTS)
    set_epoch(database, 3)
    with pytest.raises(LeaseOverError):
        former.commit([Segment(LEDGER, 1, b"late\n")], b"record")
    with pytest.raises(LeaseOverError):
        former.commit(SEGMENTS)
    assert unpacked(database, run, tmp_path / "run")[0] == b"a\n"
    assert (tmp_path / "run" / "run.json").read_bytes() == b"{}"


def test_a_driver_commits_nothing_after_the_end_of_its_lease(
    database: ClusterDatabase, run: UUID
) -> None:
    database.query("UPDATE org SET until = clock_timestamp() - interval '1 ms'")
    with pytest.raises(LeaseOverError):
        store_of(database, run).commit(SEGMENTS)


@pytest.mark.parametrize(
    "fault",
    [
        "DELETE FROM segment WHERE kind = 'ledger' AND seq = 1",
        "DELETE FROM segment WHERE kind = 'ledger' AND seq = 0",
        "UPDATE segment SET bytes = (SELECT bytes FROM segment WHERE kind = 'ledger' AND seq = 2)"
        " WHERE kind = 'ledger' AND seq = 1",
        "UPDATE segment SET bytes = 'no zlib' WHERE kind = 'ledger' AND seq = 1",
        "UPDATE segment SET epoch = 1 WHERE kind = 'ledger' AND seq = 2",
    ],
    ids=["gap", "start lost", "changed", "damaged", "epoch falls"],
)
def test_a_faulty_ledger_is_not_unpacked(
    database: ClusterDatabase, run: UUID, tmp_path: Path, fault: str
) -> None:
    store_of(database, run).commit([Segment(LEDGER, n, b"%d\n" % n) for n in range(4)])
    database.run_script(fault)
    with pytest.raises(LedgerError, match="of the ledger is missing or damaged"):
        unpacked(database, run, tmp_path / "run")


def test_a_file_that_no_run_folder_has_is_not_unpacked(
    database: ClusterDatabase, run: UUID, tmp_path: Path
) -> None:
    values = {"run": run, "name": "../../evil"}
    database.query(
        "INSERT INTO file (run, name, part, bytes) VALUES (%(run)s, %(name)s, 0, 'x')", values
    )
    with pytest.raises(RunDirError, match=r"a file '../../evil' for this run"):
        unpacked(database, run, tmp_path / "run")
    assert not (tmp_path / "evil").exists()


def test_a_run_that_is_gone_is_not_unpacked(database: ClusterDatabase, tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match="not in the cluster any more"):
        unpacked(database, uuid4(), tmp_path / "run")
