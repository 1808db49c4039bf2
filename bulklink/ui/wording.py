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
}
"""Labels of the settings of a mapping, by their keywords."""
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
    return f"{label} ({part.value})"


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
    """

    message: str
    where: str = ""
    advice: str = ""

    @classmethod
    def of(cls, error: BaseException) -> ShownError:
        """Return an error with its settings by their labels."""
        if not isinstance(error, BulklinkError):
            return cls(f"An unexpected error occurred: {type(error).__name__}.")
        return cls(page_text(error.message), page_text(error.place), page_text(error.guidance))
