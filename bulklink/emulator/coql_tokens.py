"""Tokens of COQL queries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from bulklink.emulator.errors import ParameterError, Problem
from bulklink.emulator.settings import QuoteEscape
from bulklink.zoho.error_codes import Code

_TOKEN_PATTERN = r"""
    \s*(?:
      (?P<string>STRINGS)
    | (?P<number>-?\d+(?:\.\d+)?)
    | (?P<word>[^\W\d]\w*(?:\.[^\W\d]\w*)*)
    | (?P<symbol><=|>=|!=|[=<>(),])
    | (?P<end>\Z)
    )
    """  # noqa: S105 - no secret


def _token_pattern(single: str, double: str) -> re.Pattern[str]:
    """Return the pattern of a token.

    Args:
        single: pattern of the parts of a text between single quotes.
        double: the same between double quotes.
    """
    strings = f"'(?:{single})*'|\"(?:{double})*\""
    return re.compile(_TOKEN_PATTERN.replace("STRINGS", strings), re.VERBOSE | re.DOTALL)


_TOKENS: Mapping[QuoteEscape, re.Pattern[str]] = {
    "both": _token_pattern(r"[^'\\]|\\.|''", r'[^"\\]|\\.|""'),
    "backslash": _token_pattern(r"[^'\\]|\\.", r'[^"\\]|\\.'),
    "doubled": _token_pattern(r"[^']|''", r'[^"]|""'),
}
_ESCAPED = re.compile(r"\\(.)|''|\"\"", re.DOTALL)
_NEAR_CHARACTERS = 40


class QueryError(ParameterError):
    """Raised when a COQL query is not valid."""


class TokenKind(StrEnum):
    """Kind of a token."""

    STRING = "string"
    NUMBER = "number"
    WORD = "word"
    SYMBOL = "symbol"
    END = "end"


class QueryToken(msgspec.Struct, frozen=True):
    """A token of a query.

    Args:
        kind: its kind.
        text: its text; of a string, what is between the quotes.
        start: position in the query, counted from 0.
    """

    kind: TokenKind
    text: str
    start: int

    def is_word(self, *words: str) -> bool:
        """Return whether the token is one of these words, in any case."""
        return self.kind is TokenKind.WORD and self.text.lower() in words

    def is_symbol(self, symbol: str) -> bool:
        """Return whether the token is this symbol."""
        return self.kind is TokenKind.SYMBOL and self.text == symbol


def read_tokens(query: str, quotes: QuoteEscape = "both") -> list[QueryToken]:
    """Return the tokens of a query; the last one is its end.

    Args:
        query: the query.
        quotes: how a quote within a text is escaped.

    Raises:
        QueryError: if a character begins no token.
    """
    tokens, position = list[QueryToken](), 0
    while not tokens or tokens[-1].kind is not TokenKind.END:
        match = _TOKENS[quotes].match(query, position)
        if match is None or match.lastgroup is None:
            raise syntax_error(query, position)
        kind, text = TokenKind(match.lastgroup), match[match.lastgroup]
        text = _unquote(text, quotes) if kind is TokenKind.STRING else text
        tokens.append(QueryToken(kind, text, match.start(match.lastgroup)))
        position = match.end()
    return tokens


def _unquote(text: str, quotes: QuoteEscape) -> str:
    """Return the content of a string, with the escaped characters as they are."""
    quote, content = text[0], text[1:-1]
    if quotes == "doubled":
        return content.replace(2 * quote, quote)

    def unescape(match: re.Match[str]) -> str:
        if match[1] is not None:
            return match[1]
        return quote if match[0] == 2 * quote else match[0]

    return _ESCAPED.sub(unescape, content)


def syntax_error(query: str, position: int) -> QueryError:
    """Return the error of a query that cannot be parsed from `position` on."""
    before = query[:position]
    details = {
        "line": before.count("\n") + 1,
        "column": position - (before.rfind("\n") + 1) + 1,
        "near": query[position : position + _NEAR_CHARACTERS].strip(),
    }
    return QueryError(Problem(Code.SYNTAX_ERROR, details))


def missing_clause(clause: str) -> QueryError:
    """Return the error of a query without a mandatory clause."""
    return QueryError(Problem(Code.SYNTAX_ERROR, {"clause": clause}, "missing clause"))


def limit_exceeded(clause: str, limit: int) -> QueryError:
    """Return the error of a clause with more of something than `limit`."""
    details = {"clause": clause, "limit": limit}
    return QueryError(Problem(Code.LIMIT_EXCEEDED, details, f"the limit of {clause} is exceeded"))
