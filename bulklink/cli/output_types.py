"""Options that name a file to write: never a file of bulklink's own, nor one that is read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from bulklink.cli.completion import FileName
from bulklink.errors import UsageError
from bulklink.own_files import refuse_own_file

_STDOUT = "-"


class OutputFile(FileName):
    """The name of a file to write.

    Args:
        stdout: whether `-` is standard output.
    """

    def __init__(self, *, stdout: bool = False) -> None:
        self._stdout = stdout

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name."""
        name = super().convert(value, param, ctx)
        if not (self._stdout and name == _STDOUT):
            _refuse_stdout(name, param, ctx)
        return name


class OutputPath(click.Path):
    """The path of a file to write."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        path = super().convert(value, param, ctx)
        _refuse_stdout(os.fspath(value), param, ctx)
        return path


def _refuse_stdout(name: str, param: click.Parameter | None, ctx: click.Context | None) -> None:
    if ctx is not None and ctx.resilient_parsing:
        return
    if name == _STDOUT:
        raise UsageError(
            "Standard output cannot take it.",
            where=f"{_option_name(param)} {name}".strip(),
            advice="Name a file. One that is called - is ./-",
        )


def refuse_shared_files(
    params: Sequence[click.Parameter], values: Mapping[str, Any], read: Iterable[str] = ()
) -> None:
    """Refuse a file to write that is bulklink's own, is read, or is written for another option.

    Args:
        params: parameters of the command.
        values: their values by name.
        read: further files that the command reads.

    Raises:
        UsageError: if there is one.
    """
    named = [(param, name) for param in params for name in _files(param, values)]
    for param, name in named:
        if not isinstance(param.type, OutputFile | OutputPath):
            continue
        where = f"{_option_name(param)} {name}"
        refuse_own_file(name, where, run_dir=values.get("run_dir"))
        for other, other_name in named:
            if other is not param and _is_same_file(name, other_name):
                is_output = isinstance(other.type, OutputFile | OutputPath)
                raise _shared_error(
                    f"{_option_name(other)} writes this file too."
                    if is_output
                    else "The command would replace a file that it reads.",
                    where,
                )
        if any(_is_same_file(name, other_name) for other_name in read):
            raise _shared_error("The command would replace a file that it reads.", where)


def _shared_error(message: str, where: str) -> UsageError:
    return UsageError(message, where=where, advice="Use the name of another file.")


def _files(param: click.Parameter, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the files that a parameter names; a list of contacts or deals begins with `@`."""
    value = values.get(param.name or "")
    for item in value if isinstance(value, tuple | list) else (value,):
        if isinstance(param.type, FileName | click.Path):
            if item not in (None, _STDOUT):
                yield os.fspath(item)
        elif isinstance(item, str) and item.startswith("@"):
            yield item[1:]


def _is_same_file(written: str, other: str) -> bool:
    """Return whether two names are of one file that is regular, or does not exist yet."""
    try:
        if (path := Path(written)).exists():
            return path.is_file() and path.samefile(other)
    except OSError:
        return False
    return os.path.realpath(written) == os.path.realpath(other)


def _option_name(param: click.Parameter | None) -> str:
    return max(param.opts, key=len) if param is not None else ""
