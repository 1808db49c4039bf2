"""`bulklink cluster`: runs of many orgs on several machines, by way of PostgreSQL."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bulklink.cli.cluster_access import import_schema, open_cluster, open_runs
from bulklink.cli.completion import RunPath
from bulklink.cli.connection import connection_for_run, connection_options, profile_option
from bulklink.cli.console import print_json, print_line, show_error
from bulklink.cli.help import Command, Group
from bulklink.cli.options import (
    combine_options,
    common_options,
    display_options,
    limit_options,
    option,
)
from bulklink.cli.param_types import WholeNumber
from bulklink.cli.submit_summary import show_outcome, show_submitted, wait_until_ended
from bulklink.cli.worker_summary import report_event, show_work
from bulklink.counts import count_of
from bulklink.errors import ExitCode, RunDirError, UsageError
from bulklink.shell import bulklink_command

if TYPE_CHECKING:
    from bulklink.cluster.runs import ClusterRun
    from bulklink.cluster.supervisor import ClusterWorkResult

F = TypeVar("F", bound=Callable[..., Any])
_submit_options = combine_options(
    connection_options, limit_options, display_options, common_options
)
_run_argument = click.argument("run", metavar="RUN")


def _without(*names: str) -> Callable[[F], F]:
    """Return a decorator that takes options away: in a cluster they have no meaning."""

    def decorate(function: F) -> F:
        params: list[click.Parameter] = getattr(function, "__click_params__", [])
        params[:] = [param for param in params if param.name not in names]
        return function

    return decorate


@click.group("cluster", cls=Group)
def cluster() -> None:
    """Send the runs of many orgs from several machines.

    \b
    Examples:
      bulklink cluster init
      bulklink cluster submit approved --expect DIGEST
      bulklink cluster worker --slots 8

    The machines share a PostgreSQL database, whose address is in BULKLINK_CLUSTER_URL, and nothing
    else. `bulklink status --cluster` shows what is in it. Each run is driven by one worker at a
    time, and one run of an org; if a worker or its machine dies, another one continues. Needs the
    extra bulklink[cluster]. `bulklink work` does the same on one machine without a database.
    """


@cluster.command("init", cls=Command)
@common_options
def init(*, as_json: bool) -> int:
    """Prepare the database of BULKLINK_CLUSTER_URL.

    \b
    Example:
      bulklink cluster init

    Creates the schema bulklink, unless it is there. Run once, by a user who may create a schema.
    """
    schema = import_schema()
    from bulklink.cluster.database import conninfo_from, describe  # noqa: PLC0415 - an extra

    conninfo = conninfo_from()
    is_new = schema.initialize(conninfo)
    if as_json:
        print_json({"database": describe(conninfo), "created": is_new, "exit_code": 0})
    else:
        verb = "is ready" if is_new else "was prepared before"
        print_line(f"{describe(conninfo)} {verb}.")
    return ExitCode.OK


@cluster.command("submit", cls=Command)
@click.argument("runs", metavar="RUN...", type=RunPath(), nargs=-1, required=True)
@option("--expect", metavar="DIGEST", help="Refuse the plan unless it has this digest.")
@option(
    "--request",
    metavar="KEY",
    help="Idempotency key: the same plan with the same key is submitted once. By default a sealed"
    " plan is submitted once.",
)
@option(
    "--wait",
    is_flag=True,
    help="Wait until all have ended, and exit as their worker would; Ctrl-C ends only the waiting.",
)
@_without("sync", "wait_for_org")
@_submit_options
def submit(
    runs: tuple[Path, ...], expect: str | None, request: str | None, *, wait: bool, **options: Any
) -> int:
    """Submit sealed plans or jobs of one org to the cluster.

    \b
    Examples:
      bulklink cluster submit approved
      bulklink cluster submit approved --expect DIGEST --yes
      bulklink cluster submit links unlinks --yes --wait

    The org is looked up, and you are asked before it is changed; workers send without a question,
    in the order in which you name the plans. The folders are copied to the database, secrets are
    not: a worker sends what it has a profile for. Options default to those that a plan was sealed
    with.
    """
    from bulklink.cli.arguments import option_words  # noqa: PLC0415 - not for --help
    from bulklink.cli.event_loop import run_in_loop  # noqa: PLC0415 - not for --help
    from bulklink.cli.progress import run_with_progress  # noqa: PLC0415 - not for --help

    import_schema()
    from bulklink.cluster.driver_command import STORED_OPTIONS  # noqa: PLC0415 - an extra
    from bulklink.cluster.running import wake_worker  # noqa: PLC0415 - an extra
    from bulklink.cluster.submitting import submit as submit_runs  # noqa: PLC0415 - an extra

    if expect is not None and len(runs) > 1:
        raise UsageError(
            "This is the digest of one plan.",
            where="--expect",
            advice="Submit the plans one after another, each with its digest.",
        )
    connection = connection_for_run(runs[0], options)
    database, timing = open_cluster()
    operation = partial(
        submit_runs,
        runs,
        connection,
        database=database,
        expect=expect,
        request=request,
        profile=options["profile"],
        options=option_words(STORED_OPTIONS),
        approved_by=f"{getpass.getuser()}@{socket.gethostname()}",
        yes=options["yes"],
        expect_org=options["expect_org"],
    )
    submitted = run_with_progress(operation, options)[0]
    run_in_loop(wake_worker, database, timing, submitted[0].runs[0].org_key)
    if not options["as_json"]:
        show_submitted(submitted)
    result = wait_until_ended(database, timing, submitted) if wait else None
    show_outcome(submitted, result, as_json=options["as_json"])
    return result.exit_code if result else ExitCode.OK


@cluster.command("worker", cls=Command)
@option(
    "--slots",
    type=WholeNumber(1, 1000),
    default=8,
    show_default=True,
    metavar="N",
    help="Runs that are sent at the same time, each in a process of its own (about 130 MB).",
)
@option(
    "--drain",
    is_flag=True,
    help="End when nothing in the cluster can be sent any more but what a person must look at.",
)
@option(
    "--keep-days",
    type=WholeNumber(1, 3650),
    metavar="N",
    help="Remove finished runs from the database after N days. By default they stay.",
)
@profile_option
@common_options
def worker(
    *, slots: int, drain: bool, keep_days: int | None, profile: str | None, as_json: bool
) -> int:
    """Send the runs of the cluster, one at a time for each org.

    \b
    Examples:
      bulklink cluster worker
      bulklink cluster worker --slots 20 --keep-days 30

    Start it on as many machines as you like. A worker sends the runs whose profiles it has, and
    those that were submitted without one, with --profile or the environment. Ctrl-C or SIGTERM
    stops gently, and other workers go on.
    """
    import_schema()
    from bulklink.cli.event_loop import run_in_loop  # noqa: PLC0415 - not for --help
    from bulklink.cli.signals import run_with_signals  # noqa: PLC0415 - not for --help
    from bulklink.cluster.running import run_worker  # noqa: PLC0415 - an extra
    from bulklink.engine.shutdown import StopController  # noqa: PLC0415 - not for --help
    from bulklink.profiles.names import config_folder  # noqa: PLC0415 - not for --help
    from bulklink.profiles.profile import Profiles  # noqa: PLC0415 - not for --help

    database, timing = open_cluster()
    stop = StopController()
    operation = partial(
        run_worker,
        database,
        timing,
        slots=slots,
        drain=drain,
        keep_days=keep_days,
        stop=stop,
        report=report_event,
        profiles=Profiles(config_folder()).names,
        profile=profile,
    )
    result: ClusterWorkResult = run_in_loop(run_with_signals, operation, stop)
    show_work(result, as_json=as_json)
    return result.exit_code


@cluster.command("drive", cls=Command, hidden=True)
@_run_argument
@click.option(
    "--driver", required=True, metavar="NAME", help="Name of the driver that has the run."
)
@_submit_options
def drive(run: str, driver: str, **options: Any) -> int:
    """Drive a run; a worker starts this."""
    import_schema()
    from uuid import UUID  # noqa: PLC0415 - not for --help

    from bulklink.cli.arguments import given_options, limit_arguments  # noqa: PLC0415
    from bulklink.cli.connection import connection_from_options  # noqa: PLC0415
    from bulklink.cli.progress import run_with_progress  # noqa: PLC0415 - not for --help
    from bulklink.cluster.driving import drive as drive_run  # noqa: PLC0415 - an extra
    from bulklink.cluster.running import work_folder  # noqa: PLC0415 - an extra
    from bulklink.runs.record import RunState  # noqa: PLC0415 - not for --help

    database, timing = open_cluster()
    operation = partial(
        drive_run,
        UUID(run),
        driver,
        connection_from_options(options),
        database=database,
        timing=timing,
        work_folder=work_folder(),
        options=limit_arguments(given_options(options)),
    )
    result, reason = run_with_progress(operation, options)
    if reason is not None and result.state is not RunState.FINISHED:  # a stop may come too late
        show_error(reason, as_json=False)
    # No summary: the folder of the run is gone, as all of it is in the database.
    print_json({"run": run, "state": result.state, "exit_code": int(result.exit_code or 0)})
    return int(result.exit_code or 0)


@cluster.command("cancel", cls=Command)
@_run_argument
@common_options
def cancel(run: str, *, as_json: bool) -> int:
    """Take RUN out of the queue of the cluster.

    \b
    Example:
      bulklink cluster cancel 20261122T101500Z-link-3f2a

    RUN is its name or its id, or the name of a job. If it is being sent, it is stopped gently. What
    was sent stays.
    """
    with open_runs(run) as (table, runs):
        states = [table.cancel(each.run) for each in runs]
    if as_json:
        states_by_name = {each.name: state for each, state in zip(runs, states, strict=True)}
        print_json({"runs": states_by_name, "exit_code": 0})
        return ExitCode.OK
    for each, state in zip(runs, states, strict=True):
        print_line(
            f"{each.name} is being stopped." if state == "running" else f"{each.name} is {state}."
        )
    return ExitCode.OK


@cluster.command("resume", cls=Command)
@_run_argument
@option(
    "--accept-canary",
    is_flag=True,
    help="Continue a run whose canary did not pass, without another canary.",
)
@option(
    "--accept-restored",
    is_flag=True,
    help="Continue although the database was restored from an old backup. Emails whose results it"
    " has lost are sent again.",
)
@common_options
def resume(run: str, *, accept_canary: bool, accept_restored: bool, as_json: bool) -> int:
    """Give RUN back to the workers of the cluster.

    \b
    Example:
      bulklink cluster resume 20261122T101500Z-link-3f2a

    RUN was left to you or cancelled. RUN is its name or its id, or the name of a job.
    `bulklink status --cluster` says why a run was left.
    """
    with open_runs(run) as (table, runs):
        for each in runs:
            _refuse_to_give_back(each, accept_canary=accept_canary)
        if accept_restored:
            table.skip_epochs(runs[0].run)
        given = [each for each in runs if table.give_back(each.run, accept_canary=accept_canary)]
    if not given:
        raise RunDirError(
            f"This run is {runs[0].state}: there is nothing to give back.",
            where=run,
            advice="See where it stands: `bulklink status --cluster`.",
        )
    if as_json:
        print_json({"runs": [each.name for each in given], "exit_code": 0})
    else:
        for each in given:
            print_line(f"{each.name} is queued again.")
    return ExitCode.OK


def _refuse_to_give_back(run: ClusterRun, *, accept_canary: bool) -> None:
    """Refuse a run that is still being stopped, or whose canary is to be accepted."""
    from bulklink.cluster.runs import needs_accept_canary  # noqa: PLC0415 - an extra

    if run.state == "running" and run.cancel:
        raise RunDirError(
            "This run is being stopped.",
            where=run.name,
            advice="Give it back once it is cancelled: `bulklink status --cluster` shows when.",
        )
    if run.state == "left" and needs_accept_canary(run.left_code) and not accept_canary:
        raise RunDirError(
            f"The canary of this run did not pass. {run.left_message or ''}".strip(),
            where=run.name,
            advice="Look at these emails in the CRM; then give it back with --accept-canary.",
        )


@cluster.command("pull", cls=Command)
@_run_argument
@option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Folder to write, missing or empty.",
)
@common_options
def pull(run: str, output: Path, *, as_json: bool) -> int:
    """Write the folder of RUN, as the cluster has it now.

    \b
    Example:
      bulklink cluster pull 20261122T101500Z-link-3f2a -o pulled

    The folder is an ordinary one: status, report, verify, export and undo work with it. Do not
    resume the copy of a run that the cluster still sends.
    """
    with open_runs(run, whole_jobs=True) as (table, runs):
        from bulklink.cluster.pulling import pull as pull_runs  # noqa: PLC0415 - an extra

        pull_runs(table.database, runs, output)
    if as_json:
        print_json({"run_dir": str(output), "exit_code": 0})
    else:
        print_line(f"Written to {output}: {bulklink_command('status', output)}")
    return ExitCode.OK


@cluster.command("forget", cls=Command)
@_run_argument
@option("--force", is_flag=True, help="Also a run that is queued or was left to you.")
@common_options
def forget(run: str, *, force: bool, as_json: bool) -> int:
    """Remove RUN from the database: plan, names, answers and ledger.

    \b
    Example:
      bulklink cluster forget 20261122T101500Z-link-3f2a

    Pull it first if you want to keep its ledger: without it the run can neither be verified nor
    undone. A run that is being sent is not removed.
    """
    allowed = ("finished", "cancelled", "queued", "left") if force else ("finished", "cancelled")
    with open_runs(run, whole_jobs=True) as (table, runs):
        for each in runs:
            if each.state not in allowed:
                raise RunDirError(
                    f"This run is {each.state}.",
                    where=each.name,
                    advice="Cancel it first: `bulklink cluster cancel`.",
                )
        for each in runs:
            table.delete(each.run)
    if as_json:
        print_json({"runs": [each.name for each in runs], "exit_code": 0})
    else:
        print_line(f"Removed {count_of(len(runs), 'run')} from the database.")
    return ExitCode.OK
