"""Classes of Zoho's codes and statuses, and advice on them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.zoho.error_policy import (
    SCOPES,
    AnswerClass,
    advice_for_code,
    classify_error,
    classify_outcome,
)
from tests.zoho.fakes import answer

DOCUMENTED_CODES = {
    "INVALID_DATA": (400, AnswerClass.ITEM),
    "INVALID_MODULE": (400, AnswerClass.FATAL),
    "FEATURE_NOT_SUPPORTED": (400, AnswerClass.FATAL),
    "MANDATORY_NOT_FOUND": (400, AnswerClass.ITEM),
    "NOT_ALLOWED": (400, AnswerClass.ITEM),
    "AMBIGUITY_DURING_PROCESSING": (400, AnswerClass.FATAL),
    "API_NOT_SUPPORTED": (400, AnswerClass.FATAL),
    "ALREADY_LINKED": (400, AnswerClass.ITEM),
    "OAUTH_SCOPE_MISMATCH": (401, AnswerClass.FATAL),
    "AUTHENTICATION_FAILURE": (401, AnswerClass.TOKEN),
    "NO_PERMISSION": (403, AnswerClass.FATAL_IF_COMMON),
    "INVALID_URL_PATTERN": (404, AnswerClass.FATAL_IF_COMMON),
    "INTERNAL_ERROR": (500, AnswerClass.SERVER_ERROR),
}
GENERAL_CODES = {
    "INVALID_TOKEN": (401, AnswerClass.TOKEN),
    "TOO_MANY_REQUESTS": (429, AnswerClass.THROTTLED),
    "INTERNAL_SERVER_ERROR": (500, AnswerClass.SERVER_ERROR),
    "LIMIT_EXCEEDED": (400, AnswerClass.ITEM),
    "REQUEST_BODY_IS_EMPTY": (400, AnswerClass.ITEM),
}
ALL_CODES = DOCUMENTED_CODES | GENERAL_CODES
EXPECTED_ADVICE = {
    "INVALID_DATA": "type",
    "MANDATORY_NOT_FOUND": "the message names it",
    "INVALID_MODULE": "Deals",
    "FEATURE_NOT_SUPPORTED": "Standard",
    "NOT_ALLOWED": "contact is not on that deal",
    "AMBIGUITY_DURING_PROCESSING": "BULKLINK_DEALS_MODULE_ID",
    "API_NOT_SUPPORTED": "version 8",
    "ALREADY_LINKED": "relink",
    "OAUTH_SCOPE_MISMATCH": "ZohoCRM.modules.emails.ALL",
    "AUTHENTICATION_FAILURE": "token",
    "NO_PERMISSION": "Crm_Implied_View_Contacts",
    "INVALID_URL_PATTERN": "data centre",
    "INTERNAL_ERROR": "support",
}


def test_a_documented_code_has_its_class() -> None:
    classes = {code: classify_error(status, code) for code, (status, _) in ALL_CODES.items()}
    assert classes == {code: expected for code, (_, expected) in ALL_CODES.items()}


@pytest.mark.parametrize("status", [200, 207, 400])
def test_an_entry_of_a_mixed_answer_has_the_class_of_its_code(status: int) -> None:
    classes = {code: classify_error(status, code) for code in ALL_CODES}
    assert classes == {code: expected for code, (_, expected) in ALL_CODES.items()}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, AnswerClass.ITEM),
        (401, AnswerClass.TOKEN),
        (403, AnswerClass.FATAL_IF_COMMON),
        (402, AnswerClass.FATAL_IF_COMMON),
        (404, AnswerClass.FATAL_IF_COMMON),
        (406, AnswerClass.FATAL_IF_COMMON),
        (407, AnswerClass.FATAL),
        (409, AnswerClass.ITEM),
        (410, AnswerClass.FATAL_IF_COMMON),
        (413, AnswerClass.ITEM),
        (414, AnswerClass.ITEM),
        (422, AnswerClass.ITEM),
        (451, AnswerClass.FATAL_IF_COMMON),
        (429, AnswerClass.THROTTLED),
        (500, AnswerClass.SERVER_ERROR),
        (502, AnswerClass.SERVER_ERROR),
        (503, AnswerClass.SERVER_ERROR),
        (504, AnswerClass.SERVER_ERROR),
        (301, AnswerClass.FATAL),
        (302, AnswerClass.FATAL),
        (307, AnswerClass.FATAL),
    ],
)
@pytest.mark.parametrize("code", ["", "UNKNOWN_CODE"])
def test_without_a_known_code_the_status_decides(
    status: int, code: str, expected: AnswerClass
) -> None:
    assert classify_error(status, code) is expected


ITEM, TOKEN, FATAL, COMMON, THROTTLED, SERVER = (
    AnswerClass.ITEM,
    AnswerClass.TOKEN,
    AnswerClass.FATAL,
    AnswerClass.FATAL_IF_COMMON,
    AnswerClass.THROTTLED,
    AnswerClass.SERVER_ERROR,
)
STATUSES = (101, 200, 207, 302, 400, 401, 403, 404, 405, 408, 409, 429, 500, 503, 600)
DECISIVE_STATUSES = {101: SERVER, 302: FATAL, 408: SERVER, 429: THROTTLED}
DECISIVE_STATUSES |= {500: SERVER, 503: SERVER, 600: SERVER}
WITHOUT_A_CODE = {401: TOKEN, 403: COMMON, 404: COMMON, 405: FATAL}
STATUS_AND_CODE = {
    (status, code): DECISIVE_STATUSES.get(status, by_code or WITHOUT_A_CODE.get(status, ITEM))
    for status in STATUSES
    for code, by_code in {
        "": None,
        "UNKNOWN_CODE": None,
        "SUCCESS": None,
        "NOT_ALLOWED": None,
        "INVALID_TOKEN": TOKEN,
        "OAUTH_SCOPE_MISMATCH": FATAL,
        "NO_PERMISSION": COMMON,
        "TOO_MANY_REQUESTS": THROTTLED,
        "INTERNAL_ERROR": SERVER,
    }.items()
}


def test_each_pair_of_status_and_code_has_one_class() -> None:
    assert {pair: classify_error(*pair) for pair in STATUS_AND_CODE} == STATUS_AND_CODE


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("INVALID_TOKEN", TOKEN),
        ("AUTHENTICATION_FAILURE", TOKEN),
        ("TOO_MANY_REQUESTS", THROTTLED),
        ("INTERNAL_ERROR", SERVER),
        ("INVALID_DATA", None),
        ("NO_PERMISSION", None),
        ("SUCCESS", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("status", [200, 202])
def test_a_flat_error_with_a_success_status_refuses_the_whole_call(
    status: int, code: str, expected: AnswerClass | None
) -> None:
    content = {"code": code, "status": "error", "message": "no", "details": {}}
    assert classify_outcome(answer(content, status)) is expected
    assert classify_outcome(answer({"Emails": [content]}, status)) is None


@given(st.integers(100, 999), st.text())
def test_every_answer_has_a_class(status: int, code: str) -> None:
    assert classify_error(status, code) in AnswerClass


@given(st.integers(500, 599), st.sampled_from(["INVALID_DATA", "NOT_ALLOWED", "ALREADY_LINKED"]))
def test_a_5xx_is_a_server_error_whatever_its_code(status: int, code: str) -> None:
    assert classify_error(status, code) is AnswerClass.SERVER_ERROR


@pytest.mark.parametrize(("code", "expected_text"), EXPECTED_ADVICE.items(), ids=EXPECTED_ADVICE)
def test_the_advice_for_a_code_contains_the_documented_resolution(
    code: str, expected_text: str
) -> None:
    assert expected_text in advice_for_code(code)


@pytest.mark.parametrize("field", ["owner.name", "linked_record.name", "$.Emails.owner.name"])
@pytest.mark.parametrize(
    ("code", "expected_text"),
    [
        ("INVALID_DATA", "with --no-names"),
        ("EXTRA_KEY_FOUND", "with --no-names"),
        ("MANDATORY_NOT_FOUND", "without --no-names"),
    ],
)
@pytest.mark.parametrize("rest", ["", "; expected string"])
def test_a_refused_or_missing_name_has_advice_on_names(
    code: str, expected_text: str, field: str, rest: str
) -> None:
    assert expected_text in advice_for_code(code, f"no (really) (field {field}{rest})")


@pytest.mark.parametrize(
    "text", ["owner.name", "(field owner.id)", "(field surname)", "(field name)"]
)
def test_an_error_of_another_field_has_no_advice_on_names(text: str) -> None:
    assert "names" not in advice_for_code("INVALID_DATA", text)


@pytest.mark.parametrize("code", ALL_CODES)
def test_every_code_has_advice(code: str) -> None:
    assert advice_for_code(code)


@pytest.mark.parametrize("code", ["", "SUCCESS", "UNKNOWN_CODE", "invalid_data"])
def test_an_unknown_code_has_no_advice(code: str) -> None:
    assert advice_for_code(code) == ""


@pytest.mark.parametrize(
    "scope",
    [
        "ZohoCRM.modules.emails.ALL",
        "ZohoCRM.modules.deals.ALL",
        "ZohoCRM.modules.contacts.ALL",
        "ZohoCRM.settings.modules.READ",
        "ZohoCRM.users.READ",
        "ZohoCRM.org.READ",
    ],
)
def test_the_advice_on_scopes_names_every_required_scope(scope: str) -> None:
    assert scope in SCOPES
    assert scope in advice_for_code("OAUTH_SCOPE_MISMATCH")
