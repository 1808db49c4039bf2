"""What a seed stands for: a world, a mapping, how the CRM behaves, and what strikes the run."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from bulklink.emulator.faults import Fault
from bulklink.emulator.settings import Mixed, Settings
from bulklink.engine.failure_limit import MaxFailures
from bulklink.engine.quota.budget import Limits
from bulklink.models import EITHER, NO_DEAL, Message, Op
from tests.simulation.machine import Life, Strike
from tests.simulation.simulated import (
    NEVER,
    OWNERS,
    Case,
    Outcome,
    contact,
    deal,
    email,
    message,
    run,
)
from tests.virtual import VirtualLoop

_LOSING = (
    "lost-request", "lost-answer", "500", "500-applied", "502", "503", "html", "html-200",
    "empty", "truncated", "cut", "stalled", "late", "slow", "INTERNAL_ERROR", "TOO_MANY_REQUESTS",
)  # fmt: skip
_REFUSING = (
    "INVALID_DATA", "MANDATORY_NOT_FOUND", "NOT_ALLOWED", "ALREADY_LINKED", "LIMIT_EXCEEDED",
    "INVALID_TOKEN", "AUTHENTICATION_FAILURE", "NO_PERMISSION", "INVALID_URL_PATTERN",
    "OAUTH_SCOPE_MISMATCH", "INVALID_MODULE", "CANNOT_PROCESS",
)  # fmt: skip
_REFUSING_MANY = ("INVALID_DATA", "NOT_ALLOWED", "NO_PERMISSION")
_SHOWING = ("stale", "stale", "hidden", "edited", "edited")


@dataclass(frozen=True)
class Scenario:
    """All that follows from a seed."""

    seed: int
    case: Case
    lives: tuple[Life, ...]


def draw(seed: int) -> Scenario:
    """Draw a scenario: everything in it follows from the seed."""
    chance, care = random.Random(seed), random.Random(f"{seed} snapshot")
    emails, messages, deals = _world(chance)
    snapshot = care.choice((None, None, None, True, True, False))
    if snapshot is not False and care.random() < 0.3:
        messages = _guarded(messages, emails, care)
    settle_after = chance.choice((10.0, 10.0, 3.0))
    faults = _faults(chance, settle_after)
    case = Case(
        emails,
        messages,
        deals,
        settings=_settings(chance),
        faults=faults,
        batch_size=chance.choice((20, 20, 7, 1)),
        by_contact=chance.random() < 0.3,
        single_endpoint=chance.random() < 0.3,
        in_flight=chance.choice((1, 3, 10)),
        rate=chance.choice((None, None, 50.0, 2.0)),
        read_back=chance.random() < 0.9,
        read_pages=chance.choice((200, 200, 200, 2, 1)),
        settle_after=settle_after,
        snapshot=snapshot,
        no_put_back=snapshot is False or care.random() < 0.2,
        disk_seconds=chance.choice((0.0, 0.004)),
        look_up=chance.random() < 0.7,
    )
    lives = _lives(chance)
    # Of a chance of its own, so that a seed stands for the same as before in all else.
    scenario = _with_credits(Scenario(seed, case, lives), random.Random(f"credits {seed}"))
    return _with_a_limit(scenario, random.Random(f"failures {seed}"))


def _with_a_limit(scenario: Scenario, chance: random.Random) -> Scenario:
    """Draw what the run takes in failures, refusals that go beyond it, and a canary."""
    case = scenario.case
    if chance.random() < 0.3:
        case.max_failures = chance.choice(
            (None, MaxFailures(count=0), MaxFailures(count=chance.randint(1, 10)))
        )
    if chance.random() < 0.3:
        case.canary = chance.choice((1, 5, 20, 100))
        case.go_on = chance.choice((None, lambda: False, lambda: True))
    if not case.canary and case.max_failures == NEVER:
        return scenario
    if chance.random() < 0.5:
        code = chance.choice(_REFUSING_MANY)
        share = chance.choice((0.3, 0.7, 1.0))
        count = chance.choice((3, 10))
        refused = Fault(code, share=share, count=count, seed=chance.randrange(10_000))
        case.faults = (*case.faults, refused)
    return replace(scenario, lives=(*scenario.lives, Life(pause=1.0), Life(pause=1.0)))


def _with_credits(scenario: Scenario, chance: random.Random) -> Scenario:
    """Draw what the run may spend; where it stops for that, it is resumed until it is through."""
    if chance.random() < 0.75:
        return scenario
    case = scenario.case
    case.limits = Limits(
        most=chance.choice((None, chance.randint(1, 60))),
        a_day=chance.choice((None, chance.randint(10, 100))),
        reserve=chance.choice((0, 0, 5)),
    )
    case.wait_for_credits = chance.random() < 0.4
    pause = chance.choice((60.0, 90_000.0))
    return replace(scenario, lives=(*scenario.lives, *[Life(pause=pause) for _ in range(4)]))


LONGEST = 100 * 86_400.0
"""Seconds of virtual time after which a scenario has hung."""


def play(scenario: Scenario, folder: Path) -> Outcome:
    """Run a scenario on a loop of its own.

    Raises:
        TimeoutError: if it does not end.
    """
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    work = run(scenario.case, chance_seed=scenario.seed, lives=scenario.lives, folder=folder)
    try:
        return loop.run_until_complete(asyncio.wait_for(work, LONGEST))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _world(
    chance: random.Random,
) -> tuple[list[dict[str, Any]], list[Message], dict[str, str]]:
    contacts = [contact(n) for n in range(chance.randint(1, 5))]
    deals = {deal(n): chance.choice(contacts) for n in range(chance.randint(2, 8))}
    ops = chance.choice(((Op.LINK,), (Op.UNLINK,), (Op.RELINK,), (Op.RELINK,), tuple(Op)))
    emails, messages = [], []
    for number in range(chance.choice((1, 3, 8, 30, 60))):
        whose = chance.choice(contacts)
        own = [d for d, c in deals.items() if c == whose]
        present = chance.choice([*own, None, None])
        emails.append(email(number, whose, chance.choice(OWNERS[:2]), present))
        wanted = chance.choice(own if own and chance.random() < 0.95 else list(deals))
        op = chance.choice(ops)
        if chance.random() < 0.9 or not number:
            messages.append(message(number + 1, emails[-1], op, wanted))
    return emails, messages, deals


def _guarded(
    messages: list[Message], emails: list[dict[str, Any]], chance: random.Random
) -> list[Message]:
    """Give some unlinks and relinks a guard: mostly the deal that each is on."""
    present = {one["message_id"]: one["deal_id"] or NO_DEAL for one in emails}
    others = sorted({*present.values(), NO_DEAL})
    guarded = []
    for one in messages:
        guard = chance.choice((present[one.message_id], None, chance.choice(others)))
        if guard is not None and chance.random() < 0.2:
            guard += EITHER + NO_DEAL
        free = one.op is Op.LINK
        guarded.append(one if free else msgspec.structs.replace(one, from_deal_id=guard))
    return guarded


def _settings(chance: random.Random) -> Settings:
    shape = chance.choice(("nested", "flat"))
    applied = chance.choice(("no", "yes"))
    goods = ["omitted"]
    if applied == "yes":
        goods.append("success")
    if shape == "nested":
        goods.append("empty")
    mixed = Mixed(
        status=chance.choice((200, 207, 400)),
        applied=applied,  # type: ignore[arg-type]
        shape=shape,  # type: ignore[arg-type]
        named=chance.choice(("json-path", "message-id", "both", "none")),
        good=chance.choice(goods),  # type: ignore[arg-type]
        order=chance.choice(("sent", "reversed", "shuffled")),
    )
    settings = Settings(
        mixed_answer=mixed,
        same_deal=chance.choice(("already-linked", "success")),
        unlinked=chance.choice(("success", "invalid-data")),
        single_answer=chance.choice(("echo", "success")),
        single_error=chance.choice(("flat", "nested")),
        mixed_owners=chance.choice(("accept", "invalid-data")),
        latency=chance.choice((0.0, 0.3)),
        expires_in=chance.choice((3600, 3600, 90, 7)),
        tokens_per_window=chance.choice((0, 0, 0, 10)),
    )
    return replace(settings, **_limits(chance)) if chance.random() < 0.25 else settings


def _limits(chance: random.Random) -> dict[str, Any]:
    """Draw what makes a server answer 429."""
    return {
        "latency": 0.3,
        "concurrency": chance.choice((1, 2, 5)),
        "link_concurrency": chance.choice((0, 0, 1)),
        "credits": chance.choice((0, 0, 15)),
        "credit_window": chance.choice((40.0, 3000.0)),
        "too_many_body": chance.choice(("current", "old")),
        "too_many_text": chance.choice(("told", "same")),
        "retry_after": chance.choice(("off", "on")),
        "penalty": chance.choice((0.0, 0.0, 4.0)),
    }


def _faults(chance: random.Random, settle_after: float) -> tuple[Fault, ...]:
    """Draw faults; what is late, slow and stale is together within what a run allows for."""
    if chance.random() < 0.2:
        return ()
    kinds = {chance.choice(_LOSING) for _ in range(chance.choice((0, 1, 1, 2)))}
    kinds |= {chance.choice(_REFUSING)} if chance.random() < 0.2 else set()
    kinds |= {chance.choice(_SHOWING) for _ in range(chance.choice((0, 0, 1, 2)))}
    return tuple(_fault(kind, chance, settle_after) for kind in sorted(kinds))


def _fault(kind: str, chance: random.Random, settle_after: float) -> Fault:
    op = chance.choice(("link", "unlink", "read", None))
    if kind in ("stale", "hidden"):
        op = "read"
    elif chance.random() < 0.05:
        op = chance.choice(("lookup", "token"))
    seconds = None
    if kind in ("late", "slow", "stale"):
        seconds = round(chance.uniform(0.1, 0.3) * settle_after, 1)
    count = chance.choice((None, None, 1, 3)) if kind != "hidden" else None
    if kind in _REFUSING:
        count = chance.choice((1, 2, 5))
    share = chance.choice((0.05, 0.3, 0.6))
    return Fault(
        kind, op=op, share=share, count=count, seed=chance.randrange(10_000), seconds=seconds
    )


def _lives(chance: random.Random) -> tuple[Life, ...]:
    """Draw the commands on a run: the last ones end by themselves, and a retry may follow."""
    lives: list[Life] = []
    if chance.random() < 0.65:
        for _ in range(chance.choice((1, 1, 2, 3, 5))):
            lives.append(
                Life(
                    chance.choice(
                        (Strike.POWER, Strike.POWER, Strike.KILL, Strike.DISK, Strike.STOP)
                    ),
                    at=chance.choice((chance.randint(1, 12), chance.randint(1, 100))),
                    later=chance.choice((0, 0, chance.randint(1, 12))),
                    retry=bool(lives) and chance.random() < 0.15,
                    pause=chance.choice((0.01, 0.01, 1.0, 30.0)),
                )
            )
    lives.append(Life(pause=0.01))
    if chance.random() < 0.4:
        lives.append(Life(pause=1.0, retry=True))
        lives.append(Life(pause=0.01))
    return tuple(lives)
