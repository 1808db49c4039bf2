"""Messages that one answer settled as done, as nearly all of a large run, and their lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from operator import attrgetter

import msgspec
import orjson

from bulklink.ledger.records import Result
from bulklink.models import Message, Op, Status


class DoneBatch(msgspec.Struct, frozen=True):
    """Messages of one contact that one call changed, as its answer reports for each of them.

    Args:
        messages: the messages, all of one operation, in the order of the call.
        code: code that the answer has for each of them.
        text: message that the answer has for each of them, up to 300 characters.
        http_status: HTTP status of the answer.
        attempts: attempts of the call.
        call: number of the call.
    """

    messages: Sequence[Message]
    code: str
    text: str
    http_status: int
    attempts: int
    call: int

    @property
    def op(self) -> Op:
        """Operation of all messages."""
        return self.messages[0].op

    def results(self) -> Iterator[Result]:
        """Yield the result of each message."""
        for message in self.messages:
            yield Result(
                row=message.row,
                op=self.op,
                contact_id=message.contact_id,
                owner_id=message.owner_id,
                message_id=message.message_id,
                deal_id=message.deal_id,
                status=Status.DONE,
                code=self.code,
                http_status=self.http_status,
                message=self.text,
                attempts=self.attempts,
                call=self.call,
            )


def done_lines(ts: str, batch: DoneBatch, message_ids: Sequence[str]) -> bytes:
    """Return the lines of a batch: those of `result_line`, in a third of the time.

    Args:
        ts: time of the lines.
        batch: the batch.
        message_ids: ids of its messages, as JSON.
    """
    op, contact_id = batch.op, batch.messages[0].contact_id
    start = f'{{"event":"result","ts":"{ts}","row":'
    middle = f',"op":{_json(op)},"contact_id":{_json(contact_id)},"owner_id":'
    end = (
        f',"status":"done","code":{_json(batch.code)},"http_status":{batch.http_status}'
        f',"message":{_json(batch.text)},"attempts":{batch.attempts},"call":{batch.call}}}\n'
    )
    lines: list[str] = []
    ids = iter(message_ids)
    for (owner_id, deal_id), messages in groupby(batch.messages, _TARGET):
        before = f'{middle}{_json(owner_id)},"message_id":'
        after = f',"deal_id":{_json(deal_id)}{end}'
        lines += [
            f"{start}{message.row}{before}{message_id}{after}"
            for message, message_id in zip(messages, ids, strict=False)
        ]
    return "".join(lines).encode()


_TARGET = attrgetter("owner_id", "deal_id")


@lru_cache(1024)
def _json(value: str | None) -> str:
    """Return a value that many lines share as JSON."""
    return orjson.dumps(value).decode()
