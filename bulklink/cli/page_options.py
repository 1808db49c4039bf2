"""Options of the commands that the page starts, from the environment and a profile."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from bulklink.cli.arguments import (
    given_options,
    limit_arguments,
    send_arguments,
    unset_profile_options,
    verify_arguments,
)
from bulklink.cli.connection import module_id_is_set
from bulklink.cli.errors import usage_error
from bulklink.errors import UsageError

_OF_THE_PAGE = ("yes", "run_dir", "runs_dir")
"""Options that the page decides: it asks before an org is changed, and names the runs."""


def page_options(root: click.Context, verb: str, run: Path, profile: str | None) -> dict[str, Any]:
    """Return the options that a command would have if it were typed without any.

    Args:
        root: context of the command tree.
        verb: name of the command.
        run: its run folder.
        profile: its profile; None if none was named.

    Raises:
        UsageError: if a value of the environment is invalid.
        ConfigError: if there is no such profile, or its options are invalid.
        RunDirError: if the folder has no run.
    """
    tree = root.command
    command = tree.get_command(root, verb) if isinstance(tree, click.Group) else None
    if command is None:
        raise LookupError(verb)
    words = ["--profile", profile] if profile else []
    try:
        ctx = command.make_context(verb, [*words, "--", str(run)], parent=root)
    except click.ClickException as error:
        raise usage_error(error, tree, [verb]) from None
    with ctx:
        arguments = _arguments(verb, run, ctx.params)
    return {name: value for name, value in arguments.items() if name not in _OF_THE_PAGE}


def _arguments(verb: str, run: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of an operation, from the options of the current command."""
    match verb:
        case "verify":
            if options["dry_run"]:
                raise UsageError(
                    "A dry run is set, and a verification of the page reads emails.",
                    where="--dry-run",
                    advice="Unset BULKLINK_DRY_RUN, or remove dry_run from the profile.",
                )
            return verify_arguments(options)
        case "undo":
            return {
                "include_settled": options["include_settled"],
                "module_known": module_id_is_set(),
                **send_arguments(given_options(options)),
            }
        case "apply":
            own = unset_profile_options(run, options)
        case "resume":
            own = {"expect": options["expect"]}
        case _:
            own = {"code": options["code"]}
    return {**own, **limit_arguments(given_options(options))}
