"""Standard streams that are closed, or whose encoding lacks a character."""

from __future__ import annotations

import codecs
import io
import os
import stat
import sys
from contextlib import suppress
from typing import TextIO

from bulklink.file_names import file_name_text

_ERROR_HANDLER = "bulklink.unencodable"
_MODES = {"stdin": "r", "stdout": "w", "stderr": "w"}


def prepare_streams() -> None:
    """Open closed streams on the null device; escape characters that a stream cannot encode.

    Otherwise the next file opened, such as a ledger, would become standard error.
    """
    for name, mode in _MODES.items():  # in the order of their descriptors: each gets its own
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    codecs.register_error(_ERROR_HANDLER, _escape)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Click treats ASCII as misconfigured and writes UTF-8.
            is_ascii = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding="utf-8" if is_ascii else None, errors=_ERROR_HANDLER)


def is_stdout_closed() -> bool:
    """Return whether standard output was closed when the command began."""
    return getattr(sys.stdout, "name", "") == os.devnull


def discard_stdout() -> None:
    """Redirect standard output to the null device, so that the flush at exit cannot fail."""
    _discard(sys.stdout)


def discard_closed_terminals() -> None:
    """Redirect standard output and error to the null device if their terminal was closed."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            # A closed terminal is still a character device, but not a terminal.
            if stat.S_ISCHR(os.fstat(stream.fileno()).st_mode) and not stream.isatty():
                _discard(stream)


def _discard(stream: TextIO) -> None:
    with suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, stream.fileno())
        os.close(devnull)


def _escape(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = file_name_text(error.object[error.start : error.end])
    return text.encode(error.encoding, "backslashreplace"), error.end
