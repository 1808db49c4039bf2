"""What a call is answered from, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from bulklink.emulator.errors import Problem, error_answer
from bulklink.emulator.faults import Fault
from bulklink.emulator.http import Answer, Request
from bulklink.emulator.limits import OrgLimits
from bulklink.emulator.routing import Call
from bulklink.emulator.settings import Settings
from bulklink.emulator.state import Change, CrmState
from bulklink.emulator.world import World


@dataclass(frozen=True, slots=True)
class CallContext:
    """The world, the rules, the state and the time at which a call is answered.

    Args:
        limits: the limits of the org.
        now: seconds since 1970.
        faults: those that hit this call.
    """

    world: World
    settings: Settings
    state: CrmState
    limits: OrgLimits
    now: float
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request with its address read.

    Args:
        query: the parameters; of one that is there twice, the last.
    """

    call: Call
    raw: Request
    query: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class HandlerResult:
    """An answer and the changes that come with it, not yet made."""

    answer: Answer
    contact_id: str = ""
    changes: tuple[Change, ...] = field(default=())


def parse_request(call: Call, request: Request) -> ApiRequest:
    """Read the query of a request."""
    return ApiRequest(call, request, dict(parse_qsl(request.query, keep_blank_values=True)))


def refuse(problem: Problem) -> HandlerResult:
    """Refuse a whole call."""
    return HandlerResult(error_answer(problem))
