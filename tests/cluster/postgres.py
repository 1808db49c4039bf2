"""A PostgreSQL server of the tests, which are skipped where there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest

from tests.cluster.postgres_server import PostgresServer, find_programs, temporary_server

__all__ = ["PostgresServer", "find_program", "serve_postgres"]


@contextmanager
def serve_postgres(*, in_memory: bool = True, **settings: str) -> Iterator[PostgresServer]:
    """Start a server with some settings; skip the test, or fail in CI, where there is none."""
    programs = find_programs()
    if programs is None:
        skip("PostgreSQL")
    with temporary_server(programs, in_memory=in_memory, **settings) as server:
        yield server


def find_program(name: str) -> str:
    """Return the path of a program; skip the test, or fail in CI, where there is none."""
    program = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if program is None:
        skip(name)
    return program


def skip(name: str) -> NoReturn:
    """Skip a test for want of a program; fail it in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not installed")
    pytest.skip(f"{name} is not installed: install it to run the tests of clusters")
