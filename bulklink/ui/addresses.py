"""Paths of addresses, with names of files as they are, whatever their bytes."""

from __future__ import annotations

import os
from urllib.parse import quote, unquote_to_bytes

from aiohttp import web


def quote_path(path: str) -> str:
    """Return a path as it stands in an address."""
    return quote(os.fsencode(path))


def path_of(request: web.Request) -> str:
    """Return the path of a request, which `quote_path` may have quoted."""
    return _unquote(request.rel_url.raw_path)


def run_name_of(request: web.Request) -> str:
    """Return the name of the run folder that a request names, as `/runs/NAME`."""
    return _unquote(request.rel_url.raw_path.split("/")[2])


def _unquote(text: str) -> str:
    try:
        return os.fsdecode(unquote_to_bytes(text))
    except UnicodeDecodeError:  # no name of a file on this system
        return text
