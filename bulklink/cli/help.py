"""Help of a command: its options in groups, the common ones first, at the width of the terminal."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import click

from bulklink.cli.console import Styled, render
from bulklink.cli.output_types import refuse_shared_files

COMMON = "Common options"
"""Group of the options that most uses of a command need; the help begins with it."""
SELECTION = "Select contacts and emails"
INPUT = "Read files"
OUTPUT = "Write files"
CALLS = "Plan calls"
SAFETY = "Check and protect"
LIMITS = "Limit calls and credits"
DISPLAY = "Show and record"
"""Group at the end of the help."""
_MAX_UNGROUPED = 12
"""Commands with no more options list them without groups."""
_MAX_TEXT_WIDTH = 100
"""Running text in wider lines is hard to read; lists of options may be wider."""
_MIN_WIDTH = 30
_MAX_NAME_WIDTH = 30
_MARGIN = 2


class GroupedOption(click.Option):
    """Option in a group of the help.

    Args:
        group: heading of the group.
    """

    def __init__(self, *names: Any, group: str = COMMON, **attributes: Any) -> None:
        super().__init__(*names, **attributes)
        self.group = group


class HelpFormatter(click.HelpFormatter):
    """Formatter that fills the terminal, whatever its width."""

    def __init__(
        self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None
    ) -> None:
        if width is None:
            width = max(shutil.get_terminal_size().columns - _MARGIN, _MIN_WIDTH)
        super().__init__(indent_increment, width, max_width)

    def write_heading(self, heading: str) -> None:
        """Write a heading in bold."""
        super().write_heading(render(Styled(heading, bold=True)))

    def write_text(self, text: str) -> None:
        """Write running text in lines that are not too long to read."""
        width, self.width = self.width, min(self.width, _MAX_TEXT_WIDTH - _MARGIN)
        super().write_text(text)
        self.width = width


class HelpContext(click.Context):
    """Context of a command with this help."""

    formatter_class = HelpFormatter


class Command(click.Command):
    """Command whose help lists its options in groups, and that never replaces a file it reads."""

    context_class = HelpContext

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, after checking the files that it writes."""
        refuse_shared_files(self.params, ctx.params)
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list for each group of options."""
        write_lists(
            formatter,
            {
                group: [record for option in options if (record := option.get_help_record(ctx))]
                for group, options in options_by_group(self.get_params(ctx)).items()
            },
        )


class Group(click.Group):
    """Group of commands with this help."""

    context_class = HelpContext


def subcommands(command: click.Command) -> dict[str, click.Command]:
    """Import the commands of a group and return them by name, but for hidden ones.

    Any other command has none.
    """
    if not isinstance(command, click.Group):
        return {}
    ctx = click.Context(command)
    named = {name: command.get_command(ctx, name) for name in command.list_commands(ctx)}
    return {
        name: subcommand
        for name, subcommand in named.items()
        if subcommand is not None and not subcommand.hidden
    }


def write_lists(
    formatter: click.HelpFormatter, lists: Mapping[str, Sequence[tuple[str, str]]]
) -> None:
    """Write lists of names and texts under their headings, all with columns of one width."""
    longest_name = max(len(name) for rows in lists.values() for name, _ in rows)
    width = min(longest_name, _MAX_NAME_WIDTH, formatter.width // 3)
    for heading, rows in lists.items():
        with formatter.section(heading):
            formatter.write_dl([(f"{name:<{width}}", text) for name, text in rows], width)


def options_by_group(params: Sequence[click.Parameter]) -> dict[str, list[click.Option]]:
    """Return the options of a command by the headings of its help, in order.

    Args:
        params: the parameters of the command; a few options need no groups.
    """
    options = [param for param in params if isinstance(param, click.Option)]
    if len(options) <= _MAX_UNGROUPED:
        return {"Options": options}
    groups: dict[str, list[click.Option]] = {COMMON: []}
    for option in options:
        group = option.group if isinstance(option, GroupedOption) else COMMON
        groups.setdefault(group, []).append(option)
    if DISPLAY in groups:
        groups[DISPLAY] = groups.pop(DISPLAY)
    return groups
