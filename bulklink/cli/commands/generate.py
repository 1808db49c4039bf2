"""`bulklink generate`: a seeded synthetic CRM world, with a mapping or with conversations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import click
from click.core import ParameterSource

from bulklink.cli.console import print_json, print_line
from bulklink.cli.help import Command, GroupedOption
from bulklink.cli.options import common_options, with_option_names
from bulklink.cli.param_types import Number, OneOf, WholeNumber
from bulklink.emulator.conversations.knobs import KIND_RANGES, ConversationRecipe
from bulklink.emulator.settings import PredictionMode
from bulklink.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from bulklink.emulator.synthetic import Recipe

_option = partial(click.option, cls=GroupedOption)
_TALK = "Worlds of conversations (--kind conversations)"
_MAPPING = "Mappings and their worlds (--kind links)"
_SHARE = Number(0, 1)
_COUNT = WholeNumber(min=1)
_LINKS, _CONVERSATIONS = "links", "conversations"
_OF_CONVERSATIONS = ("world", "prediction")
"""Options of worlds with conversations only."""
_OF_BOTH = ("messages", "users", "seed", "out", "force", "as_json", "kind")
_DEFAULT_USERS = 10


@click.command("generate", cls=Command)
@_option(
    "--kind",
    type=OneOf([_LINKS, _CONVERSATIONS]),
    default=_LINKS,
    show_default=True,
    help="links: a mapping and the results that it must have. conversations: people who write "
    "about deals, and the right deal of every email.",
)
@_option("--messages", type=_COUNT, required=True, help="Emails in the world.")
@_option(
    "--contacts",
    type=_COUNT,
    help="Contacts in the world; required for --kind links.",
)
@_option(
    "--world",
    group=_TALK,
    type=OneOf(list(KIND_RANGES)),
    default="plain",
    show_default=True,
    help="Kind of world with conversations: docs/worlds.md describes each.",
)
@_option(
    "--prediction",
    group=_TALK,
    type=OneOf(get_args(PredictionMode)),
    default="strict",
    show_default=True,
    help="How the rule linked the received mail of the conversations, as in bulklink emulator.",
)
@_option(
    "--seed",
    type=WholeNumber(),
    default=1,
    show_default=True,
    help="Random seed; the same seed gives the same bytes.",
)
@_option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    required=True,
    help="Folder for world.json, truth.json, and the mapping or knobs.json.",
)
@_option(
    "--format",
    "mapping_format",
    group=_MAPPING,
    type=OneOf(["csv", "jsonl"]),
    default="csv",
    show_default=True,
    help="Format of the mapping.",
)
@_option("--force", is_flag=True, help="Replace existing files.")
@_option(
    "--users",
    type=_COUNT,
    help="Owners of mailboxes. Default: 10; with conversations, drawn by the seed.",
)
@_option(
    "--deals-per-contact",
    group=_MAPPING,
    type=_COUNT,
    default=2,
    show_default=True,
    help="Deals per contact.",
)
@_option(
    "--owners-per-contact",
    group=_MAPPING,
    type=_COUNT,
    default=1,
    show_default=True,
    help="Owners of each contact's emails.",
)
@_option(
    "--skew",
    group=_MAPPING,
    type=Number(0, 20),
    default=0.0,
    show_default=True,
    help="0: all contacts have the same number of emails; higher: some have more.",
)
@_option(
    "--linked-right",
    group=_MAPPING,
    type=_SHARE,
    default=0.0,
    help="Share of emails already on the wanted deal.",
)
@_option(
    "--linked-wrong",
    group=_MAPPING,
    type=_SHARE,
    default=0.0,
    help="Share of emails on another deal.",
)
@_option(
    "--duplicates",
    group=_MAPPING,
    type=_SHARE,
    default=0.0,
    help="Share of rows that are duplicated.",
)
@_option(
    "--conflicts",
    group=_MAPPING,
    type=_SHARE,
    default=0.0,
    help="Share of emails with two wanted deals.",
)
@_option("--invalid", group=_MAPPING, type=Number(0, 10), default=0.0, help="Share of broken rows.")
@_option(
    "--names-missing", group=_MAPPING, type=_SHARE, default=0.0, help="Share of rows without names."
)
@_option(
    "--id-length",
    group=_MAPPING,
    type=WholeNumber(),
    default=19,
    show_default=True,
    help="Digits of an id.",
)
@_option(
    "--message-id-length",
    group=_MAPPING,
    type=WholeNumber(),
    default=64,
    show_default=True,
    help="Characters of a message id.",
)
@common_options
@click.pass_context
def generate(ctx: click.Context, /, kind: str, **options: Any) -> int:
    """Write a synthetic CRM world, with a mapping or conversations.

    \b
    Examples:
      bulklink generate --messages 1000 --contacts 50 --out rehearsal
      bulklink generate --messages 1000 --contacts 50 --linked-wrong 0.5 --out rehearsal
      bulklink generate --kind conversations --messages 5000 --world renewals --out talk

    `bulklink emulator --world` serves the world. Use --kind links for rehearsals of any size: the
    mapping works with link, relink and unlink, and truth.json holds the correct results of each.
    Use --kind conversations to judge what finds wrong links: truth.json holds the right deal of
    each email, and knobs.json says what was drawn for this world.
    """
    _check_options(ctx, kind)
    names, write = (_plan_links if kind == _LINKS else _plan_conversations)(options)
    files = [options["out"] / name for name in names]
    if not options["force"]:
        _check_missing(files)
    try:
        write()
    except OSError as error:
        raise UsageError(
            f"Cannot write: {error.strerror or error}.",
            where=str(options["out"]),
            advice="Use a folder that you may write to, on a disk with space.",
        ) from None
    if options["as_json"]:
        print_json({"files": [*map(str, files)], "exit_code": 0})
    else:
        for file in files:
            print_line(str(file))
    return ExitCode.OK


_Writer = tuple[Sequence[str], Callable[[], None]]


def _plan_links(options: Mapping[str, Any]) -> _Writer:
    """Return the names of the files with a mapping, and the function that writes them."""
    from bulklink.emulator import generate as writer  # noqa: PLC0415 - not for --help

    file_format: Literal["csv", "jsonl"] = cast(Any, options["mapping_format"])
    other = {"out", "force", "as_json", "mapping_format", *_OF_CONVERSATIONS}
    recipe = _make_recipe({name: value for name, value in options.items() if name not in other})
    return (
        writer.file_names(file_format),
        lambda: writer.generate(recipe, options["out"], file_format),
    )


def _plan_conversations(options: Mapping[str, Any]) -> _Writer:
    """Return the names of the files with conversations, and the function that writes them."""
    from bulklink.emulator.conversations import writer  # noqa: PLC0415 - not for --help

    recipe = ConversationRecipe(
        messages=options["messages"],
        kind=options["world"],
        reading=options["prediction"],
        users=options["users"],
        seed=options["seed"],
    )
    return (
        writer.CONVERSATION_FILES,
        lambda: writer.generate_conversations(recipe, options["out"]),
    )


def _check_options(ctx: click.Context, kind: str) -> None:
    """Refuse options that belong to the other kind, and a missing number of contacts.

    Raises:
        UsageError: if an option of the other kind is given.
        click.MissingParameter: if a mapping is asked for without a number of contacts.
    """
    for param in ctx.command.params:
        name = param.name or ""
        if name in _OF_BOTH or (name in _OF_CONVERSATIONS) == (kind == _CONVERSATIONS):
            continue
        if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
            other = _CONVERSATIONS if kind == _LINKS else _LINKS
            raise UsageError(
                f"{param.opts[0]} belongs to --kind {other}, and does nothing with --kind {kind}.",
                where="bulklink generate",
                advice=f"Leave out {param.opts[0]}, or use --kind {other}.",
            )
    if kind == _LINKS and ctx.params["contacts"] is None:
        contacts = next(param for param in ctx.command.params if param.name == "contacts")
        raise click.MissingParameter(ctx=ctx, param=contacts)


def _make_recipe(values: Mapping[str, Any]) -> Recipe:
    from bulklink.emulator.synthetic import Recipe  # noqa: PLC0415 - not for --help

    try:
        return Recipe(**{**values, "users": values["users"] or _DEFAULT_USERS})
    except ValueError as error:
        raise UsageError(
            f"{with_option_names(str(error), values)}.",
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
