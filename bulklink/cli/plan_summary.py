"""Summary of a plan and its comparison with fetched emails, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from bulklink.cli.console import (
    Line,
    format_columns,
    print_json,
    print_line,
    table_lines,
    wrap_text,
)
from bulklink.cli.suggested_commands import suggested_command
from bulklink.counts import count_of, inflect
from bulklink.errors import ExitCode
from bulklink.mapping.compare import Comparison, DealMove
from bulklink.mapping.looked_up_names import RecordEmails
from bulklink.operations.plan import PlanResult
from bulklink.operations.plan_names import PlanNames
from bulklink.operations.prepare import format_refusals
from bulklink.shell import path_word

_NO_SNAPSHOT_HINT = (
    " --no-snapshot saves them: use it if few emails are already as wanted and nobody will"
    " undo the run."
)


def show_plan_result(result: PlanResult, *, as_json: bool, undo: bool = False) -> int:
    """Show what a plan will cost; return the exit code.

    Args:
        result: the result of planning.
        as_json: print one JSON object.
        undo: whether the plan is an undo, which requires a snapshot.
    """
    if as_json:
        content = msgspec.to_builtins(result)
        del content["estimate"]
        if result.shards == 1:
            del content["shards"]
        for name in ("compare", "names"):
            if content[name] is None:
                del content[name]
        print_json(content)
    else:
        for line in _summary_lines(result, undo=undo):
            print_line(line)
    return ExitCode.ROWS_NOT_DONE if result.rejected else ExitCode.OK


def _summary_lines(result: PlanResult, *, undo: bool) -> Iterator[Line]:
    calls = result.calls
    op = "undo" if undo else result.op
    yield (f"{op}: {count_of(result.messages, 'email')} in {count_of(result.groups, 'group')}")
    roles = {"contact roles, at most": calls.roles_at_most} if calls.roles_at_most else {}
    yield from table_lines(
        {
            "rows": result.rows,
            "rejected": result.rejected,
            "duplicate": result.duplicate,
            "link calls": calls.link,
            "unlink calls": calls.unlink,
            "minimum link + unlink calls": calls.least,
            "read calls, minimum": calls.read_at_least,
            "look-ups, at least": calls.lookup_at_least,
            **roles,
            "credits, at least": result.credits.least,
            "credits, likely": result.credits.likely,
            "credits, at most": result.credits.most,
        }
    )
    if result.refusals:
        rows = count_of(result.rejected, "row is", "rows are")
        yield (
            f"{rows} refused ({format_refusals(result.refusals)}) and left"
            f" out, which is exit code {ExitCode.ROWS_NOT_DONE}; "
            + ("the plan is valid without them." if result.messages else "nothing is left to send.")
        )
    yield from _estimate_lines(result, snapshot_optional=not undo)
    if result.names is not None:
        yield from _name_lines(result.names)
    if result.compare is not None:
        yield from _comparison_lines(result.compare)
    yield f"Digest: {result.digest}"
    apply = suggested_command("apply", path_word(result.run_dir or ""))
    if result.run_dir and result.shards > 1:
        yield (
            f"Sealed as {count_of(result.shards, 'shard')} in {result.run_dir};"
            f" `{apply}` sends them one after another."
        )
    elif result.run_dir:
        sends = f"; `{apply}` sends it" if result.messages else ""
        yield f"Sealed in {result.run_dir}{sends}."


def _estimate_lines(result: PlanResult, *, snapshot_optional: bool) -> Iterator[str]:
    """Yield estimates: time, credits a day, options that would save calls."""
    estimate = result.estimate
    calls = count_of(estimate.in_flight, "call")
    yield (
        f"Time: {result.seconds.likely:,.1f} s likely, {result.seconds.least:,.1f} to"
        f" {result.seconds.most:,.1f} s, with {calls} in flight; limited by {estimate.bottleneck}."
    )
    if estimate.reason:
        yield estimate.reason
    if estimate.daily_credits is None:
        yield "Credits a day: unknown. Set --edition (and --users) to see the share."
    else:
        share = result.credits.likely / estimate.daily_credits
        daily = f"{estimate.daily_credits:,}"
        yield f"Credits a day: {daily}, of which this will likely take {share:.1%}."
    if estimate.daily_allowance is not None and estimate.daily_allowance != estimate.daily_credits:
        yield f"Of these, all runs together may spend {estimate.daily_allowance:,}."
    if estimate.days > 1:
        yield f"That is {count_of(estimate.days, 'window')} of 24 hours."
    if estimate.invocations > 1:
        yield f"With this --max-credits it will take {count_of(estimate.invocations, 'command')}."
    if result.calls.read_at_least:
        yield (
            f"Snapshot: reading which deal each email is on takes at least"
            f" {result.calls.read_at_least:,} of these credits."
            + (_NO_SNAPSHOT_HINT if snapshot_optional else "")
        )
    if estimate.may_read_first:
        yield (
            f"Snapshot: auto. The run may first read which deal each email is on, at least"
            f" {count_of(estimate.may_read_first, 'credit')}, if its first emails show that this is"
            " cheaper: reading saves the calls for emails that are already linked. --snapshot"
            " always reads them first, which an undo can use; --no-snapshot never does."
        )
    if estimate.saved_by_contact:
        yield (
            f"--group-by contact would save {count_of(estimate.saved_by_contact, 'link call')}"
            f" ({estimate.saved_by_contact / result.calls.link:.0%}); Zoho's documentation does not"
            " show it."
        )


def _name_lines(names: PlanNames) -> Iterator[str]:
    """Yield the number of look-ups, then the deals and owners with the most emails."""
    if names.org is None:
        yield "Names: none was missing, so nothing was looked up."
    else:
        org = names.org.name or "an org with an unknown name"
        org_id = f" ({names.org.id})" if names.org.id else ""
        yield from wrap_text(
            f"Names: {count_of(names.looked_up, 'name')} looked up in"
            f" {org}{org_id} for {count_of(names.credits, 'credit')}; the run does not repeat them."
        )
    yield from _record_lines("deal", names.deals, names.deals_in_all)
    yield from _record_lines("owner", names.owners, names.owners_in_all)


def _record_lines(kind: str, records: Sequence[RecordEmails], total: int) -> Iterator[str]:
    if records:
        rows = [(record.id, record.emails, record.name or "") for record in records]
        yield from _table_lines((kind, "emails", ""), rows, total)


def _comparison_lines(comparison: Comparison) -> Iterator[str]:
    """Yield the changes in a sentence, then the deals and contacts with the most changes."""
    yield (
        f"Compared with {count_of(comparison.emails, 'email')} of {comparison.file}:"
        f" {'; '.join(_clauses(comparison))}."
    )
    if comparison.other_owner:
        verb = inflect(comparison.other_owner, "is", "are")
        yield f"{comparison.other_owner:,} of them {verb} in another user's mailbox than planned."
    yield from _move_lines(comparison.moves, comparison.moves_in_all)
    if comparison.deals:
        deals = [
            (deal.deal_id, deal.leave, deal.come, deal.deal_name or "") for deal in comparison.deals
        ]
        yield from _table_lines(("deal", "leave", "come", ""), deals, comparison.deals_in_all)
    if comparison.contacts:
        contacts = [(c.contact_id, c.change, c.right, c.other) for c in comparison.contacts]
        header = ("contact", "change", "right", "other")
        yield from _table_lines(header, contacts, comparison.contacts_in_all)


def _move_lines(moves: Sequence[DealMove], total: int) -> Iterator[str]:
    """Yield the number of emails for each pair of previous and new deal."""
    width = max((len(f"{move.emails:,}") for move in moves), default=0)
    for move in moves:
        from_deal = _deal_text(move.from_deal_id, move.from_deal_name)
        to_deal = _deal_text(move.to_deal_id, move.to_deal_name)
        yield from wrap_text(f"{move.emails:>{width},}  {from_deal} → {to_deal}", "  ")
    if total > len(moves):
        yield f"  and {total - len(moves):,} more"


def _deal_text(deal_id: str | None, name: str | None) -> str:
    if deal_id is None:
        return "no deal"
    return f"{name} ({deal_id})" if name else f"deal {deal_id}"


def _clauses(comparison: Comparison) -> Iterator[str]:
    if comparison.moved:
        yield (
            f"{count_of(comparison.moved, 'email moves', 'emails move')} from"
            f" {count_of(comparison.from_deals, 'deal')} to {comparison.to_deals:,}"
        )
    counted_clauses = (
        (comparison.linked, "moves", "move", " from no deal to a deal"),
        (comparison.unlinked, "is", "are", " taken off the deal"),
        (comparison.right, "already right", "already right", ""),
        (comparison.already_linked, "is", "are", " on another deal, so the link would be refused"),
        (comparison.changed_since, "is", "are", " not on the deal in from_deal_id"),
        (comparison.not_told, "is", "are", " on a deal that the file does not show"),
        (comparison.not_this_contacts, "belongs", "belong", " to another contact"),
        (comparison.not_in_file, "is", "are", " not in the file"),
    )
    for count, singular, plural, clause in counted_clauses:
        if count:
            yield f"{count_of(count, singular, plural)}{clause}"
    if not comparison.moved and not any(count for count, *_ in counted_clauses):
        yield "there is nothing to compare"


def _table_lines(
    header: Sequence[str], rows: Sequence[Sequence[str | int]], total: int
) -> Iterator[str]:
    texts = [[f"{c:,}" if isinstance(c, int) else c for c in row] for row in rows]
    numeric = [index for index, name in enumerate(header) if index and name]
    yield from format_columns([header, *texts], right_aligned=numeric)
    if total > len(rows):
        yield f"  and {total - len(rows):,} more"
