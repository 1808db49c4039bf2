"""Messages that one answer settled as done, as nearly all of a large run."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

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

    def results(self) -> list[Result]:
        """Return the result of each message."""
        return [
            Result(
                message.row,
                message.op,
                message.contact_id,
                message.owner_id,
                message.message_id,
                message.deal_id,
                Status.DONE,
                self.code,
                self.http_status,
                self.text,
                self.attempts,
                self.call,
            )
            for message in self.messages
        ]
