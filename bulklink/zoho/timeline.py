"""Timeline of a deal: when its fields changed, and from which value to which.

`GET Deals/{id}/__timeline` lists entries with `audited_time`, `source` (crm_ui, crm_api, workflow,
…) and `field_history[]` of `api_name` and `_value{old,new}`. Zoho does not say in which order.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
import orjson

from bulklink.zoho.http import Answer
from bulklink.zoho.link_response import parse_id, parse_text
from bulklink.zoho.page_info import RECORDS_PER_PAGE, may_have_more

_MAX_VALUE_LENGTH = 1_000
"""Maximum characters kept of a value; a longer text is cut, in each entry alike."""
_MAX_WORD_LENGTH = 255
_MAX_TOKEN_LENGTH = 2_000
_MAX_TIME_LENGTH = 100
_MAX_CHANGES = 1_000
"""Maximum changed fields of one entry."""

FieldChange = tuple[str, str | None, str | None]
"""API name of a field, its old and its new value; None for no value."""


class TimelineEntry(msgspec.Struct, frozen=True):
    """An entry of a timeline.

    Args:
        audited_time: when it happened.
        source: what caused it, as Zoho calls it; None if the CRM does not say.
        changes: fields of the deal that changed; empty for anything else that happened.
        id: id of the entry; None if the CRM reports none.
    """

    audited_time: datetime
    source: str | None = None
    changes: tuple[FieldChange, ...] = ()
    id: str | None = None


class Timeline(msgspec.Struct, frozen=True):
    """The timeline of a deal.

    Args:
        entries: the entries by time.
        readable: whether every entry could be read. What the values tell is for others to judge: a
            change of one field need not begin with the value that the last entry gave it, as Zoho
            does not log every change, and names a stage by its display or its actual value.
        since: time of the earliest entry that was read; None if all were.
    """

    entries: tuple[TimelineEntry, ...]
    readable: bool = True
    since: datetime | None = None


class TimelinePage(msgspec.Struct, frozen=True):
    """One page of a timeline.

    Args:
        entries: the entries in the order of the page.
        unreadable: number of entries without a valid time.
        more: whether there is another page.
        next_token: token of the next page; None if there is none.
    """

    entries: tuple[TimelineEntry, ...]
    unreadable: int = 0
    more: bool = False
    next_token: str | None = None

    def reaches_back_before(self, time: datetime) -> bool:
        """Return whether all entries after this page are certainly earlier than a time."""
        times = [entry.audited_time for entry in self.entries]
        is_newest_first = len(times) > 1 and times[0] > times[-1]
        return is_newest_first and times[-1] < time and times == sorted(times, reverse=True)


def parse_timeline(answer: Answer, deal_id: str) -> TimelinePage | None:
    """Parse a page of a deal's timeline; None if the answer is not one. HTTP 204 means no entries.

    Args:
        answer: the answer as received.
        deal_id: the deal; changes of other records, which its timeline can list, are left out.
    """
    if answer.status == 204:
        return TimelinePage(())
    content = answer.content
    if not answer.ok or not isinstance(content, dict):
        return None
    items = content.get("__timeline")
    if not isinstance(items, list):
        return None
    entries = [_entry(item, deal_id) for item in items]
    readable = tuple(entry for entry in entries if entry is not None)
    info = content.get("info")
    info = info if isinstance(info, dict) else {}
    return TimelinePage(
        readable,
        len(entries) - len(readable),
        may_have_more(content, len(items), RECORDS_PER_PAGE),
        parse_text(info.get("next_page_token"), _MAX_TOKEN_LENGTH),
    )


def build_timeline(
    entries: Iterable[TimelineEntry], *, readable: bool = True, ended: bool = True
) -> Timeline:
    """Return the timeline of these entries, sorted by time.

    Args:
        entries: the entries in the order of the pages, either oldest or newest first.
        readable: whether all entries could be read.
        ended: whether there are no earlier entries.
    """
    ordered = list(entries)
    if ordered and ordered[0].audited_time > ordered[-1].audited_time:
        ordered.reverse()  # entries of the same time keep the order in which they happened
    ordered.sort(key=lambda entry: entry.audited_time)
    since = None if ended or not ordered else ordered[0].audited_time
    return Timeline(tuple(ordered), readable, since)


def _entry(item: Any, deal_id: str) -> TimelineEntry | None:
    if not isinstance(item, dict):
        return None
    audited_time = _time(item.get("audited_time"))
    if audited_time is None:
        return None
    record = item.get("record")
    record_id = parse_id(record.get("id")) if isinstance(record, dict) else None
    history = item.get("field_history")
    if not isinstance(history, list) or record_id not in (None, deal_id):
        history = []
    changes = [_change(field) for field in history[:_MAX_CHANGES]]
    return TimelineEntry(
        audited_time,
        parse_text(item.get("source"), _MAX_WORD_LENGTH),
        tuple(change for change in changes if change is not None),
        parse_id(item.get("id")),
    )


def _time(value: Any) -> datetime | None:
    text = parse_text(value, _MAX_TIME_LENGTH)
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if time.tzinfo is None else time


def _change(field: Any) -> FieldChange | None:
    if not isinstance(field, dict):
        return None
    name = parse_text(field.get("api_name"), _MAX_WORD_LENGTH)
    value = field.get("_value")
    if name is None or not isinstance(value, dict):
        return None
    return name, _value(value.get("old")), _value(value.get("new"))


def _value(value: Any) -> str | None:
    """Return a value as text; a record that a field refers to, by its id or else its name."""
    if isinstance(value, dict):
        value = parse_id(value.get("id")) or parse_text(value.get("name")) or value
    if value is None or value == "":
        return None
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text[:_MAX_VALUE_LENGTH]
