"""The option `--profile`: the connection that a command makes, and defaults of its options."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from bulklink.cli.completion import ProfileName
from bulklink.cli.options import apply, key_of, option

if TYPE_CHECKING:
    from bulklink.zoho.connection import Connection

FAR_SOURCES = (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)
"""Where a value comes from that a job file goes before: the program, or a profile."""


def _take_defaults(ctx: click.Context, _: click.Parameter, named: str | None) -> str | None:
    """Have the profile's defaults in place before other options are looked at."""
    if not ctx.resilient_parsing:
        ctx.default_map = _defaults(ctx, named)
    return named


profile_option = option(
    "--profile",
    type=ProfileName(),
    metavar="NAME",
    is_eager=True,
    callback=_take_defaults,
    help="Connect as this profile of `bulklink auth login` says; the environment goes before it.",
)


log_option = option(
    "--log",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Add a JSON line for each request: method, path, status, duration, call, attempt.",
)
connection_options = apply(profile_option, log_option)


def connection_from(options: Mapping[str, Any]) -> Connection:
    """Return the connection that the environment and the profile of a command make.

    From here on its requests are logged, if that was asked for.

    Raises:
        ConfigError: if something is missing or wrong, or the log cannot be written.
    """
    from bulklink.cli.request_log import log_to  # noqa: PLC0415 - not for --help
    from bulklink.profiles.resolve import connection_of  # noqa: PLC0415 - not for --help

    log_to(options["log"])
    return connection_of(options["profile"])


def take_profile(named: str, job: str, ctx: click.Context, options: dict[str, Any]) -> None:
    """Use the profile that a job file names, unless a nearer place names one.

    Args:
        named: the profile.
        job: the job file.
        ctx: the context of the command.
        options: its options, changed in place: defaults come from this profile alone.

    Raises:
        ConfigError: if there is no such profile, or something in it is wrong.
    """
    if ctx.get_parameter_source("profile") not in FAR_SOURCES:
        return
    # The command once more, as if nothing but this profile had been given to it.
    plain = ["--profile", named, "--", job]
    with ctx.command.make_context(ctx.info_name, plain, parent=ctx.parent) as alone:
        for name in options.keys() & alone.params.keys():
            if ctx.get_parameter_source(name) in FAR_SOURCES:
                options[name] = alone.params[name]


def _defaults(ctx: click.Context, named: str | None) -> dict[str, Any] | None:
    """Return the defaults that a profile has for the options of a command, by their parameters.

    Raises:
        ConfigError: if there is no such profile, or a key or value of its options is wrong.
    """
    from bulklink.profiles.profile import (  # noqa: PLC0415 - not for --help
        Profiles,
        config_folder,
    )
    from bulklink.profiles.resolve import profile_in_use  # noqa: PLC0415 - not for --help

    profiles = Profiles(config_folder())
    name = profile_in_use(named, os.environ, profiles)
    given = profiles.load(name).options if name else {}
    return _by_parameter(ctx, given, str(profiles.file(name))) if name and given else None


def _by_parameter(ctx: click.Context, given: Mapping[str, Any], path: str) -> dict[str, Any]:
    from bulklink.cli.arguments import unknown_key, value_of  # noqa: PLC0415 - not for --help

    params = {key_of(p): p for p in ctx.command.params if isinstance(p, click.Option)}
    known = _keys_of_all(ctx.find_root().command)
    defaults: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            raise unknown_key(path, key, known, "options")
        if key in params:
            value_of(params[key], value, path, ctx, "options")
            texts = [str(one) for one in value] if isinstance(value, list) else str(value)
            defaults[params[key].name or ""] = value if isinstance(value, bool) else texts
    return defaults


def _keys_of_all(root: click.Command) -> set[str]:
    """Return the keys of the options of all commands: a profile serves every one of them."""
    commands = root.commands.values() if isinstance(root, click.Group) else (root,)
    params = (param for command in commands for param in command.params)
    return {key_of(p) for p in params if isinstance(p, click.Option)} - {"profile"}
