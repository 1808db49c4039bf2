"""`bulklink completion`: shell completion of commands, options and run folders."""

from __future__ import annotations

import click

from bulklink.cli.completion import SHELLS, completion_script
from bulklink.cli.help import Command
from bulklink.cli.param_types import OneOf


@click.command("completion", cls=Command)
@click.argument("shell", type=OneOf(SHELLS))
@click.pass_context
def completion(ctx: click.Context, /, shell: str) -> None:
    """Print a script that completes bulklink's commands in your shell.

    \b
    Examples:
      bulklink completion bash
      bulklink completion fish > ~/.config/fish/completions/bulklink.fish

    The Tab key then completes commands, options and their values, files, profiles, and for RUN the
    run folders below BULKLINK_RUNS_DIR (default: runs), most recently changed first.

    \b
    bash, in ~/.bashrc (bash 4.4 or later):
      source <(bulklink completion bash)
    zsh, in ~/.zshrc, after compinit:
      source <(bulklink completion zsh)
    fish:
      bulklink completion fish > ~/.config/fish/completions/bulklink.fish
    PowerShell, in the file that $PROFILE names:
      bulklink completion powershell | Out-String | Invoke-Expression
    """
    click.echo(completion_script(shell, ctx.find_root().command), nl=False)
