"""Shell completion for bash, zsh, fish and PowerShell.

Completion must be fast, so this module imports none of the modules that read run folders.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    PowerShellComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

from bulklink.cli.param_types import LineSeparatedText
from bulklink.errors import BulklinkError
from bulklink.folder_files import read_small_file
from bulklink.visible_text import escape_controls

COMPLETION_VARIABLE = "_BULKLINK_COMPLETE"
"""Environment variable by which a shell requests completion."""
_MAX_RUNS = 100
_BACKSLASH = "\ue000"
"""Stands for a backslash, which is an escape for click but not for PowerShell."""
_Item = CompletionItem[str]


class BashCompleter(BashComplete):
    """Bash completion that quotes file names."""

    source_template = BashComplete.source_template.replace(
        "COMPREPLY+=($value)",
        'COMPREPLY+=("$value")\n            [[ $value == */* ]] && compopt -o filenames',
    )

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the previous words and the incomplete one, without the `=` split off by bash."""
        args, incomplete = super().get_completion_args()
        return [word for word in args if word != "="], incomplete


class FishCompleter(FishComplete):
    """Fish completion that keeps the order of values, and commas within them."""

    source_template = FishComplete.source_template.replace(
        'string split ","', 'string split --max 1 ","'
    ).replace("complete --no-files", "complete --keep-order --no-files")


class PowerShellCompleter(PowerShellComplete):
    """PowerShell completion that quotes words where PowerShell needs it."""

    source_template = (
        PowerShellComplete.source_template.replace(
            "    $prev_complete =",
            r"""    $quote = {
        param($text)
        if ($text -match '^[\w./:\\~+=-]+$') { $text } else { "'" + $text.Replace("'", "''") + "'" }
    }

    $prev_complete =""",
        )
        .replace("$value, $value, ", "(& $quote $value), $value, ")
        .replace("$_.FullName, $_.Name, ", "(& $quote $_.FullName), $_.Name, ")
    )

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the previous words and the incomplete one, with the backslashes of paths."""
        words = os.environ["COMP_WORDS"]
        os.environ["COMP_WORDS"] = words.replace("\\", _BACKSLASH)
        args, incomplete = super().get_completion_args()
        return (
            [word.replace(_BACKSLASH, "\\") for word in args],
            incomplete.replace(_BACKSLASH, "\\"),
        )


_SHELLS: dict[str, type[ShellComplete]] = {
    "bash": BashCompleter,
    "zsh": ZshComplete,
    "fish": FishCompleter,
    "powershell": PowerShellCompleter,
}
SHELLS = tuple(_SHELLS)
"""Shells with completion."""
for _shell in (BashCompleter, FishCompleter, PowerShellCompleter):
    add_completion_class(_shell)


class RunPath(click.Path):
    """A run folder; completion lists the runs folder, most recently changed first."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[_Item]:
        """Return matching runs; if there are none, have the shell complete folders."""
        del param
        runs_dir = ctx.params.get("runs_dir") or os.environ.get("BULKLINK_RUNS_DIR") or "runs"
        items = list(_complete_runs(Path(runs_dir), incomplete))
        return items or [CompletionItem(incomplete, type="dir")]


class FolderPath(click.Path):
    """A folder that may be missing; the shell completes folders."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[_Item]:
        """Have the shell complete folders."""
        del ctx, param
        return [CompletionItem(incomplete, type="dir")]


class ProfileName(LineSeparatedText):
    """The name of a profile."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[_Item]:
        """Return the matching profiles."""
        from bulklink.profiles.names import config_folder, profile_names  # noqa: PLC0415 - on Tab

        del ctx, param
        names = profile_names(config_folder())
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class FileName(LineSeparatedText):
    """A file name, or a word such as `-` instead; the shell completes it."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[_Item]:
        """Have the shell complete files."""
        del ctx, param
        return [CompletionItem(incomplete, type="file")]


def completion_script(shell: str, cli: click.Command) -> str:
    """Return the completion script of a shell."""
    return _SHELLS[shell](cli, {}, "bulklink", COMPLETION_VARIABLE).source()


def is_completion_request(env: Mapping[str, str]) -> bool:
    """Return whether a shell requests completion."""
    return bool(env.get(COMPLETION_VARIABLE))


def run_completion(cli: click.Command) -> int:
    """Answer a completion request; write nothing into the prompt if that fails."""
    with suppress(Exception):
        try:
            cli.main(prog_name="bulklink", complete_var=COMPLETION_VARIABLE, standalone_mode=False)
        except SystemExit as error:
            return error.code if isinstance(error.code, int) else 0
    return 1


def _complete_runs(runs_dir: Path, incomplete: str) -> Iterator[_Item]:
    modified_at: dict[Path, float] = {}
    with suppress(OSError):
        for folder in runs_dir.iterdir():
            if str(folder).startswith(incomplete) or folder.name.startswith(incomplete):
                if not str(folder).isprintable():  # the terminal would interpret it
                    continue
                with suppress(OSError):  # not a run folder
                    modified_at[folder] = (folder / "run.json").lstat().st_mtime
    for folder in sorted(modified_at, key=modified_at.__getitem__, reverse=True)[:_MAX_RUNS]:
        yield CompletionItem(str(folder), help=_describe_run(folder / "run.json"))


def _describe_run(record_path: Path) -> str | None:
    """Return op and state of a run; None if its record cannot be read."""
    try:
        content: Any = json.loads(read_small_file(record_path))
        stopped_by = f" ({content['stopped_by']})" if content.get("stopped_by") else ""
        return escape_controls(f"{content['op']} {content['state']}{stopped_by}")
    except (
        BulklinkError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ):
        return None
