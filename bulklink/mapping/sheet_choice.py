"""Advice for a wrong sheet, and warnings about sheets and rows that are not read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulklink.advice import Advice, Keyword
from bulklink.errors import BadFileError
from bulklink.mapping.input.workbook_sheets import describe_sheets
from bulklink.mapping.schema import HiddenRows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bulklink.mapping.input.prepare import FileHeaders
    from bulklink.mapping.input.sheet_staging import StagedSheet
    from bulklink.mapping.schema import MappingOptions

_MAX_NAMED = 3


def other_sheets_advice(
    sheet: StagedSheet | None, fits: Callable[[Sequence[str]], bool]
) -> str | Advice:
    """Suggest other sheets of a workbook, each with its setting.

    Args:
        sheet: the sheet that was read; None for other formats.
        fits: returns whether headers are those of a mapping.
    """
    if sheet is None or len(sheet.sheets) < 2:
        return ""
    fitting = [other.sheet for other in sheet.others if fits(other.headers)]
    if not fitting:
        return Advice(
            "To use another sheet, name it with {}. {}",
            Keyword("sheet"),
            describe_sheets(sheet.sheets),
        )
    names = [other.name for other in fitting[:_MAX_NAMED]]
    options = Advice(" or ".join(["{}"] * len(names)), *(Keyword("sheet", name) for name in names))
    return Advice("The sheet {} has these columns: use {}.", " or ".join(map(repr, names)), options)


def sheet_warnings(
    files: Sequence[FileHeaders],
    options: MappingOptions,
    fits: Callable[[Sequence[str]], bool],
) -> Iterator[str]:
    """Yield a warning for each sheet and each hidden row that is not read."""
    for file in files:
        sheet = file.sheet
        if sheet is None:
            continue
        if sheet.warning is not None:
            yield sheet.warning
        if options.sheet is None:
            yield from _unread_sheets(file.name, sheet, fits)
        if sheet.hidden and options.hidden_rows is HiddenRows.SKIP:
            yield f"{file.where}: {_count_hidden(sheet)} left out"


def _unread_sheets(
    name: str, sheet: StagedSheet, fits: Callable[[Sequence[str]], bool]
) -> Iterator[str]:
    others = [o.sheet for o in sheet.others if not o.sheet.hidden and fits(o.headers)]
    if others:
        names = ", ".join(repr(other.name) for other in others[:_MAX_NAMED])
        more = f" and {len(others) - _MAX_NAMED} more" if len(others) > _MAX_NAMED else ""
        verb = "is a mapping too, but was" if len(others) == 1 else "are mappings too, but were"
        yield f"{name}: only the sheet {sheet.name!r} was read; {names}{more} {verb} not"


def refuse_hidden_rows(files: Sequence[FileHeaders], options: MappingOptions) -> None:
    """Refuse sheets with hidden rows unless the options include or skip them.

    Raises:
        BadFileError: if a sheet has hidden rows.
    """
    if options.hidden_rows is not None:
        return
    for file in files:
        if file.sheet is not None and file.sheet.hidden:
            raise BadFileError(
                f"The sheet hides rows that are not empty: {_count_hidden(file.sheet)}.",
                where=file.where,
                advice=Advice(
                    "Use {} to include them, or {} to leave them out.",
                    Keyword("hidden_rows", HiddenRows.INCLUDE.value),
                    Keyword("hidden_rows", HiddenRows.SKIP.value),
                ),
            )


def hidden_rows_advice(file: FileHeaders) -> str | Advice:
    """Return the advice about hidden rows that were left out; empty if there are none."""
    if file.sheet is None or not file.sheet.hidden:
        return ""
    include = Keyword("hidden_rows", HiddenRows.INCLUDE.value)
    return Advice("{} left out; use {} to include them.", _count_hidden(file.sheet), include)


def _count_hidden(sheet: StagedSheet) -> str:
    numbers = ", ".join(map(str, sheet.first_hidden))
    more = ", …" if sheet.hidden > len(sheet.first_hidden) else ""
    noun = "hidden row" if sheet.hidden == 1 else "hidden rows"
    return f"{sheet.hidden:,} {noun} ({numbers}{more})"
