"""All commands by their words."""

from __future__ import annotations

from collections.abc import Iterator

import click

from bulklink.cli.app import cli
from bulklink.cli.help import subcommands

PathAndCommand = tuple[str, click.Command]


def walk(command: click.Command = cli, path: str = "bulklink") -> Iterator[PathAndCommand]:
    """Yield a command and all below it."""
    yield path, command
    for name, subcommand in subcommands(command).items():
        yield from walk(subcommand, f"{path} {name}")


ALL = dict(walk())
LEAVES = {path: command for path, command in ALL.items() if not isinstance(command, click.Group)}


def parse_context(words: list[str]) -> click.Context:
    """Parse a command line as click does, without running it; return the innermost context."""
    ctx = click.Context(cli, info_name="bulklink")
    path, *arguments = words
    assert path == "bulklink"
    while isinstance(command := ctx.command, click.Group):
        name, *arguments = arguments
        path = f"{path} {name}"
        ctx = click.Context(ALL[path], parent=ctx, info_name=name)
    return command.make_context(ctx.info_name, arguments, parent=ctx.parent)
