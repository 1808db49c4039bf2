"""Handler of COQL queries, and the credits that they cost."""

from __future__ import annotations

import orjson

from bulklink.emulator.access import module_read_problem
from bulklink.emulator.context import ApiRequest, CallContext, HandlerResult, refuse
from bulklink.emulator.coql_parser import SelectQuery, parse_query
from bulklink.emulator.coql_query import run_query
from bulklink.emulator.coql_tokens import QueryError
from bulklink.emulator.errors import Problem
from bulklink.emulator.http import NO_CONTENT, json_answer
from bulklink.emulator.layouts import LAYOUTS
from bulklink.emulator.settings import QuoteEscape
from bulklink.zoho.error_codes import Code

_CREDITS_BY_LIMIT = ((200, 1), (1_000, 2))
_MOST_CREDITS = 3


def handle_query(context: CallContext, api_request: ApiRequest) -> HandlerResult:
    """Answer with the rows of a query."""
    query = _parse_body(api_request.raw.body, context.settings.coql_quote)
    if query.module == LAYOUTS or not context.records.fields(query.module):
        message = "column given seems to be invalid"
        return refuse(Problem(Code.INVALID_QUERY, {"module": query.module}, message))
    problem = module_read_problem(context, query.module)
    if problem:
        return refuse(problem)
    result = run_query(context.records, query)
    if not result.rows:
        return HandlerResult(NO_CONTENT)
    info = {"count": len(result.rows), "more_records": result.more_records}
    return HandlerResult(json_answer({"data": result.rows, "info": info}))


def query_credits(body: bytes, quotes: QuoteEscape) -> int:
    """Return the credits that a query costs: by its limit, or 1 if it is not valid.

    Args:
        body: body of the call.
        quotes: how a quote within a text is escaped.
    """
    try:
        limit = _parse_body(body, quotes).limit
    except QueryError:
        return 1
    return next((cost for most, cost in _CREDITS_BY_LIMIT if limit <= most), _MOST_CREDITS)


def _parse_body(body: bytes, quotes: QuoteEscape) -> SelectQuery:
    """Return the query in a body.

    Raises:
        QueryError: if the body has none, or it is not valid.
    """
    if not body.strip():
        raise QueryError(Problem(Code.REQUEST_BODY_IS_EMPTY))
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        message = "the body is not valid JSON"
        raise QueryError(Problem(Code.INVALID_DATA, message=message)) from None
    if not isinstance(document, dict):
        raise QueryError(Problem(Code.INVALID_DATA, {"expected_data_type": "jsonobject"}))
    text = document.get("select_query")
    details = {"api_name": "select_query", "json_path": "$.select_query"}
    if text is None:
        raise QueryError(Problem(Code.MANDATORY_NOT_FOUND, details))
    if not isinstance(text, str):
        raise QueryError(Problem(Code.INVALID_DATA, details | {"expected_data_type": "text"}))
    return parse_query(text, quotes)
