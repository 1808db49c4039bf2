"""Scripted CRM with documented answers, and an engine run with a ledger in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import orjson

from bulklink.engine.active_contacts import ActiveContacts
from bulklink.engine.breaker import CircuitBreaker
from bulklink.engine.caller import Caller
from bulklink.engine.clock import Clock
from bulklink.engine.context import RunContext, SendSettings
from bulklink.engine.message_state import MessageState, need_one_call
from bulklink.engine.outage import OutageGate
from bulklink.engine.quota.budget import CreditLimits
from bulklink.engine.quota.gate import QuotaGate, QuotaPolicy
from bulklink.engine.ratelimit.limiter import ConcurrencyLimiter
from bulklink.engine.shutdown import StopController
from bulklink.ledger.records import Result
from bulklink.ledger.writer import LedgerWriter
from bulklink.models import Message, Op
from bulklink.zoho.client import Client
from bulklink.zoho.connection import Connection
from bulklink.zoho.http import Answer, NoResponse
from bulklink.zoho.tokens import TokenProvider
from tests.virtual import now
from tests.zoho.fakes import FakeTransport, answer

CONTACT = "5843104000004300001"
OWNER = "5843104000000424672"
OTHER_OWNER = "5843104000000424673"
DEAL = "5843104000004400001"
OTHER_DEAL = "5843104000004400002"
THIRD_DEAL = "5843104000004400003"
PLACES = 10
"""Calls in flight of a run."""


def email(row: int, op: Op = Op.LINK, owner_id: str = OWNER, guard: str | None = None) -> Message:
    """Return an email of the contact with message id `message_id(row)` and wanted deal `DEAL`."""
    deal_id = None if op is Op.UNLINK else DEAL
    return Message(row, op, CONTACT, owner_id, message_id(row), deal_id, from_deal_id=guard)


def message_id(row: int) -> str:
    return f"{row:064x}"


def page(links: Mapping[int, str | None], next_index: str | None = None) -> Answer:
    """Return a page with these rows, each on a deal or on none."""
    emails = [
        {"message_id": message_id(row), "linked_record": deal_id and _linked_record(deal_id)}
        for row, deal_id in links.items()
    ]
    info = {"per_page": 10, "count": len(emails), "prev_index": "0"}
    info |= {"next_index": next_index, "more_records": next_index is not None}
    return answer({"Emails": emails, "info": info})


def _linked_record(deal_id: str) -> dict[str, Any]:
    module = {"api_name": "Deals", "id": "5843104000000003735"}
    return {"id": deal_id, "name": f"Deal {deal_id}", "module": module}


def success(*rows: int) -> Answer:
    """Return an answer that reports success for each of these rows."""
    return answer({"Emails": [_entry("SUCCESS", "success", row) for row in rows]})


def item_refusal(code: str, *rows: int) -> Answer:
    """Return an answer that refuses these rows by name."""
    return answer({"Emails": [_entry(code, "error", row) for row in rows]}, 400)


def _entry(code: str, status: str, row: int) -> dict[str, Any]:
    details = {"message_id": message_id(row)}
    return {"code": code, "details": details, "message": code.lower(), "status": status}


def refusal(code: str, status: int = 400, **details: object) -> Answer:
    """Return a refusal of a whole call, which names no email."""
    return answer({"code": code, "details": details, "message": "no", "status": "error"}, status)


LOST = NoResponse("the connection broke")


class ScriptedCrm(FakeTransport):
    """Returns the given answers in order, repeating the last.

    Attributes:
        sent_at: virtual time at which each request was sent.
    """

    def __init__(self, *answers: Answer | NoResponse) -> None:
        super().__init__(*answers)
        self.sent_at: list[float] = []

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | NoResponse:
        self.sent_at.append(now())
        return await super().send(method, url, headers, body)

    @property
    def methods(self) -> list[str]:
        """Method of each request: GET reads, DELETE unlinks, POST links."""
        return [request.method for request in self.sent]

    @property
    def indexes(self) -> list[str]:
        """Query of each page request; empty for the first page of a contact."""
        return [request.url.partition("?")[2] for request in self.sent if request.method == "GET"]

    def linked(self, number: int) -> dict[int, str]:
        """Return the deal to which a request, counted from 0, links each row."""
        items = orjson.loads(self.sent[number].body or b"")["Emails"]
        return {int(item["message_id"], 16): item["linked_record"]["id"] for item in items}

    def unlinked(self, number: int) -> list[int]:
        """Return the rows that a request, counted from 0, unlinks."""
        ids = self.sent[number].url.partition("message_ids=")[2].split(",")
        return [int(name, 16) for name in ids]


@dataclass(slots=True)
class LedgerInMemory:
    """The two files of a run in memory; a write takes `write_seconds`."""

    ledger: bytes = b""
    answers: bytes = b""
    write_seconds: float = 0.0
    writes: int = 0

    async def write(self, ledger: bytes, answers: bytes) -> None:
        if self.write_seconds:
            await anyio.sleep(self.write_seconds)
        self.ledger += ledger
        self.answers += answers
        self.writes += 1

    def close(self) -> None:
        pass

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of the ledger."""
        return [orjson.loads(line) for line in self.ledger.splitlines()]

    @property
    def events(self) -> list[str]:
        """Event of each line; for a call, its kind."""
        return [line["op"] if line["event"] == "call" else line["event"] for line in self.lines]


@dataclass(slots=True)
class EngineRun:
    """A run in progress, with its context, files and results so far."""

    context: RunContext
    files: LedgerInMemory
    results: dict[int, Result] = field(default_factory=dict)

    @property
    def statuses(self) -> dict[int, str]:
        """Status of each settled row, with its code if any: `failed NOT_ALLOWED`."""
        return {
            row: " ".join(filter(None, (result.status, result.code)))
            for row, result in self.results.items()
        }


@asynccontextmanager
async def engine_run(
    crm: ScriptedCrm,
    *,
    snapshot: bool = True,
    max_credits: int | None = None,
    max_outage: float = 0.0,
    may_skip_states: bool = True,
    **settings: Any,
) -> AsyncIterator[EngineRun]:
    """Start a run.

    Args:
        crm: answers.
        snapshot: whether emails are read before they are changed.
        max_credits: credits that may be spent; None for no limit.
        max_outage: longest outage in seconds; 0 disables outage handling.
        may_skip_states: whether messages are sent without a state each, where no read comes first.
        settings: fields of `SendSettings` that differ from the defaults.
    """
    stop, files = StopController(), LedgerInMemory()
    clock = Clock(wall=now, monotonic=now, random=lambda: 0.5)
    connection = Connection("http://crm", None, None, "production", True, access_token="token")
    limiter = ConcurrencyLimiter(max_in_flight=PLACES, max_per_second=None, stop=stop, clock=now)
    policy = QuotaPolicy(CreditLimits(per_invocation=max_credits))
    quota = QuotaGate(policy, stop, wall=now, monotonic=now)
    breaker = CircuitBreaker(stop)
    async with LedgerWriter(files) as ledger, limiter:
        client = Client(TokenProvider(connection, crm, None, now), crm)
        run = EngineRun(
            RunContext(
                settings=_send_settings(**settings),
                caller=Caller(
                    client,
                    ledger,
                    limiter,
                    quota,
                    OutageGate(max_outage, stop, clock),
                    stop,
                    clock,
                ),
                quota=quota,
                ledger=ledger,
                breaker=breaker,
                contacts=ActiveContacts(breaker, stop),
                stop=stop,
                clock=clock,
                on_result=lambda result: run.results.update({result.row: result}),
                on_done_batch=lambda batch: run.results.update({r.row: r for r in batch.results()}),
                may_skip_states=lambda messages: (
                    not snapshot and may_skip_states and need_one_call(messages)
                ),
                initial_state=lambda message: MessageState(message, snapshot=snapshot),
            ),
            files,
        )
        yield run


def _send_settings(**changes: Any) -> SendSettings:
    defaults: dict[str, Any] = {
        "batch_size": 20,
        "by_contact": False,
        "single_endpoint": False,
        "send_names": True,
        "module_id": "5843104000000003735",
    }
    return SendSettings(**(defaults | changes))
