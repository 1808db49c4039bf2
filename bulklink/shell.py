"""A command as a person types it."""

from __future__ import annotations

import os
import shlex
import subprocess


def format_command(*words: object) -> str:
    """Return a command as it is typed in this system's shell, quoted where that is needed."""
    arguments = list(map(str, words))
    return subprocess.list2cmdline(arguments) if os.name == "nt" else shlex.join(arguments)


def bulklink_command(*words: object) -> str:
    """Return a command of bulklink's to be typed, in the marks that set it off from a sentence."""
    return f"`{format_command('bulklink', *words)}`"
