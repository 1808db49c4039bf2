"""`bulklink loadtest`: measure a server with a schedule of calls."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from bulklink.cli.completion import FileName
from bulklink.cli.connection import connection_options
from bulklink.cli.options import (
    combine_options,
    common_options,
    mapping_options,
    option,
    progress_option,
    quiet_option,
    run_dir_option,
    runs_dir_option,
)
from bulklink.cli.param_types import Duration, Number, NumberOrWord, OneOf, WholeNumber
from bulklink.errors import UsageError

_COUNT = WholeNumber(1, 100_000_000)

_schedule_options = combine_options(
    option(
        "--duration",
        type=Duration("duration"),
        metavar="TIME",
        help="How long to measure, such as 60s. Default: as long as --ramp or --steps take, until"
        " --messages are sent, or 10 seconds.",
    ),
    option("--messages", type=_COUNT, metavar="N", help="Stop once N emails are sent."),
    option(
        "--warm-up",
        type=Duration("warm_up"),
        metavar="TIME",
        default="0",
        help="Run this long before the measured time, at its first rate. Not part of the figures.",
    ),
    option(
        "--op",
        type=OneOf(["link", "unlink", "alternate"]),
        help="What to do with each email. alternate: link and unlink it in turn, for as long as the"
        " test lasts. Default: alternate, or link if only --messages ends the test.",
    ),
    option(
        "--arrival-rate",
        type=Number(0, 100_000, min_open=True),
        metavar="N",
        help="Open model: start N calls a second, whether earlier ones are answered or not.",
    ),
    option(
        "--ramp",
        metavar="N..N:TIME",
        help="Open model with a rate that changes evenly: 50..400:60s.",
    ),
    option(
        "--steps",
        metavar="N,N:TIME",
        help="Open model with several rates, each for a time: 100,200,400:30s.",
    ),
    option(
        "--concurrency",
        type=NumberOrWord("auto", whole=True, maximum=1000),
        default="auto",
        show_default=True,
        help="Calls in flight; in the open model, the most of them. auto: 10, or 200 in the open"
        " model.",
    ),
    option(
        "--rate",
        type=NumberOrWord("off", whole=False, maximum=100_000),
        default="off",
        show_default=True,
        help="Maximum calls per second in the closed model, or off.",
    ),
    option(
        "--threshold",
        "thresholds",
        multiple=True,
        metavar="TEXT",
        help="Exit with 1 if this is missed: 'p99 < 400ms', 'errors < 0.1%', 'rate > 95%'."
        " Repeatable.",
    ),
)

_target_options = combine_options(
    option(
        "--own-server",
        metavar="URL",
        help="Measure this server instead: one on this machine, or one with https.",
    ),
    option(
        "--emulator",
        "emulator_options",
        metavar="OPTIONS",
        default="",
        help='Further options of the local CRM: --emulator "--concurrency 25".',
    ),
    option(
        "--latency",
        type=Number(0, 60),
        default=0.05,
        show_default=True,
        help="Seconds that the local CRM takes to answer a call.",
    ),
    option(
        "--world-messages",
        type=_COUNT,
        default=200_000,
        show_default=True,
        help="Emails in the generated world.",
    ),
    option(
        "--world-contacts",
        type=_COUNT,
        default=10_000,
        show_default=True,
        help="Contacts in the generated world.",
    ),
    option(
        "--seed",
        type=WholeNumber(),
        default=1,
        show_default=True,
        help="Random seed of the generated world.",
    ),
)

_send_options = combine_options(
    option(
        "--batch-size",
        type=WholeNumber(1, 20),
        default=20,
        show_default=True,
        help="Maximum emails per call.",
    ),
    option("--no-names", is_flag=True, help="Send ids only: no names and no look-ups of names."),
    option(
        "--sync",
        type=OneOf(["on", "off"]),
        default="on",
        show_default=True,
        help="Whether to flush the ledger to disk before each call.",
    ),
    run_dir_option,
    runs_dir_option,
)


@click.command("loadtest")
@click.argument("files", nargs=-1, type=FileName(), metavar="[MAPPING...|JOB.toml]")
@combine_options(_schedule_options, _target_options, _send_options, mapping_options)
@combine_options(connection_options, progress_option, quiet_option, common_options)
@click.pass_context
def loadtest(ctx: click.Context, /, files: tuple[str, ...], **options: Any) -> int:
    """Measure a server with a schedule of calls.

    By default, it measures a local CRM that it starts and stops itself, with a generated world or
    with the emails of MAPPING. Latencies count from when each call should have left, so a stall
    shows in full. A production org is never measured.

    \b
    Examples:
      bulklink loadtest --duration 20s --concurrency 20
      bulklink loadtest --arrival-rate 200 --duration 60s --threshold "p99<400ms"
      bulklink loadtest --steps 100,200,400:30s --emulator "--concurrency 25"
    """
    import msgspec  # noqa: PLC0415 - not for --help

    from bulklink.cli.arguments import job_from_options  # noqa: PLC0415 - not for --help
    from bulklink.cli.console import print_json, show_error  # noqa: PLC0415 - not for --help
    from bulklink.cli.load_summary import show_load_result  # noqa: PLC0415 - not for --help
    from bulklink.cli.load_target import own_emulator, server_of_user  # noqa: PLC0415
    from bulklink.cli.progress import run_with_progress  # noqa: PLC0415 - not for --help
    from bulklink.cli.request_log import start_request_log  # noqa: PLC0415 - not for --help
    from bulklink.operations.load_options import LoadTest  # noqa: PLC0415 - not for --help
    from bulklink.operations.load_test import load_test  # noqa: PLC0415 - not for --help

    mappings = _read_job(ctx, files, options)
    send_options = options | {"op": None, "snapshot": None, "accept_no_put_back": False}
    job = job_from_options(mappings, send_options)
    load = LoadTest(**{name: options[name] for name in LoadTest.__struct_fields__})
    load.send_job(job)  # a wrong schedule is refused before a world is made
    start_request_log(options["log"])
    open_server = (
        server_of_user(job, options) if options["own_server"] else own_emulator(job, load, options)
    )
    with open_server as server:
        measure = partial(
            load_test,
            job_from_options(server.mappings, send_options),
            load,
            server.connection,
            target=server.target,
            seed=server.seed,
            must_prepare=server.must_prepare,
        )
        result, reason = run_with_progress(measure, options)
    if reason is not None and result.cut_short:
        show_error(reason, as_json=False)
    if options["as_json"]:
        print_json(msgspec.to_builtins(result, str_keys=True))
    else:
        show_load_result(result)
    return result.exit_code


def _read_job(
    ctx: click.Context, files: tuple[str, ...], options: dict[str, Any]
) -> tuple[str, ...]:
    """Return the mappings, after filling in the options of a job file."""
    from bulklink.cli.job_file import apply_job_file  # noqa: PLC0415 - not for --help

    jobs = [name for name in files if name.lower().endswith(".toml")]
    if not jobs:
        return files
    if len(files) > 1:
        raise UsageError(
            "A job file cannot be combined with mappings.",
            where=jobs[0],
            advice="List the mappings under its key mapping.",
        )
    return apply_job_file(Path(jobs[0]), ctx, options, needs_mapping=False)
