"""Command tree, grouped by task."""

from __future__ import annotations

import click

from bulklink.cli.commands.audit import audit
from bulklink.cli.commands.auth import auth
from bulklink.cli.commands.completion import completion
from bulklink.cli.commands.demo import demo
from bulklink.cli.commands.emulator import emulator
from bulklink.cli.commands.export import export
from bulklink.cli.commands.fetch import fetch
from bulklink.cli.commands.forget import forget
from bulklink.cli.commands.generate import generate
from bulklink.cli.commands.history import history
from bulklink.cli.commands.loadtest import loadtest
from bulklink.cli.commands.match import match
from bulklink.cli.commands.plan import plan
from bulklink.cli.commands.probe import probe
from bulklink.cli.commands.report import report
from bulklink.cli.commands.resume import apply_plan, resume, retry
from bulklink.cli.commands.send import link, relink, run, unlink
from bulklink.cli.commands.status import status
from bulklink.cli.commands.undo import undo
from bulklink.cli.commands.verify import verify
from bulklink.cli.help import Group, write_lists

SECTIONS = {
    "Getting started": (demo, auth, completion),
    "Find wrong links": (audit, match),
    "Change emails": (plan, link, unlink, relink, run, apply_plan),
    "Resume, inspect, undo": (resume, retry, status, verify, history, undo),
    "Files": (fetch, export, report, forget),
    "Local CRM": (emulator, generate, probe),
    "Load tests": (loadtest,),
}
"""Help headings and their commands, in order."""


class SectionedGroup(Group):
    """Command group that lists its commands under headings."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list of commands for each heading."""
        width = max(map(len, self.commands))
        limit = formatter.width - 4 - width
        write_lists(
            formatter,
            {
                heading: [
                    (command.name or "", command.get_short_help_str(limit)) for command in commands
                ]
                for heading, commands in SECTIONS.items()
            },
        )


@click.group(
    cls=SectionedGroup,
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


for _commands in SECTIONS.values():
    for _command in _commands:
        cli.add_command(_command)
