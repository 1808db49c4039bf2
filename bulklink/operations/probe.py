"""`probe`: find out what an org answers where Zoho's documentation leaves it open."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Unpack

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.counts import count_of
from bulklink.engine.lookups import look_up_module_id
from bulklink.engine.shutdown import StopController
from bulklink.errors import (
    BulklinkError,
    ConfigError,
    ExitCode,
    NotConfirmedError,
    RefusedError,
    RunStoppedError,
    StoppedBy,
    StoppedError,
    UsageError,
)
from bulklink.operations.callbacks import ChosenEmail, ProbeConfirmation, RunCallbacks
from bulklink.operations.cancellation import run_guarded
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.job import Job
from bulklink.operations.job_options import PACE_OPTIONS, PaceOptions, with_options
from bulklink.operations.preflight import check_same_host, check_same_org
from bulklink.operations.probing.experiments import EXPERIMENTS, Experiment, NoLinkError
from bulklink.operations.probing.folder import ProbeFolder, ProbeRecord
from bulklink.operations.probing.materials import ProbeRequest, gather_materials
from bulklink.operations.probing.observer import AnswerObserver
from bulklink.operations.probing.probed_org import ProbedOrg
from bulklink.operations.probing.put_back import put_emails_back
from bulklink.operations.probing.result import ProbeResult, answered_questions, write_probe_file
from bulklink.operations.probing.values import (
    Answers,
    ExperimentError,
    Materials,
    ProbeAnswer,
    ProbeEmail,
)
from bulklink.operations.session import CrmSession
from bulklink.runs.record import OrgRecord, RunState
from bulklink.runs.status import run_exit_code
from bulklink.tables.output import check_can_create
from bulklink.zoho.connection import Connection
from bulklink.zoho.data_centres import environment_of
from bulklink.zoho.error_policy import advice_for_code
from bulklink.zoho.http import CallKind
from bulklink.zoho.lookup_responses import Org

NOTHING_TO_PUT_BACK = ProbeResult(
    file=None,
    answers=(),
    restored=0,
    not_restored=0,
    folder=None,
    calls={},
    credits=0,
    stopped_by=None,
    exit_code=int(ExitCode.OK),
)
"""Result of putting back where no earlier probe left anything."""
_CALLS_TO_TRY_A_LINK = 2
_CALLS_PER_EMAIL_BACK = 3
_READS_TO_PUT_BACK = 2


async def probe(
    contact: str | None,
    output: str | PathLike[str],
    connection: Connection,
    *,
    emails: Collection[str] = (),
    other_contact: str | None = None,
    role_deal: str | None = None,
    private_email: str | None = None,
    put_back: bool = False,
    yes: bool = False,
    force: bool = False,
    callbacks: RunCallbacks | None = None,
    stop: StopController | None = None,
    environment: Environment | None = None,
    **pace: Unpack[PaceOptions],
) -> ProbeResult:
    """Ask a sandbox or developer org the questions that Zoho's documentation leaves open.

    A few emails of a contact are linked and unlinked. What they were on is stored before the first
    change, in a folder next to the file with the suffix `.probing`, and they are put back at the
    end, also if the probe is stopped. After a kill the same call, or one with `put_back`, puts them
    back first.

    Args:
        contact: id of the contact whose emails are changed; None only with `put_back`.
        output: file for the answers, in JSON.
        connection: endpoint and credentials of the CRM; never those of production.
        emails: ids of emails of the contact; if empty, some of its first ones are chosen.
        other_contact: id of another contact, to try its deals and an email that both have.
        role_deal: id of a deal that has the contact by a contact role only.
        private_email: id of an email of the contact in a mailbox that is not shared.
        put_back: only put back what an earlier probe into this file left.
        yes: whether to change emails without asking; they must then be named.
        force: whether to replace an existing file.
        callbacks: receives progress and events, and is asked before each change; None for none.
        stop: stops the probe from outside; the emails are put back.
        environment: network, disk and clock; None for this machine's, others for tests.
        **pace: options of `Job`: limits on calls and their rate.

    Returns:
        The result; if `stopped_by` is set, no file was written.

    Raises:
        ConfigError: if the org is one of production.
        UsageError: if the records that are named do not fit, or are not enough.
        NotConfirmedError: if the user refuses the probe, or cannot be asked.
        WrongOrgError: if an earlier probe into this file was of another org.
        RunDirError: if the folder cannot be created or its record is damaged.
    """
    path, request = Path(output), None
    check_not_production(connection)
    if not put_back:
        if contact is None:
            raise UsageError(
                "No contact is named.", where="CONTACT", advice="Name the id of a contact."
            )
        request = ProbeRequest(contact, tuple(emails), other_contact, role_deal, private_email)
        request.check()
        if yes and not emails and not connection.loopback:
            raise UsageError(
                "Without a question, a probe changes only emails that are named.",
                where=Advice("{}", Keyword("yes")),
                advice=Advice("Name them with {}.", Keyword("emails")),
            )
        check_can_create(path, force=force)
    work = _Probe(
        request=request,
        path=path,
        connection=connection,
        yes=yes,
        job=with_options(None, pace, PACE_OPTIONS),
        environment=environment or real_environment(),
    )
    return await run_guarded(work.run, callbacks, stop)


def check_not_production(connection: Connection) -> None:
    """Refuse a connection to production, before a token is requested.

    Raises:
        ConfigError: if it is one.
    """
    if connection.loopback:
        return
    is_set = connection.environment == "production" and not connection.api_url_given
    if is_set or environment_of(connection.api_url) == "production":
        raise ConfigError(
            "A probe changes emails only to see what happens: it never runs in production.",
            where="BULKLINK_ENVIRONMENT, BULKLINK_API_URL",
            advice="Set BULKLINK_ENVIRONMENT to sandbox or developer, and sign in to that org.",
        )


def _check_test_org(org: Org, connection: Connection) -> None:
    """Refuse an org that does not say that it is a sandbox or a developer org.

    Raises:
        ConfigError: if it does not.
    """
    if connection.loopback or org.is_for_tests:
        return
    raise ConfigError(
        f"The org {org.name or org.id or ''} is of type {org.type or 'unknown'}: a probe needs a"
        " sandbox or a developer org.",
        where=connection.api_url,
        advice="Sign in to a sandbox; the token needs the scope ZohoCRM.org.READ.",
    )


def most_credits(materials: Materials) -> int:
    """Return the most credits that a probe takes once its records are looked up."""
    emails, pages = materials.emails, materials.pages
    planned = [experiment for experiment in EXPERIMENTS if not experiment.lacks(materials)]
    experiments = sum(experiment.credits(materials) for experiment in planned)
    trying_links = _CALLS_TO_TRY_A_LINK * sum(email.deal is not None for email in emails)
    contacts = len({email.contact_id for email in emails})
    back = _CALLS_PER_EMAIL_BACK * len(emails) + _READS_TO_PUT_BACK * contacts * pages
    return experiments + trying_links + back


def _chosen(email: ProbeEmail) -> ChosenEmail:
    deal_name = email.deal.name if email.deal else None
    return ChosenEmail(email.contact_id, email.message_id, email.subject, deal_name)


@dataclass(slots=True, kw_only=True)
class _Probe:
    """One invocation of a probe.

    Args:
        request: the records that the user names; None only to put emails back.
        path: file for the answers.
        connection: endpoint and credentials of the CRM.
        yes: whether to change emails without asking.
        job: limits of calls and credits.
        environment: network, disk and clock.
    """

    request: ProbeRequest | None
    path: Path
    connection: Connection
    yes: bool
    job: Job
    environment: Environment
    callbacks: RunCallbacks = field(init=False)
    stop: StopController = field(init=False)
    folder: ProbeFolder = field(init=False)
    answers: dict[str, ProbeAnswer] = field(init=False, default_factory=dict)
    observer: AnswerObserver = field(init=False, default_factory=AnswerObserver)
    restored: int = field(init=False, default=0)
    not_restored: int = field(init=False, default=0)

    async def run(self, callbacks: RunCallbacks, stop: StopController) -> ProbeResult:
        """Put back what an earlier probe left, then probe."""
        self.callbacks, self.stop = callbacks, stop
        self.folder = ProbeFolder(Path(f"{self.path}.probing"))
        with self.folder.locked():
            record = self.folder.read()
            if record is not None:
                check_same_host(record, self.connection)
            elif self.request is None:
                return NOTHING_TO_PUT_BACK
            session = self._make_session()
            try:
                async with session:
                    await self._run_steps(session, record)
            except StoppedError:
                pass
            except RefusedError:
                raise
            except BulklinkError as error:
                stop.request(error)
            return self._finish(session)

    def _make_session(self) -> CrmSession:
        observed = self.observer.wrap(self.environment.transport)
        return CrmSession(
            environment=msgspec.structs.replace(self.environment, transport=observed),
            connection=self.connection,
            job=self.job,
            stop=self.stop,
            ledger_path=self.folder.log,
            answers_path=self.folder.answers,
            warn=self.callbacks.warn,
            on_outage=self.callbacks.on_outage,
            on_org=self.callbacks.on_org,
        )

    async def _run_steps(self, session: CrmSession, record: ProbeRecord | None) -> None:
        self.callbacks.on_phase("Looking up the org")
        org = await session.look_up_org()
        _check_test_org(org, self.connection)
        await session.lock_org(org, self.folder.path, on_wait=self.callbacks.on_phase)
        if record is not None:
            check_same_org(record, org)
            probed_org = self._probed_org(session, record.module_id)
            await self._put_back(probed_org, record.emails, after_kill=True)
        if self.request is None or self.not_restored:
            return
        module_id = self.connection.module_id or await look_up_module_id(session.caller)
        probed_org = self._probed_org(session, module_id)
        self.callbacks.on_phase("Looking up emails and deals")
        try:
            materials = await gather_materials(probed_org, self.request)
        except ExperimentError as error:
            raise UsageError(
                f"{error.answer.reason} {error.answer.seen}".rstrip(),
                where=self.connection.api_url,
                advice="Check the ids, and what the token may read.",
            ) from None
        self._confirm(org, materials)
        self.folder.write(
            ProbeRecord(
                materials.emails,
                module_id,
                OrgRecord(org.id, org.name, org.type),
                self.connection.api_url,
                self.connection.data_centre,
            )
        )
        probed_org.remember(materials.emails)
        refusal: NoLinkError | None = None
        try:
            await self._experiment(probed_org, materials)
        except StoppedError:
            pass
        except NoLinkError as error:
            refusal = error
        except BulklinkError as error:
            self.stop.request(error)
        await self._put_back(probed_org, materials.emails)
        if refusal is not None:
            raise RunStoppedError(
                StoppedBy.FATAL,
                str(refusal),
                where=self.connection.api_url,
                advice=advice_for_code(refusal.code),
            )

    def _probed_org(self, session: CrmSession, module_id: str) -> ProbedOrg:
        return ProbedOrg(session.caller, self.stop, self.job.settle_after, module_id)

    def _confirm(self, org: Org, materials: Materials) -> None:
        """Show the price, and ask before anything is changed.

        Raises:
            NotConfirmedError: if the answer is no, or the user cannot be asked.
        """
        emails = materials.emails
        request = ProbeConfirmation(
            org.name, org.type, tuple(map(_chosen, emails)), most_credits(materials)
        )
        self.callbacks.on_probe(request)
        if self.connection.loopback or self.yes:
            return
        if not self.callbacks.can_ask:
            raise NotConfirmedError(
                f"This would change {count_of(len(emails), 'email')} of {org.name or 'an org'}, and"
                " the user cannot be asked.",
                where=self.connection.api_url,
                advice=Advice(
                    "Nothing was changed. To allow it: {}, and name the emails with {}.",
                    Keyword("yes", value=True),
                    Keyword("emails"),
                ),
            )
        if not self.callbacks.confirm_probe(request):
            raise NotConfirmedError(
                "Not confirmed; nothing was changed.",
                where=org.name or self.connection.api_url,
                advice="Run the command again to be asked again.",
            )

    async def _experiment(self, org: ProbedOrg, materials: Materials) -> None:
        """Run the experiments that the records allow and the user confirms."""
        for experiment in EXPERIMENTS:
            self.callbacks.on_phase(f"Trying {experiment.title}")
            self.stop.check()
            self.answers |= await self._answers_of(experiment, org, materials)
        self.answers |= self.observer.answers()

    async def _answers_of(
        self, experiment: Experiment, org: ProbedOrg, materials: Materials
    ) -> Answers:
        lacking = experiment.lacks(materials)
        if lacking:
            return experiment.unknown(ProbeAnswer(reason=f"It needs {lacking}."))
        if experiment.writes and not self._may_send(experiment):
            return experiment.unknown(ProbeAnswer(reason="The user did not want to send it."))
        try:
            return await experiment.run(org, materials)
        except ExperimentError as error:
            return experiment.unknown(error.answer)

    def _may_send(self, experiment: Experiment) -> bool:
        if self.connection.loopback or self.yes:
            return True
        return self.callbacks.confirm_experiment(experiment.title, experiment.sends)

    async def _put_back(
        self, org: ProbedOrg, emails: tuple[ProbeEmail, ...], *, after_kill: bool = False
    ) -> None:
        """Put the emails back, and record how many are as they were before."""
        self.callbacks.on_phase("Putting the emails back")
        org.is_putting_back = True
        self.not_restored = len(emails)
        try:
            if after_kill or org.has_lost_answer:
                await org.settle()  # such a call may still be executed
            changed = await put_emails_back(org, emails)
        except ExperimentError as error:
            self.callbacks.warn(f"{error.answer.reason} {error.answer.seen}".rstrip())
            return
        self.not_restored = len(changed)
        self.restored += len(emails) - len(changed)
        for email in changed:
            wanted = f"deal {email.deal.id}" if email.deal else "no deal"
            self.callbacks.warn(
                f"The email {email.message_id} of contact {email.contact_id} is not on {wanted}, as"
                " it was before the probe."
            )
        if not changed:
            self.folder.clear()

    def _finish(self, session: CrmSession) -> ProbeResult:
        """Write the answers if all is well, and return the result."""
        reason = self.stop.reason
        is_complete = reason is None and not self.not_restored and self.request is not None
        if is_complete:
            write_probe_file(self.path, self.answers)
        exit_code = run_exit_code(RunState.STOPPED, reason.stopped_by, {}) if reason else None
        if self.not_restored and exit_code is not ExitCode.CREDITS:
            exit_code = ExitCode.STOPPED  # the user must look, also after Ctrl-C
        return ProbeResult(
            file=str(self.path) if is_complete else None,
            answers=answered_questions(self.answers) if is_complete else (),
            restored=self.restored,
            not_restored=self.not_restored,
            folder=str(self.folder.path) if self.not_restored else None,
            calls={kind: session.recorded_calls[kind] for kind in CallKind},
            credits=session.quota.budget.sent,
            stopped_by=reason.stopped_by if reason else None,
            exit_code=int(exit_code or ExitCode.OK),
        )
