"""Shell quoting of commands shown to the user."""

from __future__ import annotations

import os
import shlex
import string
import subprocess

_PLAIN_CHARACTERS = frozenset(string.ascii_letters + string.digits + "/._-+= ")


def format_command(*words: object) -> str:
    """Return a command as it is typed in this system's shell, quoted where necessary."""
    arguments = list(map(str, words))
    return (
        subprocess.list2cmdline(arguments) if os.name == "nt" else " ".join(map(_quote, arguments))
    )


def _quote(argument: str) -> str:
    r"""Quote an argument for a POSIX shell; bytes that are not text as in `$'\xff'`."""
    if not any("\udc80" <= character <= "\udcff" for character in argument):
        return shlex.quote(argument)
    return f"$'{''.join(map(_escape, argument.encode('utf-8', 'surrogateescape')))}'"


def _escape(byte: int) -> str:
    return chr(byte) if chr(byte) in _PLAIN_CHARACTERS else f"\\x{byte:02x}"


def bulklink_command(*words: object) -> str:
    """Return a bulklink command to type, in backquotes."""
    return f"`{format_command('bulklink', *words)}`"
