"""Names of settings and next steps as the page shows them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from bulklink.advice import Advice, Keyword, NextCall
from bulklink.errors import BulklinkError

LABELS: Mapping[str, str] = {
    "op": "Operation",
    "on_invalid": "Invalid rows",
    "columns": "Columns",
    "defaults": "Value of empty cells",
    "sheet": "Sheet",
    "skip_lines": "Lines above the headers",
    "encoding": "Encoding",
    "delimiter": "Delimiter",
    "quote": "Quote character",
    "escape": "Escape character",
    "hidden_rows": "Hidden rows",
    "allow_round_ids": "Accept ids that look rounded",
    "preset": "Headers",
    "only": "Only rows with",
    "keep": "Keep only these columns",
    "look_up_names": "Look up missing names",
}
"""Labels of the settings of a mapping, by their keywords."""
CHOICES: Mapping[str, Mapping[str, str]] = {
    "op": {
        "": "From the column op of the mapping",
        "link": "Link each email to its deal",
        "unlink": "Unlink each email from its deal",
        "relink": "Relink each email to another deal",
    },
    "on_invalid": {"stop": "Stop, so that they can be fixed", "skip": "Leave them out"},
    "hidden_rows": {
        "": "Refuse a sheet that hides rows",
        "include": "Include them",
        "skip": "Leave them out",
    },
    "preset": {"": "Those of bulklink", "zoho": "Zoho's exports too"},
}
"""Words for the values of settings with a menu; the first is the default."""
_OPTIONS = {
    "default": "defaults",
    **{name.replace("_", "-"): name for name in LABELS},
}
_OPTION = re.compile(r"--([a-z][a-z-]*)")


def page_words(part: Keyword | NextCall) -> str:
    """Return a setting by its label, with its value, or a next step by its name."""
    if isinstance(part, NextCall):
        return f"“{part.function}”"
    label = f"“{LABELS.get(part.name, part.name)}”"
    if part.value is None or part.value is True:
        return label
    if isinstance(part.value, tuple):
        pairs = (value if isinstance(value, str) else " = ".join(value) for value in part.value)
        return f"{label} ({', '.join(pairs)})"
    return f"{label} ({CHOICES.get(part.name, {}).get(str(part.value), part.value)})"


def page_text(text: str | Advice) -> str:
    """Return a text with settings by their labels."""
    words = text.worded(page_words) if isinstance(text, Advice) else text
    return _OPTION.sub(_label, words)


def _label(option: re.Match[str]) -> str:
    name = _OPTIONS.get(option[1])
    return option[0] if name is None else f"“{LABELS[name]}”"


class ShownError(msgspec.Struct, frozen=True):
    """An error as the page shows it.

    Args:
        message: what is wrong.
        where: the file, line or setting that it concerns; empty if none.
        advice: what to do about it; empty if there is nothing to do.
        setting: keyword of the setting of a mapping that it concerns; empty if none.
    """

    message: str
    where: str = ""
    advice: str = ""
    setting: str = ""

    @classmethod
    def of(cls, error: BaseException) -> ShownError:
        """Return an error with its settings by their labels."""
        if not isinstance(error, BulklinkError):
            return cls(f"An unexpected error occurred: {type(error).__name__}.")
        message, place = page_text(error.message), page_text(error.place)
        return cls(message, place, page_text(error.guidance), _setting_of(error.place))


def _setting_of(place: Advice) -> str:
    """Return the keyword of the first setting that a place names; empty if it names none."""
    names: list[str] = []

    def note(part: Keyword | NextCall) -> str:
        names.append(part.name if isinstance(part, Keyword) else "")
        return ""

    names.append(place.worded(note))
    return names[0] if names[0] in LABELS else ""
