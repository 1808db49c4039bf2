"""List of answers that contradict themselves or are invalid.

A server might send each in place of the answer to a link, an unlink or a read. None confirms a
change as Zoho documents it, so none may result in `done` on its own.
"""

from __future__ import annotations

import json
from typing import Any

from bulklink.zoho.http import Answer

SUCCESS = {"code": "SUCCESS", "details": {}, "message": "done", "status": "success"}
OTHERS = {**SUCCESS, "details": {"message_id": "deadbeef"}}
ECHO = {"linked_record": {"id": "5843104000004400001", "name": "Deal"}, "owner": {"id": "1"}}


def error(code: str, **details: Any) -> dict[str, Any]:
    return {"code": code, "details": details, "message": "no", "status": "error"}


def _json(content: Any, status: int = 200, **fields: Any) -> Answer:
    return Answer(status, json.dumps(content).encode(), **fields)


def _bodies(status: int) -> dict[str, Answer]:
    return {
        "nothing": Answer(status),
        "spaces": Answer(status, b" \r\n "),
        "HTML": Answer(status, b"<!DOCTYPE html><html><body>SUCCESS</body></html>"),
        "text": Answer(status, b"SUCCESS"),
        "null": Answer(status, b"null"),
        "true": Answer(status, b"true"),
        "a number": Answer(status, b"1e308"),
        "a list": Answer(status, b"[]"),
        "an object": Answer(status, b"{}"),
        "half an answer": Answer(status, b'{"Emails":[{"code":"SUCCESS","status":"success",'),
        "no UTF-8": Answer(status, b'{"Emails":"\xff\xfe"}'),
        "very deep": Answer(status, b'{"Emails":' + b"[" * 50_000),
        "a thousand entries": Answer(status, b'{"Emails":[' + b"{}," * 1_000 + b"{}]}"),
        "Emails null": _json({"Emails": None}, status),
        "Emails a text": _json({"Emails": "SUCCESS"}, status),
        "no entries": _json({"Emails": []}, status),
        "entries that are none": _json({"Emails": [None, 1, "SUCCESS", [], [[]]]}, status),
        "one success without a name": _json({"Emails": [SUCCESS]}, status),
        "twenty without a name": _json({"Emails": [SUCCESS] * 20}, status),
        "a flat success": _json(SUCCESS, status),
        "an echo": _json({"Emails": [ECHO]}, status),
        "a success for another email": _json({"Emails": [OTHERS] * 20}, status),
        "success, says the status": _json({"Emails": [{"status": "success"}] * 20}, status),
        "success under error": _json({"Emails": [{**SUCCESS, "status": "error"}]}, status),
        "the code twice": Answer(status, b'{"Emails":[{"code":"NOT_ALLOWED","code":"SUCCESS"}]}'),
        "an answer to another call": _json({"org": [{"id": "1"}]}, status),
        "a token": _json({"access_token": "x", "expires_in": 1}, status),
        "too many requests": _json(error("TOO_MANY_REQUESTS"), status),
        "a failure of Zoho's": _json(error("INTERNAL_ERROR"), status),
        "a refused token": _json(error("INVALID_TOKEN"), status),
    }


_STATUSES = (101, 200, 302, 400, 429, 503)
HOSTILE_ANSWERS = {
    f"{status}, {name}": answer
    for status in _STATUSES
    for name, answer in _bodies(status).items()
    if status in (200, 400) or name in ("nothing", "HTML", "a flat success", "a refused token")
}
HOSTILE_ANSWERS |= {
    f"429, {name}": _json(error("TOO_MANY_REQUESTS", **details), 429, **fields)
    for name, details, fields in (
        ("a wait of a day in the header", {}, {"retry_after": 86_400.0}),
        ("a wait of no time", {"retry_after": 0}, {"retry_after": 0.0}),
        ("a wait that is negative", {"retry_after": -(10**18)}, {}),
        ("a wait that is huge", {"retry_after": 10**18, "limit": 10**18, "window": 10**18}, {}),
        ("a wait of words", {"retry_after": "soon", "limit": [], "window": {}}, {}),
        ("credits without end", {}, {"credits_left": 10**15 - 1}),
        ("no credits", {}, {"credits_left": 0}),
    )
}
