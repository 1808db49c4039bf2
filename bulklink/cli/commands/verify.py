"""`bulklink verify`: compare the ledger of a run with the CRM."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bulklink.cli.completion import RunPath
from bulklink.cli.connection import connection_for_run, connection_options
from bulklink.cli.console import Line, count_lines, note, print_json, print_line, show_error
from bulklink.cli.help import SAFETY, Command
from bulklink.cli.options import (
    combine_options,
    common_options,
    credit_options,
    option,
    outage_option,
    pace_options,
    progress_option,
    quiet_option,
    settle_after_option,
)
from bulklink.cli.param_types import NumberOrWord, WholeNumber
from bulklink.counts import count_of
from bulklink.errors import ExitCode

if TYPE_CHECKING:
    from bulklink.errors import RunStoppedError
    from bulklink.operations.verify import VerifyPlan
    from bulklink.operations.verify_log import FindingDetail
    from bulklink.operations.verify_run import SampleBound, VerifyResult

_MAX_PAGES = 10_000_000


@click.command("verify", cls=Command)
@click.argument("run", type=RunPath())
@option("--in-doubt", is_flag=True, help="Verify the emails in doubt: which deal are they on now?")
@option(
    "--sample",
    type=WholeNumber(1),
    metavar="N",
    help="Verify a random sample of N emails, and show the upper bound on wrong emails overall.",
)
@option(
    "--seed",
    type=WholeNumber(0),
    default=1,
    show_default=True,
    help="Random seed of --sample: the same seed draws the same emails.",
)
@option(
    "--read-pages",
    group=SAFETY,
    type=NumberOrWord("all", whole=True, maximum=_MAX_PAGES),
    default="all",
    show_default=True,
    help="Maximum pages of a contact's emails to read, 10 emails each.",
)
@option("--dry-run", is_flag=True, help="Show what it will cost, and read nothing.")
@combine_options(
    connection_options,
    pace_options,
    credit_options,
    settle_after_option,
    outage_option,
    progress_option,
    quiet_option,
    common_options,
)
def verify(run: Path, **options: Any) -> int:
    """Read the emails of RUN back, and compare them with its ledger.

    \b
    Examples:
      bulklink verify runs/20261122T101500Z-link-3f2a
      bulklink verify runs/20261122T101500Z-link-3f2a --sample 299 --dry-run
      bulklink verify runs/20261122T101500Z-link-3f2a --in-doubt

    Use it to prove that the CRM matches the ledger: for all emails, a sample, or those in doubt.
    The command first shows its cost. It changes neither the CRM nor the ledger; every finding is in
    RUN/verify.jsonl. RUN can be a job: its shards are verified one after another, and a sample is
    drawn over all of them. Later changes by others are differences too. Exit code 1: at least one
    difference.
    """
    from bulklink.cli.arguments import verify_arguments  # noqa: PLC0415 - not for --help
    from bulklink.cli.progress import run_with_progress  # noqa: PLC0415 - not for --help
    from bulklink.operations.verify import verify as verify_run  # noqa: PLC0415 - not for --help

    arguments = verify_arguments(options)
    if options["dry_run"]:
        return _plan(run, arguments, options)
    work = partial(verify_run, run, connection_for_run(run, options), **arguments)
    result, reason = run_with_progress(work, options)
    _show_result(result, reason, in_doubt=options["in_doubt"], as_json=options["as_json"])
    return result.exit_code


def _plan(run: Path, arguments: Mapping[str, Any], options: dict[str, Any]) -> int:
    import msgspec  # noqa: PLC0415 - not for --help

    from bulklink.cli.progress import in_thread, run_with_progress  # noqa: PLC0415 - not for --help
    from bulklink.operations.verify import plan_verify  # noqa: PLC0415 - not for --help

    plan, _ = run_with_progress(in_thread(partial(plan_verify, run, **arguments)), options)
    if options["as_json"]:
        content = msgspec.to_builtins(plan)
        del content["reason"]
        print_json(content)
        if not plan.emails:
            note(_nothing_to_read(in_doubt=options["in_doubt"]))
    else:
        for line in _plan_lines(plan, in_doubt=options["in_doubt"]):
            print_line(line)
    return ExitCode.OK


def _nothing_to_read(*, in_doubt: bool) -> str:
    """Return why a verification reads nothing."""
    if in_doubt:
        return "No email of this run is in doubt: there is nothing to read back."
    return "The ledger shows the deal of no email: there is nothing to read back."


def _plan_lines(plan: VerifyPlan, *, in_doubt: bool) -> Iterator[Line]:
    if not plan.emails:
        yield _nothing_to_read(in_doubt=in_doubt)
        return
    yield f"verify: {count_of(plan.emails, 'email')} of {count_of(plan.contacts, 'contact')}"
    counts = {
        "read calls, minimum": plan.calls["read_at_least"],
        "look-ups, at least": plan.calls["lookup_at_least"],
        "credits, at least": plan.credits.least,
        "credits, likely": plan.credits.likely,
        "credits, at most": plan.credits.most,
    }
    yield from count_lines(counts, always=counts)
    yield (
        f"Time: {plan.seconds.likely:,.1f} s likely, {plan.seconds.least:,.1f} to"
        f" {plan.seconds.most:,.1f} s."
    )
    yield plan.reason


def _show_result(
    result: VerifyResult, reason: RunStoppedError | None, *, in_doubt: bool, as_json: bool
) -> None:
    import msgspec  # noqa: PLC0415 - not for --help

    if reason is not None:
        show_error(reason, as_json=False)
    for detail in result.shown:
        note(_describe_finding(detail))
    if reason is None and not result.checked + result.not_read:
        note(_nothing_to_read(in_doubt=in_doubt))
    if as_json:
        content = msgspec.to_builtins(result)
        del content["shown"]
        print_json(content)
        return
    for line in _summary_lines(result):
        print_line(line)


def _describe_finding(detail: FindingDetail) -> str:
    expected, actual_deal = detail.expected, detail.actual_deal
    email = f"row {expected.row}: contact {expected.contact_id}, message {expected.message_id}"
    status = f"{expected.status} {expected.code}" if expected.code else expected.status
    recorded = f"{_format_deal(expected.deal_id)} ({status} at {expected.ts})"
    if detail.finding in ("not-listed", "not-read"):
        return f"{email}: {detail.finding}; recorded {recorded}"
    name = f" ({actual_deal.name})" if actual_deal and actual_deal.name else ""
    current_deal = f"{_format_deal(actual_deal.id if actual_deal else None)}{name}"
    if detail.finding in ("as-wanted", "not-as-wanted"):
        wanted = _format_deal(expected.deal_id)
        return f"{email}: in doubt since {expected.ts}; wanted {wanted}, it is {current_deal}"
    return f"{email}: recorded {recorded}, it is {current_deal}"


def _format_deal(deal_id: str | None) -> str:
    return f"on deal {deal_id}" if deal_id else "on no deal"


def _summary_lines(result: VerifyResult) -> Iterator[Line]:
    from bulklink.runs.job_folder import find_job  # noqa: PLC0415 - not for --help

    counts = {
        "checked": result.checked,
        "as recorded": result.as_recorded,
        "different": result.different,
        "as wanted": result.as_wanted,
        "not as wanted": result.not_as_wanted,
        "on no page": result.not_listed,
        "not read": result.not_read,
    }
    yield from count_lines(counts, always=("checked", "as recorded", "different"))
    if result.others:
        other_counts = ", ".join(f"{n:,} {name}" for name, n in result.others.items())
        yield f"Also seen, but not part of the sample: {other_counts}."
    if result.sample is not None:
        yield _format_bound(result.as_recorded, result.sample)
    calls = result.calls
    yield (
        f"Calls: {calls['read']:,} read, {calls['lookup']:,} look-up, {calls['retried']:,} retried."
    )
    folder = Path(result.run_dir)
    yield f"Findings: {folder / 'shard-*' if find_job(folder) else folder}{os.sep}verify.jsonl"


def _format_bound(as_recorded: int, bound: SampleBound) -> str:
    return (
        f"{as_recorded:,} of {bound.drawn:,} as recorded: at most"
        f" {_format_percent(bound.wrong_at_most, bound.population)} wrong"
        f" ({bound.wrong_at_most:,} of {bound.population:,}) at"
        f" {bound.confidence:.0%} confidence."
    )


def _format_percent(part: int, whole: int) -> str:
    """Return a percentage with two digits, rounded up because it is a bound."""
    if not part:
        return "0 %"
    scale = 1
    while part * 100 * scale < 10 * whole:
        scale *= 10
    return f"{-(-part * 100 * scale // whole) / scale:g} %"
