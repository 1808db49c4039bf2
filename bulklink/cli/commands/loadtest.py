"""`bulklink loadtest`: measure a server with a schedule of calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from bulklink.cli.completion import FileName
from bulklink.cli.connection import connection_options
from bulklink.cli.help import CALLS, SAFETY, Command, GroupedOption
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
from bulklink.cli.output_types import OutputPath
from bulklink.cli.param_types import Duration, Number, NumberOrWord, OneOf, WholeNumber
from bulklink.errors import UsageError

_SCHEDULE = "Schedule"
_SERVER = "What is measured"
_COMPARISONS = "Compare, search and merge"
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
        group=_SCHEDULE,
        type=Duration("warm_up"),
        metavar="TIME",
        default="0",
        help="Run this long before the measured time, at its first rate. Not part of the figures.",
    ),
    option(
        "--op",
        group=_SCHEDULE,
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
        group=_SCHEDULE,
        metavar="N..N:TIME",
        help="Open model with a rate that changes evenly: 50..400:60s.",
    ),
    option(
        "--steps",
        group=_SCHEDULE,
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
        group=_SCHEDULE,
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
        group=_SERVER,
        metavar="URL",
        help="Measure this server instead: one on this machine, or one with https.",
    ),
    click.option(
        "--environment",
        cls=GroupedOption,
        group=_SERVER,
        type=OneOf(["sandbox", "developer", "production"]),
        help="Measure a sandbox or developer org instead, with the emails of MAPPING; its links are"
        " put back at the end. Production is refused.",
    ),
    option(
        "--yes",
        group=_SERVER,
        is_flag=True,
        help="Change an org that is not a sandbox without asking.",
    ),
    option(
        "--emulator",
        "emulator_options",
        group=_SERVER,
        metavar="OPTIONS",
        default="",
        help='Further options of the local CRM: --emulator "--concurrency 25".',
    ),
    option(
        "--latency",
        group=_SERVER,
        type=Number(0, 60),
        default=0.05,
        show_default=True,
        help="Seconds that the local CRM takes to answer a call.",
    ),
    option(
        "--world-messages",
        group=_SERVER,
        type=_COUNT,
        default=200_000,
        show_default=True,
        help="Emails in the generated world.",
    ),
    option(
        "--world-contacts",
        group=_SERVER,
        type=_COUNT,
        default=10_000,
        show_default=True,
        help="Contacts in the generated world.",
    ),
    option(
        "--seed",
        group=_SERVER,
        type=WholeNumber(),
        default=1,
        show_default=True,
        help="Random seed of the generated world.",
    ),
)

_send_options = combine_options(
    option(
        "--batch-size",
        group=CALLS,
        type=WholeNumber(1, 20),
        default=20,
        show_default=True,
        help="Maximum emails per call.",
    ),
    option(
        "--no-names",
        group=CALLS,
        is_flag=True,
        help="Send ids only: no names and no look-ups of names.",
    ),
    option(
        "--sync",
        group=SAFETY,
        type=OneOf(["on", "off"]),
        default="on",
        show_default=True,
        help="Whether to flush the ledger to disk before each call.",
    ),
    run_dir_option,
    runs_dir_option,
)


_comparison_options = combine_options(
    option(
        "--compare",
        group=_COMPARISONS,
        is_flag=True,
        help="Compare load tests by their files: A.json B.json.",
    ),
    option(
        "--against",
        group=_COMPARISONS,
        metavar="OPTIONS",
        help="Run this load test and one with these options too, in turn, and compare them:"
        ' --against "--concurrency 40".',
    ),
    option(
        "--rounds",
        group=_COMPARISONS,
        type=WholeNumber(1, 100),
        default=7,
        show_default=True,
        help="Rounds of --against; seven or more show small differences.",
    ),
    option(
        "--figure",
        group=_COMPARISONS,
        metavar="NAME",
        help="What is compared: p99, service.p50, throughput. Default: p99 in the open model, else"
        " throughput.",
    ),
    option(
        "--margin",
        group=_COMPARISONS,
        type=Number(0.1, 99),
        default=5.0,
        show_default=True,
        help="Difference in percent that does not matter.",
    ),
    option(
        "--search",
        group=_COMPARISONS,
        metavar="THRESHOLD",
        help="Find the highest arrival rate at which this is met: --search 'p99 < 400ms'. Starts at"
        " --arrival-rate, or 50.",
    ),
    option(
        "--merge",
        group=_COMPARISONS,
        is_flag=True,
        help="Merge the results of several clients of one server: A.json B.json -o C.json.",
    ),
    option(
        "--output",
        "-o",
        group=_COMPARISONS,
        type=OutputPath(),
        metavar="FILE",
        help="Merged result, or page of a comparison.",
    ),
    option("--force", group=_COMPARISONS, is_flag=True, help="Replace an existing --output."),
)
_MODES = ("compare", "against", "search", "merge")
_ONLY_WITH = {
    "rounds": ("against",),
    "figure": ("compare", "against"),
    "margin": ("compare", "against"),
    "output": ("compare", "against", "merge"),
    "force": ("compare", "against", "merge"),
}
"""Options that only some modes use."""
_OF_FILES = {"files", "compare", "merge", *_ONLY_WITH, "as_json", "quiet", "debug", "progress"}
"""Parameters of the modes that measure nothing."""


@click.command("loadtest", cls=Command)
@click.argument("files", nargs=-1, type=FileName(), metavar="[MAPPING...|JOB.toml]")
@combine_options(_schedule_options, _target_options, _send_options, _comparison_options)
@combine_options(mapping_options, connection_options, progress_option, quiet_option)
@common_options
@click.pass_context
def loadtest(ctx: click.Context, /, files: tuple[str, ...], **options: Any) -> int:
    """Measure a server with a schedule of calls.

    \b
    Examples:
      bulklink loadtest --duration 20s --concurrency 20
      bulklink loadtest --arrival-rate 200 --duration 60s --threshold "p99<400ms"
      bulklink loadtest --steps 100,200,400:30s --emulator "--concurrency 25"
      bulklink loadtest --duration 10s --against "--sync off"

    By default, it measures a local CRM that it starts and stops itself, with a generated world or
    with the emails of MAPPING. Latencies count from when each call should have left, so a stall
    shows in full. A production org is never measured.
    """
    from bulklink.cli import load_comparisons  # noqa: PLC0415 - not for --help
    from bulklink.cli.request_log import start_request_log  # noqa: PLC0415 - not for --help

    mode = _mode(options)
    _check_options(ctx, mode)
    if mode == "compare":
        return load_comparisons.compare_files(files, options)
    if mode == "merge":
        return load_comparisons.merge_files(files, options)
    mappings = _read_job(ctx, files, options)
    if mode is not None:
        _check_several(mode, options)
    start_request_log(options["log"])
    if mode == "against":
        return load_comparisons.compare_sides(ctx, mappings, options)
    if mode == "search":
        return load_comparisons.search_capacity(mappings, options)
    return _measure_once(mappings, options)


def _measure_once(mappings: tuple[str, ...], options: dict[str, Any]) -> int:
    import msgspec  # noqa: PLC0415 - not for --help

    from bulklink.cli.console import print_json  # noqa: PLC0415 - not for --help
    from bulklink.cli.load_runner import LoadRunner  # noqa: PLC0415 - not for --help
    from bulklink.cli.load_summary import show_load_result  # noqa: PLC0415 - not for --help

    with LoadRunner(mappings, options) as runner:
        result = runner.run()
    if options["as_json"]:
        print_json(msgspec.to_builtins(result, str_keys=True))
    else:
        show_load_result(result)
    return result.exit_code


def _mode(options: dict[str, Any]) -> str | None:
    """Return what the command does other than one load test; None for one load test.

    Raises:
        UsageError: if it is to do several things.
    """
    modes = [name for name in _MODES if options[name] not in (None, False)]
    if len(modes) > 1:
        raise UsageError(
            "A command does one of them.",
            where=", ".join(f"--{name}" for name in modes),
            advice="Omit the others.",
        )
    return modes[0] if modes else None


def _check_options(ctx: click.Context, mode: str | None) -> None:
    """Refuse options that would be ignored.

    Raises:
        UsageError: if there is one.
    """
    for param in ctx.command.params:
        name = param.name or ""
        if ctx.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        modes = _ONLY_WITH.get(name)
        if modes is not None and mode not in modes:
            raise UsageError(
                f"It is only used with {' or '.join(f'--{each}' for each in modes)}.",
                where=param.opts[0],
                advice="Omit it: the figures of a load test are in its run folder.",
            )
        if mode in ("compare", "merge") and name not in _OF_FILES:
            raise UsageError(
                f"--{mode} measures nothing: it reads the files of load tests.",
                where=param.opts[0],
                advice=f"Omit it, or --{mode}.",
            )


def _check_several(mode: str, options: dict[str, Any]) -> None:
    """Refuse options that only one load test can have.

    Raises:
        UsageError: if there is one.
    """
    if options["run_dir"] is not None:
        raise UsageError(
            f"--{mode} makes several load tests, each with a folder of its own.",
            where="--run-dir",
            advice="Use --runs-dir.",
        )
    if options["thresholds"]:
        raise UsageError(
            f"--{mode} makes several load tests; a threshold is for one.",
            where="--threshold",
            advice=f"Omit it, or --{mode}.",
        )


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
