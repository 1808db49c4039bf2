"""Commands that the terminal suggests, which use the profile of the current command."""

from __future__ import annotations

import click

from bulklink.shell import format_command, profile_words

_PROFILE = "bulklink.profile"
"""Key of the profile in the `meta` of click's context."""


def set_profile_in_use(ctx: click.Context, profile: str) -> None:
    """Use a profile for the commands that are suggested."""
    ctx.meta[_PROFILE] = profile


def with_profile(*words: str, recorded: str | None = None) -> tuple[str, ...]:
    """Return the words of a command, with the profile in use if it needs a connection.

    Args:
        words: the words, the name of the command first.
        recorded: profile of the run, if the current command uses none.
    """
    ctx = click.get_current_context(silent=True)
    profile = recorded if ctx is None else ctx.meta.get(_PROFILE, recorded)
    return (*words, *profile_words(words[0], profile))


def suggested_command(*words: str, recorded: str | None = None) -> str:
    """Return a command to type, with the profile in use if it needs a connection."""
    return format_command("bulklink", *with_profile(*words, recorded=recorded))
