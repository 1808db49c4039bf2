"""Command tree, grouped by task."""

from __future__ import annotations

from importlib import import_module

import click

from bulklink.cli.help import Group, write_lists

SECTIONS = {
    "Getting started": ("demo", "ui", "auth", "completion"),
    "Find wrong links": ("audit", "match"),
    "Change emails": ("plan", "link", "unlink", "relink", "run", "apply"),
    "Resume, inspect, undo": ("resume", "retry", "status", "verify", "history", "undo"),
    "Many orgs, many runs": ("work", "cancel", "cluster"),
    "Files": ("fetch", "export", "report", "merge", "forget"),
    "Local CRM": ("emulator", "generate", "probe"),
    "Load tests": ("loadtest",),
}
"""Help headings and their commands, in order."""
_MODULES = {
    **dict.fromkeys(("link", "unlink", "relink", "run"), "send"),
    **dict.fromkeys(("apply", "retry"), "resume"),
}
"""Modules in `commands` of commands that have none of their own name."""


class CommandTree(Group):
    """All commands, listed under headings; a command is imported when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the help."""
        return [name for names in SECTIONS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; return None if there is none of this name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = import_module(f"bulklink.cli.commands.{_MODULES.get(cmd_name, cmd_name)}")
        commands = [value for value in vars(module).values() if isinstance(value, click.Command)]
        return next(command for command in commands if command.name == cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list of commands for each heading."""
        limit = formatter.width - 4 - max(map(len, self.list_commands(ctx)))
        write_lists(
            formatter,
            {
                heading: [(name, self._summary(ctx, name, limit)) for name in names]
                for heading, names in SECTIONS.items()
            },
        )

    def _summary(self, ctx: click.Context, name: str, limit: int) -> str:
        command = self.get_command(ctx, name)
        return command.get_short_help_str(limit) if command else ""


@click.group(
    cls=CommandTree,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`bulklink COMMAND --help` shows examples and all options. Options of commands that"
    " send or read can also be set as environment variables: BULKLINK_BATCH_SIZE for"
    " --batch-size.",
)
@click.version_option(package_name="bulklink", message="%(prog)s %(version)s")
def cli() -> None:
    """Link and unlink the emails of Zoho CRM contacts to deals, in bulk.

    \b
    Examples:
      bulklink demo
      bulklink auth login
      bulklink plan --op link mapping.csv
      bulklink link mapping.csv

    Start with `bulklink demo`, which links the emails of a sample mapping in a local CRM. Then sign
    in, plan a mapping of your own, and send it.
    """
