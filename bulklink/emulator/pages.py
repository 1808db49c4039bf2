"""Pages of lists, and the query parameters that lists share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from bulklink.emulator.context import ApiRequest, HandlerResult
from bulklink.emulator.errors import ParameterError, Problem, missing_param_problem, param_problem
from bulklink.emulator.http import EMPTY_MAPPING, NO_CONTENT, json_answer
from bulklink.zoho.error_codes import Code

MAX_PER_PAGE = 200
MAX_IDS_CHARACTERS = 1_024
_T = TypeVar("_T")


def parse_fields(api_request: ApiRequest) -> list[str]:
    """Return the names in `fields`.

    Raises:
        ParameterError: if it is missing.
    """
    text = api_request.query.get("fields")
    if not text:
        raise ParameterError(missing_param_problem("fields"))
    return [name.strip() for name in text.split(",")]


def parse_ids(api_request: ApiRequest) -> list[str] | None:
    """Return the ids in `ids`; None if it is missing.

    Raises:
        ParameterError: if it is too long.
    """
    ids = api_request.query.get("ids")
    if ids is not None and len(ids) > MAX_IDS_CHARACTERS:
        details = {"param_name": "ids", "maximum_length": MAX_IDS_CHARACTERS}
        raise ParameterError(Problem(Code.INVALID_DATA, details))
    return None if ids is None else ids.split(",")


def parse_order(api_request: ApiRequest) -> bool:
    """Return whether `sort_order` is descending, as it is by default.

    Raises:
        ParameterError: if it is invalid.
    """
    order = api_request.query.get("sort_order", "desc")
    if order not in {"asc", "desc"}:
        raise ParameterError(param_problem(Code.INVALID_DATA, "sort_order"))
    return order == "desc"


def page_result(
    key: str,
    items: Sequence[_T],
    api_request: ApiRequest,
    to_entry: Callable[[_T], dict[str, object]],
    max_per_page: int = MAX_PER_PAGE,
    more_info: Mapping[str, object] = EMPTY_MAPPING,
) -> HandlerResult:
    """Return the requested page of `items`, or an answer without content if it is empty.

    Raises:
        ParameterError: if `page` or `per_page` is invalid.
    """
    page = parse_positive_int(api_request, "page", 1, None)
    per_page = parse_positive_int(api_request, "per_page", max_per_page, max_per_page)
    start = (page - 1) * per_page
    page_items = items[start : start + per_page]
    if not page_items:
        return HandlerResult(NO_CONTENT)
    info = {
        "per_page": per_page,
        "count": len(page_items),
        "page": page,
        "more_records": start + per_page < len(items),
        **more_info,
    }
    return HandlerResult(json_answer({key: [to_entry(item) for item in page_items], "info": info}))


def parse_positive_int(
    api_request: ApiRequest, name: str, default: int, maximum: int | None
) -> int:
    """Return a query parameter that is a number from 1 to `maximum`.

    Raises:
        ParameterError: if it is not.
    """
    text = api_request.query.get(name, str(default))
    number = int(text) if text.isdecimal() and len(text) < 10 else 0
    if number < 1 or (maximum is not None and number > maximum):
        raise ParameterError(param_problem(Code.INVALID_DATA, name))
    return number
