"""The accounts server: access tokens, how long they live, and what a caller shows of them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl

from bulklink.emulator.context import ApiRequest, CallContext
from bulklink.emulator.errors import Problem
from bulklink.emulator.http import Answer, Request, json_answer
from bulklink.emulator.routing import Endpoint
from bulklink.emulator.state import DEMO_CREDENTIAL, IssuedToken
from bulklink.zoho.error_codes import Code

_AUTH_SCHEME = "Zoho-oauthtoken "
_THROTTLED_BODY = {
    "error": "Access Denied",
    "error_description": "You have made too many requests continuously. Try again after some time.",
    "status": "failure",
}


def token_problem(context: CallContext, request: Request) -> Problem | None:
    """Return why the request's token is refused, or None where it is good."""
    header = request.headers.get("authorization", "")
    if not header.startswith(_AUTH_SCHEME):
        return Problem(Code.AUTHENTICATION_FAILURE)
    access_token = context.state.access_tokens.get(header.removeprefix(_AUTH_SCHEME).strip())
    if access_token is None or access_token.expires_at <= context.now:
        return Problem(Code.INVALID_TOKEN)
    return None


def answer_token(context: CallContext, api_request: ApiRequest) -> Answer:
    """Answer a call to the accounts server."""
    form = {**api_request.query, **_parse_form(api_request.raw)}
    if api_request.call.endpoint is Endpoint.REVOKE:
        return _revoke(context, form)
    error = _grant_error(form, context.state.refresh_tokens)
    if error:
        return json_answer({"error": error})
    if _is_throttled(context):
        return json_answer(_THROTTLED_BODY, 400)
    return json_answer(_issue_token(context, api_request.raw, form))


def _parse_form(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))


def _grant_error(form: Mapping[str, str], refresh_tokens: Collection[str]) -> str | None:
    """Return the error of a grant; the accounts server says it with HTTP 200."""
    if form.get("client_id") != DEMO_CREDENTIAL or form.get("client_secret") != DEMO_CREDENTIAL:
        return (
            "invalid_client"
            if form.get("client_id") != DEMO_CREDENTIAL
            else "invalid_client_secret"
        )
    match form.get("grant_type"):
        case "refresh_token":
            return None if form.get("refresh_token") in refresh_tokens else "invalid_code"
        case "authorization_code":
            return None if form.get("code") == DEMO_CREDENTIAL else "invalid_code"
    return "unsupported_grant_type"


def _is_throttled(context: CallContext) -> bool:
    """Tell whether no more tokens are made for now; asking then makes it last longer."""
    state, settings, now = context.state, context.settings, context.now
    if not settings.tokens_per_window:
        return False
    while state.token_issue_times and state.token_issue_times[0] <= now - settings.token_window:
        state.token_issue_times.popleft()
    if now < state.tokens_refused_until:
        state.tokens_refused_until += settings.token_penalty
        return True
    if len(state.token_issue_times) >= settings.tokens_per_window:
        state.tokens_refused_until = state.token_issue_times[0] + settings.token_window
        return True
    return False


def _issue_token(
    context: CallContext, request: Request, form: Mapping[str, str]
) -> dict[str, object]:
    state = context.state
    for expired in [
        name
        for name, access_token in state.access_tokens.items()
        if access_token.expires_at <= context.now
    ]:
        del state.access_tokens[expired]
    state.tokens_issued += 1
    state.token_issue_times.append(context.now)
    token = _make_token(f"{context.settings.seed}:{state.tokens_issued}")
    is_code_exchange = form["grant_type"] == "authorization_code"
    refresh_token = _make_token(f"refresh:{token}") if is_code_exchange else form["refresh_token"]
    state.refresh_tokens.add(refresh_token)
    state.access_tokens[token] = IssuedToken(
        context.now + context.settings.expires_in, refresh_token
    )
    answer: dict[str, object] = {
        "access_token": token,
        "api_domain": f"http://{request.headers.get('host', '127.0.0.1')}",
        "token_type": "Bearer",
        "expires_in": context.settings.expires_in,
    }
    if is_code_exchange:
        answer["refresh_token"] = refresh_token
    return answer


def _make_token(seed: str) -> str:
    digest = hashlib.sha256(seed.encode()).hexdigest()
    return f"1000.{digest[:32]}.{digest[32:]}"


def _revoke(context: CallContext, form: Mapping[str, str]) -> Answer:
    state, token = context.state, form.get("token", "")
    if token not in state.refresh_tokens and token not in state.access_tokens:
        return json_answer({"error": "invalid_token"}, 400)
    state.refresh_tokens.discard(token)
    for revoked in [
        name
        for name, access_token in state.access_tokens.items()
        if token in (name, access_token.refresh_token)
    ]:
        del state.access_tokens[revoked]
    return json_answer({"status": "success"})
