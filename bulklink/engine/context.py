"""What all contacts of a run share."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from bulklink.engine.active_contacts import ActiveContacts
from bulklink.engine.breaker import CircuitBreaker
from bulklink.engine.caller import Caller
from bulklink.engine.clock import Clock
from bulklink.engine.message_state import MessageState
from bulklink.engine.quota.gate import QuotaGate
from bulklink.engine.shutdown import StopController
from bulklink.ledger.records import Result
from bulklink.ledger.writer import LedgerWriter
from bulklink.models import Message


class SendSettings(msgspec.Struct, frozen=True):
    """How batches are sent: most messages a call, which endpoint for one, with names or ids alone.

    `by_contact` lets several owners of a contact share a link call.

    `module_id` is the org's id of the module Deals. Without `read_back` nothing is settled by
    reading; `read_pages` of a contact are read at most; `settle_after` is how many seconds after
    a call a read is believed that shows it not applied.
    """

    batch_size: int
    by_contact: bool
    single_endpoint: bool
    send_names: bool
    module_id: str
    read_back: bool = True
    read_pages: int = 200
    settle_after: float = 10.0


class RunContext(msgspec.Struct, frozen=True):
    """What all contacts of a run share."""

    settings: SendSettings
    caller: Caller
    quota: QuotaGate
    ledger: LedgerWriter
    breaker: CircuitBreaker
    contacts: ActiveContacts
    stop: StopController
    clock: Clock
    on_result: Callable[[Result], None]
    """Told of each result once it is on its way to the ledger."""
    initial_state: Callable[[Message], MessageState]
    """Begins the work on a message, or takes it up where an earlier invocation left it."""
