"""An undo restores all it may and no more, for random worlds, runs, faults, crashes and edits."""

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

from bulklink.emulator.faults import Fault, FaultKind, FaultRegistry
from bulklink.emulator.state import Change
from bulklink.errors import StoppedBy
from bulklink.mapping.checked import check
from bulklink.mapping.input.files import find_sources
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.schema import MappingOptions
from bulklink.models import Message, Op, Status
from bulklink.operations.applied_changes import DoneLinks, stream_changes
from bulklink.operations.undo_steps import AppliedChange, UndoStep, undo_step_for
from bulklink.runs.folder import RunFolder
from tests.simulation.checks import find_violations
from tests.simulation.machine import SimulatedCommand
from tests.simulation.scenarios import Scenario, draw_scenario
from tests.simulation.simulator import Case, SimulatedRun, simulate
from tests.virtual import now, run_virtual

SEEDS = 150
_SEEDS_PER_TEST = 30
_SETTLE_SECONDS = 2000.0
_DONE = Status.DONE
_ALLOWED_STOPS = (StoppedBy.NO_ANSWER, StoppedBy.FATAL, StoppedBy.CREDITS, StoppedBy.MAX_CREDITS)
"""Stops of an undo because the server refuses more."""
_FAULT_KINDS = ("lost-answer", "lost-request", "500", "500-applied", "stale", "edited", "truncated")


@pytest.mark.parametrize("first", range(0, SEEDS, _SEEDS_PER_TEST))
def test_an_undo_restores_the_deals_of_the_snapshot_and_touches_no_other_email(
    first: int, tmp_path: Path
) -> None:
    undone = 0
    for seed in range(first, first + _SEEDS_PER_TEST):
        folder = tmp_path / str(seed)
        folder.mkdir()
        violations, message_count = run_virtual(_run_and_undo(seed, folder))
        undone += message_count
        if violations:
            pytest.fail(f"seed {seed}: {violations[0]}", pytrace=False)
    assert undone > 50


async def _run_and_undo(seed: int, folder: Path) -> tuple[list[str], int]:
    """Run a seed and its undo; return the violations and the number of messages in the undo."""
    rng = random.Random(f"{seed} undo")
    scenario = _renumber_messages(draw_scenario(seed))
    commands = scenario.commands[: rng.randint(1, len(scenario.commands))]
    first = await simulate(scenario.case, random_seed=seed, commands=commands, folder=folder)
    first.ledger = first.ledger[: first.ledger.rfind(b"\n") + 1]
    await asyncio.sleep(_SETTLE_SECONDS)  # late calls are executed, and credits are available
    changes = read_ledger_naively(scenario.case, first)
    _edit_links(scenario.case, first, rng)
    await asyncio.sleep(100)
    undo_steps = [(change, undo_step_for(change, include_settled=False)) for change in changes]
    messages = [
        _to_message(change, undo_step)
        for change, undo_step in undo_steps
        if isinstance(undo_step, UndoStep)
    ]
    faults = _draw_faults(rng)
    first.crm.state.faults = FaultRegistry(faults)
    case = replace(
        scenario.case,
        messages=messages,
        faults=faults,
        snapshot=True,
        no_put_back=False,
        read_back=True,
        read_pages=200,
        by_contact=False,  # the CRM may refuse calls with several owners
    )
    undo = Scenario(seed, case, scenario.commands if faults else (SimulatedCommand(),))
    second = await simulate(
        case, random_seed=seed, commands=undo.commands, folder=folder, crm=first.crm
    )
    await asyncio.sleep(_SETTLE_SECONDS)
    checker = _UndoChecker(scenario.case, second, {change.row: change for change in changes})
    violations = find_violations(undo, second) if messages else []
    violations += checker.check_safety()
    violations += checker.check_completeness() if not faults else []
    return violations, len(messages)


def _renumber_messages(scenario: Scenario) -> Scenario:
    """Number the messages like the rows of a mapping."""
    messages = [
        msgspec.structs.replace(message, row=row)
        for row, message in enumerate(scenario.case.messages, 1)
    ]
    return replace(scenario, case=replace(scenario.case, messages=messages))


def _edit_links(case: Case, outcome: SimulatedRun, rng: random.Random) -> None:
    """Change some emails as another user, between the run and its undo."""
    share = rng.choice((0.0, 0.2))
    for message in case.messages:
        if rng.random() < share:
            contact_deals = [
                d for d, contact_id in case.deals.items() if contact_id == message.contact_id
            ]
            change = Change(message.message_id, rng.choice([None, *contact_deals]))
            outcome.crm.state.apply(message.contact_id, [change], now(), author="user")


def _draw_faults(rng: random.Random) -> tuple[Fault, ...]:
    kinds = rng.sample(_FAULT_KINDS, rng.choice((0, 0, 1, 2)))
    return tuple(
        Fault(
            FaultKind(kind),
            op="read" if kind == "stale" else rng.choice(("link", "unlink", None)),
            share=0.3,
            seed=rng.randrange(1000),
            seconds=1.0 if kind == "stale" else None,
        )
        for kind in kinds
    )


def _to_message(change: AppliedChange, undo_step: UndoStep) -> Message:
    return Message(
        change.row,
        undo_step.op,
        change.contact_id,
        change.owner_id,
        change.message_id,
        undo_step.deal_id,
        f"User {change.owner_id}",
        undo_step.deal_name,
        undo_step.from_deal_id,
    )


def read_ledger_naively(case: Case, outcome: SimulatedRun) -> list[AppliedChange]:
    """Return the changes that the run applied, by reading the ledger line by line."""
    lines = outcome.lines()
    unsent = {line["call"] for line in lines if line["event"] == "unsent"}
    results: dict[int, dict[str, Any]] = {}
    snapshots: dict[int, list[dict[str, Any]]] = {}
    times_sent: Counter[int] = Counter()
    in_flight: set[int] = set()
    for line in lines:
        match line["event"]:
            case "result":
                results[line["row"]] = line
                in_flight.discard(line["row"])
            case "snapshot":
                snapshots.setdefault(line["row"], []).append(line)
                in_flight.add(line["row"])
            case "call" if line["op"] in ("link", "unlink") and line["call"] not in unsent:
                times_sent.update(line["rows"])
                in_flight |= set(line["rows"])
    return [
        _applied_change(
            message,
            results.get(message.row),
            snapshots.get(message.row, []),
            times_sent[message.row],
            message.row in in_flight,
        )
        for message in case.messages
        if message.row in results or message.row in in_flight
    ]


def _applied_change(
    message: Message,
    result: dict[str, Any] | None,
    snapshots: list[dict[str, Any]],
    times_sent: int,
    in_flight: bool,
) -> AppliedChange:
    final_result = result if result and not in_flight else {}
    return AppliedChange(
        message.row, message.op, message.contact_id, message.owner_id, message.message_id,
        message.deal_id, message.owner_name, bool(snapshots),
        snapshots[0]["previous_deal_id"] if snapshots else None,
        snapshots[0]["previous_deal_name"] if snapshots else None,
        snapshots[-1]["previous_deal_id"] if snapshots else None,
        Status(final_result["status"]) if final_result else None, final_result.get("code"),
        final_result.get("current_deal_id", msgspec.UNSET), times_sent > 0,
    )  # fmt: skip


class _UndoChecker:
    """Checker of an undo against its run, by the change log of the CRM.

    Args:
        case: the case of the run.
        undo: the undo of the run, on the same CRM.
        changes_by_row: the changes that the run applied, by row.
    """

    def __init__(
        self, case: Case, undo: SimulatedRun, changes_by_row: dict[int, AppliedChange]
    ) -> None:
        self._case, self._undo, self._changes_by_row = case, undo, changes_by_row
        applied = list(undo.crm.state.change_log)
        self._changes_before_undo = [change for change in applied if change.at < undo.started_at]
        self._changes_since_undo = [change for change in applied if change.at >= undo.started_at]

    def check_safety(self) -> list[str]:
        """Return violations for changes that the undo must not make."""
        rows = {message.message_id: message.row for message in self._case.messages}
        violations = []
        for change in self._changes_since_undo:
            if change.author == "user":
                continue
            run_change = self._changes_by_row.get(rows.get(change.message_id, 0))
            if run_change is None:
                violations.append(f"{change}: not an email of the run")
                continue
            changed_by_run = any(
                c.message_id == change.message_id for c in self._changes_before_undo
            )
            if (
                run_change.has_snapshot
                and run_change.status not in (None, Status.IN_DOUBT)
                and not changed_by_run
            ):
                violations.append(f"row {run_change.row}: the run had not changed it: {change}")
        return violations + self._check_moved_since(rows)

    def _check_moved_since(self, rows: dict[str, int]) -> list[str]:
        """Return violations for emails that another user moved after the run, and then the undo."""
        violations = []
        for message_id, row in rows.items():
            earlier_changes = [c for c in self._changes_before_undo if c.message_id == message_id]
            own_targets = [c.deal_id for c in earlier_changes if c.author == "call"]
            later_changes = [c for c in self._changes_since_undo if c.message_id == message_id]
            if (
                not own_targets
                or not later_changes
                or later_changes[0].author == "user"
                or earlier_changes[-1].author == "call"
            ):
                continue
            # The ledger does not show whether a read returned another user's edit.
            expected_deals = {own_targets[-1], self._changes_by_row[row].deal_id}
            if self._changes_by_row[row].status in (None, Status.IN_DOUBT):
                expected_deals.add(None)
            if later_changes[0].previous_deal_id not in expected_deals:
                violations.append(f"row {row}: another user had moved it: {later_changes[0]}")
        return violations

    def check_completeness(self) -> list[str]:
        """Return violations for unrestored emails that have a snapshot and no edits by others."""
        reason = self._undo.stop.reason
        if reason is not None:
            return [] if reason.stopped_by in _ALLOWED_STOPS else [str(reason)]
        edited_by_others = {
            c.message_id
            for c in (*self._changes_before_undo, *self._changes_since_undo)
            if c.author == "user"
        }
        initial_deals = {email["message_id"]: email["deal_id"] for email in self._case.emails}
        violations = []
        for message in self._case.messages:
            run_change = self._changes_by_row.get(message.row)
            if (
                run_change is None
                or not run_change.has_snapshot
                or message.message_id in edited_by_others
            ):
                continue
            current_deal_id = self._undo.deal_of(message)
            if current_deal_id != initial_deals[message.message_id]:
                result = self._undo.results.get(message.row)
                violations.append(
                    f"row {message.row} was not restored: {run_change}, {result}, {current_deal_id}"
                )
        return violations


@pytest.mark.parametrize("seed", [0, 4, 9, 13, 20, 26, 31, 58])
def test_applied_changes_agree_with_a_naive_reading_of_the_ledger(
    seed: int, tmp_path: Path
) -> None:
    scenario = _renumber_messages(draw_scenario(seed))
    outcome = run_virtual(
        simulate(scenario.case, random_seed=seed, commands=scenario.commands[:2], folder=tmp_path)
    )
    folder = RunFolder(tmp_path)
    folder.ledger.write_bytes(outcome.ledger + b'{"event":"resu')
    _seal_plan(scenario.case, tmp_path)
    streamed = stream_changes(folder, tmp_path / "spill", PlanningStop())
    changes = sorted(
        (change for changes in streamed for change in _one_by_one(changes)),
        key=lambda change: change.row,
    )
    naive_changes = read_ledger_naively(scenario.case, outcome)
    for settled in (False, True):
        assert [undo_step_for(change, include_settled=settled) for change in changes] == [
            undo_step_for(change, include_settled=settled) for change in naive_changes
        ]
    assert [c.message_id for c in changes] == [c.message_id for c in naive_changes]
    assert {c.owner_name for c in changes} <= {c.owner_name for c in naive_changes}


def _one_by_one(changes: DoneLinks | AppliedChange) -> list[AppliedChange]:
    if isinstance(changes, AppliedChange):
        return [changes]
    columns = (changes.rows, changes.contact_ids, changes.owner_ids, changes.message_ids)
    return [
        AppliedChange(row, Op.LINK, contact_id, owner_id, message_id, deal_id, name, status=_DONE)
        for row, contact_id, owner_id, message_id, deal_id, name in zip(
            *columns, changes.deal_ids, changes.owner_names, strict=True
        )
    ]


def _seal_plan(case: Case, folder: Path) -> None:
    columns = ("op", "contact_id", "owner_id", "message_id", "deal_id", "owner_name", "deal_name")
    with (folder / "m.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for message in case.messages:
            writer.writerow([getattr(message, name) for name in columns])
    scratch = folder / "scratch"
    scratch.mkdir()
    options = MappingOptions(op=None, allow_round_ids=True)
    with check(find_sources([str(folder / "m.csv")]), options, scratch) as checked:
        checked.seal(folder)
