"""Refusals that are fatal if they are common: is it this contact, or everybody?

A contact that is refused waits until a call of the same kind for another contact is answered. If
that one succeeds, the first was alone; if three contacts in a row are refused, or no other is
left, no such call can succeed and the run stops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import anyio

from bulklink.engine.stopping import Stopping
from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.zoho.answers import Verdict
from bulklink.zoho.classes import AnswerClass, advice_for, class_of
from bulklink.zoho.exchange import CallKind

FATAL_CONTACTS = 3
_KINDS = 3
MOST_HELD = (FATAL_CONTACTS - 1) * _KINDS
"""Contacts that can wait at once to know whether they are alone: links, unlinks and reads apart."""


class Judge(Protocol):
    """Says what becomes of a contact that is refused."""

    async def judge(self, kind: CallKind, contact_id: str, verdict: Verdict) -> None:
        """Return where a refusal concerns what was asked, or this contact alone.

        Raises:
            RunStoppedError: if no call of this kind can succeed.
            HaltedError: if the run was stopped meanwhile.
        """
        ...

    def succeeded(self, kind: CallKind, contact_id: str) -> None:
        """Note an answer of success."""
        ...


class ReadRefusals:
    """Refusals where contacts are only read: nothing hangs on one that cannot be.

    A refused contact is its own matter, unless three are refused before any was read.
    """

    def __init__(self) -> None:
        self._refused: set[str] | None = set()

    async def judge(self, kind: CallKind, contact_id: str, verdict: Verdict) -> None:
        """Return where a refusal concerns this contact alone.

        Raises:
            RunStoppedError: if no read can succeed.
        """
        meaning = class_of(verdict.http_status, verdict.code)
        if meaning in (AnswerClass.FATAL, AnswerClass.TOKEN):
            raise fatal(kind, verdict, f"contact {contact_id}")
        if meaning is AnswerClass.FATAL_IF_COMMON and self._refused is not None:
            self._refused.add(contact_id)
            if len(self._refused) >= FATAL_CONTACTS:
                raise fatal(kind, verdict, f"contact {contact_id}")

    def succeeded(self, kind: CallKind, contact_id: str) -> None:
        """Note that a contact could be read."""
        del kind, contact_id
        self._refused = None


class Refusals:
    """The contacts that wait to know whether they are alone.

    Args:
        stopping: is told when they are not.
    """

    def __init__(self, stopping: Stopping) -> None:
        self._stopping = stopping
        self._held: dict[CallKind, dict[str, anyio.Event]] = {}
        self._last: RunStoppedError | None = None
        self._at_work = 0
        self._waiting = 0
        self._all_begun = False
        self._on_held: list[Callable[[], None]] = []
        stopping.on_stop(self._release_all)

    def on_held(self, action: Callable[[], None]) -> None:
        """Have something done when a contact begins to wait."""
        self._on_held.append(action)

    def holds(self, contact_id: str) -> bool:
        """Tell whether a contact waits to know whether it is alone."""
        return any(contact_id in held for held in self._held.values())

    def begin(self) -> None:
        """Note that a contact is about to be worked on."""
        self._at_work += 1
        self._all_begun = False

    def end(self) -> None:
        """Note that a contact is worked on no more."""
        self._at_work -= 1
        self._stop_if_none_is_left()

    def all_begun(self) -> None:
        """Note that no other contact follows."""
        self._all_begun = True
        self._stop_if_none_is_left()

    async def judge(self, kind: CallKind, contact_id: str, verdict: Verdict) -> None:
        """Return where a refusal concerns what was asked, or this contact alone.

        Raises:
            RunStoppedError: if no call of this kind can succeed.
            HaltedError: if the run was stopped while the contact waited to know.
        """
        meaning = class_of(verdict.http_status, verdict.code)
        if meaning in (AnswerClass.FATAL, AnswerClass.TOKEN):
            raise fatal(kind, verdict, f"contact {contact_id}")
        if meaning is AnswerClass.FATAL_IF_COMMON:
            self._stopping.check()
            await self._alone(kind, contact_id, verdict)
            self._stopping.check()

    async def _alone(self, kind: CallKind, contact_id: str, verdict: Verdict) -> None:
        held = self._held.setdefault(kind, {})
        event = held.setdefault(contact_id, anyio.Event())
        self._last = fatal(kind, verdict, f"contact {contact_id}")
        self._waiting += 1
        for action in self._on_held:
            action()
        if len(held) >= FATAL_CONTACTS:
            self._stopping.stop(self._last)
        self._stop_if_none_is_left()
        await event.wait()
        self._waiting -= 1

    def succeeded(self, kind: CallKind, contact_id: str) -> None:
        """Note an answer of success, which frees the other contacts that waited for one."""
        held = self._held.get(kind)
        if held:
            for other in [c for c in held if c != contact_id]:
                held.pop(other).set()

    def _stop_if_none_is_left(self) -> None:
        if self._all_begun and self._last and 0 < self._at_work <= self._waiting:
            self._stopping.stop(self._last)

    def _release_all(self) -> None:
        for held in self._held.values():
            for event in held.values():
                event.set()
            held.clear()


def fatal(kind: CallKind, verdict: Verdict, where: str) -> RunStoppedError:
    """Return the reason to stop for an answer after which no call of this kind can succeed."""
    said = " ".join(filter(None, (verdict.code or f"HTTP {verdict.http_status}", verdict.text)))
    return RunStoppedError(
        StoppedBy.FATAL,
        f"Zoho refuses the {kind} call: {said}.",
        where=where,
        advice=advice_for(verdict.code),
    )
