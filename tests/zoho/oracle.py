"""Simple reference implementation: which verdicts an answer allows, according to Zoho's pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Entry = dict[str, Any]
_ITEM = re.compile(r"(?:^|[^A-Za-z_])(?:Emails|message_ids)\[([0-9]+)\]")


class Oracle:
    """The verdicts that an answer to a call with these emails allows.

    Entries are the objects in `Emails`, with inner arrays flattened; without `Emails`, the answer
    itself is the entry.
    """

    def __init__(
        self, sent: list[str], content: Any, status: int, echo_of: str | None, *, single: bool
    ) -> None:
        self._sent = sent
        self._echo_of = echo_of
        self._status = status
        self._single = single
        has_entries = 200 <= status < 300 or status == 400
        self._entries = list(_flatten(_top(content))) if has_entries else []

    def may_be_success(self, message: str) -> bool:
        """Return whether the entries that can belong to the email all report success.

        A 400 means a bad item: without one it contradicts itself. An unnamed success may be the
        answer to another call, unless the address named the email.
        """
        if self._status == 400 and not any(map(_is_error, self._entries)):
            return False
        naming = self._entries_naming(message)
        if naming:
            return all(self._succeeds(e) and self._named_messages(e) == {message} for e in naming)
        return (
            self._single
            and self._unnamed_entries_match(message)
            and all(map(self._succeeds, self._unnamed_entries()))
        )

    def may_have_failed(self, message: str) -> bool:
        """Return whether an entry that can belong to the email reports an error."""
        naming = self._entries_naming(message)
        if naming:
            return any(map(_is_error, naming))
        unnamed = self._unnamed_entries()
        return (
            self._unnamed_entries_match(message) and len({str(e.get("code")) for e in unnamed}) == 1
        )

    def _entries_naming(self, message_id: str) -> list[Entry]:
        return [entry for entry in self._entries if message_id in self._named_messages(entry)]

    def _unnamed_entries(self) -> list[Entry]:
        return [entry for entry in self._entries if not self._named_messages(entry)]

    def _unnamed_entries_match(self, message: str) -> bool:
        unnamed_messages = [sent for sent in self._sent if not self._entries_naming(sent)]
        return message in unnamed_messages and len(self._unnamed_entries()) == len(unnamed_messages)

    def _named_messages(self, entry: Entry) -> set[str]:
        """Return all emails that an entry names, including emails that were not sent.

        An email is named by its message_id; an additional index can only contradict it, and an
        index beyond the call contradicts nothing.
        """
        details = entry.get("details")
        if not isinstance(details, dict):
            return set()
        names = set()
        message_id, path = details.get("message_id"), details.get("json_path")
        if (
            isinstance(message_id, str | int)
            and not isinstance(message_id, bool)
            and message_id != ""
        ):
            names.add(str(message_id))
        match = _ITEM.search(path) if isinstance(path, str) else None
        index = int(match[1]) if match else -1
        if 0 <= index < len(self._sent):
            names.add(self._sent[index])
        elif match and not names:
            names.add(f"item {index}")
        return names

    def _succeeds(self, entry: Entry) -> bool:
        code, status = entry.get("code"), entry.get("status")
        if code == "SUCCESS":
            return status in ("success", None)
        record = entry.get("linked_record")
        return (
            self._echo_of is not None
            and 200 <= self._status < 300
            and "code" not in entry
            and status in ("success", None)
            and isinstance(record, dict)
            and str(record.get("id")) == self._echo_of
        )


def _is_error(entry: Entry) -> bool:
    return entry.get("status") == "error" or entry.get("code") != "SUCCESS"


def _top(content: Any) -> Any:
    if isinstance(content, dict) and "Emails" in content:
        return content["Emails"]
    return content


def _flatten(value: Any) -> Iterator[Entry]:
    if isinstance(value, dict):
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from _flatten(inner)
