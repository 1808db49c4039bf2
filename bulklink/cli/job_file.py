"""TOML job files: their options, and line numbers of keys for error messages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from bulklink.cli.errors import MIN_SIMILARITY
from bulklink.cli.options import option_key
from bulklink.cli.output_types import refuse_shared_files
from bulklink.cli.param_types import BadChoice
from bulklink.errors import ConfigError
from bulklink.shell import bulklink_command, path_word
from bulklink.suggestions import close_matches, did_you_mean
from bulklink.toml_text import TomlError, parse_toml

_DEFAULT_SOURCES = (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)
"""Sources of values that a job file overrides: the program and a profile."""
_MAPPING = "mapping"
_OP = "op"
_OPS = ("link", "relink", "unlink")
_LOAD_TEST_OP = "alternate"
_PROFILE = "profile"
_TABLE_HEADER = re.compile(r"\s*\[")


def apply_job_file(
    path: Path, ctx: click.Context, options: dict[str, Any], *, needs_mapping: bool = True
) -> tuple[str, ...]:
    """Fill options from a job file where neither command line nor environment sets them.

    Args:
        path: the job file, TOML; keys are option names with `_`, `op` and `mapping`.
        ctx: click's context of the command, which knows its options and their sources.
        options: the command's options, changed in place.
        needs_mapping: whether the job file must name a mapping.

    Returns:
        The mappings that the job file names, relative to itself.

    Raises:
        ConfigError: if the file cannot be read, or a key or value is invalid.
        UsageError: if a file would be written that is read.
    """
    content = _read_job_file(path)
    known_params = {
        option_key(param): param for param in ctx.command.params if isinstance(param, click.Option)
    }
    if isinstance(content.get(_PROFILE), str):
        _apply_job_profile(content[_PROFILE], str(path), ctx, options)
    for key, value in content.items():
        if key == _OP and key not in known_params:
            options[_OP] = _parse_op(value, str(path))
        elif key in known_params:
            name = known_params[key].name or ""
            if ctx.get_parameter_source(name) in _DEFAULT_SOURCES:
                options[name] = convert_value(known_params[key], value, str(path), ctx)
        elif key != _MAPPING:
            raise unknown_key_error(str(path), key, {_OP, _MAPPING, *known_params})
    mappings: tuple[str, ...] = ()
    if _MAPPING in content or needs_mapping:
        mappings = _mapping_paths(content.get(_MAPPING), path)
    refuse_shared_files(ctx.command.params, ctx.params | options, mappings)
    return mappings


def _read_job_file(path: Path) -> dict[str, Any]:
    try:
        return parse_toml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"Cannot read the job file: {getattr(error, 'strerror', None) or 'it is not UTF-8'}.",
            where=str(path),
            advice="Check the path; a job file is TOML in UTF-8.",
        ) from None
    except TomlError as error:
        raise ConfigError(
            f"Cannot read the job file: {error.reason}.",
            where=str(path),
            advice=error.advice,
        ) from None


def convert_value(
    param: click.Option, value: Any, path: str, ctx: click.Context, table: str = ""
) -> Any:
    """Convert the value that a file, or a table of it, gives an option.

    Raises:
        ConfigError: if it is not a valid value of the option.
    """
    key = option_key(param)
    if any("\0" in str(item) for item in (value if isinstance(value, list) else [value])):
        raise _config_error(path, key, "The value contains a NUL character", "Remove it.", table)
    if param.is_flag:
        if not isinstance(value, bool):
            raise _config_error(
                path, key, "The value is not a boolean", "Use true or false.", table
            )
        return value
    if isinstance(value, list) != param.multiple:
        problem = "The value is not a list" if param.multiple else "The value is a list"
        advice = "Use a list: […]." if param.multiple else "Use a single value."
        raise _config_error(path, key, problem, advice, table)
    if isinstance(param.type, click.Path):
        _check_file_name(str(value), path, key, table)
    try:
        if param.multiple:
            return tuple(param.type.convert(str(item), param, ctx) for item in value)
        return param.type.convert(str(value), param, ctx)
    except click.BadParameter as error:
        advice = did_you_mean(error.suggestions) if isinstance(error, BadChoice) else ""
        advice += f"`{ctx.command_path} --help` shows the values of --{key.replace('_', '-')}."
        raise _config_error(path, key, error.message.rstrip("."), advice, table) from None


def _check_file_name(name: str, path: str, key: str, table: str = "") -> None:
    """Refuse names with a NUL, or with characters outside the locale."""
    try:
        valid = b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        valid = False
    if not valid:
        problem = f"{name!r} is not a valid file name in this locale"
        raise _config_error(path, key, problem, "Rename it, or set LC_ALL=C.UTF-8.", table)


def _parse_op(value: object, path: str) -> str:
    if value not in _OPS:
        advice = f"Use one of: {', '.join(_OPS)}."
        if value == _LOAD_TEST_OP:
            advice = f"This is a job of {bulklink_command('loadtest', path_word(path))}."
        raise _config_error(path, _OP, f"{value!r} is not a valid op", advice)
    return str(value)


def _mapping_paths(value: object, path: Path) -> tuple[str, ...]:
    names: list[Any] = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise _config_error(
            str(path), _MAPPING, "The key mapping is missing", "Write a path, or a list of paths."
        )
    for name in names:
        _check_file_name(name, str(path), _MAPPING)
    return tuple(str(path.parent / name) if name != "-" else name for name in names)


def unknown_key_error(
    path: str, key: str, known_keys: Iterable[str], table: str = ""
) -> ConfigError:
    """Return an error for a key of a file, or of a table of it, that is not a valid option."""
    names = sorted(known_keys)
    suggestion = did_you_mean(close_matches(key, names, cutoff=MIN_SIMILARITY))
    advice = f"{suggestion}The keys are: {_join_sorted(names)}."
    return _config_error(path, key, f"{key!r} is unknown", advice, table)


def _config_error(path: str, key: str, problem: str, advice: str, table: str = "") -> ConfigError:
    return ConfigError(f"{problem}.", where=key_location(path, key, table), advice=advice)


def _join_sorted(names: Any) -> str:
    return ", ".join(sorted(names))


def _apply_job_profile(
    profile: str, job_path: str, ctx: click.Context, options: dict[str, Any]
) -> None:
    """Use the profile named by a job file unless the command line or environment names one.

    Args:
        profile: the profile.
        job_path: the job file.
        ctx: the context of the command.
        options: its options, changed in place; defaults come from this profile alone.

    Raises:
        ConfigError: if there is no such profile, or it is invalid.
    """
    if ctx.get_parameter_source("profile") not in _DEFAULT_SOURCES:
        return
    # Parse the command line with only this profile, to get the profile's defaults.
    args = ["--profile", profile, "--", job_path]
    with ctx.command.make_context(ctx.info_name, args, parent=ctx.parent) as profile_ctx:
        for name in options.keys() & profile_ctx.params.keys():
            if ctx.get_parameter_source(name) in _DEFAULT_SOURCES:
                options[name] = profile_ctx.params[name]


def key_location(path: str, key: str, table: str = "") -> str:
    """Return `FILE:LINE, key KEY`, without the line if it is unknown.

    Args:
        path: a valid TOML file.
        key: one of its keys.
        table: the table of the key; empty for none.
    """
    try:
        line = find_key_line(Path(path).read_text(encoding="utf-8-sig"), key, table)
    except (OSError, UnicodeDecodeError):
        line = None
    return f"{path}:{line}, key {key}" if line else f"{path}, key {key}"


def find_key_line(text: str, key: str, table: str = "") -> int | None:
    """Return the line on which a key begins, counted from 1; None if it is not found.

    A line that only looks like the key may be part of a multi-line text or of another table: the
    file is parsed up to it, with a short value in its place, to find out.
    """
    lines = text.splitlines()
    key_pattern = re.compile(rf"""\s*\[*\s*["']?{re.escape(key)}["']?\s*[=.\]]""")
    for number, line in enumerate(lines, 1):
        if key_pattern.match(line):
            candidate = line if _TABLE_HEADER.match(line) else f'"{key}" = 0'
            content_before, content_with_key = (
                _parse_lines(lines[: number - 1]),
                _parse_lines([*lines[: number - 1], candidate]),
            )
            if (
                content_with_key is not None
                and _has_key(content_with_key, key, table)
                and not _has_key(content_before or {}, key, table)
            ):
                return number
    return None


def _parse_lines(lines: list[str]) -> dict[str, Any] | None:
    try:
        return parse_toml("\n".join(lines))
    except TomlError:
        return None


def _has_key(content: dict[str, Any], key: str, table: str) -> bool:
    table_content = content.get(table, {}) if table else content
    return isinstance(table_content, dict) and key in table_content
