"""Zoho CRM's errors: code, HTTP status, message, and JSON."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bulklink.emulator.http import EMPTY_MAPPING, Answer, json_answer
from bulklink.zoho.error_codes import Code

_STATUS_BY_CODE = {
    Code.OAUTH_SCOPE_MISMATCH: 401,
    Code.AUTHENTICATION_FAILURE: 401,
    Code.INVALID_TOKEN: 401,
    Code.NO_PERMISSION: 403,
    Code.INVALID_URL_PATTERN: 404,
    Code.TOO_MANY_REQUESTS: 429,
    Code.INTERNAL_ERROR: 500,
    Code.INTERNAL_SERVER_ERROR: 500,
}

_MESSAGE_BY_CODE = {
    Code.INVALID_DATA: "invalid data",
    Code.MANDATORY_NOT_FOUND: "required field not found",
    Code.REQUIRED_PARAM_MISSING: "One of the expected parameter is missing",
    Code.SYNTAX_ERROR: "invalid query formed",
    Code.INVALID_QUERY: "invalid query formed",
    Code.DUPLICATE_DATA: "duplicate data",
    Code.NOT_ALLOWED: "the given record is not associated with the deal",
    Code.ALREADY_LINKED: "Unlink the email first to link it to another deal record",
    Code.LIMIT_EXCEEDED: "the number of emails exceeds the limit of a call",
    Code.CANNOT_PROCESS: "the emails of this mailbox cannot be fetched",
    Code.REQUEST_BODY_IS_EMPTY: "the request body is empty",
    Code.INVALID_MODULE: "the module name given seems to be invalid",
    Code.FEATURE_NOT_SUPPORTED: "this feature is not supported in your edition",
    Code.AMBIGUITY_DURING_PROCESSING: "the module id and the module API name do not match",
    Code.API_NOT_SUPPORTED: "this API is not supported in the given version",
    Code.OAUTH_SCOPE_MISMATCH: "invalid oauth scope to access this URL",
    Code.AUTHENTICATION_FAILURE: "Authentication failed",
    Code.INVALID_TOKEN: "invalid oauth token",
    Code.NO_PERMISSION: "permission denied",
    Code.INVALID_URL_PATTERN: "Please check if the URL trying to access is a correct one",
    Code.INVALID_REQUEST_METHOD: "The http request method type is not a valid one",
    Code.INTERNAL_ERROR: "Internal Server Error",
    Code.INTERNAL_SERVER_ERROR: "Internal Server Error",
}


class Problem(msgspec.Struct, frozen=True):
    """An error in a call or in one of its emails.

    Args:
        code: error code of Zoho.
        details: where the error is, in Zoho's terms (`json_path`, `param_name`, ...).
        message: text for the user; if empty, the usual text of the code.
    """

    code: Code
    details: Mapping[str, object] = EMPTY_MAPPING
    message: str = ""


class ParameterError(Exception):
    """Raised when a query parameter is missing or invalid.

    Args:
        problem: the error that refuses the call.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


def status_of(code: Code) -> int:
    """Return the HTTP status of `code`."""
    return _STATUS_BY_CODE.get(code, 400)


def error_entry(problem: Problem) -> dict[str, object]:
    """Return `problem` as a flat JSON object."""
    return {
        "code": problem.code.value,
        "details": dict(problem.details),
        "message": problem.message or _MESSAGE_BY_CODE.get(problem.code, problem.code.value),
        "status": "error",
    }


def error_answer(problem: Problem) -> Answer:
    """Return the answer that refuses a whole call."""
    return json_answer(error_entry(problem), status_of(problem.code))


def param_problem(code: Code, name: str) -> Problem:
    """Return the problem of a missing or invalid query parameter."""
    return Problem(code, {"param_name": name})


def missing_param_problem(name: str) -> Problem:
    """Return the problem of a query parameter that is mandatory but missing."""
    return param_problem(Code.REQUIRED_PARAM_MISSING, name)


def path_problem(index: int) -> Problem:
    """Return the problem of an unknown id in path segment `index`, counted after the version."""
    return Problem(
        Code.INVALID_DATA,
        {"resource_path_index": index},
        "the related id given seems to be invalid",
    )
