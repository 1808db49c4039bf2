"""Servers that benchmarks run commands against, and the environments that connect to them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BULKLINK = (sys.executable, "-m", "bulklink")
MODULE = "5843104000000002181"
"""Id of the Deals module in `token_environment`."""


@contextmanager
def serve(command: Sequence[str]) -> Iterator[str]:
    """Run a server whose first line is a JSON object with its `url`; yield that."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield str(json.loads(process.stdout.readline())["url"])
        finally:
            process.terminate()


def token_environment(url: str) -> dict[str, str]:
    """Return the environment of a command with an access token, so that it makes no look-up."""
    return os.environ | {
        "BULKLINK_API_URL": url,
        "BULKLINK_ACCESS_TOKEN": "bench",
        "BULKLINK_DEALS_MODULE_ID": MODULE,
    }


def emulator_environment(url: str) -> dict[str, str]:
    """Return the environment of a command that is connected to an emulator."""
    return os.environ | {
        "BULKLINK_API_URL": url,
        "BULKLINK_ACCOUNTS_URL": url,
        "BULKLINK_CLIENT_ID": "demo",
        "BULKLINK_CLIENT_SECRET": "demo",
        "BULKLINK_REFRESH_TOKEN": "demo",
    }
