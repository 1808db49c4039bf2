"""docs/cluster.md: its service starts a worker, its queries work, and its times are the code's.

tests/docs/test_guides.py follows its commands.
"""

from __future__ import annotations

import configparser
import re
import shlex

import psycopg
import pytest

from bulklink.cluster.database import conninfo_from
from bulklink.cluster.schema import initialize
from bulklink.cluster.timing import ClusterTiming
from bulklink.errors import ExitCode
from tests.cli.command_tree import parse_context
from tests.cluster.postgres import serve_postgres
from tests.docs.test_reference import DOCS
from tests.docs.test_worker import block as block_of

TEXT = DOCS["cluster.md"]
TIMING = ClusterTiming()


def block(language: str) -> str:
    """Return the first block of a language."""
    return block_of(language, TEXT)


def test_the_unit_starts_a_worker_that_waits_for_runs_and_stops_gently() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(block("ini"))
    service = unit["Service"]
    program, _, words = service["ExecStart"].partition(" ")
    assert program.startswith("/"), "systemd wants a whole path"
    context = parse_context(shlex.split(f"{program.rpartition('/')[2]} {words}"))
    assert context.command_path == "bulklink cluster worker"
    assert not context.params["drain"]
    assert service["KillMode"] == "mixed", "else the runs get SIGTERM from systemd too"
    assert int(service["SuccessExitStatus"]) == ExitCode.TERMINATED
    assert "RestartPreventExitStatus" not in service, "the database may be away at the start"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert f"--home-dir {service['WorkingDirectory']} " in TEXT
    assert f"`{service['EnvironmentFile']}`" in TEXT


def test_the_queries_work() -> None:
    with serve_postgres() as server:
        address = server.create_database()
        initialize(conninfo_from({"BULKLINK_CLUSTER_URL": address}))
        with psycopg.connect(address, autocommit=True) as connection:
            queries = [query for query in block("sql").split(";\n") if query.strip()]
            assert len(queries) == 4
            for query in queries:
                connection.execute(query.encode())


@pytest.mark.parametrize(
    "text",
    [
        f"A lease lasts {TIMING.ttl:.0f} seconds and is renewed every {TIMING.renew:g}",
        f", {TIMING.margin:.0f} seconds before the lease can end",
        f"waits {TIMING.answer:.0f} seconds",
        f"every {TIMING.watch:.0f} seconds",
        f"stop {TIMING.ttl - TIMING.margin:.0f} seconds after the last renewal",
        f"{TIMING.kill:.0f} seconds after the end of the lease the worker kills",
        f"up to about {int(TIMING.ttl - TIMING.margin - TIMING.renew)} seconds",
        f"after at most {TIMING.ttl:.0f} seconds, and {TIMING.answer:.0f} more",
        f"{TIMING.restarts.restart:.0f} seconds apart, five times in all",
        f"within {TIMING.renew + 0.5:.0f} seconds",
    ],
)
def test_the_times_are_those_of_a_cluster(text: str) -> None:
    assert text in TEXT


def test_every_part_of_the_demo_is_promised_where_it_can_be_run() -> None:
    assert "`make demo-cluster`" in TEXT
    assert not re.search(r"#\d+|\.\./shared", TEXT)
