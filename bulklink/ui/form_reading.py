"""Forms as clients send them, also malformed ones, and clients that go away."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from aiohttp import web
from aiohttp.http import HttpProcessingError

from bulklink.ui.commands import PageError

_MALFORMED = (
    *(ValueError, LookupError, TypeError, AssertionError, RuntimeError, EOFError),
    *(zlib.error, HttpProcessingError, web.RequestPayloadError),
)
"""What aiohttp raises for bodies that are no forms."""
_BAD_REQUEST = 400


@contextmanager
def form_errors() -> Iterator[None]:
    """Raise an error of the page for a malformed form that is read in the block.

    Raises:
        PageError: if it is malformed.
    """
    try:
        yield
    except _MALFORMED:
        raise PageError("The form is damaged. Send it again.", _BAD_REQUEST) from None


async def read_form(request: web.Request) -> Mapping[str, object]:
    """Return the fields of a form.

    Raises:
        PageError: if it is malformed.
    """
    with form_errors():
        return await request.post()


def has_left(request: web.Request) -> bool:
    """Return whether the client has closed its connection."""
    return request.transport is None or request.transport.is_closing()
