"""Summary of an audit for the terminal: what it proposes, how far it can be trusted, what next."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from bulklink.cli.calls_line import calls_line, unfinished_lines
from bulklink.cli.console import (
    Line,
    Styled,
    count_lines,
    format_columns,
    note,
    print_json,
    print_line,
    wrap_text,
)
from bulklink.cli.sample_summary import sample_object
from bulklink.cli.suggested_commands import suggested_command
from bulklink.cli.unread import unread_lines, unresolved_lines
from bulklink.finding.verdicts import ChangeKind, Tier
from bulklink.operations.auditing.judging import HoldOutResult, TierCheck
from bulklink.operations.auditing.result import AuditResult
from bulklink.operations.auditing.sample import AuditCheck
from bulklink.shell import path_word

_FILES = {
    "mapping": "Mapping",
    "review": "Review",
    "audit": "Evidence",
    "emails": "Emails",
    "deals": "Deals",
}


def show_summary(
    result: AuditResult, output: str, check: AuditCheck | None = None, *, as_json: bool
) -> None:
    """Show the result of an audit.

    Args:
        result: the result.
        output: file of the mapping, as it was named.
        check: what a sample of it says, for JSON; None if none was drawn or read.
        as_json: whether to print it as JSON.
    """
    for text in unread_lines(result.unread_contacts, result.unread):
        note(text)
    for text in unresolved_lines(result.unresolved):
        note(text)
    if as_json:
        content = msgspec.to_builtins(result)
        if check is not None:
            files = result.files | check.files
            content |= sample_object(check) | {"files": files, "exit_code": result.exit_code}
        print_json(content)
        return
    lines = _summary_lines(result, output) if result.stopped_by is None else _stopped_lines(result)
    for line in lines:
        print_line(line)


def _stopped_lines(result: AuditResult) -> Iterator[Line]:
    advice = "Run the same command again to continue."
    return unfinished_lines(result.calls, result.credits, result.resume_at, advice)


def _summary_lines(result: AuditResult, output: str) -> Iterator[Line]:
    counts = {
        "contacts": result.contacts,
        "contacts that could not be read": result.unread,
        "emails": result.emails,
        "linked by people: never changed": result.by_hand,
        "uncertain what the rule did": result.uncertain,
        "left out by the filters": result.filtered_out,
        "without a known time": result.undated,
        "left out, without a message id": result.nameless,
        "rows of the file left out": result.left_out,
        "on different deals by their rows": result.contradicted,
        "deals without their history": sum(result.without_history.values()),
    }
    yield from count_lines(counts, always=("contacts", "emails"))
    yield from _history_lines(result.without_history)
    yield from _reading_lines(result)
    if result.roles is not None:
        yield f"Contact roles: {_ROLES[result.roles]}."
    yield from _proposal_lines(result)
    yield from _hold_out_lines(result.hold_out)
    yield calls_line(result.calls, result.credits)
    for name, path in result.files.items():
        yield f"{_FILES[name]}: {path}"
    yield from _next_steps(result, output)


def _history_lines(without_history: dict[str, int]) -> Iterator[Line]:
    if not without_history:
        return
    counts = ", ".join(f"{code} {count:,}" for code, count in sorted(without_history.items()))
    yield from wrap_text(
        f"Histories of deals that could not be read, by reason: {counts}. These deals are judged by"
        " their present state, which makes emails uncertain; --read-again reads them again."
    )


_ROLES = {
    True: "the rule considers deals on which a contact only has a role",
    False: "the rule ignores deals on which a contact only has a role",
}


def _reading_lines(result: AuditResult) -> Iterator[Line]:
    if not result.readings:
        return
    counts = ", ".join(
        f"{score.reading} {score.explained:,} of {score.explained + score.contradicted:,}"
        for score in result.readings
    )
    telling = result.readings[0].explained + result.readings[0].contradicted
    if not telling:
        yield from wrap_text(
            f"Prediction rule: read as {result.reading}; no email tells the readings apart."
        )
        return
    yield from wrap_text(
        f"Prediction rule: read as {result.reading}. Groups of emails that each reading explains,"
        f" of those that tell: {counts}."
    )


def _proposal_lines(result: AuditResult) -> Iterator[Line]:
    if not result.proposals:
        yield Styled("Nothing to propose.", bold=True)
        return
    yield Styled("Proposed", bold=True)
    kinds = [
        kind.value
        for kind in ChangeKind
        if kind is not ChangeKind.DETACH or any(n["detach"] for n in result.proposed.values())
    ]
    rows = [["", *kinds, ""]]
    rows += [
        [tier.value, *(f"{result.proposed[tier][kind]:,}" for kind in kinds), _TIERS[tier]]
        for tier in Tier
    ]
    yield from format_columns(rows, right_aligned=range(1, len(kinds) + 1))


_SAMPLE = 60
"""Emails of a tier that the summary advises to check: enough to find that it is bad."""
_TIERS = {
    Tier.SURE: "1 in 200 may be wrong",
    Tier.LIKELY: "about 1 in 20 may be wrong",
    Tier.LOOK: "decide yourself: these rows have no op",
}


def _hold_out_lines(hold_out: HoldOutResult) -> Iterator[Line]:
    for check in hold_out.tiers:
        if check.proposed:
            yield from wrap_text(_describe_check(check, hold_out.conversations))
        if check.is_demoted:
            yield from wrap_text(
                f"That is less than {check.tier} promises ({check.promise:.1%}): moves that would"
                f" be {check.tier} are {check.becomes}."
            )


def _describe_check(check: TierCheck, conversations: int) -> str:
    return (
        f"Precision on moves that people corrected, {check.tier}: {check.right:,} of"
        f" {check.proposed:,} right, at least {check.at_least:.1%} at 95 % confidence"
        f" ({conversations:,} conversations)."
    )


def _next_steps(result: AuditResult, output: str) -> Iterator[Line]:
    if not result.proposals:
        return
    tier = next(
        (tier for tier in (Tier.SURE, Tier.LIKELY) if sum(result.proposed[tier].values())), None
    )
    only = f"tier={tier}" if tier is not None else "accept=yes"
    if tier is None:
        yield from wrap_text(
            "Nothing is sure or likely. Fill in op and write yes into accept where you agree, then:"
        )
    steps = {
        "To see what it would change": ("plan", path_word(output), "--only", only),
        "To check a sample of each tier first": ("audit", "--check", str(_SAMPLE), "-o", output),
        "To send it": ("run", path_word(output), "--only", only),
        "To see why an email is to change": ("audit", "--explain", "MESSAGE_ID", "-o", output),
    }
    for purpose, words in steps.items():
        yield f"{purpose}:"
        yield f"  {suggested_command(*words)}"
