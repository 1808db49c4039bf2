"""Settings of a draft from the fields of a form."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from bulklink.mapping.column_choices import NO_CHOICES, ColumnChoices
from bulklink.mapping.schema import KNOWN_COLUMNS, HiddenRows
from bulklink.models import Op
from bulklink.operations.job import OnInvalid
from bulklink.ui.commands import PageError
from bulklink.ui.drafts import DraftSettings
from bulklink.ui.wording import LABELS

TEXT_SETTINGS = ("sheet", "encoding", "delimiter", "quote", "escape")
_MAX_TEXT = 200
_BAD_REQUEST, _CONFLICT = 400, 409


def read_settings(fields: Mapping[str, str], choices: ColumnChoices = NO_CHOICES) -> DraftSettings:
    """Return the settings that a form sets; those that it does not have are the defaults.

    Args:
        fields: its fields.
        choices: headers and columns that the form showed.

    Raises:
        PageError: if a value is invalid, or the form showed other headers.
    """
    texts = {name: _text(fields, name) for name in TEXT_SETTINGS}
    return DraftSettings(
        op=_choice(Op, fields, "op"),
        on_invalid=_choice(OnInvalid, fields, "on_invalid") or OnInvalid.STOP,
        columns=_columns(fields, choices),
        defaults=tuple(
            (column, value)
            for column in KNOWN_COLUMNS
            if (value := _text(fields, f"default.{column}")) is not None
        ),
        skip_lines=_number(fields, "skip_lines"),
        hidden_rows=_choice(HiddenRows, fields, "hidden_rows"),
        allow_round_ids=fields.get("allow_round_ids") == "yes",
        **texts,
    )


def headers_mark(choices: ColumnChoices) -> str:
    """Return a mark of the headers that a form shows, which it sends back with their numbers."""
    return hashlib.sha256(msgspec.json.encode(choices.headers)).hexdigest()[:16]


def _columns(fields: Mapping[str, str], choices: ColumnChoices) -> tuple[tuple[str, str], ...]:
    chosen = [
        (column, place)
        for column in KNOWN_COLUMNS
        if (place := fields.get(f"column.{column}", "").strip())
    ]
    if not chosen:
        return ()
    if fields.get("headers") != headers_mark(choices):
        raise PageError("The headers are others than were shown. Choose the columns again.")
    numbers = {str(place): header for place, header in enumerate(choices.headers)}
    if not all(place in numbers for _, place in chosen):
        raise _invalid("columns")
    places = [place for _, place in chosen]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice is not None:
        columns = " and ".join(column for column, place in chosen if place == twice)
        raise PageError(
            f"{columns} have the same header, {numbers[twice]!r}. Choose another for one of them.",
            _BAD_REQUEST,
        )
    return tuple((column, numbers[place]) for column, place in chosen)


def _choice(kind: Any, fields: Mapping[str, str], name: str) -> Any:
    value = fields.get(name, "")
    if not value:
        return None
    try:
        return kind(value)
    except ValueError:
        raise _invalid(name) from None


def _text(fields: Mapping[str, str], name: str) -> str | None:
    value = fields.get(name, "")
    if len(value) > _MAX_TEXT:
        raise _invalid(name)
    return value if value.strip() else None


def _number(fields: Mapping[str, str], name: str) -> int:
    value = fields.get(name, "").strip() or "0"
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise _invalid(name)
    return int(value)


def _invalid(name: str) -> PageError:
    label = LABELS.get(name) or LABELS["defaults"]
    return PageError(f"This is not a valid value for “{label}”.", _BAD_REQUEST)
