"""One side of a comparison, or the only one: a load test that can be run again and again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Self

import msgspec

from bulklink.cli.arguments import job_from_options
from bulklink.cli.console import note, show_error
from bulklink.cli.load_sandbox import measure_sandbox, sandbox_connection
from bulklink.cli.load_target import (
    LoadWorld,
    check_target,
    connection_to,
    make_load_world,
    measured_server,
)
from bulklink.cli.progress import run_with_progress
from bulklink.engine.load.batches import LoadOp
from bulklink.errors import RunStoppedError
from bulklink.load_results import LoadResult
from bulklink.operations.load_options import LoadTest
from bulklink.operations.load_test import load_test, refuse_production


class LoadRunner:
    """Runs a load test with the options of a command; its world exists while its block runs.

    Args:
        mappings: the emails; none for generated ones.
        options: options of the command.

    Raises:
        UsageError: if the options are not valid together.
        ConfigError: if the user asks for production, or there is no connection.
    """

    def __init__(self, mappings: tuple[str, ...], options: Mapping[str, Any]) -> None:
        check_target(options)
        self._options = options
        self._job_options = {**options, "op": None, "snapshot": None, "accept_no_put_back": False}
        self.job = job_from_options(mappings, self._job_options)
        self.load = LoadTest(**{name: options[name] for name in LoadTest.__struct_fields__})
        self.load.send_job(self.job)  # a wrong schedule is refused before a world is made
        self._connection = sandbox_connection(options) if options["environment"] else None
        if options["own_server"] is not None:
            refuse_production(connection_to(options["own_server"], options["profile"], os.environ))
        self._stack = ExitStack()
        self._world: LoadWorld

    def __enter__(self) -> Self:
        if self._connection is not None:
            return self
        linked = self.load.effective_op is LoadOp.UNLINK
        self._world = self._stack.enter_context(
            make_load_world(self.job, self._options, linked=linked)
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def note(self, text: str) -> None:
        """Show a note, unless the command is quiet."""
        if not self._options["quiet"]:
            note(text)

    def run(self, **changes: Any) -> LoadResult:
        """Run the load test once, with a local CRM that was just started; return its result.

        Args:
            **changes: other values of `LoadTest`.
        """
        load = msgspec.structs.replace(self.load, **changes)
        if self._connection is not None:
            return measure_sandbox(self.job, load, self._connection, self._options)
        job = msgspec.structs.replace(self.job, mappings=self._world.mappings)
        with measured_server(self._world, self._options) as server:
            measure = partial(
                load_test,
                job,
                load,
                server.connection,
                target=server.target,
                seed=self._world.seed,
                must_prepare=server.must_prepare,
            )
            result, reason = run_with_progress(measure, self._options)
        if reason is not None and result.cut_short:
            # The advice of `reason` is for runs, which can be resumed.
            error = RunStoppedError(
                reason.stopped_by,
                reason.message,
                where=reason.where,
                advice="The figures are those until then; a load test is not resumed.",
            )
            show_error(error, as_json=False)
        return result
