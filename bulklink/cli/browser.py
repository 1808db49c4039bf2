"""Opening the user's browser at an address with a secret."""

from __future__ import annotations

import tempfile
import webbrowser
from functools import partial
from html import escape
from pathlib import Path

import anyio

from bulklink.blocking import ThreadRunner

_REDIRECT = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={}">'


async def show_in_browser(url: str, run_blocking: ThreadRunner) -> None:
    """Open an address in the browser, if there is one, and wait until this is cancelled.

    The browser gets the path of a file that only the user can read, and that exists meanwhile: a
    command line is visible to every user of the machine.

    Args:
        url: the address.
        run_blocking: calls the browser in a thread, as some return only after seconds.
    """
    with tempfile.TemporaryDirectory(prefix="bulklink-") as folder:  # has the mode 0700
        page = Path(folder) / "open.html"
        page.touch(mode=0o600)
        page.write_text(_REDIRECT.format(escape(url)), encoding="utf-8")
        await run_blocking(partial(webbrowser.open, page.as_uri()))
        await anyio.sleep_forever()
