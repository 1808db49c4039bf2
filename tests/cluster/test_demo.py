"""The demo of a cluster ends with true ledgers, and says what it lacks."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.cluster.demo import ORGS, main
from tests.cluster.postgres import PostgresServer
from tests.docs.reference import ROOT

pytestmark = pytest.mark.timeout(180)


def test_a_worker_is_killed_and_every_ledger_is_true(postgres: PostgresServer) -> None:
    assert postgres.port, "else it is skipped"
    demo = subprocess.run(
        [sys.executable, "-m", "tests.cluster.demo", "--times", "0.1", "--emails", "160"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert demo.returncode == 0, demo
    (killed,) = re.findall(
        r"kill -9 of (\w+) and its drivers, which were sending (.*)\.", demo.stdout
    )
    for run in killed[1].split(" and "):
        assert re.search(rf"{run}: (?!{killed[0]})\w+ took it over [\d.]+ s after", demo.stdout)
    for org in ORGS:
        assert re.search(rf"{org}: .*; 160 of 160 emails .* The ledger is true\.", demo.stdout)
    assert demo.stdout.endswith("Every ledger is true.\n")


def test_without_postgresql_it_says_what_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], programs=None) == 2
    assert "apt install postgresql" in capsys.readouterr().err
