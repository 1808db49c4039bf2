"""Emulated CRM that maps requests to answers, without sockets or real time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from bulklink.emulator import (
    coql_handlers,
    email_handlers,
    link_handlers,
    lookup_handlers,
    settings_handlers,
    timeline_handlers,
)
from bulklink.emulator.access import access_problem
from bulklink.emulator.admission import admit
from bulklink.emulator.context import ApiRequest, CallContext, HandlerResult, parse_request, refuse
from bulklink.emulator.control import answer_control
from bulklink.emulator.errors import ParameterError
from bulklink.emulator.fault_effects import (
    answer_fault,
    apply_to_answer,
    concurrent_edit,
    fault_delay,
    replacement_answer,
)
from bulklink.emulator.faults import Fault, FaultKind
from bulklink.emulator.http import Answer, Request
from bulklink.emulator.limits import org_limits, with_credit_window, with_credits_remaining
from bulklink.emulator.link_traces import LinkTraces
from bulklink.emulator.records import Records
from bulklink.emulator.routing import DEALS_MODULE, Endpoint, EndpointKind
from bulklink.emulator.settings import Settings
from bulklink.emulator.state import CrmState, DelayQueue
from bulklink.emulator.tokens import answer_token
from bulklink.emulator.world import World

TimeFunction = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]
_Handler = Callable[[CallContext, ApiRequest], HandlerResult]

_HANDLERS: Mapping[Endpoint, _Handler] = MappingProxyType(
    {
        Endpoint.LINK: link_handlers.handle_link,
        Endpoint.UNLINK: link_handlers.handle_unlink,
        Endpoint.EMAILS: email_handlers.handle_emails,
        Endpoint.EMAIL: email_handlers.handle_email,
        Endpoint.ORG: lookup_handlers.handle_org,
        Endpoint.MODULES: lookup_handlers.handle_modules,
        Endpoint.USERS: lookup_handlers.handle_users,
        Endpoint.RECORDS: lookup_handlers.handle_records,
        Endpoint.CONTACT_DEALS: lookup_handlers.handle_contact_deals,
        Endpoint.CONTACT_ROLES: lookup_handlers.handle_contact_roles,
        Endpoint.TIMELINE: timeline_handlers.handle_timeline,
        Endpoint.COQL: coql_handlers.handle_query,
        Endpoint.LAYOUTS: settings_handlers.handle_layouts,
        Endpoint.PIPELINE: settings_handlers.handle_pipeline,
    }
)


class Crm:
    """An emulated CRM.

    Args:
        world: its content before the first call.
        settings: its behaviour.
        faults: the faults active from the start.
        clock: returns seconds since 1970; tests pass a virtual clock.
        sleep: waits a number of seconds on that clock.
    """

    def __init__(
        self,
        world: World,
        settings: Settings | None = None,
        faults: Sequence[Fault] = (),
        *,
        clock: TimeFunction = time.time,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.settings = settings or Settings()
        self._traces = LinkTraces(world, self.settings)
        self.world = self._traces.world
        self.state = CrmState(world, self.settings, faults, clock())
        self._records = Records(self.world)
        self._limits = org_limits(self.settings, world)
        self._delayed_calls: DelayQueue[ApiRequest] = DelayQueue()
        self._clock = clock
        self._sleep = sleep

    async def handle(self, request: Request) -> Answer:
        """Answer one request."""
        api_request = parse_request(request)
        call = api_request.call
        if call.kind is EndpointKind.CONTROL:
            return answer_control(self._current_context(), api_request)
        self.state.count_call(call)
        if call.kind is EndpointKind.TOKEN:
            return await self._answer_with_faults(api_request)
        self.state.begin_call(call)
        try:
            answer = await self._serve_api_call(api_request)
        finally:
            self.state.end_call(call)
        self.state.answered_429 += answer.status == 429
        return answer

    async def _serve_api_call(self, api_request: ApiRequest) -> Answer:
        """Answer a call to the API host, within the org's limits."""
        refusal = admit(self._current_context(), api_request)
        answer = refusal or await self._answer_with_faults(api_request)
        answer = with_credits_remaining(
            answer, self.state.credits.used(self._clock()), self._limits
        )
        return with_credit_window(answer, self.settings)

    async def _answer_with_faults(self, api_request: ApiRequest) -> Answer:
        """Execute a call, with its latency and the faults that hit it."""
        faults = self.state.faults.fire(api_request.call.kind, api_request.call.record_id)
        delay = self.settings.latency + fault_delay(faults)
        if delay:
            await self._sleep(delay)
        fault = answer_fault(faults)
        answer = replacement_answer(fault)
        if (
            fault
            and fault.kind == FaultKind.LATE
            and api_request.call.kind is not EndpointKind.TOKEN
        ):
            self._delayed_calls.put(self._clock() + fault.duration, api_request)
        if answer is None:
            answer = apply_to_answer(self._execute(api_request, faults), fault)
        if fault and fault.kind == FaultKind.STALLED:
            await self._sleep(fault.duration)
        return answer

    def _execute(self, api_request: ApiRequest, faults: Sequence[Fault]) -> Answer:
        context = replace(self._current_context(), faults=tuple(faults))
        if api_request.call.kind is EndpointKind.TOKEN:
            return answer_token(context, api_request)
        for fault in faults:
            if fault.kind == FaultKind.EDITED:
                self._apply_concurrent_edit(api_request.call.record_id, fault, context.now)
        result = respond(context, api_request)
        if not any(fault.kind == FaultKind.IGNORED for fault in faults):
            self._apply(result, context.now)
        return result.answer

    def _apply(self, result: HandlerResult, at: float) -> None:
        """Apply the changes of a call, with the traces that they leave."""
        changes = self.state.apply(result.contact_id, result.changes, at)
        if changes and self._traces.leave(changes):
            self._records.forget_table(DEALS_MODULE)

    def _apply_concurrent_edit(self, contact_id: str, fault: Fault, now: float) -> None:
        change_count = self.state.change_count
        change = concurrent_edit(self.state.view(contact_id), self.world, fault.seed, change_count)
        self.state.apply(contact_id, (change,) if change else (), now, "user")

    def _current_context(self) -> CallContext:
        """Apply the delayed calls that are due, then return the context of a call made now."""
        now = self._clock()
        while delayed_call := self._delayed_calls.pop_due(now):
            due, api_request = delayed_call
            result = respond(self._context_at(due), api_request)
            self._apply(result, due)
        return self._context_at(now)

    def _context_at(self, now: float) -> CallContext:
        return CallContext(self.world, self._records, self.settings, self.state, self._limits, now)


def respond(context: CallContext, api_request: ApiRequest) -> HandlerResult:
    """Return the answer and changes of a call without applying them."""
    problem = access_problem(context, api_request)
    if problem:
        return refuse(problem)
    try:
        return _HANDLERS[api_request.call.endpoint](context, api_request)
    except ParameterError as error:
        return refuse(error.problem)
