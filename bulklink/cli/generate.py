"""`bulklink generate`: a seeded synthetic CRM world and a mapping for it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from bulklink.emulator.synthetic import Recipe
from bulklink.errors import UsageError

_SHARE = click.FloatRange(0, 1)
_COUNT = click.IntRange(min=1)


@click.command("generate")
@click.option("--messages", type=_COUNT, required=True, help="Emails in the world.")
@click.option("--contacts", type=_COUNT, required=True, help="Contacts in the world.")
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same bytes.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The folder for world.json, the mapping and truth.json.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "jsonl"]),
    default="csv",
    show_default=True,
    help="The format of the mapping.",
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
@click.option("--users", type=_COUNT, default=10, show_default=True, help="Owners of mailboxes.")
@click.option(
    "--deals-per-contact", type=_COUNT, default=2, show_default=True, help="Deals of a contact."
)
@click.option(
    "--owners-per-contact",
    type=_COUNT,
    default=1,
    show_default=True,
    help="Owners among whom a contact's emails are spread.",
)
@click.option(
    "--skew",
    type=click.FloatRange(0, 20),
    default=0.0,
    show_default=True,
    help="0 gives every contact as many emails; higher gives some of them more.",
)
@click.option("--linked-right", type=_SHARE, default=0.0, help="Share on the wanted deal already.")
@click.option("--linked-wrong", type=_SHARE, default=0.0, help="Share on another deal.")
@click.option("--duplicates", type=_SHARE, default=0.0, help="Share whose row is there twice.")
@click.option("--conflicts", type=_SHARE, default=0.0, help="Share wanted on two deals.")
@click.option(
    "--invalid", type=click.FloatRange(0, 10), default=0.0, help="Broken rows, as a share of all."
)
@click.option("--names-missing", type=_SHARE, default=0.0, help="Share of rows without names.")
@click.option("--id-length", type=int, default=19, show_default=True, help="Digits of an id.")
@click.option(
    "--message-id-length",
    type=int,
    default=64,
    show_default=True,
    help="Characters of a message id.",
)
def generate(out: Path, kind: str, *, force: bool, **recipe: float) -> None:
    """Write a synthetic CRM world, a mapping for it, and the truth about a run.

    The mapping fits link, relink and unlink; truth.json says what a correct run of each reports.
    """
    from bulklink.emulator import generate as writer  # noqa: PLC0415 - only when run

    try:
        made = Recipe(**recipe)  # type: ignore[arg-type]
    except ValueError as error:
        raise UsageError(str(error), advice="`bulklink generate --help` lists the knobs.") from None
    form: Literal["csv", "jsonl"] = "jsonl" if kind == "jsonl" else "csv"
    there = [out / name for name in writer.file_names(form) if (out / name).exists()]
    if there and not force:
        raise UsageError(
            "is there already", where=str(there[0]), advice="Add --force, or name another --out."
        )
    try:
        writer.generate(made, out, form)
    except OSError as error:
        raise UsageError(f"cannot be written: {error.strerror or error}", where=str(out)) from None
    for name in writer.file_names(form):
        click.echo(str(out / name))
