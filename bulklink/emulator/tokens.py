"""Accounts server: grants and access tokens."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl

from bulklink.emulator.context import ApiRequest, CallContext
from bulklink.emulator.errors import Problem
from bulklink.emulator.http import Answer, Request, json_answer
from bulklink.emulator.routing import Endpoint
from bulklink.emulator.token_store import DEMO_CREDENTIAL
from bulklink.zoho.error_codes import Code

_AUTH_SCHEME = "Zoho-oauthtoken "
_THROTTLED_BODY = {
    "error": "Access Denied",
    "error_description": "You have made too many requests continuously. Try again after some time.",
    "status": "failure",
}


def token_problem(context: CallContext, request: Request) -> Problem | None:
    """Return the problem with the request's token, or None if it is valid."""
    header = request.headers.get("authorization", "")
    if not header.startswith(_AUTH_SCHEME):
        return Problem(Code.AUTHENTICATION_FAILURE)
    access_token = context.state.tokens.access_tokens.get(header.removeprefix(_AUTH_SCHEME).strip())
    if access_token is None or access_token.expires_at <= context.now:
        return Problem(Code.INVALID_TOKEN)
    return None


def answer_token(context: CallContext, api_request: ApiRequest) -> Answer:
    """Answer a call to the accounts server."""
    form, tokens = {**api_request.query, **_parse_form(api_request.raw)}, context.state.tokens
    if api_request.call.endpoint is Endpoint.REVOKE:
        if tokens.revoke(form.get("token", "")):
            return json_answer({"status": "success"})
        return json_answer({"error": "invalid_token"}, 400)
    error = _grant_error(form, tokens.refresh_tokens)
    if error:
        return json_answer({"error": error})
    if tokens.register_request(context.now):
        return json_answer(_THROTTLED_BODY, 400)
    return json_answer(_issue_token(context, api_request.raw, form))


def _parse_form(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))


def _grant_error(form: Mapping[str, str], refresh_tokens: Collection[str]) -> str | None:
    """Return the error of a grant, or None; the accounts server sends it with HTTP 200."""
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


def _issue_token(
    context: CallContext, request: Request, form: Mapping[str, str]
) -> dict[str, object]:
    is_code_exchange = form["grant_type"] == "authorization_code"
    token, refresh_token = context.state.tokens.issue(
        None if is_code_exchange else form["refresh_token"], context.now
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
