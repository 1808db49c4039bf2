"""World of contacts, deals and histories, its emails as a fetched file, and its reading."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestServer

from bulklink import Connection, Job, RunCallbacks, StopController
from bulklink.emulator.crm import Crm
from bulklink.emulator.http import Answer, Request, json_answer
from bulklink.emulator.server import create_app
from bulklink.emulator.settings import Settings
from bulklink.emulator.world import World
from bulklink.emulator.worldfile import parse_world
from bulklink.finding.values import ContactFacts
from bulklink.models import ForecastType
from bulklink.operations.auditing.reading import AuditInputs, AuditReading
from bulklink.operations.auditing.timelines import Contacts
from bulklink.operations.environment import real_environment
from tests.guard import off_loop

OWNER = "5843104000000424672"
COLUMNS = (
    *("contact_id", "owner_id", "owner_name", "message_id", "deal_id", "from_deal_id"),
    *("from_deal_name", "subject", "time", "direction", "deal_name", "from_address", "from_name"),
    *("to_addresses", "cc_addresses", "source", "summary", "has_attachment", "intent"),
)


def contact_id(number: int) -> str:
    return str(5843104000001000000 + number)


def deal_id(number: int) -> str:
    return str(5843104000002000000 + number)


def message_id(number: int) -> str:
    return f"{number:064x}"


def at(day: int, minute: int = 0) -> str:
    """Return a time in January 2026."""
    return f"2026-01-{day:02}T{minute // 60:02}:{minute % 60:02}:00Z"


@dataclass
class AuditWorld:
    """A world under construction, and the rows of its emails as a fetch would write them."""

    contacts: list[dict[str, Any]] = field(default_factory=list)
    deals: list[dict[str, Any]] = field(default_factory=list)
    emails: list[dict[str, Any]] = field(default_factory=list)
    stages: list[dict[str, Any]] | None = None

    def add_contact(self, deals: int = 0, emails: int = 0, **fields: Any) -> str:
        """Add a contact with deals that changed since its emails; return its id."""
        contact = contact_id(len(self.contacts))
        number = len(self.contacts)
        address = f"Ann{number}@Customer.example"
        self.contacts.append({"id": contact, "name": f"Contact {number}", "email": address})
        for _ in range(deals):
            self.add_deal(contact, **fields)
        for number in range(emails):
            self.add_email(contact, day=2, minute=number)
        return contact

    def add_deal(self, contact: str, **fields: Any) -> str:
        """Add a deal that was created on the 1st and moved on the 3rd; return its id."""
        deal = deal_id(len(self.deals))
        history = [
            {"time": at(3), "field": "Stage", "old": "Qualification", "new": "Proposal"},
            {"time": at(4), "field": None, "source": "workflow"},
        ]
        self.deals.append(
            {
                "id": deal,
                "name": f"Deal {len(self.deals)}",
                "contact_id": contact,
                "owner_id": OWNER,
                "stage": "Proposal",
                "created_time": at(1),
                "history": history,
                **fields,
            }
        )
        return deal

    def add_email(self, contact: str, day: int, minute: int = 0, **fields: Any) -> None:
        """Add an email of a day in January."""
        self.emails.append(
            {
                "contact_id": contact,
                "message_id": message_id(len(self.emails)),
                "owner_id": OWNER,
                "subject": "Offer",
                "time": at(day, minute),
                **fields,
            }
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of the fetched file."""
        return [
            {
                "contact_id": email["contact_id"],
                "owner_id": OWNER,
                "owner_name": "Patricia Boyle",
                "message_id": email["message_id"],
                "from_deal_id": email.get("deal_id") or "none",
                "subject": email["subject"],
                "time": email["time"],
                "direction": "received",
                "from_address": "Ann@Customer.example",
                "from_name": "Ann",
                "to_addresses": "p@us.example; q@us.example",
                "candidates": email.get("candidates"),
            }
            for email in self.emails
        ]

    def write(self, path: Path) -> Path:
        """Write the fetched file as CSV."""
        write_rows(path, self.rows())
        return path

    def crm(self, **settings: Any) -> RecordingCrm:
        """Return a CRM of this world."""
        return RecordingCrm(
            parse_world(
                {
                    "module_id": "5843104000000003735",
                    "users": [
                        {"id": OWNER, "full_name": "Patricia Boyle", "email": "p@us.example"}
                    ],
                    "contacts": self.contacts,
                    "deals": self.deals,
                    "emails": [
                        {k: v for k, v in email.items() if k != "candidates"}
                        for email in self.emails
                    ],
                    "stages": self.stages or STAGES,
                }
            ),
            Settings(credits=0, **settings),
        )


STAGES = [
    {"display_value": "Qualification", "actual_value": "Qualification", "forecast_type": "Open"},
    {"display_value": "Proposal", "actual_value": "Proposal/Price Quote", "forecast_type": "Open"},
    {"display_value": "Won", "actual_value": "Closed Won", "forecast_type": "Closed Won"},
    {"display_value": "Lost", "actual_value": "Closed Lost", "forecast_type": "Closed Lost"},
]


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    columns = list(COLUMNS)
    rows = list(rows)
    if any(row.get("candidates") for row in rows):
        columns.append("candidates")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(rows)


class RecordingCrm(Crm):
    """A CRM that keeps the requests it gets, and can refuse some of them."""

    def __init__(self, world: World, settings: Settings) -> None:
        super().__init__(world, settings)
        self.url = ""
        self.requests: list[str] = []
        self.refusals: dict[str, Answer] = {}
        """Answer to each request with a text in its path or body."""

    async def handle(self, request: Request) -> Answer:
        if "/crm/" in request.path:
            self.requests.append(request.path.removeprefix("/crm/v8/"))
        for part, answer in self.refusals.items():
            if part in request.path or part.encode() in request.body:
                return answer
        return await super().handle(request)

    def count(self, part: str) -> int:
        """Return the requests whose path has a part."""
        return sum(part in request for request in self.requests)

    @property
    def connection(self) -> Connection:
        return Connection.from_values(
            api_url=self.url,
            accounts_url=self.url,
            client_id="demo",
            client_secret="demo",
            refresh_token="demo",
        )


def refusal(status: int, code: str, message: str = "no") -> Answer:
    return json_answer({"code": code, "details": {}, "message": message, "status": "error"}, status)


@asynccontextmanager
async def serve(world: AuditWorld, **settings: Any) -> AsyncIterator[RecordingCrm]:
    """Serve a world on a port of this machine."""
    crm = world.crm(**settings)
    async with TestServer(create_app(crm)) as server:
        crm.url = str(server.make_url("")).rstrip("/")
        yield crm


def plan_changed_deals(
    contacts: Contacts, stages: Mapping[str, ForecastType]
) -> Iterator[tuple[ContactFacts, list[str]]]:
    """Want the deals of contacts with several that were modified after the oldest email."""
    assert stages
    for contact in contacts():
        oldest = min((email.time for email in contact.emails if email.time), default=inf)
        changed = [
            deal.id
            for deal in contact.deals
            if deal.history is None and (deal.modified is None or deal.modified > oldest)
        ]
        if len(contact.deals) > 1 and changed:
            yield contact, changed


@dataclass
class Read:
    """What a reading gave, kept after its folder is gone."""

    inputs: AuditInputs
    contacts: list[ContactFacts]


async def read(
    file: Path,
    crm: RecordingCrm | None,
    *,
    callbacks: RunCallbacks | None = None,
    stop: StopController | None = None,
    job: Job | None = None,
    **options: Any,
) -> Read:
    """Read what an audit of a file needs, and all contacts."""
    reading = AuditReading(
        file=file,
        connection=options.pop("connection", crm.connection if crm else None),
        job=job or Job(mappings=(), rate=None),
        environment=options.pop("environment", None) or real_environment(),
        **{"plan_histories": plan_changed_deals, **options},
    )
    async with reading.open(callbacks or RunCallbacks(), stop or StopController()) as inputs:
        return Read(inputs, await off_loop(lambda: list(inputs.contacts())))
