"""What all answers of a probe show incidentally: credits, and refusals of too many calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bulklink.operations.probing.values import Answers, ProbeAnswer, Question
from bulklink.zoho.http import Answer, NoResponse, Transport
from bulklink.zoho.throttling import stated_limit

_NO_CREDITS = "The CRM reports credits only once half of them are used."
_NO_429 = "No call was refused for too many requests, and a probe provokes none."

OBSERVED_QUESTIONS = (
    Question("link-credits", "How many credits does a link or unlink cost?", "link-credits"),
    Question("read-credits", "How many credits does a page of emails cost?", "read-credits"),
    Question("too-many-body", "What is the body of a 429?", "too-many-body"),
    Question("retry-after", "Does a 429 have a Retry-After header?", "retry-after"),
)
"""Questions that no experiment asks, as they are answered incidentally or not at all."""


@dataclass(slots=True)
class AnswerObserver:
    """Observes the answers of one call after the other.

    Attributes:
        costs: least credits that a call of each kind cost, as far as the CRM reported them.
    """

    costs: dict[str, int] = field(default_factory=dict, init=False)
    _credits_left: int | None = field(default=None, init=False)
    _refusal: Answer | None = field(default=None, init=False)

    def observe(self, method: str, url: str, outcome: Answer | NoResponse) -> None:
        """Observe the outcome of a request."""
        if not isinstance(outcome, Answer):
            self._credits_left = None
            return
        before, left = self._credits_left, outcome.credits_left
        self._credits_left = left
        if outcome.status == 429:
            self._refusal = outcome
        elif before is not None and left is not None and left <= before:
            kind = _kind(method, urlsplit(url).path)
            self.costs[kind] = min(before - left, self.costs.get(kind, before - left))

    def answers(self) -> Answers:
        """Return the answers to the questions that are not asked."""
        unseen = ProbeAnswer(reason=_NO_429)
        refusal = self._refusal
        return {
            "link-credits": self._cost("link"),
            "read-credits": self._cost("read"),
            "too-many-body": unseen if refusal is None else ProbeAnswer(_body_shape(refusal)),
            "retry-after": unseen
            if refusal is None
            else ProbeAnswer("off" if refusal.retry_after is None else "on"),
        }

    def _cost(self, kind: str) -> ProbeAnswer:
        if kind not in self.costs:
            return ProbeAnswer(reason=_NO_CREDITS)
        return ProbeAnswer(str(self.costs[kind]))

    def wrap(
        self, open_transport: Callable[[], AbstractAsyncContextManager[Transport]]
    ) -> Callable[[], AbstractAsyncContextManager[Transport]]:
        """Return a function that opens a transport whose answers are observed."""

        @asynccontextmanager
        async def open_observed() -> AsyncIterator[Transport]:
            async with open_transport() as transport:
                yield _ObservedTransport(transport, self)

        return open_observed


@dataclass(slots=True, frozen=True)
class _ObservedTransport:
    transport: Transport
    observer: AnswerObserver

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | NoResponse:
        outcome = await self.transport.send(method, url, headers, body)
        self.observer.observe(method, url, outcome)
        return outcome


def _kind(method: str, path: str) -> str:
    if path.endswith("/link_record"):
        return "link"
    return "read" if method == "GET" and path.endswith("/Emails") else "lookup"


def _body_shape(refusal: Answer) -> str:
    content = refusal.content
    if isinstance(content, dict) and "error" in content:
        return "old"
    return "stated" if stated_limit(refusal) is not None else "current"
