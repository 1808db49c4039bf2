"""Parser of answers to link calls: all documented shapes, and those that Zoho leaves open.

The expectations follow Zoho's pages and one rule: an entry belongs to the email that it names by
`details.message_id`, else by the index in `details.json_path`. Unnamed entries count only if they
are all the same and there are as many as unnamed emails.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulklink.zoho.http import Answer
from bulklink.zoho.link_response import (
    ParsedAnswer,
    parse_answer,
    parse_flat_error,
    parse_refusal,
)
from tests.zoho.fakes import answer
from tests.zoho.oracle import Oracle

SENT = ["a1", "b2", "c3"]
LINKED = "email has been linked with the deal successfully"
UNLINKED = "email has been unlinked from the deal successfully"
OPENAPI = "Email linked to the record successfully"
DEAL = "5843104000004382122"
ECHO: dict[str, Any] = {
    "linked_record": {
        "module": {"api_name": "Deals", "id": "5843104000000003735"},
        "name": "Travel Insurance",
        "id": DEAL,
    },
    "owner": {"name": "Patricia Boyle", "id": "5843104000000424672"},
}
NO_JSON = {
    "nothing": b"",
    "spaces": b"  \n",
    "truncated": b'{"Emails":[{"code":"SUCCESS","details":{"message_id":"a1"},',
    "html": b"<!DOCTYPE html><html><title>Sign in</title></html>",
    "text": b"Bad Gateway",
    "no utf-8": b'{"Emails":[{"code":"SUCCESS","details":{"message_id":"\xff"}}]}',
    "utf-16": '{"Emails":[]}'.encode("utf-16"),
    "two values": b'{"Emails":[]}{"Emails":[]}',
    "deep": b"[" * 100_000,
}


def success(message_id: str | None = None, text: str = LINKED) -> dict[str, Any]:
    """Return a success entry, which names its email if given."""
    details = {} if message_id is None else {"message_id": message_id}
    return {"code": "SUCCESS", "details": details, "message": text, "status": "success"}


def error(code: str = "INVALID_DATA", **details: Any) -> dict[str, Any]:
    """Return an error entry with these details."""
    return {"code": code, "details": details, "message": "invalid data", "status": "error"}


def codes(parsed: ParsedAnswer) -> dict[str, str]:
    """Return the code of each email with a verdict."""
    return {message: verdict.code for message, verdict in parsed.verdicts.items()}


def parse(content: Any, status: int = 200, sent: list[str] = SENT) -> ParsedAnswer:
    return parse_answer(sent, answer(content, status))


def parse_single(content: Any, status: int = 200) -> ParsedAnswer:
    """Parse the answer to the call that links one email, a1."""
    return parse_answer(["a1"], answer(content, status), single=True, echo_deal_id=DEAL)


def has_no_success(parsed: ParsedAnswer) -> bool:
    """Return whether neither an email nor the whole call counts as a success."""
    whole = parsed.call_verdict
    return not any(v.success for v in parsed.verdicts.values()) and not (whole and whole.success)


# The documented shapes


@pytest.mark.parametrize("text", [LINKED, UNLINKED, OPENAPI, "", "error: not linked"], ids=repr)
def test_the_code_decides_the_success_of_an_email_whatever_the_wording(text: str) -> None:
    parsed = parse({"Emails": [success(m, text) for m in SENT]})
    assert codes(parsed) == {"a1": "SUCCESS", "b2": "SUCCESS", "c3": "SUCCESS"}
    assert parsed.call_verdict is None
    assert parsed.all_succeeded(SENT)


def test_a_verdict_has_the_code_text_and_http_status_of_the_answer() -> None:
    verdict = parse({"Emails": [error(message_id="b2")]}, 400).verdicts["b2"]
    assert (verdict.code, verdict.text, verdict.http_status, verdict.success) == (
        "INVALID_DATA",
        "invalid data",
        400,
        False,
    )


def test_an_echo_of_the_request_means_success_of_a_single_link() -> None:
    parsed = parse_single({"Emails": [ECHO]})
    assert codes(parsed) == {"a1": "SUCCESS"}
    assert parsed.all_succeeded(["a1"])


@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
def test_a_success_entry_means_success_of_a_single_link(named: bool) -> None:
    parsed = parse_single({"Emails": [success("a1" if named else None, OPENAPI)]})
    assert parsed.all_succeeded(["a1"])


def test_an_error_names_its_item_by_the_index_in_its_path() -> None:
    content = {
        "Emails": [
            [
                {
                    "status": "error",
                    "code": "MANDATORY_NOT_FOUND",
                    "message": "message_id is mandatory",
                    "details": {"api_name": "message_id", "json_path": "Emails[0].message_id"},
                }
            ],
            [
                {
                    "status": "error",
                    "code": "INVALID_DATA",
                    "message": "invalid data",
                    "details": {
                        "api_name": "linked_record.id",
                        "json_path": "Emails[1].linked_record.id",
                    },
                }
            ],
        ]
    }
    parsed = parse(content, 400)
    assert codes(parsed) == {"a1": "MANDATORY_NOT_FOUND", "b2": "INVALID_DATA"}
    assert parsed.verdicts["a1"].text == "message_id is mandatory (field message_id)"


def test_an_unlink_error_names_its_item_by_the_index_in_its_path() -> None:
    content = {"Emails": [[error(json_path="message_ids[0]")], [error(json_path="message_ids[2]")]]}
    assert codes(parse(content, 400)) == {"a1": "INVALID_DATA", "c3": "INVALID_DATA"}


@pytest.mark.parametrize("code", ["INVALID_DATA", "NOT_ALLOWED", "INVALID_MODULE", "UNKNOWN_CODE"])
def test_a_flat_error_applies_to_the_whole_call(code: str) -> None:
    parsed = parse(error(code), 400)
    assert parsed.verdicts == {}
    assert parsed.call_verdict is not None
    assert (parsed.call_verdict.code, parsed.call_verdict.http_status) == (code, 400)
    assert not parsed.call_verdict.refuses_address


@pytest.mark.parametrize(
    ("details", "refuses_address"),
    [
        ({"resource_path_index": 1}, True),
        ({"resource_path_index": "1"}, False),
        ({"param_name": "message_ids"}, False),
        ({"api_name": "owner"}, False),
    ],
)
def test_a_flat_error_says_whether_a_record_in_the_address_is_wrong(
    details: dict[str, Any], refuses_address: bool
) -> None:
    parsed = parse(error(**details), 400)
    assert parsed.call_verdict is not None
    assert parsed.call_verdict.refuses_address is refuses_address


@pytest.mark.parametrize("path", ["message_ids[1]", "Emails[1].owner.id", "$.Emails[1].owner"])
def test_a_flat_error_that_names_an_item_applies_to_that_item(path: str) -> None:
    parsed = parse(error("INVALID_DATA", json_path=path), 400)
    assert codes(parsed) == {"b2": "INVALID_DATA"}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "OAUTH_SCOPE_MISMATCH"),
        (401, "INVALID_TOKEN"),
        (403, "NO_PERMISSION"),
        (404, "INVALID_URL_PATTERN"),
        (429, "TOO_MANY_REQUESTS"),
        (500, "INTERNAL_ERROR"),
    ],
)
def test_an_error_status_applies_to_the_whole_call(status: int, code: str) -> None:
    parsed = parse(error(code), status)
    assert parsed.verdicts == {}
    assert parsed.call_verdict is not None
    assert (parsed.call_verdict.code, parsed.call_verdict.http_status) == (code, status)
    assert parse_refusal(answer(error(code), status)) == parsed.call_verdict


@pytest.mark.parametrize("status", [301, 302, 401, 403, 404, 429, 500, 502, 503])
def test_entries_under_a_status_of_the_whole_call_are_ignored(status: int) -> None:
    parsed = parse({"Emails": [success(m) for m in SENT]}, status)
    assert parsed.verdicts == {}
    assert has_no_success(parsed)


@pytest.mark.parametrize("status", [302, 401, 403, 404, 429, 500, 503])
@pytest.mark.parametrize("many", [False, True], ids=["object", "array"])
def test_an_error_status_is_never_a_success_whatever_the_code(status: int, many: bool) -> None:
    content = [success()] if many else success()
    assert has_no_success(parse(content, status))
    assert not parse_refusal(answer(content, status)).success


def test_the_older_shape_of_too_many_requests_is_a_refusal() -> None:
    content = {"code": 429, "error": "TOO_MANY_REQUESTS", "error_info": "Many requests fired"}
    parsed = parse(content, 429)
    assert parsed.verdicts == {}
    assert parsed.call_verdict is not None
    assert parsed.call_verdict.http_status == 429
    assert has_no_success(parsed)


# Mixed answers with successes and errors, in any status, shape and order

MIXED = {
    "objects": [success("a1"), error("ALREADY_LINKED", message_id="b2"), success("c3")],
    "arrays": [[success("a1")], [error("ALREADY_LINKED", message_id="b2")], [success("c3")]],
    "objects and arrays": [
        success("a1"),
        [error("ALREADY_LINKED", json_path="Emails[1].message_id")],
        success("c3"),
    ],
    "one inner array": [
        [success("a1"), error("ALREADY_LINKED", json_path="Emails[1]"), success("c3")]
    ],
    "empty arrays in between": [
        [],
        success("a1"),
        [],
        [error("ALREADY_LINKED", message_id="b2")],
        [],
        success("c3"),
    ],
    "two errors of one item": [
        success("a1"),
        success("c3"),
        [error("ALREADY_LINKED", message_id="b2"), error("ALREADY_LINKED", json_path="Emails[1]")],
    ],
    "both names agree": [
        success("a1"),
        error("ALREADY_LINKED", message_id="b2", json_path="Emails[1].message_id"),
        success("c3"),
    ],
    "a repeated entry": [
        success("a1"),
        success("a1"),
        error("ALREADY_LINKED", message_id="b2"),
        success("c3"),
    ],
    "entries of unsent emails": [
        success("zz9"),
        success("a1"),
        error("ALREADY_LINKED", message_id="b2"),
        success("c3"),
        error("INVALID_DATA", message_id="never"),
    ],
}


@pytest.mark.parametrize("status", [200, 202, 207, 400])
@pytest.mark.parametrize("entries", MIXED.values(), ids=MIXED)
def test_every_named_email_has_its_verdict(entries: list[Any], status: int) -> None:
    expected = {"a1": "SUCCESS", "b2": "ALREADY_LINKED", "c3": "SUCCESS"}
    for shuffled in (entries, entries[::-1], entries[1:] + entries[:1]):
        parsed = parse({"Emails": shuffled}, status)
        assert codes(parsed) == expected
        assert parsed.call_verdict is None
        assert not parsed.all_succeeded(SENT)


def test_an_unnamed_email_has_no_verdict() -> None:
    parsed = parse({"Emails": [success("a1"), error(message_id="b2")]}, 207)
    assert codes(parsed)["a1"] == "SUCCESS"
    assert "c3" not in parsed.verdicts
    assert parsed.call_verdict is None
    assert not parsed.all_succeeded(SENT)


def test_a_success_for_one_email_does_not_apply_to_others() -> None:
    assert codes(parse({"Emails": [success("b2")]})) == {"b2": "SUCCESS"}


@pytest.mark.parametrize("shape", ["objects", "arrays"])
def test_equal_unnamed_errors_apply_to_as_many_unnamed_emails(shape: str) -> None:
    same = [error("NOT_ALLOWED") if shape == "objects" else [error("NOT_ALLOWED")]] * 2
    parsed = parse({"Emails": [*same, success("b2")]}, 207)
    assert codes(parsed) == {"a1": "NOT_ALLOWED", "b2": "SUCCESS", "c3": "NOT_ALLOWED"}


def test_differing_texts_of_unnamed_errors_are_dropped() -> None:
    texts = ["deal 71 is not valid", "deal 72 is not valid", "deal 73 is not valid"]
    parsed = parse({"Emails": [[{**error(), "message": text}] for text in texts]}, 400)
    assert not {verdict.text for verdict in parsed.verdicts.values()} & set(texts)


@pytest.mark.parametrize("sent", [["a1"], SENT], ids=["batch of one", "batch of three"])
@pytest.mark.parametrize("nested", [False, True], ids=["objects", "arrays"])
@pytest.mark.parametrize("status", [200, 207, 400])
def test_an_unnamed_success_does_not_count_in_a_batch(
    status: int, nested: bool, sent: list[str]
) -> None:
    entry: Any = [success()] if nested else success()
    for content in ({"Emails": [entry] * len(sent)}, [entry] * len(sent), success()):
        parsed = parse(content, status, sent)
        assert parsed.verdicts == {}
        assert parsed.call_verdict is None


def test_an_unnamed_success_does_not_affect_the_verdicts_of_named_emails() -> None:
    assert codes(parse({"Emails": [success("a1"), success(), error(message_id="c3")]}, 207)) == {
        "a1": "SUCCESS",
        "c3": "INVALID_DATA",
    }


ALL_SUCCESS: dict[str, Any] = {
    "a batch": {"Emails": [success(m) for m in SENT]},
    "inner arrays": {"Emails": [[success(m)] for m in SENT]},
    "one of them": {"Emails": [success("b2")]},
    "by their paths": {
        "Emails": [{**success(), "details": {"json_path": f"Emails[{n}]"}} for n in range(3)]
    },
    "with empty arrays": {"Emails": [success("a1"), [], []]},
    "an object": success("a1"),
    "with a contradictory entry": {
        "Emails": [success("a1"), {"code": "SUCCESS", "status": "error"}]
    },
}


@pytest.mark.parametrize("content", ALL_SUCCESS.values(), ids=ALL_SUCCESS)
def test_a_400_with_only_successes_has_no_verdicts(content: Any) -> None:
    parsed = parse(content, 400)
    assert parsed.verdicts == {}
    assert parsed.call_verdict is None


def test_a_400_with_the_success_of_a_single_call_has_no_verdict() -> None:
    assert parse_single({"Emails": [success("a1")]}, 400).verdicts == {}
    assert parse_single(success(), 400).verdicts == {}


@pytest.mark.parametrize("status", [200, 207, 400])
def test_a_success_next_to_an_error_counts_under_every_status_of_a_mixed_answer(
    status: int,
) -> None:
    assert codes(parse({"Emails": [success("a1"), [error(message_id="b2")]]}, status)) == {
        "a1": "SUCCESS",
        "b2": "INVALID_DATA",
    }


FLAT_ERRORS = ["INVALID_TOKEN", "TOO_MANY_REQUESTS", "INTERNAL_ERROR", "NOT_ALLOWED"]


@pytest.mark.parametrize("code", FLAT_ERRORS)
@pytest.mark.parametrize("status", [200, 202, 400, 500])
def test_a_flat_error_is_found_whatever_the_status(status: int, code: str) -> None:
    flat_error = parse_flat_error(answer(error(code), status))
    assert flat_error is not None
    assert (flat_error.code, flat_error.http_status) == (code, status)


NO_FLAT_ERRORS: list[Any] = [success(), {**error(), "status": "success"}, [error()], {}, None]
NO_FLAT_ERRORS += [{"Emails": [error()]}, {"code": "SUCCESS", "status": "error"}, {"status": "x"}]


@pytest.mark.parametrize("content", NO_FLAT_ERRORS, ids=repr)
def test_content_other_than_a_flat_error_is_none(content: Any) -> None:
    assert parse_flat_error(answer(content)) is None


AMBIGUOUS = {
    "fewer than the emails": [success(), success()],
    "as many as the emails": [success()] * 3,
    "more than the emails": [success()] * 4,
    "not all the same": [success(), error(), success()],
    "different errors": [error("NOT_ALLOWED"), error("INVALID_DATA"), error("NOT_ALLOWED")],
    "empty inner arrays": [[], [], [error()]],
    "an index beyond the call": [error(json_path="Emails[3].owner")] * 3,
    "a negative index": [error(json_path="Emails[-1]")],
    "a huge index": [error(json_path="Emails[99999999999999999999]")],
    "emails never sent": [success("x7"), success("y8"), success("z9")],
    "another case": [success("A1"), success("B2"), success("C3")],
    "one inner array with several errors": [[error(), error(), error()]],
}


@pytest.mark.parametrize("status", [200, 207, 400])
@pytest.mark.parametrize("entries", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_an_ambiguous_entry_gives_no_verdict(entries: list[Any], status: int) -> None:
    parsed = parse({"Emails": entries}, status)
    assert parsed.verdicts == {}
    assert has_no_success(parsed)


def test_entries_for_unsent_emails_do_not_apply_to_unnamed_ones() -> None:
    parsed = parse({"Emails": [success("a1"), success("x7"), success("y8")]})
    assert codes(parsed) == {"a1": "SUCCESS"}


def test_an_error_for_an_unsent_email_does_not_apply_to_the_call() -> None:
    parsed = parse({"Emails": [error("INVALID_DATA", message_id="x7"), success("a1")]}, 207)
    assert codes(parsed) == {"a1": "SUCCESS"}
    assert parsed.call_verdict is None


def test_an_unnamed_error_that_fits_several_emails_is_ignored() -> None:
    parsed = parse({"Emails": [success("a1"), error("INVALID_DATA")]}, 207)
    assert codes(parsed) == {"a1": "SUCCESS"}


CONTRADICTIONS = {
    "success and error for one email": [success("a1"), error(message_id="a1")],
    "error and success by index": [error(json_path="Emails[0].owner"), success("a1")],
    "success under an error status": [{**success("a1"), "status": "error"}],
    "an error code under success": [{**error(message_id="a1"), "status": "success"}],
    "two names": [{**success("a1"), "details": {"message_id": "a1", "json_path": "Emails[1]"}}],
    "two names, two entries": [
        {**success(), "details": {"message_id": "a1", "json_path": "Emails[1]"}},
        {**success(), "details": {"message_id": "b2", "json_path": "Emails[0]"}},
    ],
    "two names, one of an email never sent": [
        {**success(), "details": {"message_id": "x7", "json_path": "Emails[0]"}}
    ],
}


@pytest.mark.parametrize("status", [200, 207, 400])
@pytest.mark.parametrize("entries", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_contradiction_is_not_a_success(entries: list[Any], status: int) -> None:
    for order in itertools.permutations(entries):
        assert has_no_success(parse({"Emails": list(order)}, status))
        assert has_no_success(parse({"Emails": [list(order)]}, status))


def test_a_contradiction_about_one_email_does_not_affect_the_others() -> None:
    entries = [success("a1"), error(message_id="a1"), success("b2"), error(message_id="c3")]
    parsed = parse({"Emails": entries}, 207)
    assert {m: c for m, c in codes(parsed).items() if m != "a1"} == {
        "b2": "SUCCESS",
        "c3": "INVALID_DATA",
    }


WRONG_DETAILS = {
    "null": None,
    "text": "a1",
    "a list": ["a1"],
    "message_id null": {"message_id": None},
    "message_id a list": {"message_id": ["a1"]},
    "message_id an object": {"message_id": {"id": "a1"}},
    "message_id true": {"message_id": True},
    "json_path a number": {"json_path": 0},
    "json_path null": {"json_path": None},
    "json_path a list": {"json_path": ["Emails[0].owner", "Emails[2].owner"]},
    "json_path without index": {"json_path": "Emails"},
    "json_path of another array": {"json_path": "Others[0].message_id"},
}


@pytest.mark.parametrize("details", WRONG_DETAILS.values(), ids=WRONG_DETAILS)
def test_details_of_a_wrong_type_name_no_email(details: Any) -> None:
    parsed = parse({"Emails": [{**error(), "details": details}, success("b2")]}, 207)
    assert codes(parsed) == {"b2": "SUCCESS"}
    assert codes(
        parse({"Emails": [{**success(), "details": details}, error(message_id="b2")]})
    ) == {"b2": "INVALID_DATA"}


@pytest.mark.parametrize("code", [None, 0, 200, True, [], {}, "", "success", "Success"], ids=repr)
@pytest.mark.parametrize("status", ["success", None, 200], ids=repr)
def test_only_the_code_success_is_success(code: Any, status: Any) -> None:
    entries = [{**success(m), "code": code, "status": status} for m in SENT]
    assert has_no_success(parse({"Emails": entries}))


NO_ENTRIES: list[Any] = [None, True, 0, 1.5, "SUCCESS", [], {}, ["SUCCESS"], [[]], [None]]
NO_ENTRIES += [{"Emails": None}, {"Emails": 3}, {"Emails": "SUCCESS"}, {"Emails": {}}]
NO_ENTRIES += [{"Emails": []}, {"Emails": [None]}, {"Emails": ["a1"]}, {"Emails": [[[]]]}]


@pytest.mark.parametrize("code", [None, 429], ids=repr)
def test_the_error_field_cannot_report_success(code: Any) -> None:
    entries = [{"code": code, "error": "SUCCESS", "details": {"message_id": m}} for m in SENT]
    assert has_no_success(parse({"Emails": entries}))


@pytest.mark.parametrize("status", [200, 207, 400])
@pytest.mark.parametrize(
    "content",
    NO_ENTRIES,
    ids=repr,
)
def test_an_answer_without_entries_has_no_verdicts(content: Any, status: int) -> None:
    parsed = parse(content, status)
    assert parsed.verdicts == {}
    assert has_no_success(parsed)
    assert not parsed.all_succeeded(SENT)


@pytest.mark.parametrize("status", [200, 204, 207, 302, 400, 403, 404, 429, 500, 503])
@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
def test_a_body_other_than_json_has_no_verdicts(body: bytes, status: int) -> None:
    parsed = parse_answer(SENT, Answer(status, body))
    assert parsed.verdicts == {}
    assert has_no_success(parsed)


@pytest.mark.parametrize("depth", [10, 500, 1000, 1023])
@pytest.mark.parametrize(("left", "right"), [(b"[", b"]"), (b'{"Emails":', b"}")], ids=["[", "{"])
def test_deeply_nested_json_does_not_raise(left: bytes, right: bytes, depth: int) -> None:
    deep = left * depth + b"1" + right * depth
    for body in (deep, b'{"Emails":' + deep + b"}"):
        for status in (200, 400, 500):
            assert has_no_success(parse_answer(SENT, Answer(status, body)))


ECHOES_OF_SOMETHING_ELSE = {
    "another deal": [{**ECHO, "linked_record": {**ECHO["linked_record"], "id": "9"}}],
    "no deal": [{**ECHO, "linked_record": None}],
    "deal without id": [{**ECHO, "linked_record": {"name": "Travel Insurance"}}],
    "only an owner": [{"owner": ECHO["owner"]}],
    "an error with the request": [{**ECHO, **error("INVALID_DATA")}],
    "an error status": [{**ECHO, "status": "error"}],
    "an echo and an error": [ECHO, error("INVALID_DATA")],
    "two echoes": [ECHO, ECHO],
    "an echo with a code that is none": [{**ECHO, "code": None}],
    "an echo of another message": [{**ECHO, "details": {"message_id": "zz9"}}],
}


@pytest.mark.parametrize("entries", ECHOES_OF_SOMETHING_ELSE.values(), ids=ECHOES_OF_SOMETHING_ELSE)
def test_only_an_echo_of_the_request_is_success(entries: list[Any]) -> None:
    assert has_no_success(parse_single({"Emails": entries}))


def test_an_echo_under_an_error_status_is_not_a_success() -> None:
    for status in (400, 403, 500):
        assert has_no_success(parse_single({"Emails": [ECHO]}, status))


def test_an_echo_counts_only_for_a_single_link() -> None:
    assert has_no_success(parse_answer(["a1"], answer({"Emails": [ECHO]})))


def test_an_index_of_two_digits_names_its_item() -> None:
    sent = [f"m{n}" for n in range(20)]
    parsed = parse({"Emails": [[error(json_path="Emails[10].owner.id")]]}, 400, sent)
    assert codes(parsed) == {"m10": "INVALID_DATA"}


def test_an_id_of_digits_is_matched_exactly_even_as_a_number() -> None:
    sent = ["12", "012", "120"]
    parsed = parse({"Emails": [success("012"), error(message_id=12)]}, 207, sent)
    assert codes(parsed).get("012") == "SUCCESS"
    assert codes(parsed).get("12") in (None, "INVALID_DATA")
    assert "120" not in parsed.verdicts


def test_the_texts_of_verdicts_are_truncated() -> None:
    huge = {"code": "X" * 100_000, "message": "y" * 100_000, "status": "error", "details": {}}
    for parsed in (parse(huge, 500), parse({"Emails": [huge] * 3}, 400)):
        for verdict in [
            *parsed.verdicts.values(),
            *([parsed.call_verdict] if parsed.call_verdict else []),
        ]:
            assert len(verdict.text) <= 1000
            assert len(verdict.code) <= 1000


# Property tests: any order, mutations, arbitrary bytes

IDS = st.lists(
    st.text("0123456789abcdefXYZ", min_size=1, max_size=8), min_size=1, max_size=20, unique=True
)
ERRORS = st.sampled_from(["INVALID_DATA", "MANDATORY_NOT_FOUND", "NOT_ALLOWED", "ALREADY_LINKED"])


@st.composite
def named_answers(draw: st.DrawFn) -> tuple[list[str], dict[str, str], list[Any]]:
    """Draw emails, the codes of the named ones, and their entries in any order and shape."""
    sent = draw(IDS)
    expected_codes: dict[str, str] = {}
    entries: list[Any] = []
    for index, message in enumerate(sent):
        if not draw(st.integers(0, 4)):
            continue
        expected_codes[message] = draw(st.just("SUCCESS") | ERRORS)
        head = draw(st.sampled_from(["Emails", "message_ids"]))
        path = {"json_path": f"{head}[{index}]" + draw(st.sampled_from(["", ".owner.id"]))}
        names = draw(
            st.sampled_from([{"message_id": message}, path, {"message_id": message} | path])
        )
        status = "success" if expected_codes[message] == "SUCCESS" else "error"
        entry = {
            "code": expected_codes[message],
            "details": names,
            "message": "m",
            "status": status,
        }
        entries += [draw(st.sampled_from([entry, [entry], [entry, entry]]))]
    return sent, expected_codes, draw(st.permutations(entries))


@given(named_answers(), st.sampled_from([200, 201, 202, 207, 400]))
def test_named_entries_are_parsed_in_any_order_and_shape(
    case: tuple[list[str], dict[str, str], list[Any]], status: int
) -> None:
    sent, expected, entries = case
    if status == 400 and set(expected.values()) == {"SUCCESS"}:
        expected = {}
    parsed = parse({"Emails": entries}, status, sent)
    assert codes(parsed) == expected
    assert all(verdict.http_status == status for verdict in parsed.verdicts.values())
    assert parsed.all_succeeded(sent) == (expected == dict.fromkeys(sent, "SUCCESS"))


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 25)
    | st.floats(allow_nan=False, allow_infinity=False)
)
WORDS = st.sampled_from(
    [
        *SENT,
        "zz9",
        *("SUCCESS", "INVALID_DATA", "success", "error", DEAL),
        *("Emails[0]", "Emails[1].owner.id", "message_ids[2]", "Emails[7]", "$.Emails[0]"),
    ]
)
KEYS = st.sampled_from(
    [
        *("Emails", "code", "status", "message", "details", "message_id", "json_path"),
        *("linked_record", "id", "owner", "error"),
    ]
)
ANY_JSON = st.recursive(
    SCALARS | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=15,
)
DOCUMENTED: list[Any] = [
    {"Emails": [success("a1"), success("b2"), success("c3")]},
    {"Emails": [ECHO]},
    {"Emails": [success("a1")]},
    {"Emails": [[error(json_path="Emails[0].owner.id")], [error(json_path="Emails[1].owner.id")]]},
    {"Emails": [[error(json_path="message_ids[0]")], [error(json_path="message_ids[2]")]]},
    {"Emails": [success("c3"), [error(message_id="a1")], error(json_path="Emails[1]")]},
    {"Emails": [success(), success(), success()]},
    error("INVALID_DATA"),
]


def mutated(draw: st.DrawFn, value: Any) -> Any:
    """Return the value with some entries dropped, duplicated, moved or replaced."""
    if draw(st.integers(0, 11)) == 0:
        return draw(ANY_JSON)
    if isinstance(value, dict):
        remaining = {
            key: mutated(draw, inner) for key, inner in value.items() if draw(st.integers(0, 9))
        }
        return remaining | draw(st.just({}) | st.dictionaries(KEYS, ANY_JSON, max_size=1))
    if isinstance(value, list):
        copies = st.sampled_from([0, 1, 1, 1, 1, 1, 1, 1, 1, 2])
        inner = [mutated(draw, v) for v in value for _ in range(draw(copies))]
        return draw(st.permutations(inner))
    return value


@st.composite
def mutations(draw: st.DrawFn) -> Any:
    """Draw a documented answer with arbitrary mutations."""
    return mutated(draw, draw(st.sampled_from(DOCUMENTED)))


def one_of(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


PLAUSIBLE_ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "code": one_of("SUCCESS", "SUCCESS", "INVALID_DATA", "NOT_ALLOWED", None),
        "status": one_of("success", "success", "error", None),
        "error": one_of("SUCCESS", "INVALID_DATA"),
        "details": st.fixed_dictionaries(
            {},
            optional={
                "message_id": one_of(*SENT, "zz9", None),
                "json_path": one_of(
                    "Emails[0]", "$.Emails[1].owner", "message_ids[2]", "Emails[9]"
                ),
            },
        ),
        "linked_record": one_of(ECHO["linked_record"], {"id": "9"}, None),
    },
)
PLAUSIBLE = st.fixed_dictionaries(
    {"Emails": st.lists(PLAUSIBLE_ENTRIES | st.lists(PLAUSIBLE_ENTRIES, max_size=3), max_size=4)}
)
STATUS = st.sampled_from([200, 200, 202, 207, 400, 400, 401, 403, 404, 429, 500])


@settings(max_examples=400)
@given(
    PLAUSIBLE | mutations() | ANY_JSON,
    STATUS,
    st.permutations(SENT).map(list) | st.just(["a1"]),
    st.sampled_from(["many", "single unlink", "single link"]),
)
def test_every_verdict_is_one_that_the_oracle_allows(
    content: Any, status: int, sent: list[str], endpoint: str
) -> None:
    single = len(sent) == 1 and endpoint != "many"
    echo = DEAL if single and endpoint == "single link" else None
    parsed = parse_answer(sent, answer(content, status), single=single, echo_deal_id=echo)
    oracle = Oracle(sent, content, status, echo, single=single)
    assert set(parsed.verdicts) <= set(sent)
    assert parsed.call_verdict is None or not parsed.call_verdict.success
    for message, verdict in parsed.verdicts.items():
        if verdict.success:
            assert oracle.may_be_success(message)
        else:
            assert oracle.may_have_failed(message)
    assert parsed.all_succeeded(sent) == (
        set(parsed.verdicts) == set(sent) and all(v.success for v in parsed.verdicts.values())
    )


@given(st.binary() | st.text().map(str.encode), st.integers(100, 599), IDS)
def test_arbitrary_bytes_neither_raise_nor_count_as_success(
    body: bytes, status: int, sent: list[str]
) -> None:
    assert has_no_success(parse_answer(sent, Answer(status, body), echo_deal_id=sent[0]))


@given(mutations(), st.integers(0, 400), st.sampled_from([200, 207, 400]))
def test_a_truncated_answer_is_not_a_success(content: Any, length: int, status: int) -> None:
    body = json.dumps({"Emails": content}).encode()
    truncated = body[: min(length, len(body) - 1)]
    assert has_no_success(parse_answer(SENT, Answer(status, truncated)))


@pytest.mark.parametrize(
    ("details", "text"),
    [
        ({"json_path": "Emails[1].linked_record.id"}, "invalid data (field linked_record.id)"),
        ({"json_path": "message_ids[2]"}, "invalid data (field message_ids)"),
        ({"api_name": "owner.name"}, "invalid data (field owner.name)"),
        (
            {"api_name": "id", "expected_data_type": "bigint"},
            "invalid data (field id; expected bigint)",
        ),
        (
            {"permissions": ["Crm_Implied_View_Potentials", 7]},
            "invalid data (permissions Crm_Implied_View_Potentials)",
        ),
        ({"permissions": "Crm_View"}, "invalid data (permissions Crm_View)"),
        ({"param_name": "type"}, "invalid data (parameter type)"),
        ({"api_name": 5, "permissions": {}}, "invalid data"),
    ],
)
def test_the_text_of_an_error_includes_its_details(details: dict[str, Any], text: str) -> None:
    assert parse_refusal(answer(error(**details), 400)).text == text
