"""`--profile` and `--log`, and the connection that a command uses."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bulklink.cli.completion import ProfileName
from bulklink.cli.help import DISPLAY, subcommands
from bulklink.cli.job_file import convert_value, unknown_key_error
from bulklink.cli.options import combine_options, option, option_key
from bulklink.cli.output_types import OutputPath
from bulklink.cli.suggested_commands import set_profile_in_use
from bulklink.errors import ConfigError

if TYPE_CHECKING:
    from bulklink.zoho.connection import Connection


def _load_profile_defaults(
    ctx: click.Context, _: click.Parameter, profile: str | None
) -> str | None:
    """Set the profile's defaults before other options are parsed."""
    if not ctx.resilient_parsing:
        ctx.default_map = _profile_defaults(ctx, profile)
        if profile and profile.strip():
            set_profile_in_use(ctx, profile)
    return profile


profile_option = option(
    "--profile",
    type=ProfileName(),
    metavar="NAME",
    is_eager=True,
    callback=_load_profile_defaults,
    help="Profile to connect with, from `bulklink auth login`. The environment takes precedence.",
)


log_option = option(
    "--log",
    group=DISPLAY,
    type=OutputPath(),
    metavar="FILE",
    help="Append a JSON line for each request: method, path, status, duration, call, attempt.",
)
connection_options = combine_options(profile_option, log_option)


def connection_from_options(options: Mapping[str, Any]) -> Connection:
    """Return the connection of a command, from the environment and its profile.

    With `--log` its requests are logged from here on.

    Raises:
        ConfigError: if a setting is missing or invalid, or the log cannot be written.
    """
    from bulklink.cli.request_log import start_request_log  # noqa: PLC0415 - not for --help
    from bulklink.profiles.resolve import load_connection  # noqa: PLC0415 - not for --help

    start_request_log(options["log"])
    return load_connection(options["profile"])


def connection_for_run(run: Path, options: Mapping[str, Any]) -> Connection:
    """Return the connection of a command on a run or job, whose folder is checked first.

    Raises:
        RunDirError: if it is neither.
        ConfigError: as for `connection_from_options`.
    """
    from bulklink.runs.job_folder import first_record  # noqa: PLC0415 - not for --help

    first_record(run)
    return connection_from_options(options)


def module_id_is_set() -> bool:
    """Return whether the environment sets the id of the Deals module."""
    return bool(os.environ.get("BULKLINK_DEALS_MODULE_ID", "").strip())


def _profile_defaults(ctx: click.Context, profile: str | None) -> dict[str, Any] | None:
    """Return the defaults that a profile has for the options of a command, by parameter.

    Raises:
        ConfigError: if there is no such profile, or a key or value of its options is invalid.
    """
    from bulklink.profiles.names import config_folder  # noqa: PLC0415 - not for --help
    from bulklink.profiles.profile import Profiles  # noqa: PLC0415 - not for --help
    from bulklink.profiles.resolve import select_profile  # noqa: PLC0415 - not for --help

    profiles = Profiles(config_folder())
    name = select_profile(profile, os.environ, profiles)
    stored_options = profiles.load(name).options if name else {}
    return (
        _defaults_by_parameter(ctx, stored_options, str(profiles.file(name)))
        if name and stored_options
        else None
    )


def _defaults_by_parameter(
    ctx: click.Context, stored_options: Mapping[str, Any], path: str
) -> dict[str, Any]:
    params = {option_key(p): p for p in ctx.command.params if isinstance(p, click.Option)}
    known_keys = _all_option_keys(ctx.find_root().command)
    defaults: dict[str, Any] = {}
    for key, value in stored_options.items():
        if key not in known_keys:
            raise unknown_key_error(path, key, known_keys, "options")
        if key in params:
            convert_value(params[key], value, path, ctx, "options")
            texts = [str(item) for item in value] if isinstance(value, list) else str(value)
            defaults[params[key].name or ""] = value if isinstance(value, bool) else texts
    return defaults


def check_profile_options(stored_options: Mapping[str, Any], path: str) -> None:
    """Check the options of a profile against those of all commands.

    Args:
        stored_options: options of the profile.
        path: its file.

    Raises:
        ConfigError: if a key is unknown, or no command accepts its value.
    """
    root = click.get_current_context().find_root()
    known_keys = _all_option_keys(root.command) if stored_options else ()
    for key, value in stored_options.items():
        if key not in known_keys:
            raise unknown_key_error(path, key, known_keys, "options")
        _check_any_accepts(root, key, value, path)


def _check_any_accepts(root: click.Context, key: str, value: Any, path: str) -> None:
    problem: ConfigError | None = None
    for name, command in _commands(root.command).items():
        ctx = click.Context(command, parent=root, info_name=name)
        for param in command.params:
            if isinstance(param, click.Option) and option_key(param) == key:
                try:
                    convert_value(param, value, path, ctx, "options")
                except ConfigError as error:
                    problem = problem or error
                else:
                    return
    if problem is not None:
        raise problem


def known_options(stored_options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a profile that a command has; any other may be a secret."""
    if not stored_options:
        return {}
    known_keys = _all_option_keys(click.get_current_context().find_root().command)
    return {key: value for key, value in stored_options.items() if key in known_keys}


def _all_option_keys(root: click.Command) -> set[str]:
    """Return the keys of all commands' options: a profile serves all of them."""
    params = (param for command in _commands(root).values() for param in command.params)
    return {option_key(p) for p in params if isinstance(p, click.Option)} - {"profile"}


def _commands(root: click.Command) -> dict[str, click.Command]:
    return subcommands(root) or {"": root}
