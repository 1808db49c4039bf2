"""For seeds of any world, mapping, answer shape and faults: what the ledger says is so."""

from __future__ import annotations

import random
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bulklink.emulator.faults import Fault
from bulklink.emulator.settings import Mixed, Settings
from bulklink.models import Message, Op
from tests.simulation.simulated import OWNERS, Case, Outcome, contact, deal, email, message, run

SEEDS = range(400)
CRASHING_SEEDS = range(10_000, 10_600)
_FAULTS = (
    "lost-request", "lost-answer", "500", "500-applied", "502", "503", "html", "html-200",
    "empty", "truncated", "cut", "slow", "stalled", "late", "INTERNAL_ERROR", "TOO_MANY_REQUESTS",
)  # fmt: skip


def draw(seed: int) -> Case:
    """Draw a case: everything in it follows from the seed."""
    chance = random.Random(seed)
    contacts = [contact(n) for n in range(chance.randint(1, 5))]
    deals = {deal(n): chance.choice(contacts) for n in range(chance.randint(2, 8))}
    emails, messages = [], []
    for number in range(chance.choice((1, 5, 30, 120))):
        owner = chance.choice(contacts)
        own = [d for d, c in deals.items() if c == owner]
        present = chance.choice([*own, None, None])
        emails.append(email(number, owner, chance.choice(OWNERS[:2]), present))
        wanted = chance.choice(own if own and chance.random() < 0.95 else list(deals))
        op = chance.choice(_ops(seed))
        if chance.random() < 0.9:
            messages.append(message(number + 1, emails[-1], op, wanted))
    if not messages:
        messages = [message(1, emails[0], _ops(seed)[0], next(iter(deals)))]
    return Case(
        emails,
        messages,
        deals,
        settings=_settings(chance),
        faults=_faults(chance),
        batch_size=chance.choice((20, 20, 7, 1)),
        single_endpoint=chance.random() < 0.3,
        in_flight=chance.choice((1, 3, 10)),
    )


def _ops(seed: int) -> tuple[Op, ...]:
    return ((Op.LINK,), (Op.UNLINK,), (Op.RELINK,), tuple(Op))[seed % 4]


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
    return Settings(
        mixed_answer=mixed,
        same_deal=chance.choice(("already-linked", "success")),
        unlinked=chance.choice(("success", "invalid-data")),
        single_answer=chance.choice(("echo", "success")),
        single_error=chance.choice(("flat", "nested")),
        latency=chance.choice((0.0, 0.3)),
        expires_in=chance.choice((3600, 90)),
    )


def _faults(chance: random.Random) -> list[Fault]:
    if chance.random() < 0.25:
        return []
    return [
        Fault(
            chance.choice(_FAULTS),
            op=chance.choice(("link", "unlink", "read", None)),
            share=chance.choice((0.05, 0.3, 0.6)),
            seed=chance.randrange(10_000),
        )
        for _ in range(chance.randint(1, 2))
    ]


@pytest.mark.parametrize("seed", SEEDS)
async def test_what_the_ledger_says_is_so_in_the_crm(seed: int) -> None:
    case = draw(seed)
    outcome = await run(case, chance_seed=seed)
    check(case, outcome)


@pytest.mark.parametrize("seed", CRASHING_SEEDS)
async def test_after_power_cuts_and_resumes_it_is_still_so(seed: int, tmp_path: Path) -> None:
    case, chance = draw(seed), random.Random(seed)
    crashes = [chance.randint(1, 60) for _ in range(chance.randint(1, 4))]
    outcome = await run(case, chance_seed=seed, crashes=crashes, folder=tmp_path)
    check(case, outcome)


def check(case: Case, outcome: Outcome) -> None:
    """Compare ledger and CRM, message by message."""
    lines, results = outcome.files.lines(), outcome.results
    stopped = outcome.stopping.reason
    assert stopped is None or stopped.by in ("no-answer", "fatal"), stopped
    told = [line["row"] for line in lines if line["event"] == "result"]
    assert len(told) == len(set(told)), "a row was settled twice"
    for wanted in case.messages:
        result = results.get(wanted.row)
        assert result is not None or stopped is not None, f"row {wanted.row} was lost"
        if result is not None:
            _check_one(wanted, result, outcome)
    _check_calls(lines, outcome)
    _check_snapshots(case, lines)


def _check_one(wanted: Message, result: dict[str, Any], outcome: Outcome) -> None:
    at = datetime.fromisoformat(result["ts"]).timestamp() + 0.001
    is_on = outcome.deals_at(wanted, at)
    said = f"row {wanted.row} {wanted.op}: {result}, but it is on {is_on}"
    if result["status"] in ("done", "unchanged"):
        assert is_on == wanted.deal_id, said
    if result["status"] == "unchanged":
        ours = [c for c in outcome.crm.state.applied if c.message_id == wanted.message_id]
        assert not ours, said
    if "current_deal_id" in result:
        assert is_on == result["current_deal_id"], said
    if result["status"] == "failed" and wanted.op is not Op.UNLINK:
        assert is_on != wanted.deal_id or result["code"] == "INVALID_DATA", said
    if wanted.op is Op.RELINK and result["status"] == "failed":
        put_back_failed = result["code"] == "put-back-failed"
        assert put_back_failed or is_on == result.get("previous_deal_id", is_on), said


def _check_calls(lines: list[dict[str, Any]], outcome: Outcome) -> None:
    """Each request has its line, and each result follows the call that settled it."""
    requests = [target for _, target in outcome.requests if "/oauth/" not in target]
    if outcome.crashes:  # a line can be on disk whose request the power cut kept from leaving
        assert len(requests) <= sum(outcome.calls.values())
    else:
        assert len(requests) == sum(outcome.calls.values())
    seen = set()
    for line in lines:
        if line["event"] == "call":
            assert line["call"] not in seen
            seen.add(line["call"])
        elif line.get("call") is not None:
            assert line["call"] in seen


def _check_snapshots(case: Case, lines: list[dict[str, Any]]) -> None:
    """A message of a relink is in no write call before its snapshot line."""
    relinks = {m.row for m in case.messages if m.op is Op.RELINK}
    known = set()
    for line in lines:
        if line["event"] == "snapshot":
            known.add(line["row"])
        elif line["event"] == "call" and line["op"] in ("link", "unlink"):
            assert relinks & set(line["rows"]) <= known
