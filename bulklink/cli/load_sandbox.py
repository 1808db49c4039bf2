"""Load test of a sandbox or developer org, whose links are put back at the end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from bulklink.cli.console import note
from bulklink.cli.progress import run_with_progress
from bulklink.engine.load.batches import LoadOp
from bulklink.errors import BulklinkError, RefusedError, RunStoppedError, UsageError
from bulklink.load_results import LoadResult, LoadTarget
from bulklink.models import Op
from bulklink.operations.job import Job
from bulklink.operations.load_options import LoadTest
from bulklink.operations.load_test import load_test, refuse_production
from bulklink.operations.run import run
from bulklink.operations.undo import undo
from bulklink.profiles.resolve import load_connection
from bulklink.runs.record import RunState
from bulklink.runs.status import RunResult
from bulklink.shell import bulklink_command, path_word
from bulklink.zoho.connection import Connection


def sandbox_connection(options: Mapping[str, Any]) -> Connection:
    """Return the connection to the org of an environment that is not production.

    Raises:
        ConfigError: if it is production all the same, or a setting is missing or invalid.
    """
    env = {**os.environ, "BULKLINK_ENVIRONMENT": options["environment"]}
    connection = load_connection(options["profile"], env)
    refuse_production(connection)
    return connection


def measure_sandbox(
    job: Job, load: LoadTest, connection: Connection, options: Mapping[str, Any]
) -> LoadResult:
    """Unlink the emails, measure, and put every email back on the deal that it was on.

    The emails are unlinked by an ordinary run, which records their deals: `bulklink undo` of that
    run puts them back, also after this process was killed.

    Raises:
        UsageError: if there is no mapping.
        BulklinkError: if the links cannot be put back; the error says how to do so.
    """
    if not job.mappings:
        raise UsageError(
            "An org has no emails of a generated world.",
            where="MAPPING",
            advice="Name a mapping of emails that the org has.",
        )
    sandbox = _Sandbox(job, connection, options)
    before, stopped = sandbox.unlink(snapshot=True)
    if before.state is not RunState.FINISHED:
        raise BulklinkError(
            f"The emails could not all be unlinked: {_reason(stopped, before)}",
            where=before.run_dir,
            advice=sandbox.advice(before),
        )
    note(f"Should this command be killed: {sandbox.advice(before)}")
    try:
        measure = partial(
            load_test,
            msgspec.structs.replace(job, yes=True),  # the run before has asked
            load,
            connection,
            target=LoadTarget(url=connection.api_url, world_digest=None),
            must_prepare=load.effective_op is LoadOp.UNLINK,
        )
        result, _ = run_with_progress(measure, options)
    finally:
        sandbox.put_back(before)
    return result


class _Sandbox:
    """The ordinary runs around a load test."""

    def __init__(self, job: Job, connection: Connection, options: Mapping[str, Any]) -> None:
        self._job = job
        self._connection = connection
        self._options = options

    def unlink(self, *, snapshot: bool) -> tuple[RunResult, RunStoppedError | None]:
        """Unlink all emails of the mapping, with or without a record of their deals.

        Returns:
            The result, and why it stopped early; None if it did not.
        """
        job = msgspec.structs.replace(
            self._job,
            op=Op.UNLINK,
            snapshot=snapshot,
            run_dir=None,
            canary=0,
            yes=self._job.yes or not snapshot,  # the first run asks for all
        )
        return run_with_progress(partial(run, job, self._connection), self._options)

    def put_back(self, before: RunResult) -> None:
        """Put every email back on the deal that it was on before the load test.

        Raises:
            BulklinkError: if that does not finish.
        """
        note("Putting the links back.")
        try:
            unlinked, stopped = self.unlink(snapshot=False)
            if unlinked.state is not RunState.FINISHED:
                raise self._not_put_back(before, stopped)
            undone, stopped = run_with_progress(
                partial(undo, before.run_dir, self._connection, yes=True), self._options
            )
        except RefusedError as error:
            raise self._not_put_back(before, error) from None
        if undone is not None and (undone.state is not RunState.FINISHED or undone.exit_code):
            raise BulklinkError(
                f"The links are not all put back: {_reason(stopped, undone)}",
                where=undone.run_dir,
                advice=f"Put back the rest: {self._with_org('resume', undone.run_dir)}.",
            )

    def _not_put_back(self, before: RunResult, error: BulklinkError | None) -> BulklinkError:
        return BulklinkError(
            f"The links are not put back: {_reason(error, before)}",
            where=before.run_dir,
            advice=self.advice(before),
        )

    def advice(self, before: RunResult) -> str:
        """Return how to put the links back by hand, in the same org."""
        emails = f"{before.run_dir}.csv"
        export = (
            "export",
            path_word(before.run_dir),
            *("--status", "done", "--status", "unchanged"),
            "-o",
            emails,
        )
        commands = (
            bulklink_command(*export),
            self._with_org("unlink", path_word(emails), "--no-snapshot"),
            self._with_org("undo", path_word(before.run_dir)),
        )
        environment = self._options["environment"]
        return (
            f"set BULKLINK_ENVIRONMENT={environment}, then put the links back with"
            f" {', '.join(commands)}."
        )

    def _with_org(self, *words: str) -> str:
        """Return a command to type, which uses the same profile."""
        profile = self._options["profile"]
        return bulklink_command(*words, *(() if profile is None else ("--profile", profile)))


def _reason(error: BulklinkError | None, result: RunResult) -> str:
    return f"the run is {result.state}." if error is None else error.message
