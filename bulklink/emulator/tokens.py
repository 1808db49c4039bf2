"""The accounts server: access tokens, how long they live, and what a caller shows of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from urllib.parse import parse_qsl

from bulklink.emulator.calls import Name
from bulklink.emulator.desk import Asked, Desk
from bulklink.emulator.errors import Problem
from bulklink.emulator.wire import Answer, Request, json_answer
from bulklink.zoho.codes import Code

DEMO = "demo"
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
    expires = desk.state.tokens.get(header.removeprefix(_SCHEME).strip())
    if expires is None or expires <= desk.now:
        return Problem(Code.INVALID_TOKEN)
    return None


def answer_token(desk: Desk, asked: Asked) -> Answer:
    """Answer a call to the accounts server."""
    form = {**asked.query, **_form(asked.request)}
    if asked.call.name is Name.REVOKE:
        return _revoke(desk, form)
    error = _grant_error(form, revoked=desk.state.revoked)
    if error:
        return json_answer({"error": error})
    if _is_throttled(desk):
        return json_answer(_THROTTLED, 400)
    return json_answer(_new_token(desk, asked.request, form))


def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))


def _grant_error(form: Mapping[str, str], *, revoked: bool) -> str | None:
    """Return the error of a grant; the accounts server says it with HTTP 200."""
    if form.get("client_id") != DEMO or form.get("client_secret") != DEMO:
        return "invalid_client" if form.get("client_id") != DEMO else "invalid_client_secret"
    secret_name = {"refresh_token": "refresh_token", "authorization_code": "code"}.get(
        form.get("grant_type", "")
    )
    if secret_name is None:
        return "unsupported_grant_type"
    return "invalid_code" if revoked or form.get(secret_name) != DEMO else None


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
    for token in [token for token, expires in state.tokens.items() if expires <= desk.now]:
        del state.tokens[token]
    state.tokens_made += 1
    state.token_times.append(desk.now)
    drawn = hashlib.sha256(f"{desk.settings.seed}:{state.tokens_made}".encode()).hexdigest()
    token = f"1000.{drawn[:32]}.{drawn[32:]}"
    state.tokens[token] = desk.now + desk.settings.expires_in
    answer: dict[str, object] = {
        "access_token": token,
        "api_domain": f"http://{request.headers.get('host', '127.0.0.1')}",
        "token_type": "Bearer",
        "expires_in": desk.settings.expires_in,
    }
    if form["grant_type"] == "authorization_code":
        answer["refresh_token"] = DEMO
    return answer


def _revoke(desk: Desk, form: Mapping[str, str]) -> Answer:
    token = form.get("token", "")
    if token != DEMO and token not in desk.state.tokens:
        return json_answer({"error": "invalid_token"}, 400)
    if token == DEMO:
        desk.state.revoked = True
        desk.state.tokens.clear()
    desk.state.tokens.pop(token, None)
    return json_answer({"status": "success"})
