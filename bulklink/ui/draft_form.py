"""Settings of a draft from the fields of a form, and the fields of a form from settings."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any, Self

import msgspec

from bulklink.errors import BulklinkError
from bulklink.mapping.column_choices import NO_CHOICES, ColumnChoices
from bulklink.mapping.schema import KNOWN_COLUMNS, PRESETS, HiddenRows
from bulklink.models import Op
from bulklink.operations.job import OnInvalid
from bulklink.ui.commands import PageError
from bulklink.ui.drafts import OWN_CONNECTION, DraftSettings
from bulklink.ui.wording import LABELS, ShownError

TEXT_SETTINGS = ("sheet", "encoding", "delimiter", "quote", "escape")
READING_SETTINGS = (*TEXT_SETTINGS, "skip_lines", "hidden_rows", "allow_round_ids")
OPTION_SETTINGS = ("preset", "only", "keep")
"""Settings of the two parts of the form that are closed unless one of theirs is invalid."""
_MAX_TEXT = 200
_MAX_LINES = 50
_BAD_REQUEST = 400


class FieldError(PageError):
    """Raised when a field of a form has an invalid value.

    Args:
        setting: keyword of the setting; empty if the error concerns none.
        message: what is wrong, for the user.
    """

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(message, _BAD_REQUEST)
        self.setting = setting

    @classmethod
    def of(cls, error: BulklinkError) -> Self:
        """Return the error of a setting as one of its field."""
        shown = ShownError.of(error)
        return cls(shown.setting, f"{shown.message} {shown.advice}".strip())


def read_settings(
    fields: Mapping[str, str],
    choices: ColumnChoices = NO_CHOICES,
    profiles: Collection[str] = (),
) -> DraftSettings:
    """Return the settings that a form sets; those that it does not have are the defaults.

    Args:
        fields: its fields.
        choices: headers and columns that the form showed.
        profiles: names of the profiles that it offered.

    Raises:
        FieldError: if a value is invalid.
        PageError: if the form showed other headers.
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
        preset=_one_of(PRESETS, fields, "preset"),
        only=tuple(map(_condition, _lines(fields, "only"))),
        keep=_keep(fields),
        names_from=_one_of((OWN_CONNECTION, *profiles), fields, "look_up_names"),
        **texts,
    )


def form_fields(settings: DraftSettings) -> dict[str, str]:
    """Return the fields of the form that sets these settings, except for columns and defaults."""
    only = (header if value is None else f"{header}={value}" for header, value in settings.only)
    return {
        **{name: getattr(settings, name) or "" for name in TEXT_SETTINGS},
        "op": settings.op or "",
        "on_invalid": settings.on_invalid,
        "skip_lines": str(settings.skip_lines or ""),
        "hidden_rows": settings.hidden_rows or "",
        "allow_round_ids": "yes" if settings.allow_round_ids else "",
        "preset": settings.preset or "",
        "only": "\n".join(only),
        "keep": "\n".join(settings.keep or ()),
        "keep_none": "yes" if settings.keep == () else "",
        "look_up_names": settings.names_from or "",
        **{f"default.{column}": value for column, value in settings.defaults},
    }


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
        raise FieldError(
            "columns",
            f"{columns} have the same header, {numbers[twice]!r}. Choose another for one of them.",
        )
    return tuple((column, numbers[place]) for column, place in chosen)


def _choice(kind: Any, fields: Mapping[str, str], name: str) -> Any:
    value = _one_of(tuple(kind), fields, name)
    return None if value is None else kind(value)


def _one_of(values: Collection[str], fields: Mapping[str, str], name: str) -> str | None:
    value = fields.get(name, "")
    if value and value not in values:
        raise _invalid(name)
    return value or None


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


def _lines(fields: Mapping[str, str], name: str) -> list[str]:
    """Return the lines of a field, without empty ones."""
    lines = [line.strip() for line in fields.get(name, "").splitlines() if line.strip()]
    if len(lines) > _MAX_LINES or any(len(line) > _MAX_TEXT for line in lines):
        raise FieldError(
            name,
            f"Use {_MAX_LINES} lines at most, of {_MAX_TEXT} characters at most.",
        )
    return lines


def _condition(line: str) -> tuple[str, str | None]:
    """Return a header and the value of its cells; None for any value."""
    header, equals, value = line.partition("=")
    if not header.strip():
        raise FieldError(
            "only",
            f"{line!r} has no header. Write a header, such as tier, or a header and a value, such"
            " as tier=sure.",
        )
    return header.strip(), value if equals else None


def _keep(fields: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the headers to keep; None keeps all."""
    headers = tuple(_lines(fields, "keep"))
    if fields.get("keep_none") != "yes":
        return headers or None
    if headers:
        raise FieldError("keep", "Name the columns to keep, or keep none of them: not both.")
    return ()


def _invalid(name: str) -> FieldError:
    setting = "defaults" if name.startswith("default.") else name
    return FieldError(setting, f"This is not a valid value for “{LABELS[setting]}”.")
