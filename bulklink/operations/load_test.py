"""`load_test`: a run whose calls are driven by a schedule, and measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import msgspec

from bulklink.advice import Advice
from bulklink.engine.shutdown import StopController
from bulklink.errors import ConfigError, ExitCode, RunDirError, UsageError
from bulklink.ledger.replay import replay
from bulklink.load_results import LoadResult, LoadTarget
from bulklink.mapping.input.files import Source
from bulklink.mapping.interrupt import PlanningStop
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.cancellation import run_guarded, run_planning
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.job import Job
from bulklink.operations.load_figures import TOO_FEW_EMAILS, make_load_result
from bulklink.operations.load_files import (
    PERCENTILES_NAME,
    RESULT_NAME,
    write_load_page,
    write_load_result,
    write_percentiles,
)
from bulklink.operations.load_options import LoadTest
from bulklink.operations.load_run import LoadRun
from bulklink.operations.plan import checked_mapping, find_inputs, new_run_folder
from bulklink.operations.prepare import ExtraRows, prepare_run
from bulklink.operations.send import send
from bulklink.runs.folder import RunFolder
from bulklink.zoho.connection import Connection
from bulklink.zoho.data_centres import ENVIRONMENTS, environment_of

_PRODUCTION, *_ = ENVIRONMENTS


async def load_test(
    job: Job,
    options: LoadTest,
    connection: Connection,
    *,
    target: LoadTarget | None = None,
    seed: int | None = None,
    must_prepare: bool = True,
    callbacks: RunCallbacks | None = None,
    stop: StopController | None = None,
    environment: Environment | None = None,
) -> LoadResult:
    """Measure a server that is not a production org.

    The emails of the mapping are linked and unlinked as often as the schedule asks for. Each call
    is sent once, nothing is read back, and failures do not stop the test. The ledger records each
    call and result as that of any run; the last result of a row is its state.

    Args:
        job: the mapping and options of sending. Its `op`, `canary`, `max_failures`, `snapshot` and
            `read_back` are those of load tests.
        options: how the calls are driven.
        connection: endpoint and credentials of the server.
        target: what is measured, for the result; None for the address of the server.
        seed: seed of the generated world, for the result.
        must_prepare: whether the emails are first brought into the state that the test begins with,
            at the cost of a call for each batch; False if they are in that state already: on no
            deal, or for `unlink` on one.
        callbacks: callbacks of the run; None reports nothing.
        stop: ends the test early; its result has the figures so far.
        environment: network, disk and clock; None for this machine's, others for tests.

    Returns:
        The result, which is also in `loadtest.json` in the run folder.

    Raises:
        ConfigError: if the server is a production org, or its org does not say that it is none.
        RefusedError: if it is refused before anything is changed.
        InterruptedPlanningError: if it was stopped before the plan was sealed; nothing is left.
        LedgerError: if the ledger cannot be trusted.
    """
    refuse_production(connection)
    test = _LoadTest(
        job=options.send_job(job),
        options=options,
        connection=connection,
        target=target or LoadTarget(url=connection.api_url, world_digest=None),
        seed=seed,
        must_prepare=must_prepare,
        environment=environment or real_environment(),
    )
    return await run_guarded(test.run, callbacks, stop)


def refuse_production(connection: Connection) -> None:
    """Refuse a production org by its address or environment, before a token is asked for.

    Raises:
        ConfigError: if it is one.
    """
    if environment_of(connection.api_url) == _PRODUCTION:
        raise ConfigError(
            "A load test never measures a production org.",
            where=connection.api_url,
            advice="Connect to a sandbox or a developer org, or measure a server on this machine.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _LoadTest:
    """Steps of a load test."""

    job: Job
    options: LoadTest
    connection: Connection
    target: LoadTarget
    seed: int | None
    must_prepare: bool
    environment: Environment

    async def run(self, callbacks: RunCallbacks, stop: StopController) -> LoadResult:
        """Plan, send, and write the files of the result."""
        job, environment = self.job, self.environment
        inputs = find_inputs(job)
        with new_run_folder(job, environment.clock, callbacks.warn) as folder:
            callbacks.on_phase("Checking the mapping")
            await run_planning(
                partial(self._prepare, folder, inputs),
                callbacks,
                stop,
                environment.run_blocking,
            )
            ledger_state = await environment.run_blocking(partial(replay, folder.ledger))
            load_run = LoadRun(self.options, self.must_prepare)
            end = await send(
                folder,
                ledger_state,
                job=job,
                connection=self.connection,
                callbacks=callbacks,
                stop=stop,
                environment=load_run.watch(environment),
                load=load_run,
            )
            if load_run.driver is None:
                raise stop.reason or UsageError(
                    "There are no emails to send.",
                    where=", ".join(job.mapping_names),
                    advice="Use a mapping with at least one row that is accepted.",
                )
            result = make_load_result(
                load_run, load_run.driver, job, self.target, self.seed, folder.read(), end
            )
            if result.limited_by == TOO_FEW_EMAILS:
                callbacks.warn(
                    "Calls had to wait because all emails were in other calls: use a mapping with"
                    " more emails, or fewer calls in flight."
                )
            try:
                await environment.run_blocking(partial(_write_files, folder, result))
            except RunDirError as error:  # the figures are not lost with the disk
                callbacks.warn(f"The files of the load test are not complete. {error}")
                exit_code = result.exit_code or int(ExitCode.STOPPED)
                result = msgspec.structs.replace(result, exit_code=exit_code)
        return result

    def _prepare(
        self,
        folder: RunFolder,
        inputs: tuple[Source, ...],
        stop: PlanningStop,
        warn: Callable[[str | Advice], None],
    ) -> None:
        with checked_mapping(folder, self.job, inputs, stop) as checked:
            for text in checked.warnings:
                warn(text)
            prepare_run(
                checked,
                self.job,
                folder,
                self.environment.clock.wall(),
                ExtraRows(0, lambda: iter(()), {"load_test": True}),
                module_known=self.connection.module_id is not None,
            )


def _write_files(folder: RunFolder, result: LoadResult) -> None:
    write_load_page(folder.html_report, result)
    write_percentiles(folder.path / PERCENTILES_NAME, result)
    write_load_result(folder.path / RESULT_NAME, result)
