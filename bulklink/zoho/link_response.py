"""Reading the answer to a link or unlink call: what it says of each message, and no more.

Zoho documents no shape for a call of good and bad items, so every shape is read alike: an entry
belongs to the message it names, by `details.message_id` or by the index in `details.json_path`,
and by position only where position cannot matter. A message that no entry names has no verdict;
the caller finds out by reading the link back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import orjson

from bulklink.zoho.error_codes import Code
from bulklink.zoho.http import Answer

_INDEX = re.compile(r"(?:Emails|message_ids)\[(\d{1,6})\]")
_MAX_TEXT_LENGTH = 300


class AnswerVerdict(msgspec.Struct, frozen=True):
    """What an answer says of one message, or of the call: SUCCESS or an error code.

    `code` is empty where an error names none (an HTML page, say).
    """

    code: str
    text: str
    http_status: int

    @property
    def success(self) -> bool:
        """Tell whether it says that the wanted was done."""
        return self.code == Code.SUCCESS


class ParsedAnswer(msgspec.Struct, frozen=True):
    """An answer, read: a verdict for each message that it names, or one for the call as a whole.

    A message in neither is unnamed: the answer does not say what became of it.
    """

    verdicts: dict[str, AnswerVerdict]
    call_verdict: AnswerVerdict | None = None

    def all_succeeded(self, messages: Sequence[str]) -> bool:
        """Tell whether each of these messages was named and succeeded."""
        return len(self.verdicts) == len(messages) and all(
            v.success for v in self.verdicts.values()
        )


class _Entry(msgspec.Struct, frozen=True):
    verdict: AnswerVerdict | None
    """None where the entry contradicts itself."""
    message_ids: tuple[str, ...]
    """The messages that it names: none, one, or more in a contradiction."""
    is_only: bool
    """Whether it is the only one in its place: an inner array can hold several for one item."""


def parse_answer(
    messages: Sequence[str], answer: Answer, *, echo_deal_id: str | None = None
) -> ParsedAnswer:
    """Read the answer to a call that carried these messages. Never raises, never guesses.

    Args:
        messages: message ids in the order in which the call carried them.
        answer: the answer as received.
        echo_deal_id: the deal id that a single-email link asked for; the page's sample of that call
            echoes the request in place of a verdict, and such an echo of the same deal is success.
    """
    content = parse_json(answer.body)
    if not answer.ok and answer.status != 400:
        return ParsedAnswer({}, parse_refusal(answer))
    entries = list(_entries(content, messages, answer, echo_deal_id))
    by_message = _verdicts_by_message(entries, messages)
    unnamed = [entry for entry in entries if not entry.message_ids]
    by_message |= _verdicts_by_position(unnamed, [m for m in messages if m not in by_message])
    verdicts = {message: verdict for message, verdict in by_message.items() if verdict is not None}
    return ParsedAnswer(verdicts, None if by_message else _shared_error(unnamed))


def parse_refusal(answer: Answer) -> AnswerVerdict:
    """Return what an answer that is no success says of its call as a whole; never SUCCESS."""
    entry = next((o for o in _objects(parse_json(answer.body)) if _code(o)), {})
    code = _code(entry)
    return AnswerVerdict("" if code == Code.SUCCESS else code, _text(entry), answer.status)


def parse_json(body: bytes) -> Any:
    """Return the JSON value of a body, or None where it is not JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def parse_id(value: object) -> str | None:
    """Return an id of an answer as text: a string or an integer's digits, else None."""
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _entries(
    content: Any, messages: Sequence[str], answer: Answer, echo_deal_id: str | None
) -> Iterator[_Entry]:
    """Yield what the answer says, entry by entry; what concerns messages never sent is left out."""
    items = content.get("Emails", content) if isinstance(content, dict) else content
    for item in items if isinstance(items, list) else [items]:
        objects = list(_objects(item))
        if not objects:  # an empty inner array stands for an item and says nothing of it
            yield _Entry(None, (), is_only=False)
        for entry in objects:
            message_ids = _named_messages(entry, messages)
            if message_ids is not None:
                verdict = _verdict(entry, answer, echo_deal_id)
                yield _Entry(verdict, message_ids, is_only=len(objects) == 1)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects of arrays within arrays, in order."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            yield item
        elif isinstance(item, list):
            pending.extend(reversed(item))


def _named_messages(entry: dict[str, Any], messages: Sequence[str]) -> tuple[str, ...] | None:
    """Return the messages an entry names, or None if it names only what was never sent."""
    details = entry.get("details")
    if not isinstance(details, dict):
        return ()
    message_ids = []
    message_id = parse_id(details.get("message_id"))
    if message_id is not None:
        message_ids.append(message_id)
    path = details.get("json_path")
    match = _INDEX.search(path) if isinstance(path, str) else None
    if match is not None:
        index = int(match[1])
        message_ids.append(messages[index] if index < len(messages) else "")
    # One that was never sent beside one that was is a contradiction, and stays for it.
    all_unknown = message_ids and not any(name in messages for name in message_ids)
    return None if all_unknown else tuple(dict.fromkeys(message_ids))


def _verdict(
    entry: dict[str, Any], answer: Answer, echo_deal_id: str | None
) -> AnswerVerdict | None:
    code, status = _code(entry), entry.get("status")
    if code and status in ("success" if code == Code.SUCCESS else "error", None):
        return AnswerVerdict(code, _text(entry), answer.status)
    if echo_deal_id is not None and answer.ok and not code and status is None:
        record = entry.get("linked_record")
        if isinstance(record, dict) and parse_id(record.get("id")) == echo_deal_id:
            return AnswerVerdict(Code.SUCCESS, "", answer.status)
    return None


def _verdicts_by_message(
    entries: Sequence[_Entry], messages: Sequence[str]
) -> dict[str, AnswerVerdict | None]:
    """Return a verdict for each message that entries name; None where they contradict."""
    candidates: dict[str, list[AnswerVerdict | None]] = {}
    for entry in entries:
        for name in entry.message_ids:
            candidates.setdefault(name, []).append(
                entry.verdict if len(entry.message_ids) == 1 else None
            )
    return {m: _common_verdict(candidates[m]) for m in messages if m in candidates}


def _common_verdict(verdicts: Sequence[AnswerVerdict | None]) -> AnswerVerdict | None:
    first = verdicts[0]
    if first is None or any(v is None or v.success != first.success for v in verdicts):
        return None
    return first


def _verdicts_by_position(
    unnamed: Sequence[_Entry], remaining: Sequence[str]
) -> dict[str, AnswerVerdict | None]:
    """Return verdicts by position where the order cannot matter: as many, and all the same."""
    if not unnamed or len(unnamed) != len(remaining):
        return {}
    first = unnamed[0].verdict
    same = all(
        e.is_only and e.verdict is not None and first is not None and e.verdict.code == first.code
        for e in unnamed
    )
    if not same or first is None:
        return {}
    same_text = len({e.verdict.text for e in unnamed if e.verdict is not None}) == 1
    return dict.fromkeys(remaining, first if same_text else msgspec.structs.replace(first, text=""))


def _shared_error(unnamed: Sequence[_Entry]) -> AnswerVerdict | None:
    """Return the error of an answer that names nobody and holds errors alone."""
    verdicts = [entry.verdict for entry in unnamed]
    if not verdicts or any(v is None or v.success for v in verdicts):
        return None
    return verdicts[0]


def _code(entry: dict[str, Any]) -> str:
    """Return the code of an entry; an older shape has a number there and the code in `error`."""
    for key in ("code", "error"):
        value = entry.get(key)
        if isinstance(value, str) and (key == "code" or value != Code.SUCCESS):
            return value[:_MAX_TEXT_LENGTH]
    return ""


def _text(entry: dict[str, Any]) -> str:
    for key in ("message", "error_info", "error_description"):
        value = entry.get(key)
        if isinstance(value, str):
            return value[:_MAX_TEXT_LENGTH]
    return ""
