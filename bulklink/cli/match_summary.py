"""Summary of a match."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from bulklink.cli.calls_line import calls_line, unfinished_lines
from bulklink.cli.console import Line, count_lines, print_json, print_line, wrap_text
from bulklink.cli.suggested_commands import suggested_command
from bulklink.counts import count_of
from bulklink.operations.matching.result import MatchedShift, MatchResult
from bulklink.shell import format_command, path_word

_FILES = {"mapping": "Mapping", "ambiguous": "Ambiguous", "missing": "Missing"}
_REASONS = {
    "not-found": "no such email in the file of fetched emails",
    "unknown-address": "nobody in that file has one of its addresses",
    "unknown-deal": "the key of its deal is unknown",
    "no-address": "the list has no address",
    "no-time": "the list has no time",
}


def show_match(result: MatchResult, output: str, *, as_json: bool) -> None:
    """Show the result of a match.

    Args:
        result: the result.
        output: file of the mapping, as it was named.
        as_json: whether to print it as JSON.
    """
    if as_json:
        print_json(msgspec.to_builtins(result))
        return
    lines = _summary_lines(result, output) if result.stopped_by is None else _stopped_lines(result)
    for line in lines:
        print_line(line)


def _stopped_lines(result: MatchResult) -> Iterator[Line]:
    advice = "Run the same command again."
    return unfinished_lines(result.calls, result.credits, result.resume_at, advice)


def _summary_lines(result: MatchResult, output: str) -> Iterator[Line]:
    counts = {
        "wanted emails": result.wanted,
        "matched": result.matched,
        "repeat a matched one": result.repeated,
        "ambiguous": result.ambiguous,
        "missing": sum(result.missing.values()),
        "rows without a deal, left out": result.without_deal,
        "fetched rows left out": result.left_out,
        "rows of contradictory emails, left out": result.contradictory,
    }
    yield from count_lines(counts, always=("wanted emails", "matched", "ambiguous", "missing"))
    for reason, emails in result.missing.items():
        yield f"Missing, {_REASONS[reason]}: {emails:,}"
    if result.shift is not None and result.shift.applied:
        yield from wrap_text(_shift_text(result.shift))
    yield from wrap_text(
        f"In the mapping: {count_of(result.attach, 'row')} to link, {result.move:,} to move from"
        f" another deal. Left out: {result.already:,} on their deal already,"
        f" {result.other_contacts:,} of other contacts of an email."
    )
    if sum(result.calls.values()):
        yield calls_line(result.calls, result.credits)
    for name, path in result.files.items():
        yield f"{_FILES[name]}: {path}"
    yield from _next_steps(result, output)


def _shift_text(shift: MatchedShift) -> str:
    hours, minutes = divmod(abs(shift.seconds) // 60, 60)
    sign = "-" if shift.seconds < 0 else "+"
    return (
        f"Times: the list's are shifted by {sign}{hours}:{minutes:02} h, as those of"
        f" {shift.emails:,} of {count_of(shift.of, 'email')} that both lists have once."
    )


def _next_steps(result: MatchResult, output: str) -> Iterator[Line]:
    if result.missing:
        yield from wrap_text(
            "The missing emails are not in Zoho, or not in the fetched file. If Zoho does not have"
            " them, another program can add them with Zoho's call Associate Email, whose columns"
            " the file has; it has no content."
        )
    if result.attach + result.move:
        yield "To see what it would change:"
        yield f"  {format_command('bulklink', 'plan', path_word(output))}"
        yield "To send it:"
        yield f"  {suggested_command('run', path_word(output))}"
