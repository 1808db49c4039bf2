"""`bulklink generate`: a seeded synthetic CRM world and a mapping for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from bulklink.cli.console import print_json, print_line
from bulklink.cli.options import common_options
from bulklink.cli.param_types import Number, OneOf, WholeNumber
from bulklink.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from bulklink.emulator.synthetic import Recipe

_SHARE = Number(0, 1)
_COUNT = WholeNumber(min=1)


@click.command("generate")
@click.option("--messages", type=_COUNT, required=True, help="Emails in the world.")
@click.option("--contacts", type=_COUNT, required=True, help="Contacts in the world.")
@click.option(
    "--seed",
    type=WholeNumber(),
    default=1,
    show_default=True,
    help="Random seed; the same seed gives the same bytes.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    required=True,
    help="Folder for world.json, the mapping and truth.json.",
)
@click.option(
    "--format",
    "kind",
    type=OneOf(["csv", "jsonl"]),
    default="csv",
    show_default=True,
    help="Format of the mapping.",
)
@click.option("--force", is_flag=True, help="Replace existing files.")
@click.option("--users", type=_COUNT, default=10, show_default=True, help="Owners of mailboxes.")
@click.option(
    "--deals-per-contact", type=_COUNT, default=2, show_default=True, help="Deals per contact."
)
@click.option(
    "--owners-per-contact",
    type=_COUNT,
    default=1,
    show_default=True,
    help="Owners of each contact's emails.",
)
@click.option(
    "--skew",
    type=Number(0, 20),
    default=0.0,
    show_default=True,
    help="0: all contacts have the same number of emails; higher: some have more.",
)
@click.option(
    "--linked-right", type=_SHARE, default=0.0, help="Share of emails already on the wanted deal."
)
@click.option("--linked-wrong", type=_SHARE, default=0.0, help="Share of emails on another deal.")
@click.option("--duplicates", type=_SHARE, default=0.0, help="Share of rows that are duplicated.")
@click.option(
    "--conflicts", type=_SHARE, default=0.0, help="Share of emails with two wanted deals."
)
@click.option("--invalid", type=Number(0, 10), default=0.0, help="Share of broken rows.")
@click.option("--names-missing", type=_SHARE, default=0.0, help="Share of rows without names.")
@click.option(
    "--id-length", type=WholeNumber(), default=19, show_default=True, help="Digits of an id."
)
@click.option(
    "--message-id-length",
    type=WholeNumber(),
    default=64,
    show_default=True,
    help="Characters of a message id.",
)
@common_options
def generate(out: Path, kind: str, *, force: bool, as_json: bool, **recipe: float) -> int:
    """Write a synthetic CRM world and a mapping for it.

    Use it for rehearsals of any size: `bulklink emulator --world` serves the world. The mapping
    works with link, relink and unlink; truth.json holds the correct results of each.

    \b
    Examples:
      bulklink generate --messages 1000 --contacts 50 --out rehearsal
      bulklink generate --messages 1000 --contacts 50 --linked-wrong 0.5 --out rehearsal
    """
    from bulklink.emulator import generate as writer  # noqa: PLC0415 - not for --help

    file_format: Literal["csv", "jsonl"] = "jsonl" if kind == "jsonl" else "csv"
    files = [out / name for name in writer.file_names(file_format)]
    world_recipe = _make_recipe(recipe)
    if not force:
        _check_missing(files)
    try:
        writer.generate(world_recipe, out, file_format)
    except OSError as error:
        raise UsageError(
            f"Cannot write: {error.strerror or error}.",
            where=str(out),
            advice="Use a folder that you may write to, on a disk with space.",
        ) from None
    if as_json:
        print_json({"files": [*map(str, files)], "exit_code": 0})
    else:
        for file in files:
            print_line(str(file))
    return ExitCode.OK


def _make_recipe(values: Mapping[str, float]) -> Recipe:
    from bulklink.emulator.synthetic import Recipe  # noqa: PLC0415 - not for --help

    try:
        return Recipe(**values)  # type: ignore[arg-type]
    except ValueError as error:
        raise UsageError(
            f"{error}.",
            where="bulklink generate",
            advice="`bulklink generate --help` lists the options.",
        ) from None


def _check_missing(files: Iterable[Path]) -> None:
    for path in files:
        if path.exists():
            raise UsageError(
                "The file already exists.",
                where=str(path),
                advice="Use --force, or another --out.",
            )
