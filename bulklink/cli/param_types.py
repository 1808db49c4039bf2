"""How values of options are written: choices, numbers, pairs, several values one per line."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any, ClassVar

import click

from bulklink.errors import UsageError


class BadChoice(click.BadParameter):
    """Raised when a value is none of an option's; `likely` are those that it resembles."""

    def __init__(
        self,
        message: str,
        ctx: click.Context | None,
        param: click.Parameter | None,
        likely: list[str],
    ) -> None:
        super().__init__(message, ctx, param)
        self.likely = likely


class OneOf(click.Choice[str]):
    """One of some words; of a misspelt one it is said which was probably meant."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            likely = get_close_matches(str(value), self.choices, n=2)
            raise BadChoice(error.message, ctx, param, likely) from None


class Whole(click.IntRange):
    """A whole number, between two others where they are given."""

    name = "N"

    def _describe_range(self) -> str:
        return _range(self.min, self.max, min_open=self.min_open)


class Number(click.FloatRange):
    """A number, between two others where they are given."""

    name = "N"

    def _describe_range(self) -> str:
        return _range(self.min, self.max, min_open=self.min_open)


def _range(least: float | None, most: float | None, *, min_open: bool) -> str:
    """Return what is allowed in words, where click would write 0<x<=60."""
    match least, most:
        case None, None:
            return ""
        case None, _:
            return f"at most {most:,}"
        case _, None:
            return f"{'more than' if min_open else 'at least'} {least:,}"
        case _:
            return f"more than {least:,} to {most:,}" if min_open else f"{least:,} to {most:,}"


class Lines(click.ParamType[Any]):
    """A text; several in one environment variable stand one per line."""

    name = "text"
    envvar_list_splitter: ClassVar[str] = "\n"


class Pair(Lines):
    """`COLUMN=VALUE`; the value may be left out where `bare` says so."""

    name = "column=value"

    def __init__(self, *, bare: bool = False) -> None:
        self._bare = bare

    def convert(
        self,
        value: str | tuple[str, str | None],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, str | None]:
        """Split at the first `=`."""
        if isinstance(value, tuple):
            return value
        column, equals, text = value.partition("=")
        if not column.strip() or not (equals or self._bare):
            self.fail(f"{value!r} is not written as {self.name.upper()}.", param, ctx)
        return column.strip(), text if equals else None


class Size(click.ParamType[Any]):
    """An amount of memory, such as 512MB or 2GB, at least 64MB."""

    name = "size"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the size as the engine takes it; as it is where a shell completes a line."""
        if ctx is not None and ctx.resilient_parsing:
            return value
        from bulklink.operations.job import memory_of  # noqa: PLC0415 - not for --help

        try:
            return memory_of(value)
        except UsageError as error:
            self.fail(error.message, param, ctx)


class NumberOr(click.ParamType[Any]):
    """A number above 0, or a word that stands for none."""

    def __init__(self, word: str, *, whole: bool, most: float) -> None:
        self._word = word
        self._whole = whole
        self._most = most
        self.name = f"number|{word}"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return how the value is written: the word as it is typed."""
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
        if not 0 < number <= self._most:
            kind = "a whole number" if self._whole else "a number"
            self.fail(
                f"{value!r} is neither {self._word!r} nor {kind} above 0, at most {self._most:g}.",
                param,
                ctx,
            )
        return number


class Tolerance(click.ParamType[Any]):
    """How much may fail: a number, a share such as 5%, or off."""

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
        found = re.fullmatch(r"(\d{1,12})|(\d{1,3}(?:\.\d+)?)\s*%", text)
        if found is None or (found[2] and float(found[2]) > 100):
            self.fail(
                f"{value!r} is neither a whole number such as 50, nor a share up to 100%, nor"
                " 'off'.",
                param,
                ctx,
            )
        return {"count": int(found[1])} if found[1] else {"percent": float(found[2])}
