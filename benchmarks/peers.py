"""Clients of the shapes in which such scripts are usually written, to compare with bulklink.

All of them link the emails of a mapping at a local server, parse its answers and check that every
email was linked. The first three use the HTTP client of the standard library, which takes less CPU
than `requests`.

    python benchmarks/peers.py SHAPE URL MAPPING
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import http.client
import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import local
from typing import Any
from urllib.parse import urlsplit

from servers import ACCESS_TOKEN, PER_CALL, link_body

THREADS = 20
_HEADERS = {
    "Authorization": f"Zoho-oauthtoken {ACCESS_TOKEN}",
    "Content-Type": "application/json",
}
_CALLS_A_MINUTE = 60_000.0
_LOOP_SECONDS = 0.001
"""Pause after each look of the parallel processor: it starts at most a thousand calls a second."""
_MAX_ATTEMPTS = 5


def calls_of(mapping: Path, per_call: int) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the path and the body of each call."""
    with mapping.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for start in range(0, len(rows), per_call):
        call = rows[start : start + per_call]
        path = f"/crm/v8/Contacts/{call[0]['contact_id']}/Emails/actions/link_record"
        yield path, link_body(call)


def send(connection: http.client.HTTPConnection, path: str, body: dict[str, object]) -> None:
    """Make a call, and check that its emails were linked."""
    connection.request("POST", path, json.dumps(body), _HEADERS)
    check(json.loads(connection.getresponse().read()), body)


def check(answer: dict[str, Any], body: dict[str, Any]) -> None:
    """Refuse an answer that does not say that every email was linked."""
    linked = sum(entry["code"] == "SUCCESS" for entry in answer["Emails"])
    if linked != len(body["Emails"]):
        raise SystemExit(f"Only {linked} of {len(body['Emails'])} emails were linked.")


def connection_each(url: str, mapping: Path) -> None:
    """Send the emails one by one, each with a connection of its own."""
    host = urlsplit(url).netloc
    for path, body in calls_of(mapping, 1):
        connection = http.client.HTTPConnection(host)
        send(connection, path, body)
        connection.close()


def threads(url: str, mapping: Path, *, per_call: int) -> None:
    """Send calls from threads, each of which keeps its connection, as those of a session do."""
    host, own = urlsplit(url).netloc, local()

    def send_call(call: tuple[str, dict[str, object]]) -> None:
        if not hasattr(own, "connection"):
            own.connection = http.client.HTTPConnection(host)
        send(own.connection, *call)

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(send_call, calls_of(mapping, per_call)):
            pass


@dataclass(slots=True)
class ProcessedRequest:
    """A line of the requests file.

    Args:
        path: path of the call.
        body: its body.
        attempts_left: further attempts.
    """

    path: str
    body: dict[str, Any]
    attempts_left: int = _MAX_ATTEMPTS


def requests_file(mapping: Path) -> Path:
    """Return the path of the requests that the parallel processor reads for a mapping."""
    return mapping.with_suffix(".requests.jsonl")


def write_requests(mapping: Path) -> None:
    """Write a line of JSON for each call of a mapping."""
    with requests_file(mapping).open("w", encoding="utf-8") as file:
        for path, body in calls_of(mapping, PER_CALL):
            file.write(json.dumps({"path": path, "body": body}) + "\n")


async def parallel_processor(url: str, mapping: Path) -> None:
    """Send the lines of a JSONL file with a token bucket, and append each answer to another one.

    The shape is that of `api_request_parallel_processor.py` in the OpenAI Cookbook: a loop that
    takes one line at a time, starts a task for it if the bucket allows, and sleeps for a
    millisecond.
    """
    import aiohttp

    results = mapping.with_suffix(".results.jsonl")
    results.unlink(missing_ok=True)
    retries: deque[ProcessedRequest] = deque()
    in_progress: set[asyncio.Task[None]] = set()

    async def call_api(session: aiohttp.ClientSession, request: ProcessedRequest) -> None:
        try:
            async with session.post(f"{url}{request.path}", json=request.body) as response:
                answer = await response.json()
        except aiohttp.ClientError as error:
            if not request.attempts_left:
                raise SystemExit(f"No answer: {error}") from None
            request.attempts_left -= 1
            retries.append(request)
            return
        check(answer, request.body)
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps([request.body, answer]) + "\n")

    with requests_file(mapping).open(encoding="utf-8") as file:
        lines = (ProcessedRequest(**json.loads(line)) for line in file)
        async with aiohttp.ClientSession(headers=_HEADERS) as session:
            next_request: ProcessedRequest | None = None
            available, updated_at = _CALLS_A_MINUTE, time.monotonic()
            while True:
                if next_request is None:
                    next_request = retries.popleft() if retries else next(lines, None)
                now = time.monotonic()
                refilled = available + _CALLS_A_MINUTE * (now - updated_at) / 60
                available, updated_at = min(refilled, _CALLS_A_MINUTE), now
                if next_request is not None and available >= 1:
                    available -= 1
                    task = asyncio.create_task(call_api(session, next_request))
                    in_progress.add(task)
                    task.add_done_callback(in_progress.discard)
                    next_request = None
                elif next_request is None and not in_progress and not retries:
                    return
                await asyncio.sleep(_LOOP_SECONDS)


SHAPES: dict[str, Callable[[str, Path], None]] = {
    "connection-each": connection_each,
    "threads": partial(threads, per_call=1),
    "threads-batches": partial(threads, per_call=PER_CALL),
    "processor": lambda url, mapping: asyncio.run(parallel_processor(url, mapping)),
}


def main() -> None:
    """Send a mapping with one of the shapes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("url")
    parser.add_argument("mapping", type=Path)
    arguments = parser.parse_args()
    SHAPES[arguments.shape](arguments.url, arguments.mapping)


if __name__ == "__main__":
    main()
