"""`bulklink merge`: prove that the shards of a job are the whole job."""

from __future__ import annotations

from pathlib import Path

import click

from bulklink.cli.completion import RunPath
from bulklink.cli.console import Styled, print_json, print_line, table_lines, wrap_text
from bulklink.cli.help import Command
from bulklink.cli.options import common_options
from bulklink.counts import count_of


@click.command("merge", cls=Command)
@click.argument("run", metavar="JOB", type=RunPath())
@common_options
def merge(run: Path, *, as_json: bool) -> int:
    """Prove that the shards of JOB are complete and unchanged.

    \b
    Example:
      bulklink merge approved

    JOB is the folder that `bulklink plan --shards` sealed. Every contact must be in the shard that
    its hash names, every row of the mapping in one shard, and plans, ledgers and results as they
    were left. If they are, JOB/merge.json lists counts and hashes. If not, each fault is shown, and
    the exit code is 2. The command works at any time.
    """
    import msgspec  # noqa: PLC0415 - not for --help

    from bulklink.operations.merge import merge as merge_job  # noqa: PLC0415 - not for --help

    result = merge_job(run)
    if as_json:
        print_json(msgspec.to_builtins(result))
        return result.exit_code
    if result.faults:
        print_line(Styled("The shards are not the whole job as it was sealed:", "red", bold=True))
        for fault in result.faults:
            for text in wrap_text(fault, "  "):
                print_line(text)
        return result.exit_code
    shards = count_of(len(result.shards), "shard")
    print_line(
        Styled(f"{shards}: disjoint, complete and unchanged; the job is {result.state}.", "green")
    )
    counts = {name: count for name, count in result.counts.items() if count}
    for line in table_lines(counts | {"rows": result.rows}):
        print_line(line)
    print_line(f"Digest: {result.digest}")
    print_line(f"Hashes: {run / 'merge.json'}")
    return result.exit_code
