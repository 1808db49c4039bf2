"""The emulated CRM: takes a request, returns an answer. It knows no socket and no real time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from bulklink.emulator import linkcalls, lookups, reads
from bulklink.emulator.access import access_problem
from bulklink.emulator.calls import Kind, Name, read_call
from bulklink.emulator.control import answer_control
from bulklink.emulator.desk import Asked, Desk, Reply, asked, refuse
from bulklink.emulator.settings import Settings
from bulklink.emulator.state import State
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
        clock: returns seconds since 1970; a test gives a virtual one.
        sleep: waits so many seconds of that clock.
    """

    def __init__(
        self,
        world: World,
        settings: Settings | None = None,
        *,
        clock: Clock = time.time,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.world = world
        self.settings = settings or Settings()
        self.state = State(world)
        self._clock = clock
        self._sleep = sleep

    async def handle(self, request: Request) -> Answer:
        """Answer one request."""
        call = read_call(request.method, request.path)
        question = asked(call, request)
        if call.kind is Kind.CONTROL:
            return answer_control(self._desk(), question)
        self.state.calls[call.kind.value] += 1
        self.state.enter()
        try:
            if self.settings.latency:
                await self._sleep(self.settings.latency)
            return self._answer(question)
        finally:
            self.state.leave()

    def _desk(self) -> Desk:
        return Desk(self.world, self.settings, self.state, self._clock())

    def _answer(self, question: Asked) -> Answer:
        desk = self._desk()
        if question.call.kind is Kind.TOKEN:
            return answer_token(desk, question)
        reply = respond(desk, question)
        self.state.apply(reply.contact_id, reply.changes, desk.now)
        return reply.answer


def respond(desk: Desk, question: Asked) -> Reply:
    """Return what a call is answered and changes, without changing anything."""
    problem = access_problem(desk, question)
    if problem:
        return refuse(problem)
    return _HANDLERS[question.call.name](desk, question)
