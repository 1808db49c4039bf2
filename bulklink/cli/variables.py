"""Environment variables whose names are misspelt, which would be passed over without a word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click

from bulklink.cli.usage import likely, meant

_OURS = "BULKLINK_"
CONNECTION = (
    "BULKLINK_DC",
    "BULKLINK_ENVIRONMENT",
    "BULKLINK_CLIENT_ID",
    "BULKLINK_CLIENT_SECRET",
    "BULKLINK_REFRESH_TOKEN",
    "BULKLINK_GRANT_CODE",
    "BULKLINK_ACCESS_TOKEN",
    "BULKLINK_DEALS_MODULE_ID",
    "BULKLINK_API_URL",
    "BULKLINK_ACCOUNTS_URL",
)
"""The variables that say where the CRM is and how to sign in."""


def misspelt(names: Iterable[str], cli: click.Command) -> Iterator[str]:
    """Yield a sentence for each name that is like a variable of bulklink's and is none.

    Args:
        names: of the variables of the environment.
        cli: the tree of commands, whose options have variables.
    """
    found = [name.removeprefix(_OURS) for name in names if name.startswith(_OURS)]
    variables = {*CONNECTION, *_of_options(cli)} if found else set()
    known = {name.removeprefix(_OURS) for name in variables}
    for name in found:
        near = likely(name, known)[:1] if name not in known else []
        if near:
            yield f"The variable {_OURS}{name} is not known. {meant([_OURS + near[0]])}".rstrip()


def _of_options(command: click.Command) -> Iterator[str]:
    for param in command.params:
        if isinstance(param.envvar, str):
            yield param.envvar
    if isinstance(command, click.Group):
        for one in command.commands.values():
            yield from _of_options(one)
