"""Servers for the command: the project's emulator, and a scripted one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.e2e.command import PROGRAM
from tests.e2e.world import MODULE, USERS, Email, World

TOKEN = "1000.standin-access-token-7f3b"
SECRET = "standin-client-secret-91ce"
REFRESH = "1000.standin-refresh-token-44ad"


def connection(url: str, **changed: str) -> dict[str, str]:
    """Return the environment that connects to the emulator at an address."""
    return {
        "BULKLINK_API_URL": url,
        "BULKLINK_ACCOUNTS_URL": url,
        "BULKLINK_CLIENT_ID": "demo",
        "BULKLINK_CLIENT_SECRET": "demo",
        "BULKLINK_REFRESH_TOKEN": "demo",
        **changed,
    }


@dataclass(frozen=True, slots=True)
class Emulator:
    """A running `bulklink emulator`.

    Args:
        url: its address.
        world: the world it serves.
    """

    url: str
    world: World

    def env(self, **changed: str) -> dict[str, str]:
        """Return the environment of a command connected to it."""
        return connection(self.url, **changed)

    def state(self) -> dict[str, Any]:
        """Return its counters and world."""
        return self._control("GET", "state")

    def post(self, resource: str, body: object) -> dict[str, Any]:
        """Post to a control endpoint, such as `receive`, and return the answer."""
        return self._control("POST", resource, json.dumps(body).encode())

    def delete(self, resource: str) -> dict[str, Any]:
        """Delete what a control endpoint stores, such as `faults`."""
        return self._control("DELETE", resource)

    def _control(self, method: str, resource: str, body: bytes | None = None) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.url}/_emulator/{resource}", body, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            read = json.load(answer)
        assert isinstance(read, dict)
        return read

    def links(self) -> dict[str, str | None]:
        """Return the deal that each message is on now."""
        return {email["message_id"]: email["deal_id"] for email in self.state()["world"]["emails"]}


@contextlib.contextmanager
def serve_world(world: World, folder: Path, *options: str) -> Iterator[Emulator]:
    """Serve a world by the project's emulator."""
    file = folder / "world.json"
    file.write_text(json.dumps(world.as_file()), "utf-8")
    with serve_world_file(file, *options) as emulator:
        yield replace(emulator, world=world)


@contextlib.contextmanager
def serve_world_file(file: Path, *options: str) -> Iterator[Emulator]:
    """Serve a world file by the project's emulator."""
    process = subprocess.Popen(
        [PROGRAM, "emulator", "--port", "0", "--world", str(file), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield Emulator(json.loads(process.stdout.readline())["url"], World())
    finally:
        process.terminate()
        process.communicate(timeout=20)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that a test sends.

    Args:
        status: HTTP status.
        body: bytes as they are, anything else as JSON.
        headers: headers besides the content type.
        kind: content type.
    """

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = "application/json"

    def response(self) -> web.Response:
        """Return the response that the server sends."""
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        return web.Response(
            status=self.status, body=body, content_type=self.kind, headers=self.headers
        )


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request as the server received it.

    Args:
        kind: kind of request; see `kind_of`.
        path: path of the URL.
        query: query parameters.
        query_string: the query as sent.
        body: parsed JSON of a link call, else text.
        headers: HTTP headers.
        contact: contact in the path, or None.
        number: number among the requests of its kind, from 1.
        at: monotonic time in seconds.
    """

    kind: str
    path: str
    query: dict[str, str]
    query_string: str
    body: Any
    headers: dict[str, str]
    contact: str | None
    number: int
    at: float

    @property
    def messages(self) -> list[str]:
        """Return the messages that a link or unlink names."""
        if self.kind == "link":
            return [item["message_id"] for item in self.body["Emails"]]
        if self.kind == "unlink":
            return self.query["message_ids"].split(",")
        return [self.path.split("/")[-3]]


Script = Callable[[ReceivedRequest], Awaitable[Reply | None]]


async def _as_documented(_: ReceivedRequest) -> Reply | None:
    return None


@dataclass(slots=True)
class StandIn:
    """Scripted CRM that records requests.

    Args:
        world: its content before the first request.
        script: called with each request; if it returns None, the answer is as documented.
        shuffled: whether entries of an answer are shuffled.
        url: its address.
        requests: the requests received, in order.
        in_flight: requests being answered, by kind.
        most_in_flight: most requests at once.
        deals: the deal of each message since the first request.
        activity: notified when a request arrives or is answered.
        gate: opened by the test; see `wait_for_gate`.
    """

    world: World
    script: Script = _as_documented
    shuffled: bool = False
    url: str = ""
    requests: list[ReceivedRequest] = field(default_factory=list)
    in_flight: Counter[str] = field(default_factory=Counter)
    most_in_flight: int = 0
    deals: dict[str, str | None] = field(default_factory=dict)
    activity: threading.Condition = field(default_factory=threading.Condition)
    gate: threading.Event = field(default_factory=threading.Event)

    def env(self, **changed: str) -> dict[str, str]:
        """Return the environment of a command connected to it."""
        secrets = {
            "BULKLINK_CLIENT_ID": "standin-client",
            "BULKLINK_CLIENT_SECRET": SECRET,
            "BULKLINK_REFRESH_TOKEN": REFRESH,
        }
        return connection(self.url, **{**secrets, **changed})

    def requests_of(self, *kinds: str) -> list[ReceivedRequest]:
        """Return the requests of these kinds in the order they came."""
        return [request for request in self.requests if request.kind in kinds]

    def links(self) -> dict[str, str | None]:
        """Return the deal that each message is on now."""
        return dict(self.deals or self.world.links())

    def wait_until(self, condition: Callable[[], bool], timeout: float = 20) -> None:
        """Wait until a condition holds, checked whenever a request arrives or is answered."""
        with self.activity:
            assert self.activity.wait_for(condition, timeout), self.requests[-3:]

    async def wait_for_gate(self) -> None:
        """Hold a request until the test opens the gate."""
        await asyncio.get_running_loop().run_in_executor(None, self.gate.wait, 40)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        received = await self._record(request)
        try:
            reply = await self.script(received)
            return (reply or self._answer(received)).response()
        finally:
            with self.activity:
                self.in_flight[received.kind] -= 1
                self.activity.notify_all()

    async def _record(self, request: web.Request) -> ReceivedRequest:
        kind = kind_of(request.method, request.path)
        text = await request.text()
        parts = request.path.split("/")
        with self.activity:
            self.deals = self.deals or self.world.links()
            received = ReceivedRequest(
                kind=kind,
                path=request.path,
                query=dict(request.query),
                query_string=request.rel_url.raw_query_string,
                body=json.loads(text) if kind.startswith("link") else text,
                headers=dict(request.headers),
                contact=parts[4] if len(parts) > 4 and parts[3] == "Contacts" else None,
                number=len(self.requests_of(kind)) + 1,
                at=time.monotonic(),
            )
            self.requests.append(received)
            self.in_flight[kind] += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight.total())
            self.activity.notify_all()
        return received

    def _answer(self, request: ReceivedRequest) -> Reply:
        names = self.world.deal_names()
        match request.kind:
            case "token":
                return Reply(
                    body={
                        "access_token": TOKEN,
                        "api_domain": self.url,
                        "token_type": "Bearer",
                        "expires_in": 3600,
                    }
                )
            case "org":
                org = {"id": "58", "company_name": "Stand-in", "zgid": "9", "type": "Sandbox"}
                return Reply(body={"org": [org]})
            case "module":
                return Reply(body={"modules": [{"api_name": "Deals", "id": MODULE}]})
            case "users":
                users = [
                    {"id": user, "full_name": name, "email": "u@x.example", "status": "active"}
                    for user, name in USERS.items()
                ]
                return Reply(body={"users": users, "info": {"more_records": False}})
            case "deals":
                deals = [
                    {"id": deal_id, "Deal_Name": names[deal_id]}
                    for deal_id in request.query["ids"].split(",")
                    if deal_id in names
                ]
                info = {"more_records": False, "count": len(deals)}
                return Reply(body={"data": deals, "info": info}) if deals else Reply(204)
            case "read":
                return self._page(request)
            case "link" | "link-one" | "unlink" | "unlink-one":
                return self._change_links(request)
        return Reply(404, {"code": "INVALID_URL_PATTERN", "message": "?", "status": "error"})

    def _emails(self, contact: str | None) -> list[Email]:
        return [
            e
            for world_contact in self.world.contacts
            if world_contact.id == contact
            for e in world_contact.emails
        ]

    def _page(self, request: ReceivedRequest) -> Reply:
        emails, first = self._emails(request.contact), int(request.query.get("index", "0"))
        if not emails:
            return Reply(204)
        names = self.world.deal_names()
        more = first + 10 < len(emails)
        entries = [
            {
                "message_id": email.message,
                "owner": {"name": USERS[email.owner], "id": email.owner},
                "subject": "Question",
                "linked_record": None
                if (deal := self.deals[email.message]) is None
                else {
                    "id": deal,
                    "name": names[deal],
                    "module": {"api_name": "Deals", "id": MODULE},
                },
            }
            for email in emails[first : first + 10]
        ]
        info = {
            "per_page": 10,
            "count": len(entries),
            "next_index": str(first + 10) if more else None,
            "prev_index": "0",
            "more_records": more,
        }
        return Reply(body={"Emails": entries, "info": info})

    def _change_links(self, request: ReceivedRequest) -> Reply:
        target_deals: dict[str, str | None] = dict.fromkeys(request.messages)
        if request.kind.startswith("link"):
            for message, item in zip(request.messages, request.body["Emails"], strict=True):
                target_deals[message] = item["linked_record"]["id"]
        answers = [self._change(message, deal) for message, deal in target_deals.items()]
        if self.shuffled:
            random.Random(request.number).shuffle(answers)
        return Reply(body={"Emails": answers})

    def _change(self, message: str, deal: str | None) -> dict[str, Any]:
        if deal is not None and self.deals[message] is not None:
            text = "Unlink the email first to link it to another deal record"
            return item_error("ALREADY_LINKED", message, text)
        self.deals[message] = deal
        return item_success(message)


def item_success(message: str) -> dict[str, Any]:
    """Return the success of one item of a call."""
    text = "email has been changed successfully"
    details = {"message_id": message}
    return {"code": "SUCCESS", "details": details, "message": text, "status": "success"}


def item_error(code: str, message: str, text: str = "refused") -> dict[str, Any]:
    """Return the error of one item of a call, which names its message."""
    return {"code": code, "details": {"message_id": message}, "message": text, "status": "error"}


def error(status: int, code: str, text: str = "refused") -> Reply:
    """Return an error of a whole call."""
    return Reply(status, {"code": code, "details": {}, "message": text, "status": "error"})


def answer_links(
    standin: StandIn, answer_item: Callable[[int, str], dict[str, Any] | None]
) -> Script:
    """Return a script for link calls.

    Args:
        standin: the server, whose links change.
        answer_item: returns the entry of the message at a position of a call, or None to link it.
    """

    async def answer(request: ReceivedRequest) -> Reply | None:
        if request.kind != "link":
            return None
        entries = []
        for position, item in enumerate(request.body["Emails"]):
            message = item["message_id"]
            entry = answer_item(position, message)
            if entry is None:
                standin.deals[message] = item["linked_record"]["id"]
                entry = item_success(message)
            entries.append(entry)
        return Reply(body={"Emails": entries})

    return answer


def hold_calls(standin: StandIn, kind: str, after: int = 0) -> Script:
    """Return a script that holds the calls of a kind, from the nth on, until the gate opens."""

    async def hold(request: ReceivedRequest) -> Reply | None:
        if request.kind == kind and request.number > after:
            await standin.wait_for_gate()
        return None

    return hold


def kind_of(method: str, path: str) -> str:
    """Return the kind of a request."""
    parts = path.split("/")[3:]
    match method, parts:
        case "POST", ["token"]:
            return "token"
        case "GET", ["org"]:
            return "org"
        case "GET", ["settings", "modules", "Deals"]:
            return "module"
        case "GET", ["users"]:
            return "users"
        case "GET", ["Deals"]:
            return "deals"
        case "GET", ["Contacts", _, "Emails"]:
            return "read"
        case "POST", ["Contacts", _, "Emails", "actions", "link_record"]:
            return "link"
        case "POST", ["Contacts", _, "Emails", _, "actions", "link_record"]:
            return "link-one"
        case "DELETE", ["Contacts", _, "Emails", "actions", "link_record"]:
            return "unlink"
        case "DELETE", ["Contacts", _, "Emails", _, "actions", "link_record"]:
            return "unlink-one"
    return "other"


@contextlib.contextmanager
def serve_stand_in(world: World) -> Iterator[StandIn]:
    """Serve a world from a thread of this process."""
    server = StandIn(world)
    loop = asyncio.new_event_loop()
    ready, over = threading.Event(), asyncio.Event()

    async def serve() -> None:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", server.serve)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        server.url = f"http://{host}:{port}"
        ready.set()
        await over.wait()
        await runner.cleanup()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        server.gate.set()
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
