"""Comparison of the ledger with the CRM after a run, message by message."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import groupby
from typing import Any

from bulklink.emulator.state import ChangeRecord
from bulklink.engine.quota.budget import CreditLimits
from bulklink.errors import StoppedBy
from bulklink.models import Message, Op
from tests.simulation.scenarios import Scenario
from tests.simulation.simulator import NO_FAILURE_LIMIT, Case, SimulatedRun

_ALLOWED_STOPS = (
    StoppedBy.NO_ANSWER,
    StoppedBy.FATAL,
    StoppedBy.CREDITS,
    StoppedBy.MAX_CREDITS,
    StoppedBy.MAX_FAILURES,
    StoppedBy.CANARY,
)
"""Stops of a command that is not interrupted: the server refuses more, or too much failed."""
_TOLERANCE = 0.002
_SUCCESS_STATUSES = ("done", "unchanged")
Line = dict[str, Any]


def find_violations(scenario: Scenario, outcome: SimulatedRun) -> list[str]:
    """Return a description of each broken guarantee."""
    checker = _Checker(scenario, outcome)
    return [
        *outcome.violations,
        *checker.check_accounting(),
        *checker.check_statuses(),
        *checker.check_order(),
        *checker.check_fewest_calls(),
        *checker.check_credits(),
    ]


@dataclass
class _Checker:
    _scenario: Scenario
    _outcome: SimulatedRun

    @property
    def _case(self) -> Case:
        return self._scenario.case

    @cached_property
    def _lines(self) -> list[Line]:
        return self._outcome.lines()

    @cached_property
    def _calls(self) -> dict[int, Line]:
        return {line["call"]: line for line in self._lines if line["event"] == "call"}

    @cached_property
    def _changes(self) -> dict[str, list[ChangeRecord]]:
        changes: dict[str, list[ChangeRecord]] = {}
        for change in self._outcome.crm.state.change_log:
            changes.setdefault(change.message_id, []).append(change)
        return changes

    def check_accounting(self) -> Iterator[str]:
        """Guarantee 1: a finished run has a result for each row."""
        reason = self._outcome.stop.reason
        if reason is not None:
            is_unreadable = reason.stopped_by is StoppedBy.LEDGER and not self._case.plan_in_order
            if reason.stopped_by not in _ALLOWED_STOPS and not is_unreadable:
                yield f"stopped by {reason.stopped_by}: {reason.message}"
            if (
                reason.stopped_by is StoppedBy.MAX_FAILURES
                and self._case.max_failures == NO_FAILURE_LIMIT
            ):
                yield "stopped for failures without a failure limit"
            if reason.stopped_by is StoppedBy.CANARY and not self._case.canary:
                yield "stopped by a canary although it has none"
            return
        results = self._outcome.results
        for message in self._case.messages:
            if message.row not in results:
                yield f"row {message.row} was lost"

    def check_statuses(self) -> Iterator[str]:
        """Guarantee 2: each status was true in the CRM at its `ts`."""
        by_row = {message.row: message for message in self._case.messages}
        last_result_at: dict[int, float] = {}
        for index, line in enumerate(self._lines):
            if line["event"] == "result" and index not in self._corrected_by_canary:
                previous_at = last_result_at.get(line["row"], self._outcome.started_at)
                last_result_at[line["row"]] = _timestamp(line)
                message = by_row[line["row"]]
                deal = self._deal_at(message, line)
                prefix = f"row {message.row} {message.op}: {line}, it is on {deal}"
                yield from (
                    f"{prefix}: {violation}"
                    for violation in self._check_result(message, line, previous_at)
                )

    @cached_property
    def _corrected_by_canary(self) -> set[int]:
        """Line numbers of results that the canary corrected, as the server had ignored the call."""
        last_index: dict[int, int] = {}
        corrected = set()
        for index, line in enumerate(self._lines):
            if line["event"] == "result":
                if line["code"] == "not-applied":
                    corrected.add(last_index[line["row"]])
                last_index[line["row"]] = index
        return corrected

    def _deal_at(self, message: Message, line: Line) -> str | None:
        return self._outcome.deal_at(message, _timestamp(line) + _TOLERANCE)

    def _check_result(self, message: Message, line: Line, previous_at: float) -> Iterator[str]:
        status, code, at = line["status"], line["code"], _timestamp(line)
        yield from self._check_evidence(message, line)
        all_changes = self._changes.get(message.message_id, ())
        changes = [change for change in all_changes if change.at > previous_at + _TOLERANCE]
        foreign_changes = [
            change
            for change in all_changes
            if change.author == "user" and change.at <= at + _TOLERANCE
        ]
        if any(change.at > at - self._case.settle_after - _TOLERANCE for change in foreign_changes):
            return  # the guarantee excludes edits by others within that time
        own_changes = [
            change for change in changes if change.author == "call" and change.at <= at + _TOLERANCE
        ]
        current_deal_id = self._deal_at(message, line)
        if status in _SUCCESS_STATUSES and current_deal_id != message.deal_id:
            yield "it is not on the target deal"
        if status == "unchanged" and own_changes:
            yield "this run changed it"
        if "current_deal_id" in line and current_deal_id != line["current_deal_id"]:
            yield "it is not on the deal that was read"
        if (
            status == "failed"
            and current_deal_id == message.deal_id
            and (own_changes or not code.isupper())
        ):
            yield "it is on the target deal"
        if code == "changed-since" and message.guard_allows(current_deal_id):
            yield "its guard allows the change"
        if code == "already-linked" and (current_deal_id is None or own_changes):
            yield "it is on no other deal, or was changed"
        is_first_result = previous_at == self._outcome.started_at
        if (
            is_first_result
            and own_changes
            and not foreign_changes
            and not message.guard_allows(own_changes[0].previous_deal_id)
        ):
            yield "its guard forbade the change"
        if status == "failed" and message.op is Op.RELINK and not foreign_changes:
            is_half_done = own_changes and current_deal_id != line.get(
                "previous_deal_id", current_deal_id
            )
            if is_half_done and code not in ("put-back-failed", "not-applied"):
                yield "it was not put back"

    def _check_evidence(self, message: Message, line: Line) -> Iterator[str]:
        status, code = line["status"], line["code"]
        call = self._calls.get(line["call"]) if line["call"] is not None else None
        if call is None:
            if status != "in_doubt" or self._case.read_back:
                yield "it names no call"
            return
        if message.row not in call["rows"]:
            yield "its call did not include the row"
        reads = call["op"] == "read"
        if status == "done" and reads != (code == "settled-by-read"):
            yield "its code does not match the evidence"
        if status == "unchanged" and not reads:
            yield "no read shows that it was already on the target deal"
        is_knowable = self._case.read_back and self._case.all_listed and not self._was_throttled
        waits = self._case.outage > 0 or not self._case.downtimes
        if status == "in_doubt" and not self._case.faults and is_knowable and waits:
            yield "its state could have been determined"
        reads = self._case.read_back or self._case.reads_first(message.op)
        if code == "settled-by-read" and not reads:
            yield "it was read back although read-backs are off"

    @property
    def _was_throttled(self) -> bool:
        return self._outcome.crm.state.answered_429 > 0

    def check_order(self) -> Iterator[str]:
        """Guarantee 5: each request has one line, and each result follows the line of its call."""
        sent = sum("/oauth/" not in target for _, target in self._outcome.requests)
        call_lines = len([line for line in self._lines if line["event"] == "call"])
        unsent = [line["call"] for line in self._lines if line["event"] == "unsent"]
        recorded = call_lines - len(unsent)
        was_interrupted = any(command.interruption for command in self._scenario.commands)
        if sent > recorded or (sent < recorded and not was_interrupted):
            yield f"{sent} requests were sent, but the ledger has {recorded}"
        if len(set(unsent)) != len(unsent) or not set(unsent) <= self._calls.keys():
            yield f"unsent lines of calls {unsent} are repeated or have no call line"
        if len(self._calls) != call_lines:
            yield "two calls have the same number"
        calls_so_far: set[int] = set()
        for line in self._lines:
            if line["event"] == "call":
                calls_so_far.add(line["call"])
            elif line.get("call") is not None and line["call"] not in calls_so_far:
                yield f"{line} comes before its call"

    def check_credits(self) -> Iterator[str]:
        """Check the credits of each command, and of all commands in any 24 hours.

        Only calls that finish relinks may exceed a limit.
        """
        limits = self._case.limits
        for budget in self._outcome.budgets:
            if (
                limits.per_invocation is not None
                and budget.sent - budget.unreserved_finishes > limits.per_invocation
            ):
                finishing = budget.unreserved_finishes
                yield f"{budget.sent} calls of one command, {finishing} of them to finish relinks"
        if limits.per_day is not None:
            times = self._outcome.api_request_times
            for index, end in enumerate(times):
                calls_in_a_day = index + 1 - bisect_right(times, end - self._window_seconds)
                if calls_in_a_day > limits.per_day + self._calls_finishing_relinks:
                    yield f"{calls_in_a_day} calls in 24 hours"
                    return

    @property
    def _window_seconds(self) -> float:
        """Seconds that stand for 24 hours, as the emulator may report a shorter window."""
        return math.ceil(self._case.settings.credit_window / 60.0) * 60.0

    @property
    def _calls_finishing_relinks(self) -> int:
        return sum(budget.unreserved_finishes for budget in self._outcome.budgets)

    def check_fewest_calls(self) -> Iterator[str]:
        """Guarantee 4: without failures, the fewest link and unlink calls."""
        results = self._outcome.results
        case = self._case
        if case.faults or case.downtimes or self._was_throttled or self._outcome.commands_run > 1:
            return
        if any(line["status"] not in _SUCCESS_STATUSES for line in results.values()):
            return
        if self._case.limits != CreditLimits():
            return  # a contact that waits for credits finishes its relinks in separate calls
        if len(results) < len(self._case.messages) or self._has_retried_call():
            return
        links, unlinks = self._fewest_calls(results)
        calls = self._outcome.calls
        if (calls["link"], calls["unlink"]) != (links, unlinks):
            yield f"{dict(calls)}, although {links} link and {unlinks} unlink calls are enough"

    def _has_retried_call(self) -> bool:
        return any(line["attempt"] > 1 for line in self._calls.values())

    def _fewest_calls(self, results: dict[int, Line]) -> tuple[int, int]:
        def group_key(message: Message) -> tuple[str, str]:
            return message.contact_id, message.owner_id

        linked: Counter[tuple[str, str]] = Counter()
        unlinked: Counter[tuple[str, str]] = Counter()
        ordered = sorted(self._case.messages, key=group_key)
        for (contact_id, owner_id), members in groupby(ordered, key=group_key):
            for message in members:
                line = results[message.row]
                if line["status"] == "unchanged" and "previous_deal_id" in line:
                    continue
                owner_key = "" if self._case.by_contact else owner_id
                linked[contact_id, owner_key] += message.op is not Op.UNLINK
                previous_deal_id = line.get("previous_deal_id", "unknown")
                needs_unlink = message.op is Op.UNLINK or (
                    message.op is Op.RELINK and previous_deal_id is not None
                )
                unlinked[contact_id, owner_id] += needs_unlink
        size = self._case.batch_size
        return (
            sum(math.ceil(n / size) for n in linked.values()),
            sum(math.ceil(n / size) for n in unlinked.values()),
        )


def _timestamp(line: Line) -> float:
    return datetime.fromisoformat(line["ts"]).timestamp()
