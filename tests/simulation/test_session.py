"""Sending a sealed plan with a simulated clock and network, and looking up its names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bulklink.blocking import run_inline
from bulklink.engine.quota.gate import QuotaGate
from bulklink.engine.shutdown import StopController
from bulklink.ledger.replay import replay
from bulklink.models import Op, Status
from bulklink.operations.callbacks import ResultCounter, RunCallbacks
from bulklink.operations.job import Job, OnInvalid, WhenCreditsOut
from bulklink.operations.plan import plan
from bulklink.operations.preflight import resolve_names
from bulklink.operations.send import send
from bulklink.operations.session import CrmSession
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import RunState
from tests.guard import off_loop
from tests.simulation.environment import simulated_environment
from tests.simulation.simulator import CONNECTION, OWNERS, Case, contact, deal, email
from tests.virtual import now

EMAILS = 90
_UNKNOWN_DEAL = deal(99)
T = TypeVar("T")


def make_case() -> Case:
    """Return emails of three contacts with one deal each."""
    emails = [email(n, contact(n % 3), OWNERS[0]) for n in range(EMAILS)]
    return Case(emails, [], {deal(n): contact(n) for n in range(3)})


def seal_plan(
    case: Case, folder: Path, deals: dict[str, str] | None = None, **options: Any
) -> tuple[RunFolder, Job]:
    """Seal a plan that links each email of a case to the deal of its contact."""
    deal_by_contact = {contact_id: deal_id for deal_id, contact_id in case.deals.items()}
    deal_by_contact |= deals or {}
    rows = [
        f"{e['contact_id']},{e['owner_id']},{e['message_id']},{deal_by_contact[e['contact_id']]}\n"
        for e in case.emails
    ]
    mapping = folder / "mapping.csv"
    mapping.write_text("contact_id,owner_id,message_id,deal_id\n" + "".join(rows))
    job = Job(
        mappings=(str(mapping),),
        op=Op.LINK,
        run_dir=folder / "run",
        yes=True,
        allow_round_ids=True,
        **options,
    )
    plan(job)
    return RunFolder(folder / "run"), job


@asynccontextmanager
async def sample_once(sample: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Call `sample` once before the block, instead of twice a second for a whole day."""
    await sample()
    yield


async def test_a_sealed_plan_is_sent_across_a_day_without_credits(tmp_path: Path) -> None:
    case = make_case()
    folder, job = await off_loop(
        seal_plan, case, tmp_path, credits_per_day=8, when_credits_out=WhenCreditsOut.WAIT
    )
    crm, stop, started_at, gates = case.make_crm(), StopController(), now(), []

    def make_gate(*arguments: Any, **options: Any) -> QuotaGate:
        gates.append(QuotaGate(*arguments, **options))
        return gates[-1]

    async with simulated_environment(crm) as environment:
        environment = msgspec.structs.replace(
            environment, quota_gate=make_gate, sample_periodically=sample_once
        )
        result = await send(
            folder,
            await off_loop(replay, folder.ledger),
            job=job,
            connection=CONNECTION,
            callbacks=RunCallbacks(),
            stop=stop,
            environment=environment,
        )
    assert (result.state, result.counts[Status.DONE]) == (RunState.FINISHED, EMAILS)
    assert 24 * 3600 <= now() - started_at < 25 * 3600
    assert [gate.budget.sent for gate in gates] == [result.calls.link + result.calls.lookup] == [10]
    for sent_email in case.emails:
        view = crm.state.view(sent_email["contact_id"])
        linked = view.deal_of(view.mailbox.by_id[sent_email["message_id"]])
        assert linked is not None
        assert case.deals[linked] == sent_email["contact_id"]


async def test_names_are_looked_up_without_reading_the_plan_on_the_event_loop(
    tmp_path: Path,
) -> None:
    case = make_case()
    folder, job = await off_loop(
        seal_plan, case, tmp_path, {contact(0): _UNKNOWN_DEAL}, on_invalid=OnInvalid.SKIP
    )
    record, counter = folder.read(), ResultCounter(EMAILS, await off_loop(replay, folder.ledger))
    hidden = folder.plan.with_suffix(".hidden")

    def hide_plan() -> None:
        folder.plan.rename(hidden)
        folder.plan.write_bytes(b"read on the event loop")

    async def run_blocking(function: Callable[[], T]) -> T:
        hidden.rename(folder.plan)
        try:
            return await run_inline(function)
        finally:
            hide_plan()

    hide_plan()
    async with simulated_environment(case.make_crm()) as environment:
        session = CrmSession(
            environment=msgspec.structs.replace(environment, run_blocking=run_blocking),
            connection=CONNECTION,
            job=job,
            stop=StopController(),
            ledger_path=folder.ledger,
            answers_path=folder.answers,
        )
        async with session:
            names = await resolve_names(session, folder, record, counter, RunCallbacks())
    assert names == folder.names
    assert counter.counts[Status.REJECTED] == EMAILS // 3
    assert (await off_loop(replay, folder.ledger)).counts[Status.REJECTED] == EMAILS // 3
    assert len(folder.rejects.read_text().splitlines()) == 1 + EMAILS // 3
    assert not folder.scratch.exists()
