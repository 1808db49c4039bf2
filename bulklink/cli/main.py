"""The command `bulklink`: it ends with the code that the README lists, whatever happens."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit with the code that the README lists."""
    with _interruptible() as pressed:
        try:
            # Ctrl-C may come while all that is being imported.
            from bulklink.cli.app import cli  # noqa: PLC0415
            from bulklink.cli.errors import exit_code_of  # noqa: PLC0415

            code = exit_code_of(cli, pressed)
        except KeyboardInterrupt:
            code = _INTERRUPTED
    sys.exit(code)


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Have Ctrl-C raise, as Python does, but end the process while something is imported.

    Libraries in C++ do not survive it in their import. What was pressed is kept: some make an error
    of their own of it.
    """
    pressed: list[int] = []

    def interrupted(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        if _imports(frame):
            os._exit(_INTERRUPTED)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # ignored, or a program's that calls this
        yield pressed
        return
    signal.signal(signal.SIGINT, interrupted)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
