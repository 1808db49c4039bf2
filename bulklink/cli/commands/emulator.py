"""`bulklink emulator`: a local Zoho CRM that behaves as documented."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click
from click.core import ParameterSource

from bulklink.cli.console import note
from bulklink.cli.help import COMMON, Command, GroupedOption
from bulklink.cli.options import combine_options, common_options, with_option_names
from bulklink.cli.param_types import Number, OneOf, WholeNumber
from bulklink.emulator.settings import MixedAnswer, Settings, parse_mixed_answer
from bulklink.errors import BadFileError, RefusedError, UsageError

_Command = Callable[..., None]
_FIRST_SETTINGS = {
    "max_items": "Answers to calls",
    "scope_rule": "Scopes, permissions and mailboxes",
    "prediction": "Deals, roles and links",
    "edition": "Limits, credits and refusals",
    "expires_in": "Access tokens",
    "latency": COMMON,
}
"""Groups of the help, by the first setting of each: settings of a group follow each other."""


def _param_type(hint: Any) -> click.ParamType[Any]:
    """Return the parameter type of an annotation."""
    choices = [arg for arg in get_args(hint) if arg is not NoneType]
    if get_origin(hint) is Literal:
        return OneOf([str(choice) for choice in choices])
    if hint is int or choices == [int]:
        return WholeNumber()
    if hint is float:
        return Number()
    if choices and get_origin(choices[0]) is Literal:
        return _param_type(choices[0])
    return click.STRING


def _setting_options(command: _Command) -> _Command:
    """Give a command an option for each setting of the emulator."""
    hints, group = get_type_hints(Settings), COMMON
    options = []
    for setting in dataclasses.fields(Settings):
        group = _FIRST_SETTINGS.get(setting.name, group)
        has_default = isinstance(setting.default, str | int | float)
        option = click.option(
            "--" + setting.name.replace("_", "-"),
            cls=GroupedOption,
            group=group,
            type=_param_type(hints[setting.name]),
            default=setting.default if has_default else None,
            show_default=has_default,
            help=setting.metadata["help"],
        )
        options.append(option)
    return combine_options(*options)(command)


def _parse_settings(options: dict[str, Any]) -> Settings:
    """Return the settings of the options.

    Raises:
        UsageError: if a value is invalid.
    """
    values = {name: value for name, value in options.items() if value is not None}
    for name, hint in get_type_hints(Settings).items():
        if name in values and get_origin(hint) is tuple:
            values[name] = tuple(part.strip() for part in values[name].split(",") if part.strip())
    try:
        if "mixed_answer" in values:
            values["mixed_answer"] = _parse_mixed_answer(values["mixed_answer"])
        return Settings(**values)
    except ValueError as error:
        raise UsageError(
            f"{with_option_names(str(error), (name for name in options if '_' in name))}.",
            where="bulklink emulator",
            advice="`bulklink emulator --help` lists the values.",
        ) from None


def _settings_like(path: Path, settings: Settings) -> Settings:
    """Return the settings of a probed org, except those that the command line sets.

    Raises:
        BadFileError: if the file cannot be read or is not one of a probe.
    """
    from bulklink.emulator.like import LikeError, read_probe_file  # noqa: PLC0415 - only here

    advice = "Name a file that `bulklink probe` wrote; docs/probing.md describes it."
    source_of = click.get_current_context().get_parameter_source
    chosen = frozenset(
        name for name in get_type_hints(Settings) if source_of(name) is not ParameterSource.DEFAULT
    )
    with _translate_error(LikeError, BadFileError, str(path), advice):
        org = read_probe_file(path)
        settings = org.apply(settings, chosen)
    if org.unknown:
        note(f"Unknown in {path}, so the default applies: {', '.join(org.unknown)}.")
    for answer in org.unsupported:
        note(f"No option can express this answer, so the default applies: {answer}.")
    return settings


def _parse_mixed_answer(text: str) -> MixedAnswer:
    try:
        return parse_mixed_answer(text)
    except ValueError as error:
        raise ValueError(f"--mixed-answer: {error}") from None


@click.command("emulator", cls=Command)
@click.option(
    "--host",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="Loopback address to serve on.",
)
@click.option(
    "--port",
    type=WholeNumber(0, 65535),
    default=0,
    help="Port to serve on. Default: a free one.",
)
@click.option(
    "--world",
    "world_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="World to serve, a JSON file. Default: a small built-in world.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="KIND[,NAME=VALUE…]",
    help="Fault to inject, such as lost-answer,op=link,share=0.05,seed=7. Repeatable.",
)
@click.option(
    "--like",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Behave as the org of a file from `bulklink probe`. Other options take precedence.",
)
@_setting_options
@common_options
def emulator(
    host: str,
    port: int,
    world_file: Path | None,
    faults: tuple[str, ...],
    like: Path | None,
    *,
    as_json: bool,
    **options: object,
) -> None:
    """Serve a local Zoho CRM that behaves as documented.

    \b
    Examples:
      bulklink emulator --port 8080
      bulklink emulator --world world.json --latency 0.5 --fault lost-answer,op=link,share=0.05
      bulklink emulator --like probe.json

    Use it for rehearsals: you need no org, and nothing leaves this machine. The first line on
    standard output is {"url":"http://127.0.0.1:PORT"}. Set BULKLINK_API_URL and
    BULKLINK_ACCOUNTS_URL to that address, and client id, client secret and refresh token to
    "demo". Ctrl-C ends it.

    Where Zoho's documentation is silent, an option defaults to the most likely behaviour, or to
    that of an org that was probed.
    """
    del as_json  # the output is always JSON; errors read the option themselves
    # aiohttp takes a quarter of a second to import: not for --help.
    from bulklink.emulator.builtin_world import builtin_world  # noqa: PLC0415
    from bulklink.emulator.faults import FaultError, parse_fault  # noqa: PLC0415
    from bulklink.emulator.server import check_loopback, serve  # noqa: PLC0415
    from bulklink.emulator.worldfile import WorldError, load_world  # noqa: PLC0415

    settings = _parse_settings(options)
    if like is not None:
        settings = _settings_like(like, settings)
    with _translate_error(ValueError, UsageError, "--host", "Use 127.0.0.1."):
        check_loopback(host)
    with _translate_error(FaultError, UsageError, "--fault", "docs/emulator.md lists the faults."):
        parsed_faults = [parse_fault(text) for text in faults]
    with _translate_error(
        WorldError, BadFileError, str(world_file), "docs/emulator.md describes the file."
    ):
        world = load_world(world_file) if world_file else builtin_world()
    with _translate_error(OSError, UsageError, f"{host}:{port}", "Use another --port, or omit it."):
        serve(world, settings, parsed_faults, host=host, port=port)


@contextlib.contextmanager
def _translate_error(
    caught: type[Exception], raised: type[RefusedError], where: str, advice: str
) -> Iterator[None]:
    """Turn an error of the emulator into a bulklink error with exit code 2."""
    try:
        yield
    except caught as error:
        raise raised(str(error), where=where, advice=advice) from None
