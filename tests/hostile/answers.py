"""Extensible list of answers that contradict themselves or make no sense.

A server might send each in place of the answer to a link, an unlink or a read. None says, in a way
that Zoho documents, that an email was changed, so none of them alone may lead to a `done`.
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


def _lists(status: int = 200) -> dict[str, Answer]:
    """Return lists of records, layouts and timelines that contradict themselves."""
    more = {"more_records": True, "count": -1, "next_page_token": "again", "next_index": "again"}
    huge = {"id": "9" * 100_000, "Deal_Name": "x" * 1_000_000, "Stage": "y" * 1_000_000}
    entry = {"audited_time": "2026-01-01T00:00:00+00:00", "field_history": [{"api_name": "Stage"}]}
    records: dict[str, Any] = {
        "no": [],
        "entries that are none": [None, 1, "x", [], [[]], True],
        "records without an id": [{}, {"id": None}, {"id": []}, {"id": ""}, {"id": "x"}],
        "other ids": [{"id": "1", "message_id": "1", "record": {"id": "1"}, **entry}] * 3,
        "ids that are no numbers": [{"id": "-5"}, {"id": "1e9"}, {"id": "²"}, {"id": True}],
        "huge values": [huge],
        "many records": [{"id": f"{number}"} for number in range(3_000)],
        "deep values": [{"id": "5", "Contact_Name": {"id": {"id": {"id": "5"}}}, "maps": [[[]]]}],
    }
    pages: dict[str, tuple[Any, Any]] = {
        f"{name}, {'and more' if info else 'no info'}": (items, info)
        for name, items in records.items()
        for info in (None, more)
    }
    pages |= {
        "more without a token": ([entry], {"more_records": True}),
        "info that is none": ([entry], [more]),
        "lists that are none": ({"id": "5"}, more),
    }
    keys = ("data", "__timeline", "layouts", "pipeline", "Emails")
    return {
        name: _json({"info": info} | dict.fromkeys(keys, items), status)
        for name, (items, info) in pages.items()
    }


HOSTILE_LISTS = _lists()
