"""A number and the words after it agree, by one function."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import bulklink
from bulklink.counts import count_of, inflect

PACKAGE = Path(bulklink.__file__).parent
NOUNS = (
    *("call", "cell", "command", "contact", "credit", "deal", "email", "group", "message", "name"),
    *("owner", "page", "record", "result", "retry", "row", "run", "scope", "user", "window"),
)
_PLURAL = re.compile(rf"^ (?:other |more |further |link |refused )?(?:{'|'.join(NOUNS)})s\b(?!/)")
_IN_TEXT = re.compile(rf"\{{\}}{_PLURAL.pattern[1:]}")
_IN_TEMPLATE = re.compile(rf"\|(?:number|length) \}}\}}{_PLURAL.pattern[1:]}")
_OTHERS = ("emulator", "ledger")
"""Packages without texts of results and errors for readers of a run."""


def hand_made(module: ast.Module) -> Iterator[str]:
    """Yield the texts of a module with a number before a noun that is always in the plural."""
    for node in ast.walk(module):
        match node:
            case ast.JoinedStr(values=values):
                for value, text in pairwise(values):
                    match value, text:
                        case ast.FormattedValue(value=number), ast.Constant(value=str(words)):
                            if _PLURAL.match(words) and not is_constant(number):
                                yield words
            case ast.Constant(value=str(text)) if _IN_TEXT.search(text):
                yield text


def is_constant(number: ast.expr) -> bool:
    """Return whether a number is a constant of the program, which is never 1."""
    return isinstance(number, ast.Name) and number.id.isupper()


def sources() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.split("/")[0] not in _OTHERS:
            yield name, path


@pytest.mark.parametrize(
    ("number", "expected"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1_000, "1,000 rows")]
)
def test_a_noun_is_in_the_plural_unless_the_number_is_1(number: int, expected: str) -> None:
    assert count_of(number, "row") == expected


def test_a_verb_agrees_with_its_number() -> None:
    assert [count_of(n, "row is", "rows are") for n in (1, 2)] == ["1 row is", "2 rows are"]
    assert [inflect(n, "it", "them") for n in (1, 2)] == ["it", "them"]


def test_no_text_of_the_package_makes_a_plural_by_hand() -> None:
    found = {
        name: texts
        for name, path in sources()
        if (texts := list(hand_made(ast.parse(path.read_text(encoding="utf-8")))))
    }
    assert found == {}


def test_no_template_of_a_page_makes_a_plural_by_hand() -> None:
    templates = list((PACKAGE / "html_pages").rglob("*.j2"))
    found = [_IN_TEMPLATE.findall(path.read_text(encoding="utf-8")) for path in templates]
    assert not any(found), found


def test_a_plural_by_hand_is_noticed() -> None:
    program = 'f"{left:,} calls"; f"{1}, {n} other emails."; "Advice of {} rows"; f"{MOST} pages"'
    assert len(list(hand_made(ast.parse(program)))) == 3
