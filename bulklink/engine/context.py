"""Dependencies and settings shared by all contacts of a run."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from bulklink.engine.active_contacts import ActiveContacts
from bulklink.engine.breaker import CircuitBreaker
from bulklink.engine.caller import Caller
from bulklink.engine.clock import Clock
from bulklink.engine.message_state import MessageState
from bulklink.engine.pagination import ContactReading
from bulklink.engine.quota.gate import QuotaGate
from bulklink.engine.shutdown import StopController
from bulklink.ledger.records import Result
from bulklink.ledger.writer import LedgerWriter
from bulklink.models import Message


class SendSettings(msgspec.Struct, frozen=True):
    """How batches are cut and sent.

    Args:
        batch_size: most messages per call.
        by_contact: whether several owners of a contact share a link call.
        single_endpoint: whether a call for one message uses the endpoint for a single email.
        send_names: whether link calls carry names as well as ids.
        module_id: the org's id of the Deals module.
        read_back: whether uncertain messages are settled by a read.
        read_pages: most pages read per contact.
        settle_after: seconds after a call before a read that shows no change is trusted.
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
    """Dependencies and settings shared by all contacts of a run.

    Args:
        settings: how batches are cut and sent.
        caller: makes the calls.
        quota: grants the credits.
        ledger: writes the lines.
        breaker: decides what a refusal means.
        contacts: contacts in progress.
        stop: stops the run.
        clock: clocks and randomness.
        on_result: called with each result once it is queued for the ledger.
        initial_state: returns the starting state of a message, restored from the ledger if an
            earlier invocation left it open.
        on_contact_read: called after the pages of a contact are read.
        earlier_calls_at: monotonic seconds by which all calls of earlier invocations had ended.
    """

    settings: SendSettings
    caller: Caller
    quota: QuotaGate
    ledger: LedgerWriter
    breaker: CircuitBreaker
    contacts: ActiveContacts
    stop: StopController
    clock: Clock
    on_result: Callable[[Result], None]
    initial_state: Callable[[Message], MessageState]
    on_contact_read: Callable[[ContactReading], None] = lambda reading: None
    earlier_calls_at: float = -math.inf
