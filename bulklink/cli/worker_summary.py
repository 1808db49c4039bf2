"""What a worker reports while it runs, and in the end: of one machine or of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulklink.cli.console import command_words, note, print_json, print_line
from bulklink.counts import count_of

if TYPE_CHECKING:
    from bulklink.advice import Advice
    from bulklink.cluster.supervisor import ClusterWorkResult
    from bulklink.worker.worker import WorkResult


def report_event(event: str | Advice) -> None:
    """Show an event on standard error."""
    note(event if isinstance(event, str) else event.worded(command_words))


def show_work(
    result: WorkResult | ClusterWorkResult, *, waiting: int | None = None, as_json: bool
) -> None:
    """Show what a worker did until it ended.

    Args:
        result: what it did.
        waiting: runs that are still in its queue; None if it has none of its own.
        as_json: whether to print one JSON object.
    """
    import msgspec  # noqa: PLC0415 - not for --help

    if as_json:
        print_json(msgspec.to_builtins(result))
        return
    still = "" if waiting is None else f" {waiting:,} still in the queue,"
    print_line(
        f"Finished {count_of(result.finished, 'run')}{failures_text(result.with_failures)};"
        f"{still} {len(result.left):,} left to you."
    )
    for name in result.left:
        print_line(f"  {name}")


def failures_text(with_failures: int) -> str:
    """Return how many of the runs that finished have emails that are not done; empty for none."""
    return f", {with_failures:,} with emails that are not done" if with_failures else ""
