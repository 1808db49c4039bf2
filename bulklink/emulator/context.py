"""Call context, parsed request and handler result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from bulklink.emulator.errors import Problem, error_answer
from bulklink.emulator.faults import Fault
from bulklink.emulator.http import Answer, Request
from bulklink.emulator.limits import OrgLimits
from bulklink.emulator.records import Records
from bulklink.emulator.routing import Call, match_call
from bulklink.emulator.settings import Settings
from bulklink.emulator.state import Change, CrmState
from bulklink.emulator.world import World


@dataclass(frozen=True, slots=True)
class CallContext:
    """Inputs to the answer of a call: world, settings, state, limits and time.

    Args:
        world: the CRM before the first call.
        records: its records by module.
        settings: behaviour of the emulator.
        state: changes since, and counters.
        limits: limits of the org.
        now: seconds since 1970.
        faults: the faults that hit this call.
    """

    world: World
    records: Records
    settings: Settings
    state: CrmState
    limits: OrgLimits
    now: float
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request with its endpoint and query parsed.

    Args:
        call: the endpoint and path parameters.
        raw: the HTTP request.
        query: the query parameters; a repeated parameter has its last value.
    """

    call: Call
    raw: Request
    query: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class HandlerResult:
    """An answer and the changes to apply with it.

    Args:
        answer: the answer to the caller.
        contact_id: the contact whose emails change.
        changes: the changes; not applied if an `ignored` fault hits the call.
    """

    answer: Answer
    contact_id: str = ""
    changes: tuple[Change, ...] = ()


def parse_request(request: Request) -> ApiRequest:
    """Parse the address and query of a request."""
    call = match_call(request.method, request.path)
    return ApiRequest(call, request, dict(parse_qsl(request.query, keep_blank_values=True)))


def refuse(problem: Problem) -> HandlerResult:
    """Return the result that refuses a whole call."""
    return HandlerResult(error_answer(problem))
