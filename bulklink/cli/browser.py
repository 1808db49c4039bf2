"""Opening the user's browser at an address with a secret."""

from __future__ import annotations

import tempfile
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path

import anyio.to_thread

from bulklink.task_group import task_group

_REDIRECT = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={}">'


@asynccontextmanager
async def open_browser(url: str) -> AsyncIterator[None]:
    """Open an address in the browser, if there is one.

    The browser gets the path of a file that only the user can read, and that exists while the block
    runs: a command line is visible to every user of the machine.
    """
    with tempfile.TemporaryDirectory(prefix="bulklink-") as folder:  # has the mode 0700
        page = Path(folder) / "open.html"
        page.touch(mode=0o600)
        page.write_text(_REDIRECT.format(escape(url)), encoding="utf-8")
        # Some browsers are waited for, for seconds or until they are closed.
        async with task_group() as group:
            group.start_soon(_open, page.as_uri())
            yield
            group.cancel_scope.cancel()


async def _open(uri: str) -> None:
    await anyio.to_thread.run_sync(webbrowser.open, uri, abandon_on_cancel=True)
