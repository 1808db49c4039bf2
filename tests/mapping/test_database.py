"""Private databases: an idle instance of DuckDB is reused without data or settings of another."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import duckdb
import pytest

from bulklink.errors import InterruptedPlanningError, RunDirError
from bulklink.mapping import database
from bulklink.mapping.database import Database, open_database
from bulklink.mapping.interrupt import PlanningStop

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_idle_instance() -> None:
    database._idle.clear()


def idle_instances() -> int:
    return len(database._idle)


def setting(used: Database, name: str) -> str:
    return str(used.fetch_one(f"SELECT current_setting('{name}')")[0])


def test_a_reused_instance_has_no_data_of_the_database_before_it(tmp_path: Path) -> None:
    with open_database(tmp_path / "spill") as first:
        first.execute("CREATE TABLE rows AS SELECT 1 AS row")
        first.execute("CREATE MACRO clean(cell) AS cell")
        first.execute("CREATE VIEW good AS SELECT * FROM rows")
    assert idle_instances() == 1
    with open_database(tmp_path / "spill") as second:
        assert idle_instances() == 0
        for query in ("SELECT * FROM rows", "SELECT clean(1)", "SELECT * FROM good"):
            with pytest.raises(duckdb.Error):
                second.fetch_one(query)
        assert second.fetch_one("SELECT count(*) FROM duckdb_tables()") == (0,)


def test_a_reused_instance_has_the_settings_of_its_database(tmp_path: Path) -> None:
    with open_database(tmp_path / "one", memory="128MB") as first:
        assert setting(first, "memory_limit") == "122.0 MiB"
        folder = setting(first, "temp_directory")
    planning = Database(tmp_path / "two", PlanningStop(), threads=2, memory="256MB")
    with closing(planning) as second:
        assert setting(second, "memory_limit") == "244.1 MiB"
        assert setting(second, "threads") == "2"
        assert setting(second, "temp_directory") != folder
        assert "join_order" in setting(second, "disabled_optimizers")


def test_an_instance_that_worked_on_much_is_closed(tmp_path: Path) -> None:
    table = tmp_path / "rows.parquet"
    with open_database(tmp_path / "spill") as used:
        query = "SELECT hash(r) AS h FROM range(300000) t(r)"
        used.execute(used.files.copy(query, table, "FORMAT parquet"))
        used.fetch_one(f"SELECT count(*) FROM {used.files.read_parquet(table)}")
    assert table.stat().st_size > 2**20
    assert idle_instances() == 0


def test_an_instance_that_spilled_is_closed(tmp_path: Path) -> None:
    with open_database(tmp_path / "spill", memory="16MB") as used:
        used.execute("CREATE TABLE rows AS SELECT hash(r) AS h FROM range(6000000) t(r)")
        assert (tmp_path / "spill").exists()
    assert idle_instances() == 0
    assert not (tmp_path / "spill").exists()


def test_an_instance_is_usable_after_an_interrupt(tmp_path: Path) -> None:
    stop = PlanningStop()
    with (
        pytest.raises(InterruptedPlanningError),
        open_database(tmp_path / "spill", stop=stop) as used,
    ):
        stop.interrupt()
        used.execute("SELECT 1")
    with open_database(tmp_path / "spill") as used:
        assert used.fetch_one("SELECT 1") == (1,)


def test_an_unread_stream_does_not_keep_the_data(tmp_path: Path) -> None:
    with open_database(tmp_path / "spill") as used:
        used.execute("CREATE TABLE rows AS SELECT * FROM range(9000)")
        stream = used.rows("SELECT * FROM rows")
        assert next(iter(stream)) == (0,)
    with open_database(tmp_path / "spill") as again:
        assert again.fetch_one("SELECT count(*) FROM duckdb_tables()") == (0,)
    del stream


def test_two_databases_at_once_are_apart(tmp_path: Path) -> None:
    with open_database(tmp_path / "a") as one, open_database(tmp_path / "b") as other:
        one.execute("CREATE TABLE rows AS SELECT 1 AS row")
        other.execute("CREATE TABLE rows AS SELECT 2 AS row")
        assert one.fetch_one("SELECT * FROM rows") == (1,)
        assert other.fetch_one("SELECT * FROM rows") == (2,)
    assert idle_instances() == 2
    with open_database(tmp_path / "a"), open_database(tmp_path / "b"), open_database(tmp_path):
        assert idle_instances() == 0
    assert idle_instances() == 2


FORK = """
import os
from pathlib import Path
from bulklink.mapping.database import open_database

def work():
    with open_database(Path("spill")) as used:
        assert used.fetch_one("SELECT 1") == (1,)

work()
child = os.fork()
work()
if child:
    os.waitpid(child, 0)
    print("both ended")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_forked_process_ends(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FORK],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert (ended.stdout, ended.stderr) == ("both ended\n", "")


@pytest.mark.parametrize(
    ("adjustable", "advice"),
    [(True, "Raise memory, or free some"), (False, "Close other programs")],
)
def test_only_a_limit_that_the_user_sets_is_advised_to_be_raised(
    tmp_path: Path, adjustable: bool, advice: str
) -> None:
    query = "SELECT length(string_agg(repeat('x', 1000), '')) FROM range(1_000_000)"
    with (
        pytest.raises(RunDirError) as raised,
        open_database(tmp_path / "spill", memory="32MB", adjustable=adjustable) as small,
    ):
        small.fetch_one(query)
    assert raised.value.message == "Memory or disk space ran out."
    assert str(raised.value.place) == str(tmp_path)
    assert str(raised.value.guidance).startswith(advice)
