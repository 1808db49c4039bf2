"""Reading of the timelines that decide something."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from bulklink.counts import count_of
from bulklink.engine.breaker import fatal_error
from bulklink.engine.record_lookups import read_deal_timeline
from bulklink.finding.values import ContactFacts
from bulklink.mapping.audit_lists import TimelineRequest
from bulklink.models import ForecastType
from bulklink.operations.auditing.context import ReadingContext
from bulklink.operations.auditing.deals_file import utc_time
from bulklink.operations.auditing.facts import stream_facts
from bulklink.operations.auditing.log import (
    MAX_HISTORY_CHANGES,
    TOO_LONG_HISTORY,
    UNREADABLE,
    history_lines,
    history_of,
    history_since,
    timeline_line,
)
from bulklink.operations.auditing.logged_deals import logged_contacts
from bulklink.operations.fetching.folder import is_id
from bulklink.operations.forecast_renewal import ReadForecaster
from bulklink.operations.session import read_contacts
from bulklink.zoho.error_policy import AnswerClass, classify_error
from bulklink.zoho.http import CallKind
from bulklink.zoho.link_response import AnswerVerdict

Contacts = Callable[[], Iterator[ContactFacts]]
"""Begins a pass over all contacts, with the deals and histories that were read so far."""
HistoryPlanner = Callable[
    [Contacts, Mapping[str, ForecastType]], Iterable[tuple[ContactFacts, Collection[str]]]
]
"""Yields contacts, each with the ids of its deals whose histories decide something and are not
known. It gets the contacts, over which it may pass several times, and the type of each stage."""
_MAX_ROUNDS = 20
"""Passes after each of which timelines are read; what is still unknown then stays so."""
_MAX_REFUSED_TIMELINES = 3
_GENERAL_REFUSALS = (AnswerClass.FATAL, AnswerClass.FATAL_IF_COMMON)


@dataclass(slots=True)
class TimelineReader:
    """Reads the timelines that are left, those of the contacts with the most emails first.

    Some histories make others needless. So the planner is asked again once those were read that it
    asked for, until it asks for nothing more. A timeline that cannot be read leaves its deal
    without a history. If the CRM refuses timelines as such, no more are requested.

    Args:
        context: session, folder and record.
        plan_histories: decides which timelines are read.
    """

    context: ReadingContext
    plan_histories: HistoryPlanner
    _breaker: _TimelineBreaker = field(init=False)
    _done: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._breaker = _TimelineBreaker()

    async def read(self) -> None:
        """Read the timelines.

        Raises:
            NotConfirmedError: if the user refuses the cost.
            RunStoppedError: if the CRM cannot be asked.
            StoppedError: if the reading was stopped.
        """
        context, session = self.context, self.context.session
        for _ in range(_MAX_ROUNDS):
            await session.ledger.commit()
            context.callbacks.on_phase("Finding the deals whose history matters")
            total = await session.run_blocking(self._write_list)
            if not total:
                break
            context.confirm("timelines", f"the timelines of {count_of(total, 'deal')}", total)
            await self._read_list(total)
        if (refusal := self._breaker.refusal) is not None:
            context.callbacks.warn(
                f"Zoho refuses timelines: {refusal.shown_code}. What changed since"
                " an email came is uncertain."
            )

    async def _read_list(self, total: int) -> None:
        """Read the timelines that were listed."""
        context, session = self.context, self.context.session
        context.callbacks.on_phase("Reading timelines")
        self._done = 0
        await read_contacts(
            session,
            self._requests_to_read(),
            self._read_timeline,
            callbacks=context.callbacks,
            unit="timelines",
            total=total,
            count_done=lambda: self._done,
            forecaster=ReadForecaster(total),
        )
        session.stop.check()

    def _write_list(self) -> int:
        """Write the list of the timelines to read; return their number; blocks."""
        context = self.context
        lists = context.lists

        def contacts() -> Iterator[ContactFacts]:
            known = logged_contacts(lists.read_deals(), context.folder.log)
            return stream_facts(context.folder.emails, known, context.session.interrupt)

        needs = self.plan_histories(contacts, context.record.stages or {})
        requests = (request for need in needs for request in _requests(*need))
        return lists.write_timelines(requests, context.folder.to_read)

    def _requests_to_read(self) -> Iterator[tuple[str, float]]:
        for deal_id, since in self.context.folder.lines_to_read(is_id, _is_number):
            yield deal_id, float(since)

    async def _read_timeline(self, request: tuple[str, float]) -> None:
        deal_id, since = request
        result = self._breaker.refusal or await read_deal_timeline(
            self.context.session.caller, self._breaker, deal_id, since=utc_time(since)
        )
        life = self.context.progress.invocation
        self._done += 1
        if isinstance(result, AnswerVerdict):
            self.context.append(timeline_line(deal_id, life, result.shown_code))
            return
        changes = history_of(result)
        code = None if result.readable else UNREADABLE
        if len(changes) > MAX_HISTORY_CHANGES:
            code = TOO_LONG_HISTORY
        lines = history_lines(deal_id, life, changes) if code is None else []
        self.context.append(*lines, timeline_line(deal_id, life, code, history_since(result)))


def _requests(contact: ContactFacts, deal_ids: Collection[str]) -> Iterator[TimelineRequest]:
    """Yield the timelines of a contact, each with its share of the emails."""
    times = [email.time for email in contact.emails if email.time is not None]
    for deal_id in deal_ids:
        gain = len(contact.emails) / len(deal_ids)
        yield TimelineRequest(deal_id, min(times, default=0.0), gain)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class _TimelineBreaker:
    """Circuit breaker for timelines: a refusal leaves a deal without a history.

    Attributes:
        refusal: why no timeline can be read; None while some may be.
    """

    def __init__(self) -> None:
        self.refusal: AnswerVerdict | None = None
        self._refused: set[str] = set()
        self._confirmed = False

    async def on_refusal(
        self,
        kind: CallKind,
        contact_id: str,
        verdict: AnswerVerdict,
        *,
        completes_relink: bool = False,
        record: str = "contact",
    ) -> None:
        """Count a refusal.

        Raises:
            RunStoppedError: if the access token is refused.
        """
        del completes_relink
        answer_class = classify_error(verdict.http_status, verdict.code)
        if answer_class is AnswerClass.TOKEN:
            raise fatal_error(kind, verdict, f"{record} {contact_id}")
        if answer_class in _GENERAL_REFUSALS and not self._confirmed:
            self._refused.add(contact_id)
            if len(self._refused) >= _MAX_REFUSED_TIMELINES:
                self.refusal = verdict

    def on_success(self, kind: CallKind, contact_id: str) -> None:
        """Record that a timeline could be read."""
        del kind, contact_id
        self._confirmed = True
