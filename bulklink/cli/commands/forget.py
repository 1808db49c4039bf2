"""`bulklink forget`: drop the user's columns and names from a run folder."""

from __future__ import annotations

from pathlib import Path

import click

from bulklink.cli.completion import RunPath
from bulklink.cli.console import print_json, print_line, warn
from bulklink.cli.help import Command
from bulklink.cli.options import common_options, option
from bulklink.errors import ExitCode


@click.command("forget", cls=Command)
@click.argument("run", type=RunPath())
@option("--force", is_flag=True, help="Forget the run even if it has not finished.")
@common_options
def forget(run: Path, *, force: bool, as_json: bool) -> int:
    """Remove your columns, names and answers from RUN, for good.

    \b
    Example:
      bulklink forget runs/20261122T101500Z-link-3f2a

    Use it to keep a run folder after customer data must be deleted. Ids, statuses, codes, counts
    and times stay, and so do the earlier hashes of plan and ledger. `status --check`, `history`,
    `verify` and `undo` still work; `export` has only ids and results. If the command is
    killed, run it again. RUN can be a job: all its shards are forgotten. Other files in the folder,
    such as a report that was written elsewhere in it, are left and named. The digest of a plan that
    covers looked-up names changes.
    """
    import msgspec  # noqa: PLC0415 - not for --help

    from bulklink.operations.forget import forget as drop  # noqa: PLC0415 - not for --help
    from bulklink.operations.forget import left_files  # noqa: PLC0415 - not for --help

    result = drop(run, force=force)
    left = list(map(str, left_files(run)))
    if as_json:
        content = msgspec.to_builtins(result)
        print_json({"run_dir": str(run), "forgotten": content, "left": left, "exit_code": 0})
    else:
        print_line(f"Columns, names and answers of {run} are removed; ids and results are kept.")
        if result.plan_before or result.ledger_before:  # those of a job are in its shards
            print_line(f"  plan    {result.plan_before} is now {result.plan_after}")
            print_line(f"  ledger  {result.ledger_before} is now {result.ledger_after}")
        if result.digest_before not in (None, result.digest_after):
            print_line(f"  digest  {result.digest_before} is now {result.digest_after}")
        if left:
            warn(
                "Other files in the folder are left as they are; remove those that hold names:"
                f" {', '.join(left)}."
            )
    return ExitCode.OK
