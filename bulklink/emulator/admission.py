"""Admission control: admit a call or answer 429."""

from __future__ import annotations

from bulklink.emulator.context import ApiRequest, CallContext
from bulklink.emulator.coql_handlers import query_credits
from bulklink.emulator.http import Answer
from bulklink.emulator.limits import (
    LimitReason,
    Load,
    credit_cost,
    exceeded_limit,
    extend_penalty,
    is_penalty_active,
    too_many_requests_answer,
)
from bulklink.emulator.routing import Endpoint, EndpointKind

_IN_FLIGHT_RETRY_SECONDS = 1.0


def admit(context: CallContext, api_request: ApiRequest) -> Answer | None:
    """Spend the credits that a call costs and return None, or return a 429."""
    state, settings = context.state, context.settings
    load = _current_load(context, api_request)
    reason = exceeded_limit(load, context.limits)
    if is_penalty_active(state.penalty, context.now):
        reason = reason or state.penalty.reason
    if reason is None:
        state.credits.spend(load.credit_cost, context.now)
        return None
    state.penalty = extend_penalty(state.penalty, reason, context.now, settings.penalty)
    return too_many_requests_answer(
        reason, _retry_seconds(context, reason), settings, context.limits
    )


def _current_load(context: CallContext, api_request: ApiRequest) -> Load:
    state, kind = context.state, api_request.call.kind
    is_query = api_request.call.endpoint is Endpoint.COQL
    links = state.in_flight[EndpointKind.LINK] + state.in_flight[EndpointKind.UNLINK]
    return Load(
        in_flight=state.in_flight.total()
        + context.limits.background_calls_at(context.now - state.started_at),
        link_in_flight=links if kind in {EndpointKind.LINK, EndpointKind.UNLINK} else 0,
        queries_in_flight=state.queries_in_flight if is_query else 0,
        credits_used=state.credits.used(context.now),
        credit_cost=(
            query_credits(api_request.raw.body, context.settings.coql_quote)
            if is_query
            else credit_cost(kind, context.settings)
        ),
    )


def _retry_seconds(context: CallContext, reason: LimitReason) -> float:
    if is_penalty_active(context.state.penalty, context.now):
        return context.state.penalty.until - context.now
    return (
        _IN_FLIGHT_RETRY_SECONDS
        if reason is LimitReason.IN_FLIGHT
        else context.state.credits.seconds_until_release(context.now)
    )
