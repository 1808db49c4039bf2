"""Entry point of the command `bulklink`."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from bulklink.errors import ExitCode

_NEW_OBJECTS_PER_COLLECTION = 50_000
"""Python's own number, 700, is reached by each block of rows, and by each import."""


def main() -> None:
    """Run the command line and exit with a code of `ExitCode`."""
    gc.set_threshold(_NEW_OBJECTS_PER_COLLECTION)
    with _handle_interrupts() as received_signals:
        try:
            # Ctrl-C may arrive during these imports.
            from bulklink.cli.app import cli  # noqa: PLC0415
            from bulklink.cli.errors import run_command_line  # noqa: PLC0415

            code = run_command_line(cli, received_signals)
        except KeyboardInterrupt:
            code = ExitCode.INTERRUPTED
    sys.exit(code)


@contextmanager
def _handle_interrupts() -> Iterator[list[int]]:
    """Raise KeyboardInterrupt at Ctrl-C; during an import, exit instead.

    C++ libraries do not survive KeyboardInterrupt during their import. Received signals are
    recorded because some libraries turn KeyboardInterrupt into an error of their own.
    """
    received_signals: list[int] = []

    def on_interrupt(signum: int, frame: FrameType | None) -> None:
        received_signals.append(signum)
        if _is_importing(frame):
            os._exit(ExitCode.INTERRUPTED)
        raise KeyboardInterrupt

    previous_handler = signal.getsignal(signal.SIGINT)
    if previous_handler is not signal.default_int_handler:  # ignored, or a calling program's
        yield received_signals
        return
    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield received_signals
    finally:
        if signal.getsignal(signal.SIGINT) is on_interrupt:  # ignored after an immediate stop
            signal.signal(signal.SIGINT, previous_handler)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
