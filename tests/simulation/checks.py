"""The ledger and the CRM, compared message by message with promises 1, 2 and 4 of a run."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from itertools import groupby
from typing import Any

from bulklink.emulator.state import Applied
from bulklink.engine.quota.budget import Limits
from bulklink.errors import StoppedBy
from bulklink.models import Message, Op
from tests.simulation.drawn import Scenario
from tests.simulation.simulated import NEVER, Outcome

_STOPS = (
    StoppedBy.NO_ANSWER,
    StoppedBy.FATAL,
    StoppedBy.CREDITS,
    StoppedBy.MAX_CREDITS,
    StoppedBy.MAX_FAILURES,
    StoppedBy.CANARY,
)
"""What may stop a command that nothing struck: the server takes no more, or too much failed."""
_MOMENT = 0.002
_DAY = 86_400.0
_AS_WANTED = ("done", "unchanged")
Line = dict[str, Any]


def lies_of(scenario: Scenario, outcome: Outcome) -> list[str]:
    """Return what is not as promised, in words; nothing if all is."""
    check = _Check(scenario, outcome)
    return [
        *outcome.lies,
        *check.accounting(),
        *check.truth(),
        *check.order(),
        *check.least(),
        *check.credits(),
    ]


class _Check:
    def __init__(self, scenario: Scenario, outcome: Outcome) -> None:
        self._case, self._lives = scenario.case, scenario.lives
        self._outcome = outcome
        self._lines = outcome.lines()
        self._calls = {line["call"]: line for line in self._lines if line["event"] == "call"}
        self._changes: dict[str, list[Applied]] = {}
        for change in outcome.crm.state.applied:
            self._changes.setdefault(change.message_id, []).append(change)

    def accounting(self) -> Iterator[str]:
        """Promise 1: a run that reached its end has a result for each row."""
        reason = self._outcome.stopping.reason
        if reason is not None:
            if reason.by not in _STOPS:
                yield f"stopped by {reason.by}: {reason.message}"
            if reason.by is StoppedBy.MAX_FAILURES and self._case.max_failures == NEVER:
                yield "stopped for failures, however many it takes"
            if reason.by is StoppedBy.CANARY and not self._case.canary:
                yield "stopped by a canary that it has not"
            return
        for message in self._case.messages:
            if message.row not in self._outcome.results:
                yield f"row {message.row} was lost"

    def truth(self) -> Iterator[str]:
        """Promise 2: each status holds in the CRM at its `ts`."""
        by_row = {message.row: message for message in self._case.messages}
        before: dict[int, float] = {}
        for place, line in enumerate(self._lines):
            if line["event"] == "result" and place not in self._lied_to:
                since = before.get(line["row"], self._outcome.began)
                before[line["row"]] = _moment(line)
                message = by_row[line["row"]]
                said = f"row {message.row} {message.op}: {line}, it is on {self._on(message, line)}"
                yield from (f"{said}: {why}" for why in self._of_one(message, line, since))

    @cached_property
    def _lied_to(self) -> set[int]:
        """Places of results that the canary corrected: the server did not do what it answered."""
        last: dict[int, int] = {}
        corrected = set()
        for place, line in enumerate(self._lines):
            if line["event"] == "result":
                if line["code"] == "not-applied":
                    corrected.add(last[line["row"]])
                last[line["row"]] = place
        return corrected

    def _on(self, message: Message, line: Line) -> str | None:
        return self._outcome.deals_at(message, _moment(line) + _MOMENT)

    def _of_one(self, message: Message, line: Line, since: float) -> Iterator[str]:
        status, code, at = line["status"], line["code"], _moment(line)
        yield from self._told_how(message, line)
        known = self._changes.get(message.message_id, ())
        changes = [one for one in known if one.at > since + _MOMENT]
        others = [one for one in known if one.by == "somebody" and one.at <= at + _MOMENT]
        if any(one.at > at - self._case.settle_after - _MOMENT for one in others):
            return  # edits by others within that time are outside the promise
        ours = [one for one in changes if one.by == "call" and one.at <= at + _MOMENT]
        is_on = self._on(message, line)
        if status in _AS_WANTED and is_on != message.deal_id:
            yield "it is not as wanted"
        if status == "unchanged" and ours:
            yield "this run changed it"
        if "current_deal_id" in line and is_on != line["current_deal_id"]:
            yield "it is on another deal than was read"
        if status == "failed" and is_on == message.deal_id and (ours or not code.isupper()):
            yield "it is as wanted"
        if code == "changed-since" and message.may_leave(is_on):
            yield "its guard lets it be changed"
        if code == "already-linked" and (is_on is None or ours):
            yield "it is on no other deal, or was changed"
        begun = since == self._outcome.began
        if begun and ours and not others and not message.may_leave(ours[0].before):
            yield "its guard forbade to change it"
        if status == "failed" and message.op is Op.RELINK and not others:
            torn = ours and is_on != line.get("previous_deal_id", is_on)
            if torn and code not in ("put-back-failed", "not-applied"):
                yield "it was not put back"

    def _told_how(self, message: Message, line: Line) -> Iterator[str]:
        status, code = line["status"], line["code"]
        call = self._calls.get(line["call"]) if line["call"] is not None else None
        if call is None:
            if status != "in_doubt" or self._case.read_back:
                yield "no call told it"
            return
        if message.row not in call["rows"]:
            yield "the call that told it did not carry it"
        reads = call["op"] == "read"
        if status == "done" and reads != (code == "settled-by-read"):
            yield "its code does not say how it is known"
        if status == "unchanged" and not reads:
            yield "no read shows that it was so already"
        told = self._case.read_back and self._case.all_listed and not self._limited
        if status == "in_doubt" and not self._case.faults and told:
            yield "it can be known"
        reads = self._case.read_back or self._case.reads_first(message.op)
        if code == "settled-by-read" and not reads:
            yield "it was read back"

    @property
    def _limited(self) -> bool:
        return self._outcome.crm.state.answered_429 > 0

    def order(self) -> Iterator[str]:
        """Promise 5: each request has one line, and each line of a result follows its call's."""
        sent = sum("/oauth/" not in target for _, target in self._outcome.requests)
        lines = len([line for line in self._lines if line["event"] == "call"])
        unsent = [line["call"] for line in self._lines if line["event"] == "unsent"]
        told = lines - len(unsent)
        struck = any(life.strike for life in self._lives)
        if sent > told or (sent < told and not struck):
            yield f"{sent} requests left, the ledger has {told}"
        if len(set(unsent)) != len(unsent) or not set(unsent) <= self._calls.keys():
            yield f"lines of {unsent} are taken back"
        if len(self._calls) != lines:
            yield "a number of a call stands twice"
        seen: set[int] = set()
        for line in self._lines:
            if line["event"] == "call":
                seen.add(line["call"])
            elif line.get("call") is not None and line["call"] not in seen:
                yield f"{line} comes before its call"

    def credits(self) -> Iterator[str]:
        """No command spends more than it may, nor all together in any 24 hours.

        Only calls that finish relinks may go beyond, and no call at all where nothing is torn.
        """
        limits = self._case.limits
        for book in self._outcome.books:
            if limits.most is not None and book.sent - book.finished > limits.most:
                yield f"{book.sent} calls of one command, {book.finished} of them to finish relinks"
        if limits.a_day is not None:
            moments = self._outcome.api_moments
            for place, end in enumerate(moments):
                in_a_day = place + 1 - bisect_right(moments, end - _DAY)
                if in_a_day > limits.a_day + self._finished:
                    yield f"{in_a_day} calls in 24 hours"
                    return

    @property
    def _finished(self) -> int:
        return sum(book.finished for book in self._outcome.books)

    def least(self) -> Iterator[str]:
        """Promise 4: without failures, the fewest link and unlink calls."""
        results = self._outcome.results
        if self._case.faults or self._limited or self._outcome.lives > 1:
            return
        if any(line["status"] not in _AS_WANTED for line in results.values()):
            return
        if self._case.limits != Limits():
            return  # a contact that must wait finishes its relinks first, in calls of their own
        if len(results) < len(self._case.messages) or self._refused_token():
            return
        links, unlinks = self._fewest(results)
        calls = self._outcome.calls
        if (calls["link"], calls["unlink"]) != (links, unlinks):
            yield f"{dict(calls)} where {links} link and {unlinks} unlink calls are enough"

    def _refused_token(self) -> bool:
        return any(line["attempt"] > 1 for line in self._calls.values())

    def _fewest(self, results: dict[int, Line]) -> tuple[int, int]:
        def group(one: Message) -> tuple[str, str]:
            return one.contact_id, one.owner_id

        linked: Counter[tuple[str, str]] = Counter()
        unlinked: Counter[tuple[str, str]] = Counter()
        ordered = sorted(self._case.messages, key=group)
        for (contact_id, owner_id), members in groupby(ordered, key=group):
            for one in members:
                line = results[one.row]
                if line["status"] == "unchanged" and "previous_deal_id" in line:
                    continue
                shared = "" if self._case.by_contact else owner_id
                linked[contact_id, shared] += one.op is not Op.UNLINK
                was_on = line.get("previous_deal_id", "not known")
                off = one.op is Op.UNLINK or (one.op is Op.RELINK and was_on is not None)
                unlinked[contact_id, owner_id] += off
        size = self._case.batch_size
        return (
            sum(math.ceil(n / size) for n in linked.values()),
            sum(math.ceil(n / size) for n in unlinked.values()),
        )


def _moment(line: Line) -> float:
    return datetime.fromisoformat(line["ts"]).timestamp()
