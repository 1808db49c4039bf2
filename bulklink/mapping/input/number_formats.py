"""Number formats of a workbook, and the numbers of its cells as text."""

from __future__ import annotations

import datetime as dt
import re
from enum import Enum, auto

from bulklink.mapping.input.jsonl_reader import FLOAT_CELL, OTHER_CELL
from bulklink.mapping.input.xml_parts import XmlHandler, XmlPartError, local_name

#: A spreadsheet keeps 15 digits of a number.
_SAFE_DIGITS = 15
_FIRST_ROUNDED = 10**_SAFE_DIGITS
_SECONDS_A_DAY = 86_400
#: Day 0 of a workbook's dates, by default and in the 1904 date system.
_EPOCHS = (dt.datetime(1899, 12, 30), dt.datetime(1904, 1, 1))
#: A workbook counts 29 February 1900, a day that did not exist.
_LAST_SHIFTED_DAY = 60
#: Maximum number of styles and formats; spreadsheets allow 65,490.
_MAX_STYLES = 100_000
_BUILT_IN_DATES = frozenset((*range(14, 23), *range(27, 37), 45, 47, *range(50, 59)))
_BUILT_IN_DURATION = 46
_LITERALS = re.compile(r'"[^"]*"|\\.|_.|\*.|;.*', re.DOTALL)
_DURATION = re.compile(r"\[(h+|m+|s+)\]", re.IGNORECASE)
_CONDITION = re.compile(r"\[[^\]]*\]")
_DATE_LETTERS = frozenset("dmyhs")


class NumberKind(Enum):
    """Meaning of a number, by its format."""

    NUMBER = auto()
    DATE = auto()
    DURATION = auto()


def format_kind(code: str) -> NumberKind:
    """Return the meaning of numbers with a format code."""
    code = _LITERALS.sub("", code)
    if _DURATION.search(code):
        return NumberKind.DURATION
    code = _CONDITION.sub("", code).lower()
    return NumberKind.DATE if _DATE_LETTERS & set(code) else NumberKind.NUMBER


class StylesHandler(XmlHandler):
    """Collects the meaning of the numbers of each cell style.

    Attributes:
        kinds: kinds by number of the style.
    """

    __slots__ = ("_codes", "_parents", "kinds")

    def __init__(self) -> None:
        super().__init__()
        self.kinds: list[NumberKind] = []
        self._codes: dict[str, NumberKind] = {}
        self._parents: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Receive a start tag."""
        self.depth += 1
        name = local_name(name)
        if self._parents[1:] == ["numFmts"] and name == "numFmt":
            kind = format_kind(attributes.get("formatCode", ""))
            self._codes[attributes.get("numFmtId", "")] = kind
        elif self._parents[1:] == ["cellXfs"] and name == "xf":
            self.kinds.append(self._kind(attributes.get("numFmtId", "0")))
        if max(len(self.kinds), len(self._codes)) > _MAX_STYLES:
            raise XmlPartError("it has too many styles")
        self._parents.append(name)

    def end(self, name: str) -> None:
        """Receive an end tag."""
        self.depth -= 1
        self._parents.pop()

    def _kind(self, number: str) -> NumberKind:
        if number in self._codes:
            return self._codes[number]
        number = number if number.isdecimal() else "0"
        if int(number) == _BUILT_IN_DURATION:
            return NumberKind.DURATION
        return NumberKind.DATE if int(number) in _BUILT_IN_DATES else NumberKind.NUMBER


def number_text(digits: str) -> tuple[str, str]:
    """Convert a number to its kind of cell, as those of JSON values, and its text.

    Args:
        digits: the number as written in the file.
    """
    if len(digits) <= _SAFE_DIGITS and digits.isdecimal() and digits.isascii():
        return "", str(int(digits))
    try:
        value = float(digits)
    except ValueError:
        return OTHER_CELL, digits
    if abs(value) < _FIRST_ROUNDED and value == int(value):
        return "", str(int(value))
    return FLOAT_CELL, repr(value)


def date_text(digits: str, kind: NumberKind, *, from_1904: bool) -> tuple[str, str]:
    """Convert the number of a date, a time or a duration to its kind of cell and its text."""
    try:
        seconds = round(float(digits) * _SECONDS_A_DAY, 3)
        if kind is NumberKind.DURATION:
            return OTHER_CELL, str(dt.timedelta(seconds=seconds))
        return OTHER_CELL, _date_text(seconds, from_1904=from_1904)
    except (ValueError, OverflowError):
        return number_text(digits)


def _date_text(seconds: float, *, from_1904: bool) -> str:
    if seconds < 0:
        raise ValueError("a date cannot be before day 0")
    if not from_1904 and seconds < _LAST_SHIFTED_DAY * _SECONDS_A_DAY:
        shifted = dt.timedelta(days=1) if seconds >= _SECONDS_A_DAY else dt.timedelta()
    else:
        shifted = dt.timedelta()
    moment = _EPOCHS[from_1904] + shifted + dt.timedelta(seconds=seconds)
    if seconds < _SECONDS_A_DAY and seconds:
        return moment.time().isoformat()
    return moment.isoformat(" ") if seconds % _SECONDS_A_DAY else moment.date().isoformat()
