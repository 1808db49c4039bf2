"""Result of a match."""

from __future__ import annotations

import msgspec

from bulklink.engine.shutdown import StopController
from bulklink.errors import ExitCode
from bulklink.finding.email_choice import TimeShift
from bulklink.ledger.records import timestamp
from bulklink.mapping.email_matches import MatchCounts
from bulklink.mapping.match_lists import FetchedList, WantedCounts
from bulklink.operations.matching.deal_keys import ReadDeals
from bulklink.operations.matching.files import MatchFiles
from bulklink.operations.session import NO_CALLS
from bulklink.runs.record import RunState
from bulklink.runs.status import run_exit_code


class MatchedShift(msgspec.Struct, frozen=True):
    """A difference between the times of both lists.

    Args:
        seconds: what is added to the times of the wanted emails.
        emails: emails that both lists have once and that differ by it.
        of: emails that both lists have once and that differ by a multiple of a quarter of an hour.
        applied: whether it was added, because the evidence is clear.
    """

    seconds: int
    emails: int
    of: int
    applied: bool


class MatchResult(msgspec.Struct, frozen=True):
    """Result of a match, as `--json` prints it; a stopped match has written no file.

    Args:
        wanted: wanted emails, each in one of `matched`, `repeated`, `ambiguous` and `missing`.
        without_deal: rows of the list of wanted emails that name no deal.
        fetched: rows of the file of fetched emails.
        left_out: those of them that do not name an email, its contact and its owner by valid ids,
            or have a deal that is no id.
        matched: wanted emails that are a fetched email.
        repeated: wanted emails that repeat a matched one with the same deal.
        ambiguous: wanted emails that may be several emails, or that compete for one.
        missing: wanted emails without a fetched one, by reason.
        attach: rows of the mapping whose email is on no deal.
        move: rows of the mapping whose email is on another deal.
        already: rows of matched emails that are on the wanted deal already.
        other_contacts: rows of matched emails that are left out, because another contact of the
            email is the one on the deal.
        contradictory: rows of matched emails that are left out, because another row of the same
            email shows another deal.
        shift: difference between the times of both lists; None if there is none.
        calls: requests by kind: read, lookup, retried.
        credits: credits that this command spent.
        files: the files by what they hold: mapping, ambiguous, missing.
        stopped_by: why it stopped; None if complete.
        resume_at: when it can be repeated, RFC 3339; None if time alone does not help.
        exit_code: exit code of the command.
    """

    wanted: int
    without_deal: int = 0
    fetched: int = 0
    left_out: int = 0
    matched: int = 0
    repeated: int = 0
    ambiguous: int = 0
    missing: dict[str, int] = {}
    attach: int = 0
    move: int = 0
    already: int = 0
    other_contacts: int = 0
    contradictory: int = 0
    shift: MatchedShift | None = None
    calls: dict[str, int] = msgspec.field(default_factory=NO_CALLS.copy)
    credits: int = 0
    files: dict[str, str] = {}
    stopped_by: str | None = None
    resume_at: str | None = None
    exit_code: int = ExitCode.OK


def stopped_match(wanted: WantedCounts, deals: ReadDeals, stop: StopController) -> MatchResult:
    """Return the result of a match that was stopped while it read deals of the CRM."""
    reason = stop.reason
    stopped_by = None if reason is None else reason.stopped_by
    resume_at = None if reason is None else reason.resume_at
    return MatchResult(
        wanted=wanted.emails,
        without_deal=wanted.rows - wanted.emails,
        calls=deals.calls,
        credits=deals.credits,
        stopped_by=stopped_by,
        resume_at=None if resume_at is None else timestamp(resume_at),
        exit_code=int(run_exit_code(RunState.STOPPED, stopped_by, {}) or ExitCode.STOPPED),
    )


def complete_match(
    wanted: WantedCounts,
    fetched: FetchedList,
    counts: MatchCounts,
    shift: TimeShift | None,
    deals: ReadDeals,
    files: MatchFiles,
) -> MatchResult:
    """Return the result of a match that has written its files."""
    is_whole = not counts.ambiguous and not counts.missing and not counts.contradictory
    return MatchResult(
        wanted=wanted.emails,
        without_deal=wanted.rows - wanted.emails,
        fetched=fetched.rows,
        left_out=fetched.rows - fetched.emails,
        matched=counts.matched,
        repeated=counts.repeated,
        ambiguous=counts.ambiguous,
        missing=dict(counts.missing),
        attach=counts.changes["attach"],
        move=counts.changes["move"],
        already=counts.already,
        other_contacts=counts.unlisted,
        contradictory=counts.contradictory,
        shift=None
        if shift is None
        else MatchedShift(shift.seconds, shift.emails, shift.of, shift.is_clear),
        calls=deals.calls,
        credits=deals.credits,
        files=files.names,
        exit_code=int(ExitCode.OK if is_whole else ExitCode.ROWS_NOT_DONE),
    )
