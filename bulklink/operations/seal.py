"""The seal of a run: its plan and names, compared with their hashes in `run.json`."""

from __future__ import annotations

from bulklink.decoding import convert
from bulklink.errors import DigestError, RunDirError, UsageError
from bulklink.ledger.state import LedgerState
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_digest import DIGEST_VERSION, PlanContent, read_plan_content
from bulklink.models import Status
from bulklink.operations.job import MIXED, Job
from bulklink.runs.folder import RunFolder
from bulklink.runs.hashes import sha256_of
from bulklink.runs.record import RunRecord

_SEAL_AGAIN = "Seal it again: `bulklink plan` with the same mapping in another run folder."


def load_job(record: RunRecord) -> Job:
    """Return the job as recorded in `run.json`.

    Raises:
        RunDirError: if the options are not as bulklink writes them.
    """
    try:
        return convert(record.asked, Job, dec_hook=lambda kind, value: kind(value))
    except (ValueError, TypeError, OverflowError, UsageError):
        raise RunDirError(
            "The options in run.json are not as bulklink writes them: asked has a wrong type or"
            " value.",
            where="run.json",
            advice="Restore it from a backup.",
        ) from None


def has_former_digest(record: RunRecord) -> bool:
    """Return whether the digest of a run is of an older version, which did not cover its rows."""
    return record.digest_version < DIGEST_VERSION


def plan_digest(record: RunRecord, content: PlanContent) -> str:
    """Return the digest of the current plan with the recorded options."""
    return content.hashes.digest(load_job(record).plan_settings(content.messages))


def check_seal(
    folder: RunFolder,
    record: RunRecord,
    ledger_state: LedgerState,
    stop: PlanningStop | None = None,
) -> None:
    """Refuse a plan that was changed since it was sealed, and options or counts of another plan.

    Args:
        folder: the run folder.
        record: its record.
        ledger_state: state of its ledger.
        stop: stops the work from another thread.

    Raises:
        DigestError: if something differs, or has no hash.
        RunDirError: if the plan is damaged.
        InterruptedPlanningError: if `stop` stopped it.
    """
    check_sealed_files(folder, record)
    if has_former_digest(record):
        if not record.invocations:
            raise _plan_error(
                folder,
                "The digest of this plan is of an older version, which does not cover its rows.",
            )
        return
    content = read_plan_content(folder.plan, stop)
    digest = plan_digest(record, content)
    if digest != record.digest:
        raise _plan_error(
            folder,
            "The plan, or an option that belongs to it, was changed since it was sealed: its digest"
            f" is {digest}, and {record.digest} is recorded.",
        )
    _check_counts(folder, record, content)
    if not record.invocations:
        _check_unsent_ledger(folder, record, content, ledger_state)


def check_sealed_files(folder: RunFolder, record: RunRecord) -> None:
    """Refuse a plan or names that differ from the recorded ones.

    Raises:
        DigestError: if a file differs from its hash, or has none.
    """
    if record.digest is None or record.plan_sha256 is None:
        raise _plan_error(folder, "The plan is not sealed: its hash is not recorded.")
    if sha256_of(folder.plan) != record.plan_sha256:
        raise _plan_error(folder, "The plan was changed since it was sealed.")
    if not has_recorded_names(folder, record):
        raise DigestError(
            "The file of looked-up names was changed since this run wrote it.",
            where=str(folder.names),
            advice="Remove the file; the names are looked up again.",
        )


def has_recorded_names(folder: RunFolder, record: RunRecord) -> bool:
    """Return whether the looked-up names, if there are any, are those that the run recorded."""
    if not folder.names.exists():
        return True
    if record.names_sha256 is None:
        return has_former_digest(record)  # such runs recorded none
    return sha256_of(folder.names) == record.names_sha256


def _check_counts(folder: RunFolder, record: RunRecord, content: PlanContent) -> None:
    """Refuse counts and an op of another plan: they are shown for approval."""
    recorded = {op: messages for op, messages in record.by_op.items() if messages}
    # A plan of which nothing is sent has no messages of its op.
    has_other_op = bool(content.messages) and record.op not in (MIXED, *content.messages)
    if (
        recorded != content.messages
        or record.messages != sum(content.messages.values())
        or has_other_op
    ):
        raise _plan_error(folder, "The counts in run.json do not match the plan.")


def _check_unsent_ledger(
    folder: RunFolder, record: RunRecord, content: PlanContent, ledger_state: LedgerState
) -> None:
    """Refuse a ledger of a plan not sent yet with more than the rows that are never sent."""
    planned = content.hashes.rows
    expected = {
        Status.DUPLICATE: planned - record.messages,
        Status.REJECTED: record.rows - planned,
    }
    counts = {status: count for status, count in ledger_state.counts.items() if count}
    if ledger_state.next_call != 1 or counts != {s: n for s, n in expected.items() if n}:
        raise DigestError(
            "The ledger does not belong to a plan not sent yet.",
            where=str(folder.ledger),
            advice=_SEAL_AGAIN,
        )


def _plan_error(folder: RunFolder, message: str) -> DigestError:
    return DigestError(message, where=str(folder.plan), advice=_SEAL_AGAIN)
