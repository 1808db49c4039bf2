"""Local CRM that a command starts for itself, in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bulklink.errors import BulklinkError

_STOP_SECONDS = 10


def demo_variables(url: str) -> dict[str, str]:
    """Return the environment variables that connect to a local CRM, and nothing else."""
    return {
        "BULKLINK_API_URL": url,
        "BULKLINK_ACCOUNTS_URL": url,
        "BULKLINK_CLIENT_ID": "demo",
        "BULKLINK_CLIENT_SECRET": "demo",
        "BULKLINK_REFRESH_TOKEN": "demo",
        "BULKLINK_ACCESS_TOKEN": "",
        "BULKLINK_DEALS_MODULE_ID": "",
        "BULKLINK_PROFILE": "",
    }


@contextmanager
def serve_world(world: Path, options: Sequence[str] = ()) -> Iterator[str]:
    """Serve a world in a separate process, which Ctrl-C at the terminal does not reach.

    Args:
        world: the world file.
        options: further options of `bulklink emulator`.

    Yields:
        The address of the local CRM.

    Raises:
        BulklinkError: if it does not start.
    """
    import subprocess  # noqa: PLC0415 - not for --help

    import orjson  # noqa: PLC0415 - not for --help

    from bulklink.shell import format_command  # noqa: PLC0415 - not for --help

    command = [sys.executable, "-m", "bulklink", "emulator", "--world", str(world), *options]
    with subprocess.Popen(  # noqa: S603 - our own command
        command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, process_group=0
    ) as process:
        try:
            line = process.stdout.readline() if process.stdout else b""
            try:
                url: str = orjson.loads(line)["url"]
            except orjson.JSONDecodeError:
                raise BulklinkError(
                    "The local CRM did not start.",
                    where=format_command(*command),
                    advice="Run that command to see why.",
                ) from None
            yield url
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS)
