"""Parser for the answers to link and unlink calls: one verdict per message.

Zoho documents no shape for a call with both good and bad items, so all shapes are parsed alike: an
entry belongs to the message it names, by `details.message_id` or by the index in
`details.json_path`, or by position if the order cannot matter. A message that no entry names has no
verdict, and the caller reads the link back.

Whether an entry counts depends on the status of the answer:

| status | entries | success entries | error entries |
|---|---|---|---|
| 2xx | any | count | count |
| 400 | only successes | ignored: code and status contradict each other | |
| 400 | at least one error | count | count |
| others | any | ignored: the status applies to the whole call | |

A success that names no message counts only at the single-email endpoint. Elsewhere it may be the
late answer to another call.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from bulklink.zoho.error_codes import Code
from bulklink.zoho.http import Answer

_INDEX = re.compile(r"(?:Emails|message_ids)\[(\d{1,6})\]")
_PATH_INDEX = re.compile(r"^Emails\[\d+\]\.?|\[\d+\]")
MAX_NAME_LENGTH = 255
"""Maximum characters of a name in a link, according to Zoho's schema."""
_MAX_ID_LENGTH = 500
MAX_TEXT_LENGTH = 300
_MAX_FLAT_ERROR_BYTES = 4_096
_CODES = frozenset(Code)
_NAMED_FIELD = re.compile(r"\(field ([^;()]+)(?:; [^()]*)?\)")


class AnswerVerdict(msgspec.Struct, frozen=True):
    """The result an answer reports for one message or for the whole call.

    Args:
        code: SUCCESS or an error code; empty for an error without a code, such as an HTML page.
        text: Zoho's message, up to 300 characters.
        http_status: HTTP status of the answer.
        refuses_address: whether it names a record in the address of the call, which is the contact
            if the call is about many emails.
    """

    code: str
    text: str
    http_status: int
    refuses_address: bool = False

    @property
    def success(self) -> bool:
        """Whether it reports success."""
        return self.code == Code.SUCCESS

    @property
    def shown_code(self) -> str:
        """The code, or the HTTP status of an error without one."""
        return self.code or f"HTTP {self.http_status}"


class ParsedAnswer(msgspec.Struct, frozen=True):
    """A parsed answer: verdicts by message id, or one verdict for the call.

    A message covered by neither has no reported result.

    Args:
        verdicts: verdict of each message that the answer names.
        call_verdict: error of the whole call; None if the answer names a message.
    """

    verdicts: dict[str, AnswerVerdict]
    call_verdict: AnswerVerdict | None = None

    def all_succeeded(self, messages: Sequence[str]) -> bool:
        """Return whether every given message was named and succeeded."""
        return len(self.verdicts) == len(messages) and all(
            v.success for v in self.verdicts.values()
        )


class _Entry(msgspec.Struct, frozen=True):
    verdict: AnswerVerdict | None
    """None if the entry contradicts itself."""
    message_ids: tuple[str, ...]
    """The messages it names; more than one if it contradicts itself."""
    is_only: bool
    """Whether it is the only entry of its item: an inner array can hold several."""

    @property
    def is_error(self) -> bool:
        """Whether it reports an error."""
        return self.verdict is not None and not self.verdict.success


def parse_answer(
    messages: Sequence[str],
    answer: Answer,
    *,
    single: bool = False,
    echo_deal_id: str | None = None,
) -> ParsedAnswer:
    """Parse the answer to a call with these messages; never raises, never guesses.

    Args:
        messages: message ids in the order of the request.
        answer: the answer as received.
        single: whether the call used the single-email endpoint, whose address names the message.
        echo_deal_id: deal id of a single-email link; Zoho's sample of that call echoes the request
            instead of a verdict, and an echo of the same deal means success.
    """
    content = answer.content
    if not answer.ok and answer.status != 400:
        return ParsedAnswer({}, parse_refusal(answer))
    entries = list(_entries(content, messages, answer, echo_deal_id))
    if answer.status == 400 and not any(entry.is_error for entry in entries):
        return ParsedAnswer({})
    by_message = _verdicts_by_message(entries, messages)
    unnamed = [entry for entry in entries if not entry.message_ids]
    if single or not any(entry.verdict and entry.verdict.success for entry in unnamed):
        by_message |= _verdicts_by_position(unnamed, [m for m in messages if m not in by_message])
    verdicts = {message: verdict for message, verdict in by_message.items() if verdict is not None}
    return ParsedAnswer(verdicts, None if by_message else _shared_error(unnamed))


def parse_refusal(answer: Answer) -> AnswerVerdict:
    """Return the error that an unsuccessful answer reports for its call; never SUCCESS."""
    entry = next((o for o in _objects(answer.content) if _code(o)), {})
    code = _code(entry)
    return _masked_verdict("" if code == Code.SUCCESS else code, entry, answer)


def parse_flat_error(answer: Answer) -> AnswerVerdict | None:
    """Return the error of a whole call, whatever its status; None if the answer is not an error."""
    if len(answer.body) > _MAX_FLAT_ERROR_BYTES:
        return None
    content = answer.content
    code = _code(content) if isinstance(content, dict) else ""
    if not code or code == Code.SUCCESS or content.get("status", "error") != "error":
        return None
    return _masked_verdict(code, content, answer)


def named_field(text: str) -> str:
    """Return the field that the text of a verdict names; empty if it names none."""
    match = _NAMED_FIELD.search(text)
    return match[1] if match else ""


def parse_id(value: object) -> str | None:
    """Return an id in an answer as text, from a string or integer; else None.

    Returns None for a string longer than any of Zoho's ids.
    """
    if isinstance(value, str):
        return parse_text(value, _MAX_ID_LENGTH)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def parse_text(value: object, max_length: int = sys.maxsize) -> str | None:
    """Return a text in an answer; None if it is empty, too long or not a string."""
    return value if isinstance(value, str) and 0 < len(value) <= max_length else None


def parse_name(value: object) -> str | None:
    """Return a name in an answer; None if it is too long for a link.

    A name is sent unchanged or not at all: a truncated name would be another name.
    """
    return parse_text(value, MAX_NAME_LENGTH)


def parse_label(value: object, answer: Answer) -> str | None:
    """Return a text in an answer for display, with secrets masked and truncated."""
    text = parse_text(value)
    if text is None:
        return None
    label = answer.mask(text[: 2 * MAX_NAME_LENGTH])
    return label if len(label) <= MAX_NAME_LENGTH else f"{label[: MAX_NAME_LENGTH - 1]}…"


def _entries(
    content: Any, messages: Sequence[str], answer: Answer, echo_deal_id: str | None
) -> Iterator[_Entry]:
    """Yield the entries of an answer, without those about messages that were not sent."""
    items = content.get("Emails", content) if isinstance(content, dict) else content
    for item in items if isinstance(items, list) else [items]:
        objects = list(_objects(item))
        if not objects:  # an empty inner array is an item without a verdict
            yield _Entry(None, (), is_only=False)
        for entry in objects:
            message_ids = _named_messages(entry, messages)
            if message_ids is not None:
                verdict = _verdict(entry, answer, echo_deal_id)
                yield _Entry(verdict, message_ids, is_only=len(objects) == 1)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects in nested arrays, in order."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            yield item
        elif isinstance(item, list):
            pending.extend(reversed(item))


def _named_messages(entry: dict[str, Any], messages: Sequence[str]) -> tuple[str, ...] | None:
    """Return the ids an entry names, or None if it names only messages that were not sent."""
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
    # An entry that names both an id that was sent and one that was not contradicts itself.
    all_unknown = message_ids and not any(name in messages for name in message_ids)
    return None if all_unknown else tuple(dict.fromkeys(message_ids))


def _verdict(
    entry: dict[str, Any], answer: Answer, echo_deal_id: str | None
) -> AnswerVerdict | None:
    code, status = _code(entry), entry.get("status")
    if code and status in ("success" if code == Code.SUCCESS else "error", None):
        return _masked_verdict(code, entry, answer)
    is_echo = not code and "code" not in entry and status is None
    if echo_deal_id is not None and answer.ok and is_echo:
        record = entry.get("linked_record")
        if isinstance(record, dict) and parse_id(record.get("id")) == echo_deal_id:
            return AnswerVerdict(Code.SUCCESS, "", answer.status)
    return None


def _masked_verdict(code: str, entry: dict[str, Any], answer: Answer) -> AnswerVerdict:
    """Return a verdict with secrets masked; Zoho's own codes contain none."""
    shown_code = code if code in _CODES else answer.mask(code)
    text = answer.mask(_text(entry))[:MAX_TEXT_LENGTH]
    details = entry.get("details")
    index = details.get("resource_path_index") if isinstance(details, dict) else None
    return AnswerVerdict(shown_code, text, answer.status, refuses_address=isinstance(index, int))


def _verdicts_by_message(
    entries: Sequence[_Entry], messages: Sequence[str]
) -> dict[str, AnswerVerdict | None]:
    """Return a verdict for each message that entries name; None if they contradict each other."""
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
    """Return verdicts by position if the order cannot matter: one per message, all the same."""
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
    """Return the error of an answer that contains only errors and names no message."""
    verdicts = [entry.verdict for entry in unnamed]
    if not verdicts or any(v is None or v.success for v in verdicts):
        return None
    return verdicts[0]


def _code(entry: dict[str, Any]) -> str:
    """Return the code of an entry; an older shape has it in `error`, with a number in `code`."""
    for key in ("code", "error"):
        value = entry.get(key)
        if isinstance(value, str) and (key == "code" or value != Code.SUCCESS):
            return value[:MAX_TEXT_LENGTH]
    return ""


def _text(entry: dict[str, Any]) -> str:
    """Return the message of an entry with the details of an error, before truncation.

    Keeps up to twice the final length, so that a secret at the end is masked before it is cut off.
    """
    texts = (entry.get(key) for key in ("message", "error_info", "error_description"))
    text = next((value for value in texts if isinstance(value, str)), "")
    named = "" if _code(entry) == Code.SUCCESS else _named_in_details(entry.get("details"))
    shown = f"{text} ({named})" if text and named else text or named
    return shown[: 2 * MAX_TEXT_LENGTH]


def _named_in_details(details: object) -> str:
    """Return what the details of an error name: field, type, permissions, place in a query.

    The index in a path is left out: the row identifies the email, and rows with the same error then
    have the same text.
    """
    if not isinstance(details, dict):
        return ""
    path = parse_text(details.get("json_path")) or ""
    field = _PATH_INDEX.sub("", path) or parse_text(details.get("api_name"))
    permissions = details.get("permissions")
    lacking = permissions if isinstance(permissions, list) else [permissions]
    parts = {
        "field": field,
        "parameter": parse_text(details.get("param_name")),
        "expected": parse_text(details.get("expected_data_type")),
        "column": parse_text(details.get("column_name")),
        "clause": parse_text(details.get("clause")),
        "near": parse_text(details.get("near")),
        "permissions": ", ".join(text for name in lacking if (text := parse_text(name))),
    }
    return "; ".join(f"{label} {value}" for label, value in parts.items() if value)
