"""The command `bulklink`: it ends with the code that the README lists, whatever happens."""

from __future__ import annotations

import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit with the code that the README lists."""
    try:
        # Ctrl-C may come while all that is being imported.
        from bulklink.cli.commands import cli  # noqa: PLC0415
        from bulklink.cli.ending import exit_code_of  # noqa: PLC0415

        code = exit_code_of(cli)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    sys.exit(code)
