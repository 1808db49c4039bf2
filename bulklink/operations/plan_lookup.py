"""Look-up of names before a plan is sealed, so that an approval covers them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from bulklink.advice import Advice, Keyword
from bulklink.engine.outage import Outage
from bulklink.engine.shutdown import StopController
from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.mapping.checked import CheckedMapping
from bulklink.mapping.interrupt import PlanningStop
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.environment import Environment
from bulklink.operations.foreign_deals import RoleCheck, check_roles, foreign_deals_warning
from bulklink.operations.job import Job
from bulklink.operations.name_lookup import NameLookup
from bulklink.operations.plan_names import PlanNames, build_plan_names
from bulklink.operations.prepare import is_refused
from bulklink.operations.session import CrmSession, run_read_session
from bulklink.runs.record import OrgRecord, RunState
from bulklink.runs.status import run_exit_code
from bulklink.zoho.connection import Connection

LOOKING_UP = "Looking up names"


class _WarningCallbacks(RunCallbacks):
    """Callbacks of a session that planning waits for: everything is reported as a warning."""

    def __init__(self, warn: Callable[[str | Advice], None]) -> None:
        self._warn = warn

    def warn(self, text: str | Advice) -> None:
        """Pass a warning on."""
        self._warn(text)

    def on_outage(self, outage: Outage | None) -> None:
        """Warn that the look-ups wait for answers."""
        if outage is not None:
            self.warn(
                Advice(
                    "No answer ({}): the look-ups wait, at most as long as {} allows.",
                    outage.reason,
                    Keyword("outage"),
                )
            )


def look_up_plan_names(
    checked: CheckedMapping,
    job: Job,
    connection: Connection,
    environment: Environment,
    scratch: Path,
    stop: PlanningStop,
    warn: Callable[[str | Advice], None],
) -> PlanNames:
    """Look up the names that a checked mapping lacks, and refuse rows that name unknown records.

    No connection is opened if no name is missing, or if the mapping is refused as it stands.

    Args:
        checked: the mapping, neither measured nor sealed yet; the names are added to it.
        job: limits of calls and credits.
        connection: endpoint and credentials of the CRM.
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
        return build_plan_names(checked, None, 0, 0)
    orgs: list[OrgRecord] = []
    role_checks: list[RoleCheck] = []

    async def read_names(session: CrmSession) -> None:
        org = await session.look_up_org()
        orgs.append(OrgRecord(org.id, org.name, org.type))
        await lookup.fetch(session)
        role_checks.append(await _check_roles(checked, lookup, session))

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
                keeps_answers=False,
            )
        )
    stop.check()
    if session_stop.reason is not None:
        raise _lookup_error(session_stop.reason)
    checked.add_names(lookup.named_deals(), lookup.named_owners())
    foreign = checked.find_foreign_deals(lookup.deal_contacts(), role_checks[0].roles)
    if foreign.rows:
        warn(foreign_deals_warning(foreign, role_checks[0]))
    return build_plan_names(checked, orgs[0], calls["lookup"], lookup.total)


async def _check_roles(
    checked: CheckedMapping, lookup: NameLookup, session: CrmSession
) -> RoleCheck:
    """Read the contact roles of deals that belong to other contacts than their rows."""
    foreign = await session.run_blocking(lambda: checked.find_foreign_deals(lookup.deal_contacts()))
    in_flight = session.job.max_in_flight()
    return await check_roles(session.caller, foreign.deal_ids, at_once=in_flight)


def _lookup_error(reason: RunStoppedError) -> RunStoppedError:
    """Return why there is no plan; unlike a run, planning leaves no folder to inspect or resume."""
    advice = reason.guidance
    if reason.stopped_by in (StoppedBy.NO_ANSWER, StoppedBy.FATAL):
        advice = Advice(
            "Nothing was changed. Check the address and the sign-in (`bulklink auth status`), then"
            " plan again. Without {} no connection is needed.",
            Keyword("look_up_names"),
        )
    error = RunStoppedError(
        reason.stopped_by,
        reason.message,
        where=reason.place,
        advice=advice,
        resume_at=reason.resume_at,
    )
    error.exit_code = run_exit_code(RunState.STOPPED, reason.stopped_by, {}) or error.exit_code
    return error
