"""Refusals that are fatal if they are common: is it this contact, or everybody?

A contact that is refused waits until a call of the same kind for another contact is answered. If
that one succeeds, the first was alone; if three contacts in a row are refused, no such call can
succeed and the run stops. Where no other contact is left, or all wait for credits, it was alone if
such a call succeeded earlier in the run; else the run stops.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol

import anyio

from bulklink.engine.shutdown import Stopping
from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.zoho.error_policy import AnswerClass, advice_for, class_of
from bulklink.zoho.http import CallKind
from bulklink.zoho.link_response import Verdict

FATAL_CONTACTS = 3
_KINDS = 3
MOST_HELD = (FATAL_CONTACTS - 1) * _KINDS
"""Contacts that can wait at once to know whether they are alone: links, unlinks and reads apart."""


class Judge(Protocol):
    """Says what becomes of a contact that is refused."""

    async def judge(
        self, kind: CallKind, contact_id: str, verdict: Verdict, *, finishing: bool = False
    ) -> None:
        """Return where a refusal concerns what was asked, or this contact alone.

        Args:
            kind: of the call.
            contact_id: that it concerns.
            verdict: what was answered.
            finishing: whether the call finishes a relink that a gentle stop must not tear.

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

    async def judge(
        self, kind: CallKind, contact_id: str, verdict: Verdict, *, finishing: bool = False
    ) -> None:
        """Return where a refusal concerns this contact alone.

        Raises:
            RunStoppedError: if no read can succeed.
        """
        del finishing
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
        worked: kinds of call that succeeded in an earlier invocation of the run.

    Attributes:
        at_work: how many pieces of each contact are worked on.
    """

    def __init__(self, stopping: Stopping, worked: Iterable[CallKind] = ()) -> None:
        self._stopping = stopping
        self._worked = set(worked)
        self._held: dict[CallKind, dict[str, anyio.Event]] = {}
        self._last: dict[CallKind, RunStoppedError] = {}
        self.at_work: Counter[str] = Counter()
        self._all_begun = False
        self._others_follow = False
        self._moved = anyio.Event()
        self._on_held: list[Callable[[], None]] = []
        stopping.on_stop(self._release_all)

    def on_held(self, action: Callable[[], None]) -> None:
        """Have something done when a contact begins to wait."""
        self._on_held.append(action)

    def holds(self, contact_id: str) -> bool:
        """Tell whether a contact waits to know whether it is alone."""
        return any(contact_id in held for held in self._held.values())

    def begin(self, contact_id: str) -> None:
        """Note that a contact is about to be worked on."""
        self.at_work[contact_id] += 1
        self._all_begun = False

    def end(self, contact_id: str) -> None:
        """Note that a contact is worked on no more."""
        self.at_work[contact_id] -= 1
        if not self.at_work[contact_id]:
            del self.at_work[contact_id]
        self._move()

    def all_begun(self, *, others_follow: bool = False) -> None:
        """Note that no other contact follows, or none before those at work are done or held."""
        self._all_begun, self._others_follow = True, others_follow
        self._move()

    async def all_held(self) -> None:
        """Wait until all contacts are begun that were to be, and each is done or held.

        Also ends when the run stops.
        """
        while self._stopping.reason is None and not (self._all_begun and self._only_held_are_left):
            self._moved = anyio.Event()
            await self._moved.wait()

    async def judge(
        self, kind: CallKind, contact_id: str, verdict: Verdict, *, finishing: bool = False
    ) -> None:
        """Return where a refusal concerns what was asked, or this contact alone.

        After a gentle stop nobody else will tell: what finishes a relink is judged by what
        succeeded before.

        Raises:
            RunStoppedError: if no call of this kind can succeed.
            HaltedError: if the run was stopped before that was known.
        """
        meaning = class_of(verdict.http_status, verdict.code)
        if meaning in (AnswerClass.FATAL, AnswerClass.TOKEN):
            raise fatal(kind, verdict, f"contact {contact_id}")
        if meaning is AnswerClass.FATAL_IF_COMMON:
            if self._stopping.reason is None:
                await self._alone(kind, contact_id, verdict)
            if self._stopping.reason is not None:
                self._stopping.check(finishing=finishing)
                if kind not in self._worked:
                    raise fatal(kind, verdict, f"contact {contact_id}")

    async def _alone(self, kind: CallKind, contact_id: str, verdict: Verdict) -> None:
        held = self._held.setdefault(kind, {})
        event = held.setdefault(contact_id, anyio.Event())
        self._last[kind] = fatal(kind, verdict, f"contact {contact_id}")
        for action in self._on_held:
            action()
        if len(held) >= FATAL_CONTACTS:
            self._stopping.stop(self._last[kind])
        self._move()
        await event.wait()

    def succeeded(self, kind: CallKind, contact_id: str) -> None:
        """Note an answer of success, which frees the other contacts that waited for one."""
        self.worked(kind)
        held = self._held.get(kind)
        if held:
            for other in [c for c in held if c != contact_id]:
                held.pop(other).set()

    def judge_held(self) -> None:
        """Judge the contacts that wait by what succeeded before: nobody tells for a long time.

        The credits that their relinks hold may be the ones that all others wait for.
        """
        if any(self._held.values()):
            self._decide()

    def worked(self, kind: CallKind) -> None:
        """Note that a call of this kind is known to have been carried out."""
        self._worked.add(kind)

    @property
    def _only_held_are_left(self) -> bool:
        return all(self.holds(contact_id) for contact_id in self.at_work)

    def _move(self) -> None:
        """Wake who waits for the others; where none is left who could tell, decide."""
        self._moved.set()
        none_follows = self._all_begun and not self._others_follow
        if none_follows and self.at_work and self._only_held_are_left:
            self._decide()

    def _decide(self) -> None:
        """Judge contacts after which no other comes by what succeeded in the run before them."""
        kinds = [kind for kind, held in self._held.items() if held]
        for kind in kinds:
            if kind in self._worked:
                self._release(kind)
        if not self._worked.intersection(kinds):
            self._stopping.stop(self._last[kinds[0]])

    def _release_all(self) -> None:
        for kind in self._held:
            self._release(kind)
        self._moved.set()

    def _release(self, kind: CallKind) -> None:
        for event in self._held[kind].values():
            event.set()
        self._held[kind].clear()


def fatal(kind: CallKind, verdict: Verdict, where: str) -> RunStoppedError:
    """Return the reason to stop for an answer after which no call of this kind can succeed."""
    said = " ".join(filter(None, (verdict.code or f"HTTP {verdict.http_status}", verdict.text)))
    return RunStoppedError(
        StoppedBy.FATAL,
        f"Zoho refuses the {kind} call: {said}.",
        where=where,
        advice=advice_for(verdict.code)
        or "The whole answer is in answers.jsonl; once its cause is mended, a resume goes on.",
    )
