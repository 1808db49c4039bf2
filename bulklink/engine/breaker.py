"""Circuit breaker: does a refusal concern one contact or every contact?

A refused contact is suspended until a call of the same kind for another contact is answered. If
that call succeeds, the refusal concerns the first contact alone. If three contacts in a row are
refused, no such call can succeed and the run stops. If no other contact is left, or all wait for
credits, the refusal concerns that contact alone if such a call succeeded earlier in the run;
otherwise the run stops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import anyio

from bulklink.engine.shutdown import StopController
from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.zoho.error_policy import (
    AnswerClass,
    advice_for_code,
    advice_for_look_up,
    classify_error,
)
from bulklink.zoho.http import CallKind
from bulklink.zoho.link_response import AnswerVerdict

MAX_REFUSED_CONTACTS = 3
_REFUSABLE_KINDS = 3
MAX_SUSPENDED_CONTACTS = (MAX_REFUSED_CONTACTS - 1) * _REFUSABLE_KINDS
"""Maximum contacts suspended at once; links, unlinks and reads are counted separately."""


class Breaker(Protocol):
    """Decides what happens after a refusal."""

    async def on_refusal(
        self,
        kind: CallKind,
        contact_id: str,
        verdict: AnswerVerdict,
        *,
        completes_relink: bool = False,
        record: str = "contact",
    ) -> None:
        """Return if a refusal concerns the request or this contact alone.

        Args:
            kind: kind of the call.
            contact_id: contact, or other record, that the call concerns.
            verdict: the refusal.
            completes_relink: whether the call completes a relink, which a graceful stop allows.
            record: what `contact_id` identifies, for the user.

        Raises:
            RunStoppedError: if no call of this kind can succeed.
            StoppedError: if the run was stopped.
        """
        ...

    def on_success(self, kind: CallKind, contact_id: str) -> None:
        """Record a successful answer."""
        ...


class ReadBreaker:
    """Circuit breaker for runs that only read.

    A refusal concerns its contact alone, unless three are refused before any call of this kind
    succeeds.
    """

    def __init__(self) -> None:
        self._confirmed_kinds: set[CallKind] = set()
        self._refused_contacts: dict[CallKind, set[str]] = {}

    async def on_refusal(
        self,
        kind: CallKind,
        contact_id: str,
        verdict: AnswerVerdict,
        *,
        completes_relink: bool = False,
        record: str = "contact",
    ) -> None:
        """Return if a refusal concerns this contact alone.

        Raises:
            RunStoppedError: if no call of this kind can succeed.
        """
        del completes_relink
        answer_class = _raise_if_fatal(kind, f"{record} {contact_id}", verdict)
        if answer_class is AnswerClass.FATAL_IF_COMMON and kind not in self._confirmed_kinds:
            refused = self._refused_contacts.setdefault(kind, set())
            refused.add(contact_id)
            if len(refused) >= MAX_REFUSED_CONTACTS:
                raise fatal_error(kind, verdict, f"{record} {contact_id}")

    def on_success(self, kind: CallKind, contact_id: str) -> None:
        """Record that a contact could be read."""
        del contact_id
        self._confirmed_kinds.add(kind)


class CircuitBreaker:
    """Suspends refused contacts until another contact's call shows whether the refusal is general.

    Args:
        stop: stopped when no call of a kind can succeed.
        confirmed_kinds: kinds of call that succeeded in an earlier invocation of the run.
    """

    def __init__(self, stop: StopController, confirmed_kinds: Iterable[CallKind] = ()) -> None:
        self._stop = stop
        self._confirmed_kinds = set(confirmed_kinds)
        self._suspended: dict[CallKind, dict[str, anyio.Event]] = {}
        self._last_refusal: dict[CallKind, RunStoppedError] = {}
        self._on_suspend: list[Callable[[], None]] = []
        stop.on_stop(self._release_all)

    def on_suspend(self, action: Callable[[], None]) -> None:
        """Call `action` when a contact is suspended."""
        self._on_suspend.append(action)

    def is_suspended(self, contact_id: str) -> bool:
        """Return whether a contact is suspended."""
        return any(contact_id in contacts for contacts in self._suspended.values())

    async def on_refusal(
        self,
        kind: CallKind,
        contact_id: str,
        verdict: AnswerVerdict,
        *,
        completes_relink: bool = False,
        record: str = "contact",
    ) -> None:
        """Return if a refusal concerns the request or this contact alone.

        After a graceful stop, no other contact is tried. A refusal of a call that completes a
        relink then concerns its contact alone if a call of this kind succeeded before.

        Raises:
            RunStoppedError: if no call of this kind can succeed.
            StoppedError: if the run was stopped before the cause was known.
        """
        where = f"{record} {contact_id}"
        if _raise_if_fatal(kind, where, verdict) is AnswerClass.FATAL_IF_COMMON:
            if self._stop.reason is None:
                await self._suspend(kind, contact_id, fatal_error(kind, verdict, where))
            if self._stop.reason is not None:
                self._stop.check(completes_relink=completes_relink)
                if kind not in self._confirmed_kinds:
                    raise fatal_error(kind, verdict, where)

    async def _suspend(self, kind: CallKind, contact_id: str, error: RunStoppedError) -> None:
        suspended = self._suspended.setdefault(kind, {})
        event = suspended.setdefault(contact_id, anyio.Event())
        self._last_refusal[kind] = error
        if len(suspended) >= MAX_REFUSED_CONTACTS:
            self._stop.request(error)
        for action in self._on_suspend:
            action()
        await event.wait()

    def on_success(self, kind: CallKind, contact_id: str) -> None:
        """Record a successful answer, and release the other suspended contacts."""
        self.mark_confirmed(kind)
        suspended = self._suspended.get(kind)
        if suspended:
            for other_id in [
                suspended_id for suspended_id in suspended if suspended_id != contact_id
            ]:
                suspended.pop(other_id).set()

    def resolve_suspended(self) -> None:
        """Decide on the suspended contacts by earlier successes, as no other contact can.

        Called after the last contact, and while the run waits for credits: other contacts may wait
        for credits reserved for relinks of the suspended ones.
        """
        kinds = [kind for kind, suspended in self._suspended.items() if suspended]
        for kind in kinds:
            if kind in self._confirmed_kinds:
                self._release(kind)
        if kinds and not self._confirmed_kinds.intersection(kinds):
            self._stop.request(self._last_refusal[kinds[0]])

    def mark_confirmed(self, kind: CallKind) -> None:
        """Record that a call of this kind has succeeded."""
        self._confirmed_kinds.add(kind)

    def _release_all(self) -> None:
        for kind in self._suspended:
            self._release(kind)

    def _release(self, kind: CallKind) -> None:
        for event in self._suspended[kind].values():
            event.set()
        self._suspended[kind].clear()


def _raise_if_fatal(kind: CallKind, where: str, verdict: AnswerVerdict) -> AnswerClass:
    """Return the class of a refusal; raise if no call of this kind can succeed after it."""
    answer_class = classify_error(verdict.http_status, verdict.code)
    if answer_class in (AnswerClass.FATAL, AnswerClass.TOKEN):
        raise fatal_error(kind, verdict, where)
    return answer_class


def fatal_error(kind: CallKind, verdict: AnswerVerdict, where: str) -> RunStoppedError:
    """Return the stop reason for an answer after which no call of this kind can succeed."""
    reason = " ".join(filter(None, (verdict.shown_code, verdict.text)))
    advise = advice_for_look_up if kind is CallKind.LOOKUP else advice_for_code
    advice = advise(verdict.code, verdict.text)
    return RunStoppedError(
        StoppedBy.FATAL,
        f"Zoho refuses the {kind} call: {reason}.",
        where=where,
        advice=advice
        or "The whole answer is in answers.jsonl. Fix the cause, then resume the run.",
        reading=advice or "Fix the cause, then run the same command again.",
        has_answer=not advice,
    )
