"""Result of an audit."""

from __future__ import annotations

import msgspec

from bulklink.engine.shutdown import StopController
from bulklink.errors import ExitCode
from bulklink.finding.link_evidence import ReadingScore
from bulklink.finding.verdicts import ChangeKind, Tier
from bulklink.ledger.records import timestamp
from bulklink.mapping.contact_selection import Unresolved
from bulklink.operations.auditing.judging import AuditTally, EmailJudging, HoldOutResult
from bulklink.operations.auditing.reading import AuditInputs
from bulklink.operations.fetching.emails import FetchResult
from bulklink.operations.fetching.progress import MAX_UNREAD_NAMED, UnreadContact
from bulklink.operations.session import NO_CALLS
from bulklink.runs.record import RunState
from bulklink.runs.status import run_exit_code

TOO_MANY_EMAILS = "too-many-emails"
"""Code of a contact that is left out for the number of its emails."""


class AuditResult(msgspec.Struct, frozen=True):
    """Result of an audit, as `--json` prints it; a stopped audit has written no mapping.

    Args:
        contacts: contacts whose emails were judged.
        emails: their emails.
        unread: contacts whose emails or deals could not be read.
        proposed: emails to change, by tier and kind.
        by_hand: emails whose link a person or a program made; it is never changed.
        uncertain: received emails of which nobody can tell what the prediction rule did.
        reading: the reading of the rule that explains the org's links best, or the one that was
            set; None if nothing was judged.
        calls: requests by kind: read, lookup, retried.
        credits: credits that this command spent.
        files: the files by what they hold: mapping, review, audit, emails, deals.
        stopped_by: why it stopped; None if complete.
        resume_at: when it can continue, RFC 3339; None if time alone does not help.
        exit_code: exit code of the command.
        readings: how many groups of alike emails each reading explains, best first.
        roles: whether the rule considers deals by a contact role; None if that is unknown.
        hold_out: how many links that people made would have been found.
        filtered_out: emails for which the filters propose no change.
        left_out: rows of the file of emails that name no contact or no email.
        undated: emails without a known time.
        contradicted: emails for which rows of the file name different deals; nothing is proposed.
        nameless: emails left out for lack of a message id, of those that this audit fetched.
        without_history: deals that are judged without their history because it could not be read,
            by reason; a deal counts once for each of its contacts.
        unread_contacts: the first 1,000 contacts that could not be read.
        unresolved: the first 1,000 addresses, names and deals that select no contact.
    """

    contacts: int
    emails: int
    unread: int
    proposed: dict[str, dict[str, int]]
    by_hand: int
    uncertain: int
    reading: str | None
    calls: dict[str, int]
    credits: int
    files: dict[str, str]
    stopped_by: str | None
    resume_at: str | None
    exit_code: int
    readings: tuple[ReadingScore, ...] = ()
    roles: bool | None = None
    hold_out: HoldOutResult = HoldOutResult()
    filtered_out: int = 0
    left_out: int = 0
    undated: int = 0
    contradicted: int = 0
    nameless: int = 0
    without_history: dict[str, int] = {}
    unread_contacts: tuple[UnreadContact, ...] = ()
    unresolved: tuple[Unresolved, ...] = ()

    @property
    def proposals(self) -> int:
        """Return how many emails are to be changed."""
        return sum(sum(kinds.values()) for kinds in self.proposed.values())


class FetchedPart(msgspec.Struct, frozen=True):
    """What fetching the emails adds to the result of an audit.

    Args:
        calls: requests by kind.
        credits: credits that this command spent on it.
        nameless: emails left out for lack of a message id.
        unread: contacts whose emails could not be read.
        unread_contacts: the first 1,000 of them.
        unresolved: the first 1,000 addresses, names and deals that select no contact.
    """

    calls: dict[str, int] = msgspec.field(default_factory=NO_CALLS.copy)
    credits: int = 0
    nameless: int = 0
    unread: int = 0
    unread_contacts: tuple[UnreadContact, ...] = ()
    unresolved: tuple[Unresolved, ...] = ()


def stopped_in_fetch(fetched: FetchResult, stop: StopController) -> AuditResult:
    """Return the result of an audit that was stopped while it fetched emails."""
    stopped_by = None if stop.reason is None else stop.reason.stopped_by
    return AuditResult(
        contacts=fetched.contacts,
        emails=fetched.emails,
        unread=fetched.unread,
        proposed=_count_proposed(AuditTally()),
        by_hand=0,
        uncertain=0,
        reading=None,
        calls=fetched.calls,
        credits=fetched.credits,
        files={},
        stopped_by=stopped_by,
        resume_at=_resume_at(stop),
        exit_code=_stopped_code(stopped_by),
        nameless=fetched.nameless,
        unread_contacts=fetched.unread_contacts,
        unresolved=fetched.unresolved,
    )


def stopped_in_reading(
    inputs: AuditInputs, fetched: FetchedPart, files: dict[str, str], stop: StopController
) -> AuditResult:
    """Return the result of an audit that was stopped while it read deals."""
    stopped_by = None if stop.reason is None else stop.reason.stopped_by
    return _result(inputs, fetched, None, files, stop, _stopped_code(stopped_by))


def complete(
    inputs: AuditInputs,
    fetched: FetchedPart,
    judging: EmailJudging,
    files: dict[str, str],
    stop: StopController,
) -> AuditResult:
    """Return the result of an audit that has written its files."""
    result = _result(inputs, fetched, judging, files, stop, ExitCode.OK)
    is_incomplete = (
        result.unread
        or result.unresolved
        or result.left_out
        or result.contradicted
        or result.without_history
    )
    if result.proposals or is_incomplete:
        return msgspec.structs.replace(result, exit_code=int(ExitCode.ROWS_NOT_DONE))
    return result


def _result(
    inputs: AuditInputs,
    fetched: FetchedPart,
    judging: EmailJudging | None,
    files: dict[str, str],
    stop: StopController,
    exit_code: int,
) -> AuditResult:
    tally = AuditTally() if judging is None else judging.tally
    crowded = tuple(
        UnreadContact(contact_id, TOO_MANY_EMAILS, "The contact has more than 100,000 emails.")
        for contact_id in sorted(inputs.crowded)
    )
    unread_contacts = (*fetched.unread_contacts, *inputs.deals.unread_contacts, *crowded)
    return AuditResult(
        contacts=inputs.emails.contacts if judging is None else tally.contacts,
        emails=inputs.emails.emails if judging is None else tally.emails,
        unread=fetched.unread + inputs.deals.unread + len(crowded),
        proposed=_count_proposed(tally),
        by_hand=tally.by_hand,
        uncertain=tally.uncertain,
        reading=None if judging is None else (judging.reading or judging.choice.reading).value,
        calls={kind: count + inputs.calls[kind] for kind, count in fetched.calls.items()},
        credits=fetched.credits + inputs.credits,
        files=files,
        stopped_by=None if stop.reason is None or judging else stop.reason.stopped_by,
        resume_at=None if judging else _resume_at(stop),
        exit_code=exit_code,
        readings=() if judging is None else judging.choice.scores,
        roles=None if judging is None else judging.counted_roles,
        hold_out=HoldOutResult() if judging is None else judging.hold_out,
        filtered_out=tally.filtered_out,
        left_out=inputs.emails.refused,
        undated=inputs.emails.undated,
        contradicted=tally.contradicted,
        nameless=fetched.nameless,
        without_history=inputs.deals.without_history,
        unread_contacts=unread_contacts[:MAX_UNREAD_NAMED],
        unresolved=fetched.unresolved,
    )


def _count_proposed(tally: AuditTally) -> dict[str, dict[str, int]]:
    """Return the number of proposals by tier and kind."""
    return {
        tier.value: {kind.value: tally.proposed[tier, kind] for kind in ChangeKind} for tier in Tier
    }


def _stopped_code(stopped_by: str | None) -> int:
    return int(run_exit_code(RunState.STOPPED, stopped_by, {}) or ExitCode.STOPPED)


def _resume_at(stop: StopController) -> str | None:
    reason = stop.reason
    return None if reason is None or reason.resume_at is None else timestamp(reason.resume_at)
