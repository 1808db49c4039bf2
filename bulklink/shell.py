"""Shell quoting of commands shown to the user."""

from __future__ import annotations

import os
import shlex
import subprocess

_CONNECTED = ("apply", "link", "relink", "resume", "retry", "run", "undo", "unlink", "verify")
"""Commands among those suggested that need a connection."""


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


def profile_words(command: str, profile: str | None) -> tuple[str, ...]:
    """Return the option that names a profile, if the command needs a connection.

    Args:
        command: name of the command.
        profile: the profile; None for the environment's connection.
    """
    return () if profile is None or command not in _CONNECTED else ("--profile", profile)


def auth_command(action: str, profile: str | None, *options: str, replaces: bool = False) -> str:
    """Return a `bulklink auth` command for a profile, in backquotes.

    Args:
        action: `login` or `logout`.
        profile: the profile; None is the one in use.
        options: further options.
        replaces: whether it replaces or removes a profile that is there.
    """
    selection = () if profile is None else ("--profile", profile)
    force = ("--force",) if replaces else ()
    return bulklink_command("auth", action, *selection, *force, *options)
