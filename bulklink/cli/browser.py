"""Opening the user's browser at an address with a secret."""

from __future__ import annotations

import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path

_REDIRECT = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={}">'


@contextmanager
def open_browser(url: str) -> Iterator[bool]:
    """Open an address in the browser; yield whether there is one.

    The browser gets the path of a file that only the user can read, and that exists while the block
    runs: a command line is visible to every user of the machine.
    """
    with tempfile.TemporaryDirectory(prefix="bulklink-") as folder:  # has the mode 0700
        page = Path(folder) / "open.html"
        page.touch(mode=0o600)
        page.write_text(_REDIRECT.format(escape(url)), encoding="utf-8")
        yield webbrowser.open(page.as_uri())
