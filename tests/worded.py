"""Texts as shown at a terminal: settings as options, next steps as commands."""

from __future__ import annotations

from bulklink.advice import Advice
from bulklink.cli.console import command_words
from bulklink.errors import BulklinkError


def typed_text(text: str | Advice) -> str:
    """Return a text with its settings as options."""
    return text.worded(command_words) if isinstance(text, Advice) else text


def typed_error(error: BulklinkError) -> str:
    """Return an error with its place and advice."""
    return f"{typed_text(error.place)}: {error.message}\n{typed_text(error.guidance)}"
