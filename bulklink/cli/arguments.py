"""From options to a job, and from a job file to options."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from bulklink.cli.connection import DEFAULT_SOURCES, apply_job_profile
from bulklink.cli.errors import MIN_SIMILARITY
from bulklink.cli.job_file import key_location
from bulklink.cli.options import option_key
from bulklink.cli.param_types import BadChoice
from bulklink.engine.failure_limit import MaxFailures
from bulklink.errors import ConfigError
from bulklink.models import Op
from bulklink.operations.job import (
    Edition,
    GroupBy,
    Job,
    LimitOptions,
    OnInvalid,
    PaceOptions,
    SendOptions,
    WhenCreditsOut,
)
from bulklink.suggestions import close_matches, did_you_mean

_MAPPING = "mapping"
_OP = "op"
_PROFILE = "profile"


def job_from_options(mappings: tuple[str, ...], options: Mapping[str, Any]) -> Job:
    """Return the job that a command's options ask for."""
    op = options.get(_OP)
    return Job(
        mappings=mappings,
        op=Op(op) if op else None,
        format=options["format_"],
        delimiter=options["delimiter"],
        encoding=options["encoding"],
        columns=options["columns"],
        defaults=options["defaults"],
        only=options["only"],
        keep=options["keep"] or None,
        allow_round_ids=options["allow_round_ids"],
        on_invalid=OnInvalid(options["on_invalid"]),
        snapshot=options["snapshot"],
        accept_no_put_back=options["accept_no_put_back"],
        **send_arguments(options),
    )


def send_arguments(options: Mapping[str, Any]) -> SendOptions:
    """Return how emails are sent, wherever they come from."""
    return {
        "batch_size": options["batch_size"],
        "group_by": GroupBy(options["group_by"]),
        "single_endpoint": options["single_endpoint"],
        "names": not options["no_names"],
        "memory": options["memory"],
        "run_dir": options.get("run_dir"),
        "runs_dir": options.get("runs_dir", Path("runs")),
        **limit_arguments(options),
    }


def limit_arguments(options: Mapping[str, Any]) -> LimitOptions:
    """Return how a plan is sent, never what of it."""
    max_failures, when_credits_out = options.get("max_failures"), options.get("when_credits_out")
    limits: LimitOptions = {
        "sync": options.get("sync", "on") == "on",
        "yes": options.get("yes", False),
        "read_back": options.get("read_back", "auto") == "auto",
        "read_pages": options.get("read_pages", 200),
        "max_failures": MaxFailures(**max_failures) if max_failures else None,
    }
    if when_credits_out:
        limits["when_credits_out"] = WhenCreditsOut(when_credits_out)
    if "canary" in options:
        limits["canary"] = options["canary"]
    return {**limits, **pace_arguments(options)}


def pace_arguments(options: Mapping[str, Any]) -> PaceOptions:
    """Return how many calls are made, how fast, and what they may spend.

    Credits that are not told of are left out, so that a resume keeps to what the run was asked for;
    only the most that a command spends is for that command alone.
    """
    edition = options.get("edition")
    pace: PaceOptions = {
        "concurrency": options["concurrency"],
        "edition": Edition(edition) if edition else None,
        "rate": options["rate"],
        "settle_after": options.get("settle_after", 10.0),
        "max_credits": options.get("max_credits"),
    }
    if options.get("credits_per_day") is not None:
        pace["credits_per_day"] = options["credits_per_day"]
    if options.get("reserve_credits") is not None:
        pace["reserve_credits"] = options["reserve_credits"]
    return pace


def apply_job_file(path: Path, ctx: click.Context, options: dict[str, Any]) -> tuple[str, ...]:
    """Fill options from a job file where neither command line nor environment sets them.

    Args:
        path: the job file, TOML; keys are option names with `_`, `op` and `mapping`.
        ctx: the context of the command, which knows its options and where each came from.
        options: the command's options, changed in place.

    Returns:
        The mappings that the job file names, relative to itself.

    Raises:
        ConfigError: if the file cannot be read, or a key or value is wrong.
    """
    content = _read_job_file(path)
    known_params = {
        option_key(param): param for param in ctx.command.params if isinstance(param, click.Option)
    }
    if isinstance(content.get(_PROFILE), str):
        apply_job_profile(content[_PROFILE], str(path), ctx, options)
    for key, value in content.items():
        if key == _OP:
            options[_OP] = _parse_op(value, str(path))
        elif key in known_params:
            name = known_params[key].name or ""
            if ctx.get_parameter_source(name) in DEFAULT_SOURCES:
                options[name] = convert_value(known_params[key], value, str(path), ctx)
        elif key != _MAPPING:
            raise unknown_key_error(str(path), key, {_OP, _MAPPING, *known_params})
    return _mapping_paths(content.get(_MAPPING), path)


def _read_job_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The job file cannot be read: {getattr(error, 'strerror', None) or error}.",
            where=str(path),
            advice="Check the path; a job file is TOML in UTF-8.",
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"This is not TOML: {error}.",
            where=str(path),
            advice="Mend the place that it names; texts stand in quotes.",
        ) from None


def convert_value(
    param: click.Option, value: Any, path: str, ctx: click.Context, table: str = ""
) -> Any:
    """Return the value of an option that a file gives, or a table of it.

    Raises:
        ConfigError: if the option cannot have it.
    """
    key = option_key(param)
    if param.is_flag:
        if not isinstance(value, bool):
            raise _config_error(path, key, "It is on or off", "Write true or false.", table)
        return value
    if isinstance(value, list) != param.multiple:
        problem = "It is a list" if param.multiple else "It is one value"
        raise _config_error(path, key, problem, "[…] is a list.", table)
    try:
        if param.multiple:
            return tuple(param.type.convert(str(item), param, ctx) for item in value)
        return param.type.convert(str(value), param, ctx)
    except click.BadParameter as error:
        advice = did_you_mean(error.suggestions) if isinstance(error, BadChoice) else ""
        advice += f"`bulklink run --help` tells what --{key.replace('_', '-')} takes."
        raise _config_error(path, key, error.message.rstrip("."), advice, table) from None


def _parse_op(value: object, path: str) -> str:
    if value not in list(Op):
        raise _config_error(path, _OP, f"{value!r} is no op", f"Write one of: {_join_sorted(Op)}.")
    return str(value)


def _mapping_paths(value: object, path: Path) -> tuple[str, ...]:
    names: list[Any] = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise _config_error(
            str(path), _MAPPING, "It names no mapping", "Write a path, or a list of paths."
        )
    return tuple(str(path.parent / name) if name != "-" else name for name in names)


def unknown_key_error(
    path: str, key: str, known_keys: Iterable[str], table: str = ""
) -> ConfigError:
    """Say that a file, or a table of it, has a key that is no option, and which there are."""
    names = sorted(known_keys)
    suggestion = did_you_mean(close_matches(key, names, cutoff=MIN_SIMILARITY))
    advice = f"{suggestion}Known are: {_join_sorted(names)}."
    return _config_error(path, key, f"{key!r} is not known", advice, table)


def _config_error(path: str, key: str, problem: str, advice: str, table: str = "") -> ConfigError:
    return ConfigError(f"{problem}.", where=key_location(path, key, table), advice=advice)


def _join_sorted(names: Any) -> str:
    return ", ".join(sorted(names))
