"""Servers for benchmarks, and environments of commands that connect to them."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

BULKLINK = (sys.executable, "-m", "bulklink")
MODULE = "5843104000000002181"
"""Id of the Deals module in `token_environment`."""
ACCESS_TOKEN = "1000.8cb99dxxxxxxxxxxxxx9be93.9b8xxxxxxxxxxxxxxxf"
"""As long as Zoho's, so that masking it takes as much time."""
PER_CALL = 20
"""Messages per call."""


FIRST_CONTACT = 5843104000000100000
DEAL = 5843104000004382122
_PER_PAGE = 10


@contextmanager
def serve(command: Sequence[str], **options: Any) -> Iterator[str]:
    """Run a server that first prints a JSON object with its `url`; yield the URL.

    Args:
        command: program and arguments.
        **options: further arguments of `subprocess.Popen`, such as `cwd`.
    """
    with subprocess.Popen(command, stdout=subprocess.PIPE, **options) as process:
        assert process.stdout is not None
        try:
            yield str(json.loads(process.stdout.readline())["url"])
        finally:
            process.terminate()


def token_environment(url: str) -> dict[str, str]:
    """Return the environment of a command with an access token and module id, without look-ups."""
    return os.environ | {
        "BULKLINK_API_URL": url,
        "BULKLINK_ACCESS_TOKEN": ACCESS_TOKEN,
        "BULKLINK_DEALS_MODULE_ID": MODULE,
    }


def emulator_environment(url: str) -> dict[str, str]:
    """Return the environment of a command that connects to an emulator."""
    return os.environ | {
        "BULKLINK_API_URL": url,
        "BULKLINK_ACCOUNTS_URL": url,
        "BULKLINK_CLIENT_ID": "demo",
        "BULKLINK_CLIENT_SECRET": "demo",
        "BULKLINK_REFRESH_TOKEN": "demo",
    }


class Server(asyncio.Protocol):
    """Server that answers every link call at once, with a success for each message."""

    _message = re.compile(rb'"message_id": ?"(\w+)"')
    _entry = (
        b'{"code":"SUCCESS","details":{"message_id":"%s"},'
        b'"message":"email has been linked with the deal successfully","status":"success"}'
    )
    _org = b'{"org":[{"id":"1","company_name":"Bench","type":"Sandbox"}]}'

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        """Answer each complete request."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"content-length: (\d+)", self._received[:end].lower())
            total = end + 4 + (int(length[1]) if length else 0)
            if len(self._received) < total:
                return
            head, body = self._received[:end], self._received[end + 4 : total]
            self._received = self._received[total:]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        del head
        self._write(self._linked(self._message.findall(body)) if body else self._org)

    def _linked(self, messages: list[bytes]) -> bytes:
        return b'{"Emails":[%s]}' % b",".join(self._entry % m for m in messages)

    def _write(self, answer: bytes, status: bytes = b"200 OK") -> None:
        assert isinstance(self._transport, asyncio.Transport)
        self._transport.write(
            b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (status, len(answer), answer)
        )


class ReadingServer(Server):
    """Server that answers reads and unlinks too, with the emails of `write_mapping`."""

    _contact = re.compile(rb"/Contacts/(\d+)/Emails(?:\?index=(\d+))? ")
    _unlinked = re.compile(rb"message_ids=([\w,%]+)")
    deal = DEAL

    def _answer(self, head: bytes, body: bytes) -> None:
        if page := self._contact.search(head):
            self._write(_page(int(page[1]), int(page[2] or 0), self.deal))
        elif unlinked := self._unlinked.search(head):
            self._write(self._linked(re.findall(rb"\w{64}", unlinked[1])))
        else:
            super()._answer(head, body)


class OtherDealServer(ReadingServer):
    """Server whose reads show every email on another deal than that of the mapping."""

    deal = DEAL + 1


def _page(contact_id: int, index: int, deal_id: int) -> bytes:
    """Return a page of a contact's emails, starting at an index."""
    first = (contact_id - FIRST_CONTACT) * PER_CALL + index
    deal = {"module": {"api_name": "Deals", "id": "1"}, "id": str(deal_id), "name": "Deal"}
    emails = [
        {
            "message_id": f"{n:064x}",
            "owner": {"id": "5843104000000424672", "name": "Owner"},
            "linked_record": deal,
        }
        for n in range(first, first + _PER_PAGE)
    ]
    next_index = index + _PER_PAGE
    more = next_index < PER_CALL
    info: dict[str, object] = {"per_page": _PER_PAGE, "count": _PER_PAGE, "more_records": more}
    info["next_index"] = str(next_index) if more else None
    return json.dumps({"Emails": emails, "info": info}).encode()


async def serve_forever(protocol: type[Server]) -> None:
    """Serve until killed; print the address first."""
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    print(json.dumps({"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
    await server.serve_forever()


def link_body(rows: Sequence[Mapping[str, str]]) -> dict[str, object]:
    """Return the body of the call that links the emails of a mapping's rows."""
    module = {"api_name": "Deals", "id": MODULE}
    emails = [
        {
            "message_id": row["message_id"],
            "owner": {"id": row["owner_id"]},
            "linked_record": {"module": module, "id": row["deal_id"]},
        }
        for row in rows
    ]
    return {"Emails": emails}


def write_mapping(path: Path, messages: int, *, names: bool = False) -> None:
    """Write a mapping of full groups: 20 messages per contact.

    Args:
        path: the file.
        messages: number of rows.
        names: whether the rows name owner and deal, so that nothing is looked up.
    """
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        header = ["contact_id", "owner_id", "message_id", "deal_id"]
        writer.writerow(header + ["owner_name", "deal_name"] * names)
        for n in range(messages):
            contact = FIRST_CONTACT + n // PER_CALL
            row = [contact, 5843104000000424672, f"{n:064x}", DEAL]
            writer.writerow(row + ["Patricia Boyle", "Travel Insurance"] * names)
