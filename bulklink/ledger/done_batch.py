"""Messages that one answer settled as done, and their ledger lines.

Nearly all results of a large run are of this kind, so their lines are formatted together. Each is
the line that `records.result_line` makes of the same result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from bulklink.json_literals import json_literal, unique_literal
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


def done_lines(ts: str, batch: DoneBatch) -> bytes:
    """Return the `result` lines of a batch."""
    contact_id = batch.messages[0].contact_id
    head = f'{{"event":"result","ts":"{ts}","row":'
    middle = f',"op":"{batch.op.value}","contact_id":{json_literal(contact_id)},"owner_id":'
    tail = (
        f',"status":"done","code":{json_literal(batch.code)},"http_status":{batch.http_status}'
        f',"message":{json_literal(batch.text)},"attempts":{batch.attempts}'
        f',"call":{batch.call}}}\n'
    )
    return "".join(
        [
            f"{head}{message.row}{middle}{json_literal(message.owner_id)},"
            f'"message_id":{unique_literal(message.message_id)},'
            f'"deal_id":{json_literal(message.deal_id)}{tail}'
            for message in batch.messages
        ]
    ).encode()
