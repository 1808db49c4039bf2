"""Shell quoting of commands shown to the user."""

from __future__ import annotations

import os
import shlex
import subprocess


def format_command(*words: object) -> str:
    """Return a command as it is typed in this system's shell, quoted where necessary."""
    arguments = list(map(str, words))
    return subprocess.list2cmdline(arguments) if os.name == "nt" else shlex.join(arguments)


def bulklink_command(*words: object) -> str:
    """Return a bulklink command to type, in backquotes."""
    return f"`{format_command('bulklink', *words)}`"
