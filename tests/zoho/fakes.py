"""Fake transport, manual clock, and builders of answers and messages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from bulklink.models import Message, Op
from bulklink.zoho.http import Answer, NoResponse


class SentRequest(NamedTuple):
    """A request received by the transport."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None

    @property
    def form(self) -> dict[str, str]:
        """The fields of a form body."""
        fields = parse_qs((self.body or b"").decode(), strict_parsing=True)
        return {name: values[0] for name, values in fields.items()}


class FakeTransport:
    """Returns the given answers in order, repeating the last, and records the requests."""

    def __init__(self, *answers: Answer | NoResponse) -> None:
        self.answers = list(answers)
        self.sent: list[SentRequest] = []

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | NoResponse:
        self.sent.append(SentRequest(method, url, dict(headers), body))
        await asyncio.sleep(0.1)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class ManualClock:
    """Seconds since 1970, set by the test."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def answer(content: Any, status: int = 200) -> Answer:
    """Return an answer with a JSON body."""
    return Answer(status, json.dumps(content).encode())


def message(message_id: str, op: Op = Op.LINK, **fields: str) -> Message:
    """Return an email of contact 11 and owner 22."""
    return Message(
        **{
            "row": 1,
            "op": op,
            "contact_id": "11",
            "owner_id": "22",
            "message_id": message_id,
            **fields,
        }  # type: ignore[arg-type]
    )


def query_of(target: str) -> dict[str, list[str]]:
    """Return the decoded query of a request."""
    return parse_qs(urlsplit(target).query, strict_parsing=True, keep_blank_values=True)
