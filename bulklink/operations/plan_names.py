"""Look-up of names before a plan is sealed, so that they are part of what is approved."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
from anyio.from_thread import start_blocking_portal

from bulklink.engine.outage import Outage
from bulklink.engine.shutdown import StopController
from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.mapping.checked import CheckedMapping
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.looked_up_names import RecordEmails
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.environment import Environment
from bulklink.operations.job import Job
from bulklink.operations.name_lookup import NameLookup, foreign_deals_warning
from bulklink.operations.prepare import is_refused
from bulklink.operations.session import CrmSession, run_read_session
from bulklink.runs.record import OrgRecord, RunState
from bulklink.runs.status import run_exit_code
from bulklink.zoho.connection import Connection

LOOKING_UP = "Looking up names"
MAX_RECORDS_NAMED = 20
"""Deals, and owners, that a plan with names lists: those with the most emails."""


class PlanNames(msgspec.Struct, frozen=True):
    """Names of the deals and owners of a plan, and where they were looked up.

    Args:
        org: org that they are of; None if nothing had to be looked up.
        credits: requests that the look-ups took.
        looked_up: deals and owners that were looked up.
        deals: deals of links and relinks, those with the most emails first.
        deals_in_all: number of deals.
        owners: owners of links and relinks, likewise.
        owners_in_all: number of owners.
    """

    org: OrgRecord | None
    credits: int
    looked_up: int
    deals: tuple[RecordEmails, ...]
    deals_in_all: int
    owners: tuple[RecordEmails, ...]
    owners_in_all: int


class _WarningCallbacks(RunCallbacks):
    """Callbacks of a session that planning waits for: all that a user has to know is a warning."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn

    def on_warning(self, text: str) -> None:
        """Pass a warning on."""
        self._warn(text)

    def on_outage(self, outage: Outage | None) -> None:
        """Tell that the look-ups wait for answers."""
        if outage is not None:
            self.on_warning(f"No answer ({outage.reason}): the look-ups wait for --outage at most.")


def look_up_plan_names(
    checked: CheckedMapping,
    job: Job,
    connection: Connection,
    environment: Environment,
    scratch: Path,
    stop: PlanningStop,
    warn: Callable[[str], None],
) -> PlanNames:
    """Look up the names that a checked mapping lacks, and refuse rows that name unknown records.

    No connection is opened if no name is missing, or if the mapping is refused as it stands.

    Args:
        checked: the mapping, neither measured nor sealed yet; the names are added to it.
        job: limits of calls and credits.
        connection: where the CRM is and how to sign in.
        environment: network, disk and clock.
        scratch: folder for temporary files.
        stop: ends the look-ups from another thread.
        warn: called with warnings.

    Raises:
        RunStoppedError: if the names cannot be looked up.
        RefusedError: if the connection is refused before the first call.
        InterruptedPlanningError: if `stop` ended it.
    """
    callbacks = _WarningCallbacks(warn)
    lookup = NameLookup(scratch / "names", callbacks)
    if not is_refused(checked, job):
        stop.begin_stage(LOOKING_UP)
        lookup.find_missing(checked)
    if not lookup.total:
        return _plan_names(checked, None, 0, 0)
    orgs: list[OrgRecord] = []

    async def read_names(session: CrmSession) -> None:
        org = await session.look_up_org()
        orgs.append(OrgRecord(org.id, org.name, org.type))
        await lookup.fetch(session)

    session_stop = StopController()
    with (
        start_blocking_portal() as portal,
        stop.calling(lambda: portal.start_task_soon(session_stop.interrupt)),
    ):
        calls = portal.call(
            partial(
                run_read_session,
                read_names,
                environment=environment,
                connection=connection,
                job=job,
                stop=session_stop,
                ledger_path=scratch / "lookups.jsonl",
                answers_path=scratch / "answers.jsonl",
                callbacks=callbacks,
            )
        )
    stop.check()
    if session_stop.reason is not None:
        raise _lookup_error(session_stop.reason)
    checked.add_names(lookup.named_deals(), lookup.named_owners())
    foreign = checked.find_foreign_deals(lookup.deal_contacts())
    if foreign.rows:
        warn(foreign_deals_warning(foreign))
    return _plan_names(checked, orgs[0], calls["lookup"], lookup.total)


def _plan_names(
    checked: CheckedMapping, org: OrgRecord | None, calls: int, looked_up: int
) -> PlanNames:
    return PlanNames(
        org,
        calls,
        looked_up,
        *checked.records_with_most_emails("deal_id", "deal_name", MAX_RECORDS_NAMED),
        *checked.records_with_most_emails("owner_id", "owner_name", MAX_RECORDS_NAMED),
    )


def _lookup_error(reason: RunStoppedError) -> RunStoppedError:
    """Return why there is no plan; unlike a run it leaves no folder to look into or to resume."""
    advice = reason.advice
    if reason.stopped_by in (StoppedBy.NO_ANSWER, StoppedBy.FATAL):
        advice = (
            "Check the address and the sign-in (`bulklink auth status`), then plan again; without"
            " --look-up-names no connection is needed. Nothing was changed."
        )
    error = RunStoppedError(
        reason.stopped_by,
        reason.message,
        where=reason.where,
        advice=advice,
        resume_at=reason.resume_at,
    )
    error.exit_code = run_exit_code(RunState.STOPPED, reason.stopped_by, {}) or error.exit_code
    return error
