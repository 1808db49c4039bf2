"""Callbacks that show warnings, for commands without progress."""

from __future__ import annotations

from bulklink.advice import Keyword, NextCall
from bulklink.cli.console import command_words, warn
from bulklink.operations.callbacks import RunCallbacks


class WarningDisplay(RunCallbacks):
    """Shows warnings on standard error.

    Args:
        quiet: show no warnings.

    Attributes:
        warnings: the warnings so far.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self.warnings: list[str] = []

    def word(self, part: Keyword | NextCall) -> str:
        """Return an option or a command as it is typed."""
        return command_words(part)

    def on_warning(self, text: str) -> None:
        """Show a warning."""
        self.warnings.append(text)
        if not self._quiet:
            warn(text)
