"""For random worlds, runs, faults, crashes and edits: an undo takes back what it may, no more."""

from __future__ import annotations

import asyncio
import csv
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bulklink.emulator.faults import Fault, FaultBook, FaultKind
from bulklink.emulator.state import Change
from bulklink.errors import StoppedBy
from bulklink.mapping import Reading, check, sources
from bulklink.mapping.interrupt import Stop
from bulklink.models import Message, Status
from bulklink.operations.undo_plan import Done, Inverse, deeds, inverse_of
from bulklink.runs.folder import RunFolder
from tests.simulation.checks import lies_of
from tests.simulation.drawn import Scenario, draw
from tests.simulation.machine import Life
from tests.simulation.simulated import Case, Outcome, run
from tests.virtual import VirtualLoop, now

SEEDS = 150
_A_TEST = 30
_LONG = 2000.0
_STOPS = (StoppedBy.NO_ANSWER, StoppedBy.FATAL, StoppedBy.CREDITS, StoppedBy.MAX_CREDITS)
"""What may stop an undo: the server takes no more."""
_FLAWS = ("lost-answer", "lost-request", "500", "500-applied", "stale", "edited", "truncated")


@pytest.mark.parametrize("first", range(0, SEEDS, _A_TEST))
def test_an_undo_brings_back_what_its_snapshot_read_and_touches_no_other(
    first: int, tmp_path: Path
) -> None:
    back = 0
    for seed in range(first, first + _A_TEST):
        folder = tmp_path / str(seed)
        folder.mkdir()
        lies, undone = played(seed, folder)
        back += undone
        if lies:
            pytest.fail(f"seed {seed}: {lies[0]}", pytrace=False)
    assert back > 50


def played(seed: int, folder: Path) -> tuple[list[str], int]:
    """Play the run of a seed, its undo, and return the broken promises and what came back."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(_play(seed, folder))
    finally:
        loop.close()


async def _play(seed: int, folder: Path) -> tuple[list[str], int]:
    chance = random.Random(f"{seed} undo")
    scenario = _numbered(draw(seed))
    lives = scenario.lives[: chance.randint(1, len(scenario.lives))]
    first = await run(scenario.case, chance_seed=seed, lives=lives, folder=folder)
    first.ledger = first.ledger[: first.ledger.rfind(b"\n") + 1]
    await asyncio.sleep(_LONG)  # what was late has landed, credits are back
    done = read_plainly(scenario.case, first)
    _edit(scenario.case, first, chance)
    await asyncio.sleep(100)
    taking = [(one, inverse_of(one, settled=False)) for one in done]
    messages = [_message(one, back) for one, back in taking if isinstance(back, Inverse)]
    faults = _faults(chance)
    first.crm.state.faults = FaultBook(faults)
    case = replace(
        scenario.case,
        messages=messages,
        faults=faults,
        snapshot=True,
        no_put_back=False,
        read_back=True,
        read_pages=200,
        by_contact=False,  # which the CRM may refuse where owners differ
    )
    undo = Scenario(seed, case, scenario.lives if faults else (Life(),))
    second = await run(case, chance_seed=seed, lives=undo.lives, folder=folder, crm=first.crm)
    await asyncio.sleep(_LONG)
    check_undo = _Check(scenario.case, first, second, {one.row: one for one in done})
    lies = lies_of(undo, second) if messages else []
    lies += check_undo.safety()
    lies += check_undo.completeness() if not faults else []
    return lies, len(messages)


def _numbered(scenario: Scenario) -> Scenario:
    """Number the messages as the records of a mapping are."""
    messages = [
        msgspec.structs.replace(message, row=row)
        for row, message in enumerate(scenario.case.messages, 1)
    ]
    return replace(scenario, case=replace(scenario.case, messages=messages))


def _edit(case: Case, outcome: Outcome, chance: random.Random) -> None:
    """Let somebody change some emails between the run and its undo."""
    share = chance.choice((0.0, 0.2))
    for message in case.messages:
        if chance.random() < share:
            own = [d for d, contact_id in case.deals.items() if contact_id == message.contact_id]
            change = Change(message.message_id, chance.choice([None, *own]))
            outcome.crm.state.apply(message.contact_id, [change], now(), by="somebody")


def _faults(chance: random.Random) -> tuple[Fault, ...]:
    kinds = chance.sample(_FLAWS, chance.choice((0, 0, 1, 2)))
    return tuple(
        Fault(
            FaultKind(kind),
            op="read" if kind == "stale" else chance.choice(("link", "unlink", None)),
            share=0.3,
            seed=chance.randrange(1000),
            seconds=1.0 if kind == "stale" else None,
        )
        for kind in kinds
    )


def _message(done: Done, back: Inverse) -> Message:
    return Message(
        done.row, back.op, done.contact_id, done.owner_id, done.message_id, back.deal_id,
        f"User {done.owner_id}", back.deal_name, back.from_deal_id,
    )  # fmt: skip


def read_plainly(case: Case, outcome: Outcome) -> list[Done]:
    """Read a ledger line by line, as anybody would, for what the run did with each row."""
    lines = outcome.lines()
    unsent = {line["call"] for line in lines if line["event"] == "unsent"}
    told: dict[int, dict[str, Any]] = {}
    seen: dict[int, list[dict[str, Any]]] = {}
    sent: Counter[int] = Counter()
    flying: set[int] = set()
    for line in lines:
        match line["event"]:
            case "result":
                told[line["row"]] = line
                flying.discard(line["row"])
            case "snapshot":
                seen.setdefault(line["row"], []).append(line)
                flying.add(line["row"])
            case "call" if line["op"] in ("link", "unlink") and line["call"] not in unsent:
                sent.update(line["rows"])
                flying |= set(line["rows"])
    return [
        _done(one, told.get(one.row), seen.get(one.row, []), sent[one.row], one.row in flying)
        for one in case.messages
        if one.row in told or one.row in flying
    ]


def _done(
    message: Message,
    told: dict[str, Any] | None,
    seen: list[dict[str, Any]],
    sent: int,
    flying: bool,
) -> Done:
    ended = told if told and not flying else {}
    return Done(
        message.row, message.op, message.contact_id, message.owner_id, message.message_id,
        message.deal_id, message.owner_name, bool(seen),
        seen[0]["previous_deal_id"] if seen else None,
        seen[0]["previous_deal_name"] if seen else None,
        seen[-1]["previous_deal_id"] if seen else None,
        Status(ended["status"]) if ended else None, ended.get("code"),
        ended.get("current_deal_id"), sent > 0,
    )  # fmt: skip


class _Check:
    """Holds an undo against what the run did, by what the CRM itself noted.

    Args:
        case: of the run.
        first: the run.
        second: its undo.
        done: what the run did with each row.
    """

    def __init__(self, case: Case, first: Outcome, second: Outcome, done: dict[int, Done]) -> None:
        self._case, self._first, self._second, self._done = case, first, second, done
        applied = list(first.crm.state.applied)
        self._before = [change for change in applied if change.at < second.began]
        self._since = [change for change in applied if change.at >= second.began]
        self._began = {one["message_id"]: one["deal_id"] for one in case.emails}

    def safety(self) -> list[str]:
        """Return what the undo touched and was not to touch."""
        rows = {message.message_id: message.row for message in self._case.messages}
        lies = []
        for change in self._since:
            if change.by == "somebody":
                continue
            done = self._done.get(rows.get(change.message_id, 0))
            if done is None:
                lies.append(f"{change}: no email of the run")
                continue
            known = any(c.message_id == change.message_id for c in self._before)
            if done.seen and done.status not in (None, Status.IN_DOUBT) and not known:
                lies.append(f"row {done.row}: the run had not changed it: {change}")
        return lies + self._moved_since(rows)

    def _moved_since(self, rows: dict[str, int]) -> list[str]:
        """Return emails that somebody moved after the run, and the undo moved again."""
        lies = []
        for message_id, row in rows.items():
            known = [c for c in self._before if c.message_id == message_id]
            ours = [c.after for c in known if c.by == "call"]
            mine = [c for c in self._since if c.message_id == message_id]
            if not ours or not mine or mine[0].by == "somebody" or known[-1].by == "call":
                continue
            # What a read showed may have been put there by somebody: the ledger cannot tell.
            left = {ours[-1], self._done[row].deal_id}
            if self._done[row].status in (None, Status.IN_DOUBT):
                left.add(None)
            if mine[0].before not in left:
                lies.append(f"row {row}: somebody had moved it: {mine[0]}")
        return lies

    def completeness(self) -> list[str]:
        """Return what did not come back though the snapshot read it and nobody else touched it."""
        reason = self._second.stopping.reason
        if reason is not None:
            return [] if reason.by in _STOPS else [str(reason)]
        others = {c.message_id for c in (*self._before, *self._since) if c.by == "somebody"}
        lies = []
        for message in self._case.messages:
            done = self._done.get(message.row)
            if done is None or not done.seen or message.message_id in others:
                continue
            is_on = self._second.deal_of(message)
            if is_on != self._began[message.message_id]:
                result = self._second.results.get(message.row)
                lies.append(f"row {message.row} was not brought back: {done}, {result}, {is_on}")
        return lies


@pytest.mark.parametrize("seed", [0, 4, 9, 13, 20, 26, 31, 58])
def test_what_a_run_did_is_read_from_plan_and_ledger_as_anybody_would(
    seed: int, tmp_path: Path
) -> None:
    scenario = _numbered(draw(seed))
    loop = VirtualLoop()
    try:
        outcome = loop.run_until_complete(
            run(scenario.case, chance_seed=seed, lives=scenario.lives[:2], folder=tmp_path)
        )
    finally:
        loop.close()
    folder = RunFolder(tmp_path)
    folder.ledger.write_bytes(outcome.ledger + b'{"event":"resu')
    _seal(scenario.case, tmp_path)
    found = sorted(deeds(folder, tmp_path / "spill", Stop()), key=lambda one: one.row)
    plain = read_plainly(scenario.case, outcome)
    for settled in (False, True):
        assert [inverse_of(one, settled=settled) for one in found] == [
            inverse_of(one, settled=settled) for one in plain
        ]
    assert [one.message_id for one in found] == [one.message_id for one in plain]
    assert {one.owner_name for one in found} <= {one.owner_name for one in plain}


def _seal(case: Case, folder: Path) -> None:
    columns = ("op", "contact_id", "owner_id", "message_id", "deal_id", "owner_name", "deal_name")
    with (folder / "m.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for message in case.messages:
            writer.writerow([getattr(message, name) for name in columns])
    scratch = folder / "scratch"
    scratch.mkdir()
    reading = Reading(op=None, allow_round_ids=True)
    with check(sources([str(folder / "m.csv")]), reading, scratch) as checked:
        checked.seal(folder)
