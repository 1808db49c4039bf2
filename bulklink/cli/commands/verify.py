"""`bulklink verify`: hold the ledger of a run against the CRM."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bulklink.cli.completion import RunPath
from bulklink.cli.connection import connection_from, connection_options
from bulklink.cli.console import note, print_json, show_error, table
from bulklink.cli.options import (
    apply,
    credit_options,
    option,
    output_options,
    pace_options,
    progress_option,
    quiet_option,
    settle_after_option,
)
from bulklink.cli.param_types import NumberOr, Whole

if TYPE_CHECKING:
    from bulklink.errors import RunStoppedError
    from bulklink.operations.verify_run import Bound, Shown, Verification

_MOST_PAGES = 10_000_000
_ASKED = ("in_doubt", "sample", "seed", "read_pages")


@click.command("verify")
@click.argument("run", type=RunPath())
@option("--in-doubt", is_flag=True, help="Look at the emails in doubt: where are they now?")
@option(
    "--sample",
    type=Whole(1),
    metavar="N",
    help="Draw N emails, and tell how many of all may be wrong at most.",
)
@option(
    "--seed",
    type=Whole(0),
    default=1,
    show_default=True,
    help="Which emails --sample draws: the same seed draws the same.",
)
@option(
    "--read-pages",
    type=NumberOr("all", whole=True, most=_MOST_PAGES),
    default="all",
    show_default=True,
    help="Most pages of a contact's emails that are read, 10 emails each.",
)
@apply(
    connection_options,
    pace_options,
    credit_options,
    settle_after_option,
    progress_option,
    quiet_option,
    output_options,
)
def verify(run: Path, **options: Any) -> int:
    """Read back where the emails of RUN are, against its ledger.

    For proof that the CRM is as the ledger says: all emails, a sample, or those in doubt. Tells
    first what it will cost, and changes nothing: neither the CRM nor the ledger. Every finding is
    in RUN/verify.jsonl. What somebody moved since is a difference too. Ends with 1 at a difference.

    \b
    Examples:
      bulklink verify runs/20261122T101500Z-link-3f2a
      bulklink verify runs/20261122T101500Z-link-3f2a --sample 299
      bulklink verify runs/20261122T101500Z-link-3f2a --in-doubt
    """
    from bulklink.cli.arguments import pace_of  # noqa: PLC0415 - not for --help
    from bulklink.cli.progress import on_screen  # noqa: PLC0415 - not for --help
    from bulklink.operations.verify import verify as hold_against  # noqa: PLC0415 - not for --help

    connection, pace = connection_from(options), pace_of(options)
    told, reason = on_screen(
        lambda watch, stopping: hold_against(
            run,
            connection,
            **{name: options[name] for name in _ASKED},
            watch=watch,
            stopping=stopping,
            **pace,
        ),
        options,
    )
    _show(told, reason, as_json=options["as_json"])
    return told.exit_code


def _show(told: Verification, reason: RunStoppedError | None, *, as_json: bool) -> None:
    import msgspec  # noqa: PLC0415 - not for --help

    if reason is not None:
        show_error(reason, as_json=False)
    for one in told.shown:
        note(_sentence(one))
    if as_json:
        content = msgspec.to_builtins(told)
        del content["shown"]
        print_json(content)
        return
    for line in _summary(told):
        click.echo(line)


def _sentence(one: Shown) -> str:
    claim, found = one.claim, one.found
    email = f"row {claim.row}: contact {claim.contact_id}, message {claim.message_id}"
    said = f"{claim.status} {claim.code}" if claim.code else claim.status
    recorded = f"{_deal(claim.deal_id)} ({said} at {claim.ts})"
    if one.finding in ("not-listed", "not-read"):
        return f"{email}: {one.finding}; recorded {recorded}"
    name = f" ({found.name})" if found and found.name else ""
    is_on = f"{_deal(found.id if found else None)}{name}"
    if one.finding in ("as-wanted", "not-as-wanted"):
        return f"{email}: in doubt since {claim.ts}; wanted {_deal(claim.deal_id)}, it is {is_on}"
    return f"{email}: recorded {recorded}, it is {is_on}"


def _deal(deal_id: str | None) -> str:
    return f"on deal {deal_id}" if deal_id else "on no deal"


def _summary(told: Verification) -> Iterator[str]:
    counts = {
        "checked": told.checked,
        "as recorded": told.as_recorded,
        "different": told.different,
        "as wanted": told.as_wanted,
        "not as wanted": told.not_as_wanted,
        "on no page": told.not_listed,
        "not read": told.not_read,
    }
    always = ("checked", "as recorded", "different")
    yield table({name: count for name, count in counts.items() if count or name in always})
    if told.others:
        others = ", ".join(f"{n:,} {name}" for name, n in told.others.items())
        yield f"Seen beside them, and no part of the sample: {others}."
    if told.sample is not None:
        yield _bound(told.as_recorded, told.sample)
    calls = told.calls
    yield (
        f"Calls: {calls['read']:,} read, {calls['lookup']:,} look-up,"
        f" {calls['retried']:,} of them again."
    )
    yield f"Findings: {Path(told.run_dir) / 'verify.jsonl'}"


def _bound(as_recorded: int, bound: Bound) -> str:
    return (
        f"{as_recorded:,} of {bound.drawn:,} as recorded: at most"
        f" {_percent(bound.wrong_at_most, bound.population)} wrong"
        f" ({bound.wrong_at_most:,} of {bound.population:,}) at"
        f" {bound.confidence:.0%} confidence."
    )


def _percent(part: int, whole: int) -> str:
    """Return a share with two digits, rounded up: it is a bound."""
    if not part:
        return "0 %"
    scale = 1
    while part * 100 * scale < 10 * whole:
        scale *= 10
    return f"{-(-part * 100 * scale // whole) / scale:g} %"
