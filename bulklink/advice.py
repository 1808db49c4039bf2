"""Advice that names settings and calls, which each interface formats in its own terms.

A program gets Python (`memory='2GB'`, `resume('runs/march')`), a user of the command line gets
options and commands (`--memory 2GB`, `bulklink resume runs/march`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable


class Keyword:
    """A setting, by its keyword in the library.

    Args:
        name: keyword of `Job` or of a function, such as `read_back`.
        value: value to set; None to name only the setting.
    """

    __slots__ = ("name", "value")

    def __init__(self, name: str, value: object = None) -> None:
        self.name = name
        self.value = value

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}={self.value!r}"


class NextCall:
    """A call of a library function, suggested as the next step.

    Args:
        function: name of the function, such as `resume`.
        arguments: its positional arguments.
        settings: its keyword arguments.
    """

    __slots__ = ("arguments", "function", "settings")

    def __init__(self, function: str, *arguments: object, settings: Iterable[Keyword] = ()) -> None:
        self.function = function
        self.arguments = tuple(map(str, arguments))
        self.settings = tuple(settings)

    def __str__(self) -> str:
        arguments = (*map(repr, self.arguments), *map(str, self.settings))
        return f"`{self.function}({', '.join(arguments)})`"


class Advice:
    """A text that contains settings and calls; `str` formats them as Python.

    Args:
        template: the text, with `{}` for each part.
        parts: texts, settings, calls, or nested advice.
    """

    __slots__ = ("_parts", "_template")

    def __init__(self, template: str, *parts: object) -> None:
        self._template = template
        self._parts = parts

    @classmethod
    def of(cls, text: str) -> Advice:
        """Return a text as advice; braces are taken literally."""
        return cls("{}", text) if text else cls("")

    @classmethod
    def join(cls, separator: str, advice: Iterable[str | Advice]) -> Advice:
        """Return several pieces of advice as one; empty ones are left out."""
        parts = [part for part in advice if part]
        return cls(separator.join(["{}"] * len(parts)), *parts)

    def __bool__(self) -> bool:
        return bool(self._template)

    def __str__(self) -> str:
        return self.worded(str)

    def worded(self, word: Callable[[Keyword | NextCall], str]) -> str:
        """Return the text with each setting and call formatted by `word`."""
        return self._template.format(*(_worded(part, word) for part in self._parts))


def _worded(part: object, word: Callable[[Keyword | NextCall], str]) -> str:
    if isinstance(part, Advice):
        return part.worded(word)
    return word(part) if isinstance(part, Keyword | NextCall) else str(part)
