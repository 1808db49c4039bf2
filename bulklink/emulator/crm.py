"""The emulated CRM: takes a request, returns an answer. It knows no socket and no real time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from bulklink.emulator import linkcalls, lookups, reads
from bulklink.emulator.access import access_problem
from bulklink.emulator.calls import Kind, Name, read_call
from bulklink.emulator.control import answer_control
from bulklink.emulator.desk import Asked, Desk, Reply, asked, refuse
from bulklink.emulator.disturb import disturbed, edit_by_somebody, instead, main_fault, waiting
from bulklink.emulator.faults import Fault, FaultKind
from bulklink.emulator.gate import admit
from bulklink.emulator.limits import caps_of, with_remaining
from bulklink.emulator.settings import Settings
from bulklink.emulator.state import Later, State
from bulklink.emulator.tokens import answer_token
from bulklink.emulator.wire import Answer, Request
from bulklink.emulator.world import World

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]
_Handler = Callable[[Desk, Asked], Reply]

_HANDLERS: Mapping[Name, _Handler] = MappingProxyType(
    {
        Name.LINK: linkcalls.link,
        Name.UNLINK: linkcalls.unlink,
        Name.EMAILS: reads.emails,
        Name.EMAIL: reads.email,
        Name.ORG: lookups.org,
        Name.MODULES: lookups.modules,
        Name.USERS: lookups.users,
        Name.RECORDS: lookups.records,
        Name.CONTACT_DEALS: lookups.contact_deals,
        Name.PIPELINE: lookups.pipeline,
    }
)


class Crm:
    """A CRM of its own.

    Args:
        world: what is in it before the first call.
        settings: how it behaves.
        faults: those on order from the start.
        clock: returns seconds since 1970; a test gives a virtual one.
        sleep: waits so many seconds of that clock.
    """

    def __init__(
        self,
        world: World,
        settings: Settings | None = None,
        faults: Sequence[Fault] = (),
        *,
        clock: Clock = time.time,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.world = world
        self.settings = settings or Settings()
        self.state = State(world, self.settings, faults, clock())
        self._caps = caps_of(self.settings, world)
        self._late: Later[Asked] = Later()
        self._clock = clock
        self._sleep = sleep

    async def handle(self, request: Request) -> Answer:
        """Answer one request."""
        call = read_call(request.method, request.path)
        question = asked(call, request)
        if call.kind is Kind.CONTROL:
            return answer_control(self._desk(), question)
        self.state.calls[call.kind.value] += 1
        if call.kind is Kind.TOKEN:
            return await self._travel(question)
        self.state.enter(call.kind)
        try:
            answer = await self._serve(question)
        finally:
            self.state.leave(call.kind)
        self.state.answered_429 += answer.status == 429
        return answer

    async def _serve(self, question: Asked) -> Answer:
        """Answer a call to the API host, where the org's limits hold."""
        answer = admit(self._desk(), question.call.kind) or await self._travel(question)
        return with_remaining(answer, self.state.credits.used(self._clock()), self._caps)

    async def _travel(self, question: Asked) -> Answer:
        """Carry a call out, with the time it takes and the faults it meets on its way."""
        faults = self.state.faults.fire(question.call.kind, question.call.record_id)
        wait = self.settings.latency + waiting(faults)
        if wait:
            await self._sleep(wait)
        fault = main_fault(faults)
        answer = instead(fault)
        if fault and fault.kind == FaultKind.LATE and question.call.kind is not Kind.TOKEN:
            self._late.put(self._clock() + fault.lasts, question)
        if answer is None:
            answer = disturbed(self._carry_out(question, faults), fault)
        if fault and fault.kind == FaultKind.STALLED:
            await self._sleep(fault.lasts)
        return answer

    def _carry_out(self, question: Asked, faults: Sequence[Fault]) -> Answer:
        desk = replace(self._desk(), faults=tuple(faults))
        if question.call.kind is Kind.TOKEN:
            return answer_token(desk, question)
        for fault in faults:
            if fault.kind == FaultKind.EDITED:
                self._edit(question.call.record_id, fault, desk.now)
        reply = respond(desk, question)
        if not any(fault.kind == FaultKind.IGNORED for fault in faults):
            self.state.apply(reply.contact_id, reply.changes, desk.now)
        return reply.answer

    def _edit(self, contact_id: str, fault: Fault, now: float) -> None:
        number = self.state.changes
        change = edit_by_somebody(self.state.view(contact_id), self.world, fault.seed, number)
        self.state.apply(contact_id, (change,) if change else (), now, "somebody")

    def _desk(self) -> Desk:
        """Return what calls are answered from now, after what was late has landed."""
        now = self._clock()
        while landed := self._late.take(now):
            due, question = landed
            reply = respond(self._desk_at(due), question)
            self.state.apply(reply.contact_id, reply.changes, due)
        return self._desk_at(now)

    def _desk_at(self, now: float) -> Desk:
        return Desk(self.world, self.settings, self.state, self._caps, now)


def respond(desk: Desk, question: Asked) -> Reply:
    """Return what a call is answered and changes, without changing anything."""
    problem = access_problem(desk, question)
    if problem:
        return refuse(problem)
    return _HANDLERS[question.call.name](desk, question)
