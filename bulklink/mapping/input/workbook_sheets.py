"""Sheets of a workbook, and the choice of the one that is the mapping."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.errors import BadFileError
from bulklink.mapping.input.workbook_package import (
    damaged_workbook_error,
    relations_part,
    resolve_target,
)
from bulklink.mapping.input.xml_parts import XmlHandler, XmlPartError, local_name, parse_part
from bulklink.mapping.schema import normalize_header
from bulklink.suggestions import close_matches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulklink.mapping.input.workbook_package import WorkbookPackage

_WORKBOOK = "xl/workbook.xml"
_PACKAGE_RELATIONS = "_rels/.rels"
_MAX_SHEETS = 10_000
_MAX_NAMED = 20
_TRUE = ("1", "true", "on")


class SheetType(StrEnum):
    """Content of a tab of a workbook, by the type of its relationship."""

    TABLE = "worksheet"
    CHART = "chartsheet"
    OTHER = "other"


class WorkbookSheet(msgspec.Struct, frozen=True):
    """One tab of a workbook.

    Args:
        name: its name.
        hidden: whether the workbook hides it.
        type: its content.
        part: the part with its content; None if the workbook names none.
    """

    name: str
    hidden: bool
    type: SheetType
    part: str | None


class WorkbookContents(msgspec.Struct, frozen=True):
    """Parts and settings that a workbook lists.

    Args:
        sheets: its sheets, in the order of their tabs.
        strings: the part with the shared strings; None if there is none.
        styles: the part with the styles; None if there is none.
        from_1904: whether dates count from 1904.
        computed: whether the values of formulas were computed; a program that does not compute
            them writes 0 and requests a full calculation.
    """

    sheets: tuple[WorkbookSheet, ...]
    strings: str | None
    styles: str | None
    from_1904: bool
    computed: bool


class _Relation(msgspec.Struct, frozen=True):
    type: str
    part: str


class _RelationsHandler(XmlHandler):
    """Collects the relationships of a part, by their ids."""

    __slots__ = ("_source", "relations")

    def __init__(self, source: str) -> None:
        super().__init__()
        self._source = source
        self.relations: dict[str, _Relation] = {}

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Receive a start tag."""
        self.depth += 1
        if local_name(name) != "Relationship" or attributes.get("TargetMode") == "External":
            return
        self.relations[attributes.get("Id", "")] = _Relation(
            type=attributes.get("Type", "").rpartition("/")[2],
            part=resolve_target(self._source, attributes.get("Target", "")),
        )
        if len(self.relations) > _MAX_SHEETS:
            raise XmlPartError("it has too many relationships")

    def find(self, kind: str) -> str | None:
        """Return the first part of a type."""
        return next((r.part for r in self.relations.values() if r.type == kind), None)


class _WorkbookHandler(XmlHandler):
    """Collects the sheets of a workbook, each with the id of its relationship."""

    __slots__ = ("computed", "from_1904", "sheets")

    def __init__(self) -> None:
        super().__init__()
        self.sheets: list[tuple[str, bool, str]] = []
        self.from_1904 = False
        self.computed = True

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Receive a start tag."""
        self.depth += 1
        name = local_name(name)
        if name == "sheet":
            relation = next(
                (value for key, value in attributes.items() if key.endswith("relationships}id")), ""
            )
            hidden = attributes.get("state", "visible") != "visible"
            self.sheets.append((attributes.get("name", ""), hidden, relation))
            if len(self.sheets) > _MAX_SHEETS:
                raise XmlPartError("it has too many sheets")
        elif name == "workbookPr":
            self.from_1904 = attributes.get("date1904") in _TRUE
        elif name == "calcPr":
            self.computed = attributes.get("fullCalcOnLoad") not in _TRUE


def read_contents(package: WorkbookPackage) -> WorkbookContents:
    """Read the list of sheets and other parts of a workbook."""
    root = _relations(package, "")
    workbook = root.find("officeDocument") or _WORKBOOK
    if workbook not in package:
        raise damaged_workbook_error(package.name, "it has no list of sheets")
    relations = _relations(package, workbook)
    handler = _WorkbookHandler()
    _parse(package, workbook, handler)
    sheets = tuple(
        _workbook_sheet(name, relations.relations.get(relation), package, hidden=hidden)
        for name, hidden, relation in handler.sheets
    )
    return WorkbookContents(
        sheets,
        _existing(package, relations.find("sharedStrings")),
        _existing(package, relations.find("styles")),
        handler.from_1904,
        handler.computed,
    )


def _relations(package: WorkbookPackage, source: str) -> _RelationsHandler:
    handler = _RelationsHandler(source)
    part = relations_part(source) if source else _PACKAGE_RELATIONS
    if part in package:
        _parse(package, part, handler)
    return handler


def _parse(package: WorkbookPackage, part: str, handler: XmlHandler) -> None:
    for _ in parse_part(package.blocks(part), handler):
        pass


def _existing(package: WorkbookPackage, part: str | None) -> str | None:
    return part if part is not None and part in package else None


def _workbook_sheet(
    name: str, relation: _Relation | None, package: WorkbookPackage, *, hidden: bool
) -> WorkbookSheet:
    if relation is None or relation.part not in package:
        return WorkbookSheet(name, hidden, SheetType.TABLE, None)
    kinds = {SheetType.TABLE: SheetType.TABLE, SheetType.CHART: SheetType.CHART}
    kind = kinds.get(relation.type, SheetType.OTHER)  # type: ignore[call-overload]
    return WorkbookSheet(name, hidden, kind, relation.part)


def choose_sheet(contents: WorkbookContents, wanted: str | None, where: str) -> WorkbookSheet:
    """Choose the sheet of a workbook that is the mapping.

    Args:
        contents: the workbook.
        wanted: name of a sheet, or its number among those that the workbook shows, from 1; None
            for the first table that it shows.
        where: the workbook as the user named it.

    Raises:
        BadFileError: if there is no such sheet, or it is not a table.
    """
    sheets = contents.sheets
    if wanted is None:
        shown = [sheet for sheet in sheets if sheet.type is SheetType.TABLE and not sheet.hidden]
        if shown:
            return shown[0]
        raise BadFileError(
            "The workbook has no visible sheet with a table.",
            where=where,
            advice=Advice("{} Name one with {}.", describe_sheets(sheets), Keyword("sheet")),
        )
    sheet = _find_sheet(sheets, wanted)
    if sheet is None:
        near = close_matches(wanted, [s.name for s in sheets], key=normalize_header)
        names = Advice(" or ".join(["{}"] * len(near)), *(Keyword("sheet", name) for name in near))
        question = Advice("Did you mean {}?", names) if near else ""
        raise BadFileError(
            f"The workbook has no sheet {wanted!r}.",
            where=where,
            advice=Advice.join(" ", [question, describe_sheets(sheets)]),
        )
    if sheet.type is not SheetType.TABLE:
        raise BadFileError(
            f"The sheet {sheet.name!r} is a {_TYPE_NAMES[sheet.type]}, not a table.",
            where=where,
            advice=Advice("Name another with {}. {}", Keyword("sheet"), describe_sheets(sheets)),
        )
    return sheet


_TYPE_NAMES = {SheetType.CHART: "chart", SheetType.OTHER: "macro or dialog sheet"}


def _find_sheet(sheets: Sequence[WorkbookSheet], wanted: str) -> WorkbookSheet | None:
    """Return a sheet by its name, ignoring case if need be, or else by its number."""
    for sheet in sheets:
        if sheet.name == wanted:
            return sheet
    for sheet in sheets:
        if sheet.name.strip().casefold() == wanted.strip().casefold():
            return sheet
    shown = [sheet for sheet in sheets if not sheet.hidden]
    if wanted.isascii() and wanted.isdecimal() and 1 <= int(wanted[:9]) <= len(shown):
        return shown[int(wanted[:9]) - 1]
    return None


def describe_sheets(sheets: Sequence[WorkbookSheet]) -> str:
    """List the sheets of a workbook in a sentence."""
    names = ", ".join(map(describe_sheet, sheets[:_MAX_NAMED]))
    more = f" and {len(sheets) - _MAX_NAMED} more" if len(sheets) > _MAX_NAMED else ""
    if not sheets:
        return "The workbook has no sheets."
    return f"The {'sheet is' if len(sheets) == 1 else 'sheets are'} {names}{more}."


def describe_sheet(sheet: WorkbookSheet) -> str:
    """Quote the name of a sheet, and note if it is hidden or not a table."""
    notes = ["hidden"] if sheet.hidden else []
    if sheet.type is not SheetType.TABLE:
        notes.append(_TYPE_NAMES[sheet.type])
    return f"{sheet.name!r}" + (f" ({', '.join(notes)})" if notes else "")


def passed_over_warning(
    contents: WorkbookContents, chosen: WorkbookSheet, where: str
) -> str | None:
    """Return a sentence that names the sheets before the chosen one; None if there are none."""
    before = contents.sheets[: contents.sheets.index(chosen)]
    if not before:
        return None
    names = ", ".join(map(describe_sheet, before[:_MAX_NAMED]))
    more = f" and {len(before) - _MAX_NAMED} more" if len(before) > _MAX_NAMED else ""
    return f"{where}: {names}{more} skipped; the mapping is the sheet {chosen.name!r}"
