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
_LONGEST_TEXT = 300


class Verdict(msgspec.Struct, frozen=True):
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


class Reading(msgspec.Struct, frozen=True):
    """An answer, read: a verdict for each message that it names, or one for the call as a whole.

    A message in neither is unnamed: the answer does not say what became of it.
    """

    named: dict[str, Verdict]
    whole: Verdict | None = None

    def clean(self, messages: Sequence[str]) -> bool:
        """Tell whether each of these messages was named and succeeded."""
        return len(self.named) == len(messages) and all(v.success for v in self.named.values())


class _Entry(msgspec.Struct, frozen=True):
    verdict: Verdict | None
    """None where the entry contradicts itself."""
    names: tuple[str, ...]
    """The messages that it names: none, one, or more in a contradiction."""
    alone: bool
    """Whether it is the only one in its place: an inner array can hold several for one item."""


def read_answer(messages: Sequence[str], answer: Answer, *, echo_of: str | None = None) -> Reading:
    """Read the answer to a call that carried these messages. Never raises, never guesses.

    Args:
        messages: message ids in the order in which the call carried them.
        answer: the answer as received.
        echo_of: the deal id that a single-email link asked for; the page's sample of that call
            echoes the request in place of a verdict, and such an echo of the same deal is success.
    """
    content = json_of(answer.body)
    if not answer.ok and answer.status != 400:
        return Reading({}, refusal_of(answer))
    entries = list(_entries(content, messages, answer, echo_of))
    named = _named(entries, messages)
    unnamed = [entry for entry in entries if not entry.names]
    named |= _by_position(unnamed, [m for m in messages if m not in named])
    verdicts = {message: verdict for message, verdict in named.items() if verdict is not None}
    return Reading(verdicts, None if named else _shared_error(unnamed))


def refusal_of(answer: Answer) -> Verdict:
    """Return what an answer that is no success says of its call as a whole; never SUCCESS."""
    found = next((o for o in _objects(json_of(answer.body)) if _code(o)), {})
    code = _code(found)
    return Verdict("" if code == Code.SUCCESS else code, _text(found), answer.status)


def json_of(body: bytes) -> Any:
    """Return the JSON value of a body, or None where it is not JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def text_id(value: object) -> str | None:
    """Return an id of an answer as text: a string or an integer's digits, else None."""
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _entries(
    content: Any, messages: Sequence[str], answer: Answer, echo_of: str | None
) -> Iterator[_Entry]:
    """Yield what the answer says, entry by entry; what concerns messages never sent is left out."""
    places = content.get("Emails", content) if isinstance(content, dict) else content
    for place in places if isinstance(places, list) else [places]:
        found = list(_objects(place))
        if not found:  # an empty inner array stands for an item and says nothing of it
            yield _Entry(None, (), alone=False)
        for entry in found:
            names = _names(entry, messages)
            if names is not None:
                verdict = _verdict(entry, answer, echo_of)
                yield _Entry(verdict, names, alone=len(found) == 1)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects of arrays within arrays, in order."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            yield item
        elif isinstance(item, list):
            pending.extend(reversed(item))


def _names(entry: dict[str, Any], messages: Sequence[str]) -> tuple[str, ...] | None:
    """Return the messages an entry names, or None if it names only what was never sent."""
    details = entry.get("details")
    if not isinstance(details, dict):
        return ()
    names = []
    message_id = text_id(details.get("message_id"))
    if message_id is not None:
        names.append(message_id)
    path = details.get("json_path")
    index = _INDEX.search(path) if isinstance(path, str) else None
    if index is not None:
        place = int(index[1])
        names.append(messages[place] if place < len(messages) else "")
    # One that was never sent beside one that was is a contradiction, and stays for it.
    strange = names and not any(name in messages for name in names)
    return None if strange else tuple(dict.fromkeys(names))


def _verdict(entry: dict[str, Any], answer: Answer, echo_of: str | None) -> Verdict | None:
    code, status = _code(entry), entry.get("status")
    if code and status in ("success" if code == Code.SUCCESS else "error", None):
        return Verdict(code, _text(entry), answer.status)
    if echo_of is not None and answer.ok and not code and status is None:
        record = entry.get("linked_record")
        if isinstance(record, dict) and text_id(record.get("id")) == echo_of:
            return Verdict(Code.SUCCESS, "", answer.status)
    return None


def _named(entries: Sequence[_Entry], messages: Sequence[str]) -> dict[str, Verdict | None]:
    """Return a verdict for each message that entries name; None where they contradict."""
    said: dict[str, list[Verdict | None]] = {}
    for entry in entries:
        for name in entry.names:
            said.setdefault(name, []).append(entry.verdict if len(entry.names) == 1 else None)
    return {m: _agreed(said[m]) for m in messages if m in said}


def _agreed(verdicts: Sequence[Verdict | None]) -> Verdict | None:
    first = verdicts[0]
    if first is None or any(v is None or v.success != first.success for v in verdicts):
        return None
    return first


def _by_position(unnamed: Sequence[_Entry], left: Sequence[str]) -> dict[str, Verdict | None]:
    """Return verdicts by position where the order cannot matter: as many, and all the same."""
    if not unnamed or len(unnamed) != len(left):
        return {}
    first = unnamed[0].verdict
    same = all(
        e.alone and e.verdict is not None and first is not None and e.verdict.code == first.code
        for e in unnamed
    )
    if not same or first is None:
        return {}
    one_text = len({e.verdict.text for e in unnamed if e.verdict is not None}) == 1
    return dict.fromkeys(left, first if one_text else msgspec.structs.replace(first, text=""))


def _shared_error(unnamed: Sequence[_Entry]) -> Verdict | None:
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
            return value[:_LONGEST_TEXT]
    return ""


def _text(entry: dict[str, Any]) -> str:
    for key in ("message", "error_info", "error_description"):
        value = entry.get(key)
        if isinstance(value, str):
            return value[:_LONGEST_TEXT]
    return ""
