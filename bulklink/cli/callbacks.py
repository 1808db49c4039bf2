"""Callbacks that show warnings, for commands without progress."""

from __future__ import annotations

from bulklink.cli.console import warn
from bulklink.operations.callbacks import RunCallbacks


class WarningDisplay(RunCallbacks):
    """Shows warnings on standard error.

    Args:
        quiet: show no warnings.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet

    def on_warning(self, text: str) -> None:
        """Show a warning."""
        if not self._quiet:
            warn(text)
