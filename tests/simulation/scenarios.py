"""Random scenarios of a world, a mapping, a CRM and commands, all determined by a seed."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from bulklink.emulator.faults import Fault
from bulklink.emulator.settings import MixedAnswer, Settings
from bulklink.engine.failure_limit import MaxFailures
from bulklink.engine.quota.budget import CreditLimits
from bulklink.models import GUARD_SEPARATOR, NO_DEAL, Message, Op
from tests.simulation.environment import Downtime, Failure
from tests.simulation.machine import Interruption, SimulatedCommand
from tests.simulation.simulator import (
    NO_FAILURE_LIMIT,
    OWNERS,
    Case,
    SimulatedRun,
    contact,
    deal,
    email,
    message,
    simulate,
)
from tests.virtual import run_virtual

_LOST_RESPONSE_FAULTS = (
    "lost-request", "lost-answer", "500", "500-applied", "502", "503", "html", "html-200",
    "empty", "truncated", "cut", "stalled", "late", "slow", "INTERNAL_ERROR", "TOO_MANY_REQUESTS",
)  # fmt: skip
_REFUSAL_FAULTS = (
    "INVALID_DATA", "MANDATORY_NOT_FOUND", "NOT_ALLOWED", "ALREADY_LINKED", "LIMIT_EXCEEDED",
    "INVALID_TOKEN", "AUTHENTICATION_FAILURE", "NO_PERMISSION", "INVALID_URL_PATTERN",
    "OAUTH_SCOPE_MISMATCH", "INVALID_MODULE", "CANNOT_PROCESS",
)  # fmt: skip
_MASS_REFUSAL_FAULTS = ("INVALID_DATA", "NOT_ALLOWED", "NO_PERMISSION")
_MISSING_NAMES_SHARE = 0.05
_UNREADABLE_PLAN_SHARE = 0.02
_READ_FAULTS = ("stale", "stale", "hidden", "edited", "edited")


@dataclass(frozen=True)
class Scenario:
    """A case and the commands on its run.

    Args:
        seed: the seed that the scenario was drawn from.
        case: the case.
        commands: the commands, one after another.
        latest: maximum lateness of a wake-up in seconds, as on a busy machine.
    """

    seed: int
    case: Case
    commands: tuple[SimulatedCommand, ...]
    latest: float = 0.0


def draw_scenario(seed: int) -> Scenario:
    """Draw the scenario that a seed determines.

    A negative seed has the faults and commands of the positive one, but only messages that need
    nothing but one call, as most large runs do.
    """
    if seed < 0:
        scenario = draw_scenario(-seed)
        _need_one_call_each(scenario.case, random.Random(f"one call {seed}"))
        return replace(scenario, seed=seed)
    rng, snapshot_rng = random.Random(seed), random.Random(f"{seed} snapshot")
    emails, messages, deals = _draw_world(rng)
    snapshot = snapshot_rng.choice((None, None, None, True, True, False))
    if snapshot is not False and snapshot_rng.random() < 0.3:
        messages = _with_guards(messages, emails, snapshot_rng)
    settle_after = rng.choice((10.0, 10.0, 3.0))
    faults = _draw_faults(rng, settle_after)
    case = Case(
        emails,
        messages,
        deals,
        settings=_draw_settings(rng),
        faults=faults,
        batch_size=rng.choice((20, 20, 7, 1)),
        by_contact=rng.random() < 0.3,
        single_endpoint=rng.random() < 0.3,
        in_flight=rng.choice((1, 3, 10)),
        rate=rng.choice((None, None, 50.0, 2.0)),
        read_back=rng.random() < 0.9,
        read_pages=rng.choice((200, 200, 200, 2, 1)),
        settle_after=settle_after,
        snapshot=snapshot,
        no_put_back=snapshot is False or snapshot_rng.random() < 0.2,
        disk_seconds=rng.choice((0.0, 0.004)),
    )
    rng.random()  # skipped, so that seeds keep their meaning
    commands = _draw_commands(rng)
    # Each aspect has its own generator, so that a seed keeps its meaning in all others.
    scenario = _with_credit_limits(Scenario(seed, case, commands), random.Random(f"credits {seed}"))
    scenario = _with_failure_limit(scenario, random.Random(f"failures {seed}"))
    _draw_plan(scenario.case, random.Random(f"plan {seed}"))
    _draw_downtimes(scenario.case, random.Random(f"downtimes {seed}"))
    scenario.case.settles_whole_batches = random.Random(f"batches {seed}").random() < 0.7
    scenario.case.reports_credits = random.Random(f"reports {seed}").random() < 0.7
    return replace(scenario, latest=random.Random(f"late {seed}").choice((0.0, 0.0, 0.02, 0.5)))


def _need_one_call_each(case: Case, rng: random.Random) -> None:
    """Change the messages so that each needs one call and no read before it."""
    op, wrong_share = rng.choice((Op.LINK, Op.LINK, Op.UNLINK)), rng.choice((0.0, 0.03, 0.3))
    deals = list(case.deals)
    case.messages = []
    for entry in case.emails:
        own_deals = [name for name, owner in case.deals.items() if owner == entry["contact_id"]]
        wrong = not own_deals or rng.random() < wrong_share
        deal_id = rng.choice(deals if wrong else own_deals)
        is_linked = op is Op.UNLINK or rng.random() < wrong_share
        entry["deal_id"] = rng.choice(own_deals or deals) if is_linked else None
        case.messages.append(message(len(case.messages) + 1, entry, op, deal_id))
    case.snapshot, case.no_put_back, case.single_endpoint = False, True, rng.random() < 0.1


def _draw_downtimes(case: Case, rng: random.Random) -> None:
    """Draw downtimes, and how long the run waits while nothing answers."""
    if rng.random() < 0.2:
        case.downtimes = [
            Downtime(
                rng.uniform(0.0, 60.0),
                rng.choice((2.0, 10.0, 60.0, 400.0)),
                rng.choice(list(Failure)),
                accounts_only=rng.random() < 0.1,
            )
            for _ in range(rng.randint(1, 3))
        ]
        case.outage = rng.choice((0.0, 30.0, 300.0, 3600.0))


def _draw_plan(case: Case, rng: random.Random) -> None:
    """Draw whether the plan has names and, rarely, a plan that cannot be read."""
    case.names_in_plan = rng.random() >= _MISSING_NAMES_SHARE
    case.plan_in_order = len(case.messages) < 2 or rng.random() >= _UNREADABLE_PLAN_SHARE


def _with_failure_limit(scenario: Scenario, rng: random.Random) -> Scenario:
    """Draw a failure limit, a canary, and refusals that exceed them."""
    case = scenario.case
    if rng.random() < 0.3:
        case.max_failures = rng.choice(
            (None, MaxFailures(count=0), MaxFailures(count=rng.randint(1, 10)))
        )
    if rng.random() < 0.3:
        case.canary = rng.choice((1, 5, 20, 100))
        case.answer_prompt = rng.choice((None, lambda: False, lambda: True))
    if not case.canary and case.max_failures == NO_FAILURE_LIMIT:
        return scenario
    if rng.random() < 0.5:
        code = rng.choice(_MASS_REFUSAL_FAULTS)
        share = rng.choice((0.3, 0.7, 1.0))
        count = rng.choice((3, 10))
        mass_refusal = Fault(code, share=share, count=count, seed=rng.randrange(10_000))
        case.faults = (*case.faults, mass_refusal)
    return replace(
        scenario,
        commands=(*scenario.commands, SimulatedCommand(pause=1.0), SimulatedCommand(pause=1.0)),
    )


def _with_credit_limits(scenario: Scenario, rng: random.Random) -> Scenario:
    """Draw credit limits, and commands that resume a run after it is stopped by them."""
    if rng.random() < 0.75:
        return scenario
    case = scenario.case
    case.limits = CreditLimits(
        per_invocation=rng.choice((None, rng.randint(1, 60))),
        per_day=rng.choice((None, rng.randint(10, 100))),
        reserve=rng.choice((0, 0, 5)),
    )
    case.wait_for_credits = rng.random() < 0.4
    pause = rng.choice((60.0, 90_000.0))
    return replace(
        scenario, commands=(*scenario.commands, *[SimulatedCommand(pause=pause) for _ in range(4)])
    )


MAX_VIRTUAL_SECONDS = 100 * 86_400.0
"""Seconds of virtual time after which a scenario counts as hung."""


def run_scenario(scenario: Scenario, folder: Path) -> SimulatedRun:
    """Run a scenario on its own virtual loop.

    Raises:
        TimeoutError: if the scenario hangs.
    """
    run = simulate(
        scenario.case, random_seed=scenario.seed, commands=scenario.commands, folder=folder
    )
    rng = random.Random(f"late wake-ups {scenario.seed}")
    return run_virtual(
        asyncio.wait_for(run, MAX_VIRTUAL_SECONDS), lambda: scenario.latest * rng.random() ** 4
    )


def _draw_world(
    rng: random.Random,
) -> tuple[list[dict[str, Any]], list[Message], dict[str, str]]:
    contacts = [contact(n) for n in range(rng.randint(1, 5))]
    deals = {deal(n): rng.choice(contacts) for n in range(rng.randint(2, 8))}
    ops = rng.choice(((Op.LINK,), (Op.UNLINK,), (Op.RELINK,), (Op.RELINK,), tuple(Op)))
    emails, messages = [], []
    for number in range(rng.choice((1, 3, 8, 30, 60))):
        contact_id = rng.choice(contacts)
        contact_deals = [d for d, c in deals.items() if c == contact_id]
        present_deal = rng.choice([*contact_deals, None, None])
        emails.append(email(number, contact_id, rng.choice(OWNERS[:2]), present_deal))
        deal_id = rng.choice(
            contact_deals if contact_deals and rng.random() < 0.95 else list(deals)
        )
        op = rng.choice(ops)
        if rng.random() < 0.9 or not number:
            messages.append(message(number + 1, emails[-1], op, deal_id))
    return emails, messages, deals


def _with_guards(
    messages: list[Message], emails: list[dict[str, Any]], rng: random.Random
) -> list[Message]:
    """Add a guard to some unlinks and relinks, mostly the deal that the email is on."""
    present_deals = {entry["message_id"]: entry["deal_id"] or NO_DEAL for entry in emails}
    all_deals = sorted({*present_deals.values(), NO_DEAL})
    guarded = []
    for drawn in messages:
        guard = rng.choice((present_deals[drawn.message_id], None, rng.choice(all_deals)))
        if guard is not None and rng.random() < 0.2:
            guard += GUARD_SEPARATOR + NO_DEAL
        is_unguarded = drawn.op is Op.LINK
        guarded.append(
            drawn if is_unguarded else msgspec.structs.replace(drawn, from_deal_id=guard)
        )
    return guarded


def _draw_settings(rng: random.Random) -> Settings:
    shape = rng.choice(("nested", "flat"))
    applied = rng.choice(("no", "yes"))
    good_entries = ["omitted"]
    if applied == "yes":
        good_entries.append("success")
    if shape == "nested":
        good_entries.append("empty")
    mixed = MixedAnswer(
        status=rng.choice((200, 207, 400)),
        applied=applied,  # type: ignore[arg-type]
        shape=shape,  # type: ignore[arg-type]
        named=rng.choice(("json-path", "message-id", "both", "none")),
        good=rng.choice(good_entries),  # type: ignore[arg-type]
        order=rng.choice(("sent", "reversed", "shuffled")),
    )
    settings = Settings(
        mixed_answer=mixed,
        same_deal=rng.choice(("already-linked", "success")),
        unlinked=rng.choice(("success", "invalid-data")),
        single_answer=rng.choice(("echo", "success")),
        single_error=rng.choice(("flat", "nested")),
        mixed_owners=rng.choice(("accept", "invalid-data")),
        latency=rng.choice((0.0, 0.3)),
        expires_in=rng.choice((3600, 3600, 90, 7)),
        tokens_per_window=rng.choice((0, 0, 0, 10)),
    )
    return replace(settings, **_draw_limits(rng)) if rng.random() < 0.25 else settings


def _draw_limits(rng: random.Random) -> dict[str, Any]:
    """Draw limits with which a server answers 429."""
    return {
        "latency": 0.3,
        "concurrency": rng.choice((1, 2, 5)),
        "link_concurrency": rng.choice((0, 0, 1)),
        "credits": rng.choice((0, 0, 15)),
        "credit_window": rng.choice((40.0, 3000.0)),
        "too_many_body": rng.choice(("current", "old")),
        "too_many_text": rng.choice(("told", "same")),
        "retry_after": rng.choice(("off", "on")),
        "penalty": rng.choice((0.0, 0.0, 4.0)),
    }


def _draw_faults(rng: random.Random, settle_after: float) -> tuple[Fault, ...]:
    """Draw faults; late, slow and stale answers together stay within `settle_after`."""
    if rng.random() < 0.2:
        return ()
    kinds = {rng.choice(_LOST_RESPONSE_FAULTS) for _ in range(rng.choice((0, 1, 1, 2)))}
    kinds |= {rng.choice(_REFUSAL_FAULTS)} if rng.random() < 0.2 else set()
    kinds |= {rng.choice(_READ_FAULTS) for _ in range(rng.choice((0, 0, 1, 2)))}
    return tuple(_draw_fault(kind, rng, settle_after) for kind in sorted(kinds))


def _draw_fault(kind: str, rng: random.Random, settle_after: float) -> Fault:
    op = rng.choice(("link", "unlink", "read", None))
    if kind in ("stale", "hidden"):
        op = "read"
    elif rng.random() < 0.05:
        op = rng.choice(("lookup", "token"))
    seconds = None
    if kind in ("late", "slow", "stale"):
        seconds = round(rng.uniform(0.1, 0.3) * settle_after, 1)
    count = rng.choice((None, None, 1, 3)) if kind != "hidden" else None
    if kind in _REFUSAL_FAULTS:
        count = rng.choice((1, 2, 5))
    share = rng.choice((0.05, 0.3, 0.6))
    return Fault(kind, op=op, share=share, count=count, seed=rng.randrange(10_000), seconds=seconds)


def _draw_commands(rng: random.Random) -> tuple[SimulatedCommand, ...]:
    """Draw commands, of which the last are not interrupted; a retry may follow."""
    commands: list[SimulatedCommand] = []
    if rng.random() < 0.65:
        for _ in range(rng.choice((1, 1, 2, 3, 5))):
            commands.append(
                SimulatedCommand(
                    rng.choice(
                        (
                            Interruption.POWER_LOSS,
                            Interruption.POWER_LOSS,
                            Interruption.KILL,
                            Interruption.DISK_ERROR,
                            Interruption.CTRL_C,
                        )
                    ),
                    at_event=rng.choice((rng.randint(1, 12), rng.randint(1, 100))),
                    loop_passes=rng.choice((0, 0, rng.randint(1, 12))),
                    retry=bool(commands) and rng.random() < 0.15,
                    pause=rng.choice((0.01, 0.01, 1.0, 30.0)),
                )
            )
    commands.append(SimulatedCommand(pause=0.01))
    if rng.random() < 0.4:
        commands.append(SimulatedCommand(pause=1.0, retry=True))
        commands.append(SimulatedCommand(pause=0.01))
    return tuple(commands)
