"""Shell quoting of commands shown to the user."""

from __future__ import annotations

import os
import shlex
import subprocess


def format_command(*words: object) -> str:
    """Return a command for this system's shell, quoted where necessary.

    Args:
        words: its words; a path is never taken for an option.
    """
    arguments = [path_word(word) if isinstance(word, os.PathLike) else str(word) for word in words]
    if os.name == "nt":
        return subprocess.list2cmdline(arguments)
    return " ".join(map(_quote, arguments))


def path_word(path: str | os.PathLike[str]) -> str:
    """Return a path as a word of a command that is not taken for an option."""
    word = os.fspath(path)
    return f"./{word}" if word.startswith("-") and word != "-" else word


def _quote(argument: str) -> str:
    """Return a word quoted for a shell; unprintable characters need `$'…'` of bash and zsh."""
    if argument.isprintable():
        return shlex.quote(argument)
    escapes = (
        "\\\\" if c == "\\" else "\\'" if c == "'" else c if c.isprintable() else _escape_bytes(c)
        for c in argument
    )
    return f"$'{''.join(escapes)}'"


def _escape_bytes(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


def bulklink_command(*words: object) -> str:
    """Return a bulklink command to type, in backquotes."""
    return f"`{format_command('bulklink', *words)}`"
