"""Click parameter types."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import click

from bulklink.errors import UsageError
from bulklink.local_time import parse_point_in_time
from bulklink.suggestions import close_matches


class BadChoice(click.BadParameter):
    """Raised when a value is not among the choices; `suggestions` are the closest ones."""

    def __init__(
        self,
        message: str,
        ctx: click.Context | None,
        param: click.Parameter | None,
        suggestions: list[str],
    ) -> None:
        super().__init__(message, ctx, param)
        self.suggestions = suggestions


class OneOf(click.Choice[str]):
    """One of several words; the closest ones are suggested for a misspelt word."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            suggestions = close_matches(str(value), self.choices)
            raise BadChoice(error.message, ctx, param, suggestions) from None


class WholeNumber(click.IntRange):
    """A whole number, optionally in a range."""

    name = "N"

    def _describe_range(self) -> str:
        return _format_range(self.min, self.max, min_open=self.min_open)


class Number(click.FloatRange):
    """A number, optionally in a range."""

    name = "N"

    def _describe_range(self) -> str:
        return _format_range(self.min, self.max, min_open=self.min_open)


def _format_range(minimum: float | None, maximum: float | None, *, min_open: bool) -> str:
    """Return an allowed range in words, instead of click's 0<x<=60."""
    match minimum, maximum:
        case None, None:
            return ""
        case None, _:
            return f"at most {maximum:,}"
        case _, None:
            return f"{'more than' if min_open else 'at least'} {minimum:,}"
        case _:
            return (
                f"more than {minimum:,} to {maximum:,}"
                if min_open
                else f"{minimum:,} to {maximum:,}"
            )


class LineSeparatedText(click.ParamType[Any]):
    """Text; an environment variable holds one value per line."""

    name = "text"
    envvar_list_splitter: ClassVar[str] = "\n"


class ColumnPair(LineSeparatedText):
    """`COLUMN=VALUE`.

    Args:
        value_optional: accept a column without a value.
    """

    name = "column=value"

    def __init__(self, *, value_optional: bool = False) -> None:
        self._value_optional = value_optional

    def convert(
        self,
        value: str | tuple[str, str | None],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, str | None]:
        """Split the text at the first `=`."""
        if isinstance(value, tuple):
            return value
        column, equals, text = value.partition("=")
        if not column.strip() or not (equals or self._value_optional):
            self.fail(f"{value!r} is not in the form {self.name.upper()}.", param, ctx)
        return column.strip(), text if equals else None


class MemorySize(click.ParamType[Any]):
    """An amount of memory, such as 512MB or 2GB, at least 64MB."""

    name = "size"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the size in DuckDB's notation; unchanged while a shell completes a line."""
        if ctx is not None and ctx.resilient_parsing:
            return value
        from bulklink.operations.job import parse_memory  # noqa: PLC0415 - not for --help

        try:
            return parse_memory(value)
        except UsageError as error:
            self.fail(error.message, param, ctx)


class Duration(click.ParamType[Any]):
    """A duration, such as 30s, 5m, 1h or 7d.

    Args:
        setting: name of the setting, whose range it must be in.
    """

    name = "time"

    def __init__(self, setting: str = "outage") -> None:
        self._setting = setting

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | float:
        """Return the seconds; unchanged while a shell completes a line."""
        if ctx is not None and ctx.resilient_parsing:
            return value
        from bulklink.operations.job import (  # noqa: PLC0415 - not for --help
            check_ranges,
            parse_duration,
        )

        try:
            seconds = parse_duration(value, self._setting)
            check_ranges({self._setting: seconds})
        except UsageError as error:
            self.fail(f"{error.message} {error.advice}", param, ctx)
        return seconds


class PointInTime(click.ParamType[Any]):
    """A date, or a time with or without an offset.

    Args:
        end_of_day: whether a date includes its day.
    """

    name = "time"

    def __init__(self, *, end_of_day: bool = False) -> None:
        self._end_of_day = end_of_day

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the time with its offset; local time if it has none."""
        try:
            return parse_point_in_time(value.strip(), end_of_day=self._end_of_day)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is not a time such as 2026-01-31 or 2026-01-31T09:00+01:00.", param, ctx
            )


class NumberOrWord(click.ParamType[Any]):
    """A number above 0, or a word for None.

    Args:
        word: the word.
        whole: accept whole numbers only.
        maximum: highest number.
    """

    def __init__(self, word: str, *, whole: bool, maximum: float) -> None:
        self._word = word
        self._whole = whole
        self._maximum = maximum
        self.name = f"number|{word}"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return the metavar, with the word as it is typed."""
        del param, ctx
        return f"N|{self._word}"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | None:
        """Return the number, or None for the word."""
        text = str(value).strip().lower()
        if text == self._word:
            return None
        try:
            number = int(text) if self._whole else float(text)
        except ValueError:
            number = 0
        if not 0 < number <= self._maximum:
            kind = "a whole number" if self._whole else "a number"
            self.fail(
                f"{value!r} is neither {self._word!r} nor {kind} above 0, at most"
                f" {self._maximum:g}.",
                param,
                ctx,
            )
        return number


class FailureTolerance(click.ParamType[Any]):
    """Maximum failures: a number, a percentage such as 5%, or `off`."""

    name = "failures"

    def convert(
        self,
        value: str | dict[str, float],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> dict[str, float]:
        """Return the `count` or the `percent` that may fail."""
        if isinstance(value, dict):
            return value
        text = value.strip().lower()
        if text == "off":
            return {"percent": 100.0}
        match = re.fullmatch(r"(\d{1,12})|(\d{1,3}(?:\.\d+)?)\s*%", text)
        if match is None or (match[2] and float(match[2]) > 100):
            self.fail(
                f"{value!r} is neither a whole number such as 50, nor a share up to 100%, nor"
                " 'off'.",
                param,
                ctx,
            )
        return {"count": int(match[1])} if match[1] else {"percent": float(match[2])}
