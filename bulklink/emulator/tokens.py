"""The accounts server: access tokens, how long they live, and what a caller shows of them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl

from bulklink.emulator.calls import Name
from bulklink.emulator.desk import Asked, Desk
from bulklink.emulator.errors import Problem
from bulklink.emulator.state import DEMO, Issued
from bulklink.emulator.wire import Answer, Request, json_answer
from bulklink.zoho.error_codes import Code

_SCHEME = "Zoho-oauthtoken "
_THROTTLED = {
    "error": "Access Denied",
    "error_description": "You have made too many requests continuously. Try again after some time.",
    "status": "failure",
}


def token_problem(desk: Desk, request: Request) -> Problem | None:
    """Return why the request's token is refused, or None where it is good."""
    header = request.headers.get("authorization", "")
    if not header.startswith(_SCHEME):
        return Problem(Code.AUTHENTICATION_FAILURE)
    issued = desk.state.tokens.get(header.removeprefix(_SCHEME).strip())
    if issued is None or issued.expires <= desk.now:
        return Problem(Code.INVALID_TOKEN)
    return None


def answer_token(desk: Desk, asked: Asked) -> Answer:
    """Answer a call to the accounts server."""
    form = {**asked.query, **_form(asked.request)}
    if asked.call.name is Name.REVOKE:
        return _revoke(desk, form)
    error = _grant_error(form, desk.state.refresh_tokens)
    if error:
        return json_answer({"error": error})
    if _is_throttled(desk):
        return json_answer(_THROTTLED, 400)
    return json_answer(_new_token(desk, asked.request, form))


def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))


def _grant_error(form: Mapping[str, str], refresh_tokens: Collection[str]) -> str | None:
    """Return the error of a grant; the accounts server says it with HTTP 200."""
    if form.get("client_id") != DEMO or form.get("client_secret") != DEMO:
        return "invalid_client" if form.get("client_id") != DEMO else "invalid_client_secret"
    match form.get("grant_type"):
        case "refresh_token":
            return None if form.get("refresh_token") in refresh_tokens else "invalid_code"
        case "authorization_code":
            return None if form.get("code") == DEMO else "invalid_code"
    return "unsupported_grant_type"


def _is_throttled(desk: Desk) -> bool:
    """Tell whether no more tokens are made for now; asking then makes it last longer."""
    state, settings, now = desk.state, desk.settings, desk.now
    if not settings.tokens_per_window:
        return False
    while state.token_times and state.token_times[0] <= now - settings.token_window:
        state.token_times.popleft()
    if now < state.tokens_refused_until:
        state.tokens_refused_until += settings.token_penalty
        return True
    if len(state.token_times) >= settings.tokens_per_window:
        state.tokens_refused_until = state.token_times[0] + settings.token_window
        return True
    return False


def _new_token(desk: Desk, request: Request, form: Mapping[str, str]) -> dict[str, object]:
    state = desk.state
    for ended in [name for name, one in state.tokens.items() if one.expires <= desk.now]:
        del state.tokens[ended]
    state.tokens_made += 1
    state.token_times.append(desk.now)
    token = _drawn(f"{desk.settings.seed}:{state.tokens_made}")
    exchanged = form["grant_type"] == "authorization_code"
    refresh_token = _drawn(f"refresh:{token}") if exchanged else form["refresh_token"]
    state.refresh_tokens.add(refresh_token)
    state.tokens[token] = Issued(desk.now + desk.settings.expires_in, refresh_token)
    answer: dict[str, object] = {
        "access_token": token,
        "api_domain": f"http://{request.headers.get('host', '127.0.0.1')}",
        "token_type": "Bearer",
        "expires_in": desk.settings.expires_in,
    }
    if exchanged:
        answer["refresh_token"] = refresh_token
    return answer


def _drawn(seed: str) -> str:
    drawn = hashlib.sha256(seed.encode()).hexdigest()
    return f"1000.{drawn[:32]}.{drawn[32:]}"


def _revoke(desk: Desk, form: Mapping[str, str]) -> Answer:
    state, token = desk.state, form.get("token", "")
    if token not in state.refresh_tokens and token not in state.tokens:
        return json_answer({"error": "invalid_token"}, 400)
    state.refresh_tokens.discard(token)
    for ended in [name for name, one in state.tokens.items() if token in (name, one.refresh_token)]:
        del state.tokens[ended]
    return json_answer({"status": "success"})
