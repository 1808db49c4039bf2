"""Parser of the part of COQL that the emulator serves."""

from __future__ import annotations

import msgspec

from bulklink.emulator.coql_tokens import (
    QueryError,
    QueryToken,
    TokenKind,
    limit_exceeded,
    missing_clause,
    read_tokens,
    syntax_error,
)
from bulklink.emulator.errors import Problem
from bulklink.emulator.settings import QuoteEscape
from bulklink.zoho.error_codes import Code

MAX_ROWS = 2_000
MAX_OFFSET_ROWS = 100_000
MAX_COLUMNS = 50
MAX_CRITERIA = 25
MAX_LIST_VALUES = 50
MAX_ORDER_COLUMNS = 10
DEFAULT_ROWS = 200
_MAX_DEPTH = 50
_MAX_NUMBER_DIGITS = 9
_SYMBOL_OPERATORS = ("=", "!=", "<", "<=", ">", ">=")


class Criterion(msgspec.Struct, frozen=True):
    """A criterion: the comparison of a column.

    Args:
        column: the column, perhaps of a record that a lookup names: `Contact_Name.Email`.
        operator: a symbol, or words such as `not in`.
        values: the values as texts: none for `is null`, two for `between`.
    """

    column: str
    operator: str
    values: tuple[str, ...] = ()


class Combination(msgspec.Struct, frozen=True):
    """Two conditions joined by `and` or `or`."""

    operator: str
    left: Condition
    right: Condition


Condition = Criterion | Combination


class OrderColumn(msgspec.Struct, frozen=True):
    """A column to order by."""

    column: str
    descending: bool = False


class SelectQuery(msgspec.Struct, frozen=True):
    """A parsed query.

    Args:
        columns: the selected columns.
        module: API name of the module.
        condition: what the records must fulfil.
        order: the columns to order by; none for the order of ids.
        offset: number of records to skip.
        limit: maximum number of rows.
    """

    columns: tuple[str, ...]
    module: str
    condition: Condition
    order: tuple[OrderColumn, ...]
    offset: int
    limit: int


def parse_query(text: str, quotes: QuoteEscape = "both") -> SelectQuery:
    """Parse a query.

    Args:
        text: the query.
        quotes: how a quote within a text is escaped.

    Raises:
        QueryError: if it is not a query of the supported part of COQL, or exceeds a limit.
    """
    return _Parser(text, quotes).parse()


class _Parser:
    """Recursive descent parser of one query."""

    def __init__(self, text: str, quotes: QuoteEscape) -> None:
        self._text = text
        self._tokens = read_tokens(text, quotes)
        self._position = 0
        self._criteria = 0

    def parse(self) -> SelectQuery:
        self._expect_word("select")
        columns = self._parse_columns()
        module = self._parse_module()
        if not self._peek().is_word("where"):
            raise missing_clause("where")
        self._next()
        condition = self._parse_condition(depth=0)
        order = self._parse_order()
        offset, limit = self._parse_limits()
        if self._peek().kind is not TokenKind.END:
            raise self._error()
        return SelectQuery(columns, module, condition, order, offset, limit)

    def _peek(self) -> QueryToken:
        return self._tokens[self._position]

    def _next(self) -> QueryToken:
        token = self._tokens[self._position]
        self._position = min(self._position + 1, len(self._tokens) - 1)
        return token

    def _error(self, token: QueryToken | None = None) -> QueryError:
        return syntax_error(self._text, (token or self._peek()).start)

    def _expect_word(self, *words: str) -> str:
        token = self._next()
        if not token.is_word(*words):
            raise self._error(token)
        return token.text.lower()

    def _expect_symbol(self, symbol: str) -> None:
        token = self._next()
        if not token.is_symbol(symbol):
            raise self._error(token)

    def _skip_comma(self) -> bool:
        is_comma = self._peek().is_symbol(",")
        if is_comma:
            self._next()
        return is_comma

    def _parse_column(self) -> str:
        """Return the name of a column, which may be quoted."""
        token = self._next()
        if token.kind not in {TokenKind.WORD, TokenKind.STRING}:
            raise self._error(token)
        return token.text

    def _parse_columns(self) -> tuple[str, ...]:
        if self._peek().is_word("from"):
            raise self._error()
        columns = [self._parse_column()]
        while self._skip_comma():
            columns.append(self._parse_column())
        if len(columns) > MAX_COLUMNS:
            raise limit_exceeded("select", MAX_COLUMNS)
        _check_distinct(columns, "select")
        return tuple(columns)

    def _parse_module(self) -> str:
        if self._peek().kind is TokenKind.END or self._peek().is_word("where"):
            raise missing_clause("from")
        self._expect_word("from")
        token = self._next()
        if token.kind is not TokenKind.WORD:
            raise self._error(token)
        return token.text

    def _parse_condition(self, depth: int) -> Condition:
        """Parse one operand, or a pair: three and more have to be bracketed in pairs."""
        left = self._parse_operand(depth)
        if not self._peek().is_word("and", "or"):
            return left
        operator = self._next().text.lower()
        return Combination(operator, left, self._parse_operand(depth))

    def _parse_operand(self, depth: int) -> Condition:
        if not self._peek().is_symbol("("):
            return self._parse_criterion()
        if depth >= _MAX_DEPTH:
            raise self._error()
        self._next()
        condition = self._parse_condition(depth + 1)
        self._expect_symbol(")")
        return condition

    def _parse_criterion(self) -> Criterion:
        self._criteria += 1
        if self._criteria > MAX_CRITERIA:
            raise limit_exceeded("where", MAX_CRITERIA)
        column, token = self._parse_column(), self._next()
        if token.kind is TokenKind.SYMBOL and token.text in _SYMBOL_OPERATORS:
            return Criterion(column, token.text, (self._parse_value(),))
        if token.is_word("is"):
            negation = "not " if self._skip_word("not") else ""
            self._expect_word("null")
            return Criterion(column, f"is {negation}null")
        negation = "not " if token.is_word("not") else ""
        token = self._next() if negation else token
        if not token.is_word("in", "like", "between"):
            raise self._error(token)
        operator = token.text.lower()
        return Criterion(column, negation + operator, self._parse_values(operator))

    def _skip_word(self, word: str) -> bool:
        is_word = self._peek().is_word(word)
        if is_word:
            self._next()
        return is_word

    def _parse_values(self, operator: str) -> tuple[str, ...]:
        if operator == "like":
            return (self._parse_value(),)
        if operator == "between":
            first = self._parse_value()
            self._expect_word("and")
            return first, self._parse_value()
        self._expect_symbol("(")
        values = [self._parse_value()]
        while self._skip_comma():
            values.append(self._parse_value())
        self._expect_symbol(")")
        if len(values) > MAX_LIST_VALUES:
            raise limit_exceeded("in", MAX_LIST_VALUES)
        return tuple(values)

    def _parse_value(self) -> str:
        token = self._next()
        if token.kind not in {TokenKind.STRING, TokenKind.NUMBER, TokenKind.WORD}:
            raise self._error(token)
        return token.text

    def _parse_order(self) -> tuple[OrderColumn, ...]:
        if not self._skip_word("order"):
            return ()
        self._expect_word("by")
        order = [self._parse_order_column()]
        while self._skip_comma():
            order.append(self._parse_order_column())
        if len(order) > MAX_ORDER_COLUMNS:
            raise limit_exceeded("order by", MAX_ORDER_COLUMNS)
        _check_distinct([item.column for item in order], "order by")
        return tuple(order)

    def _parse_order_column(self) -> OrderColumn:
        column = self._parse_column()
        if not self._peek().is_word("asc", "desc"):
            return OrderColumn(column)
        return OrderColumn(column, self._next().text.lower() == "desc")

    def _parse_limits(self) -> tuple[int, int]:
        """Return offset and limit: `limit count`, `limit offset, count`, `offset count`."""
        offset, limit = 0, DEFAULT_ROWS
        if self._skip_word("limit"):
            limit = self._parse_number()
            if self._skip_comma():
                offset, limit = limit, self._parse_number()
        if self._skip_word("offset"):
            offset = self._parse_number()
        if limit > MAX_ROWS:
            raise limit_exceeded("limit", MAX_ROWS)
        if limit < 1:
            raise self._error()
        if offset + limit > MAX_OFFSET_ROWS:
            raise limit_exceeded("offset", MAX_OFFSET_ROWS)
        return offset, limit

    def _parse_number(self) -> int:
        token = self._next()
        is_number = token.kind is TokenKind.NUMBER and token.text.isdecimal()
        if not is_number or len(token.text) > _MAX_NUMBER_DIGITS:
            raise self._error(token)
        return int(token.text)


def _check_distinct(columns: list[str], clause: str) -> None:
    if len(set(columns)) < len(columns):
        raise QueryError(Problem(Code.DUPLICATE_DATA, {"clause": clause}))
