"""What a plan would change, on the screen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import click

from bulklink.mapping.compare import Comparison


def show_comparison(told: Comparison) -> None:
    """Show what would change: in a sentence, then the deals and contacts with the most of it."""
    click.echo(f"Compared with {told.emails:,} emails of {told.file}: {'; '.join(_parts(told))}.")
    if told.other_owner:
        click.echo(f"{told.other_owner:,} of them are in the mailbox of another user than planned.")
    if told.deals:
        deals = [(one.deal_id, one.leave, one.come, one.deal_name or "") for one in told.deals]
        _table(("deal", "leave", "come", ""), deals, told.deals_in_all)
    if told.contacts:
        contacts = [(c.contact_id, c.change, c.right, c.other) for c in told.contacts]
        _table(("contact", "change", "right", "other"), contacts, told.contacts_in_all)


def _parts(told: Comparison) -> Iterator[str]:
    if told.moved:
        deals = "deal" if told.from_deals == 1 else "deals"
        yield f"{told.moved:,} emails move from {told.from_deals:,} {deals} to {told.to_deals:,}"
    said = (
        (told.linked, "go from no deal to one"),
        (told.unlinked, "come off their deal"),
        (told.right, "already right"),
        (told.already_linked, "are on another deal, so that a link is refused"),
        (told.changed_since, "are not on the deal that from_deal_id names"),
        (told.not_told, "are on a deal that the file does not tell"),
        (told.not_this_contacts, "are not this contact's"),
        (told.not_in_file, "are not in the file"),
    )
    yield from (f"{count:,} {what}" for count, what in said if count)
    if not told.moved and not any(count for count, _ in said):
        yield "there is nothing to compare"


def _table(header: Sequence[str], rows: Iterable[Sequence[str | int]], in_all: int) -> None:
    lines = [header, *([f"{c:,}" if isinstance(c, int) else c for c in row] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(header))]
    for line in lines:
        first, *rest = (
            cell.rjust(width) if place and header[place] else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        click.echo("  ".join(("", first, *rest)).rstrip())
    left = in_all - (len(lines) - 1)
    if left > 0:
        click.echo(f"  … of {in_all:,}")
