"""Client of an in-process emulator on a virtual clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from bulklink.emulator.crm import Crm, Sleep
from bulklink.emulator.http import Answer, Request
from bulklink.emulator.settings import Settings
from bulklink.emulator.world import World
from bulklink.emulator.worldfile import parse_world

MODULE = "5843104000000003735"
PAT, JACOB = "5843104000000424672", "5843104000000424673"
ANA, TOM, UNKNOWN_CONTACT = "5843104000004382000", "5843104000004382001", "5843104000004382999"
TRAVEL, FLEET, OTHERS = "5843104000004382122", "5843104000004382123", "5843104000004382200"
NAMES = {TRAVEL: "Travel Insurance", FLEET: "Fleet Renewal", OTHERS: "Site Liability"}
PEOPLE = {PAT: "Patricia Boyle", JACOB: "Jacob Lindner"}


def message(number: int) -> str:
    """Return the id of the nth email of the small world, 64 hex digits."""
    return f"{number:064x}"


def email(number: int, **changed: object) -> dict[str, object]:
    """Return an email of Ana's in Patricia's mailbox, as in a world file."""
    return {
        "contact_id": ANA,
        "message_id": message(number),
        "owner_id": PAT,
        "subject": f"Question {number}",
        "time": f"2026-03-{1 + number % 28:02}T10:{number % 60:02}:00+05:30",
        "received": True,
        "deal_id": None,
    } | changed


def small_world(count: int = 25, /, **changed: object) -> dict[str, Any]:
    """Return the object of a world file with two contacts, three deals and two users."""
    return {
        "module_id": MODULE,
        "users": [{"id": i, "full_name": n, "email": f"{i}@us.example"} for i, n in PEOPLE.items()],
        "contacts": [
            {"id": ANA, "name": "Ana Ferreira", "email": "ana@customer.example"},
            {"id": TOM, "name": "Tom Okafor", "email": "tom@customer.example"},
        ],
        "deals": [
            {"id": TRAVEL, "name": NAMES[TRAVEL], "contact_id": ANA},
            {"id": FLEET, "name": NAMES[FLEET], "contact_id": ANA},
            {"id": OTHERS, "name": NAMES[OTHERS], "contact_id": TOM},
        ],
        "emails": [email(number) for number in range(count)],
    } | changed


async def yield_control(_seconds: float) -> None:
    """Yield to other tasks instead of waiting, so that calls are in flight at the same time."""
    await asyncio.sleep(0)


class VirtualTime:
    """A clock that advances only by `sleep`; `now` is seconds since 1970."""

    now = 1_790_000_000.0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass(frozen=True, slots=True)
class JsonResponse:
    """An answer with its body parsed.

    Args:
        answer: the answer as sent.
    """

    answer: Answer

    @property
    def status(self) -> int:
        return self.answer.status

    @property
    def json(self) -> Any:
        return json.loads(self.answer.body)

    @property
    def code(self) -> str:
        return str(self.json["code"])


def item(
    number: int, deal: str = TRAVEL, owner: str = PAT, *, single: bool = False
) -> dict[str, Any]:
    """Return one email of a link body, as in the published sample."""
    link: dict[str, Any] = {
        "owner": {"name": PEOPLE[owner], "id": owner},
        "linked_record": {
            "module": {"api_name": "Deals", "id": MODULE},
            "name": NAMES[deal],
            "id": deal,
        },
    }
    return link if single else link | {"message_id": message(number)}


class EmulatorClient:
    """Client of an in-process CRM, with a valid token."""

    def __init__(
        self,
        settings: Settings | None = None,
        world: dict[str, Any] | World | None = None,
        sleep: Sleep | None = None,
    ) -> None:
        parsed = world if isinstance(world, World) else parse_world(world or small_world())
        self.time = VirtualTime()
        self.crm = Crm(parsed, settings, clock=self.time.clock, sleep=sleep or self.time.sleep)
        self.token = ""

    async def send(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: object = None,
        headers: dict[str, str] | None = None,
    ) -> JsonResponse:
        raw = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        request = Request(method, path, urlencode(query or {}), headers or {}, raw)
        return JsonResponse(await self.crm.handle(request))

    async def grant(self, **changed: str) -> JsonResponse:
        form = {
            "refresh_token": "demo",
            "client_id": "demo",
            "client_secret": "demo",
            "grant_type": "refresh_token",
        } | changed
        body = urlencode(form).encode()
        return await self.send("POST", "/oauth/v2/token", body=body)

    async def crm_call(
        self, method: str, path: str, query: dict[str, str] | None = None, body: object = None
    ) -> JsonResponse:
        if not self.token:
            self.token = (await self.grant()).json["access_token"]
        headers = {"authorization": f"Zoho-oauthtoken {self.token}"}
        return await self.send(method, f"/crm/v8/{path}", query, body, headers)

    async def get(self, path: str, **query: str) -> JsonResponse:
        return await self.crm_call("GET", path, query)

    async def query(self, text: object) -> JsonResponse:
        """Send a COQL query."""
        return await self.crm_call("POST", "coql", body={"select_query": text})

    async def link(self, *items: object, contact: str = ANA) -> JsonResponse:
        path = f"Contacts/{contact}/Emails/actions/link_record"
        return await self.crm_call("POST", path, body={"Emails": list(items)})

    async def link_one(self, number: int, item: object, contact: str = ANA) -> JsonResponse:
        path = f"Contacts/{contact}/Emails/{message(number)}/actions/link_record"
        return await self.crm_call("POST", path, body={"Emails": [item]})

    async def unlink(self, *numbers: int, owner: str = PAT, contact: str = ANA) -> JsonResponse:
        joined = ",".join(message(number) for number in numbers)
        path = f"Contacts/{contact}/Emails/actions/link_record"
        return await self.crm_call("DELETE", path, {"owner_id": owner, "message_ids": joined})

    async def unlink_one(self, number: int, owner: str = PAT, contact: str = ANA) -> JsonResponse:
        path = f"Contacts/{contact}/Emails/{message(number)}/actions/link_record"
        return await self.crm_call("DELETE", path, {"owner_id": owner})

    async def state(self) -> Any:
        return (await self.send("GET", "/_emulator/state")).json

    async def deals(self) -> dict[str, str | None]:
        """Return the current deal of each email, by message id."""
        return {e["message_id"]: e["deal_id"] for e in (await self.state())["world"]["emails"]}

    async def deal_of(self, number: int) -> str | None:
        return (await self.deals())[message(number)]


def item_codes(response: JsonResponse) -> Sequence[str]:
    """Return the codes in the answer to a batch, flattened, in order."""
    flat: list[str] = []
    for entry in response.json["Emails"]:
        flat += [
            item_entry["code"] for item_entry in (entry if isinstance(entry, list) else [entry])
        ]
    return flat
