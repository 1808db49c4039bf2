"""CRM in this process, and mappings for it."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestServer

from bulklink import Connection, Job, Op
from bulklink.emulator.crm import Crm
from bulklink.emulator.http import Answer, Request
from bulklink.emulator.server import create_app
from bulklink.emulator.world import World
from bulklink.emulator.worldfile import parse_world

OWNER, CONTACT, OTHER = "5843104000000424672", "5843104000004382000", "5843104000004382001"
DEAL, FOREIGN = "5843104000004382122", "5843104000004382200"
EMAILS = 30


def message(number: int) -> str:
    return f"{number:064x}"


def world() -> World:
    """Return a contact with emails on no deal, and a deal of another contact."""
    return parse_world(
        {
            "module_id": "5843104000000003735",
            "users": [{"id": OWNER, "full_name": "Patricia Boyle", "email": "p@us.example"}],
            "contacts": [{"id": c, "name": c, "email": ""} for c in (CONTACT, OTHER)],
            "deals": [
                {"id": DEAL, "name": "Travel Insurance", "contact_id": CONTACT},
                {"id": FOREIGN, "name": "Somebody's deal", "contact_id": OTHER},
            ],
            "emails": [
                {"contact_id": CONTACT, "message_id": message(n), "owner_id": OWNER}
                for n in range(EMAILS)
            ],
        }
    )


class LocalCrm(Crm):
    """A CRM that executes link calls but can delay their answers.

    Attributes:
        url: its address.
        gate: answers to link calls wait until it opens.
        arrived: set when a link call was executed.
    """

    def __init__(self, crm_world: World) -> None:
        super().__init__(crm_world)
        self.url = ""
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()

    async def handle(self, request: Request) -> Answer:
        answer = await super().handle(request)
        if request.path.endswith("link_record"):
            self.arrived.set()
            await self.gate.wait()
        return answer

    @property
    def linked(self) -> int:
        """Emails that are on a deal."""
        view = self.state.view(CONTACT)
        return sum(view.deal_of(email) is not None for email in view.mailbox.emails)

    @property
    def connection(self) -> Connection:
        return Connection.from_values(
            api_url=self.url,
            accounts_url=self.url,
            client_id="demo",
            client_secret="demo",
            refresh_token="demo",
        )


@asynccontextmanager
async def local_crm(crm_world: World | None = None) -> AsyncIterator[LocalCrm]:
    """Serve one, with the world of this module or another one."""
    crm = LocalCrm(crm_world or world())
    async with serve_crm(crm):
        yield crm


@asynccontextmanager
async def serve_crm(crm: LocalCrm) -> AsyncIterator[None]:
    """Serve a CRM, and set its address."""
    async with TestServer(create_app(crm)) as server:
        crm.url = str(server.make_url("")).rstrip("/")
        try:
            yield
        finally:
            crm.gate.set()


def job(tmp_path: Path, rows: int = EMAILS, deal: str = DEAL, **options: Any) -> Job:
    path = tmp_path / f"mapping-{rows}-{deal}.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["contact_id", "owner_id", "message_id", "deal_id"])
        writer.writerows([CONTACT, OWNER, message(n), deal] for n in range(rows))
    settings: dict[str, Any] = {"op": Op.LINK, "run_dir": tmp_path / "run"} | options
    return Job(mappings=(str(path),), **settings)
