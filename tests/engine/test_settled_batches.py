"""Messages settled a batch at a time give the same requests, ledger and results as one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulklink.engine.dispatch import send_all
from bulklink.engine.message_state import MessageState
from bulklink.engine.worker_pool import ItemsInMemory
from bulklink.models import Message, Op
from bulklink.zoho.http import Answer, NoResponse
from bulklink.zoho.plain_success import PlainSuccessParser
from tests.engine import fakes
from tests.engine.fakes import (
    LOST,
    OTHER_DEAL,
    OTHER_OWNER,
    ScriptedCrm,
    email,
    engine_run,
    refusal,
)
from tests.virtual import run_virtual
from tests.zoho.fakes import answer

ODD_IDS = ("Ab12" * 125, "x-y_z", "é", "1")
"""Message ids besides those of 64 hex digits; the first is as long as any."""


def entry(message_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "code": "SUCCESS",
        "details": {"message_id": message_id},
        "message": "Email linked successfully",
        "status": "success",
    } | changes


def entries(ids: Sequence[str]) -> list[dict[str, Any]]:
    return [entry(message_id) for message_id in ids]


def changed_entry(**changes: Any) -> Callable[[Sequence[str]], Answer]:
    """Return a function that answers with success, and changes in the last entry."""
    return lambda ids: answer({"Emails": [*entries(ids[:-1]), entry(ids[-1], **changes)]})


def raw(old: bytes, new: bytes) -> Callable[[Sequence[str]], Answer]:
    """Return a function that answers with success, with other bytes in the body."""
    return lambda ids: Answer(200, answer({"Emails": entries(ids)}).body.replace(old, new))


ANSWERS: dict[str, Callable[[Sequence[str]], Answer | NoResponse]] = {
    "plain": lambda ids: answer({"Emails": entries(ids)}),
    "compact": lambda ids: Answer(
        200, json.dumps({"Emails": entries(ids)}, separators=(",", ":")).encode()
    ),
    "201": lambda ids: answer({"Emails": entries(ids)}, 201),
    "202": lambda ids: answer({"Emails": entries(ids)}, 202),
    "400": lambda ids: answer({"Emails": entries(ids)}, 400),
    "207": lambda ids: answer({"Emails": entries(ids)}, 207),
    "reversed": lambda ids: answer({"Emails": entries(ids)[::-1]}),
    "one-missing": lambda ids: answer({"Emails": entries(ids)[1:]}),
    "one-twice": lambda ids: answer({"Emails": [*entries(ids), entry(ids[0])]}),
    "one-for-another": lambda ids: answer({"Emails": [*entries(ids[1:]), entry(ids[-1])]}),
    "one-of-another-call": lambda ids: answer({"Emails": [*entries(ids), entry("f" * 64)]}),
    "none": lambda ids: answer({"Emails": []}),
    "unnamed": changed_entry(details={}),
    "no-details": changed_entry(details=None),
    "by-path": changed_entry(details={"json_path": "$.Emails[0].message_id"}),
    "refused": changed_entry(code="NOT_ALLOWED", status="error"),
    "invalid": changed_entry(code="INVALID_DATA", status="error"),
    "linked-already": changed_entry(code="ALREADY_LINKED", status="error"),
    "contradiction": changed_entry(status="error"),
    "no-status": changed_entry(status=None),
    "other-case": changed_entry(code="Success"),
    "more-keys": changed_entry(duplicate=False),
    "more-details": lambda ids: answer(
        {"Emails": [entry(i, details={"message_id": i, "id": "1"}) for i in ids]}
    ),
    "two-texts": changed_entry(message="linked"),
    "same-text": lambda ids: answer({"Emails": [entry(i, message="é\n\u2028€" * 99) for i in ids]}),
    "secret-text": lambda ids: answer({"Emails": [entry(i, message="a token b") for i in ids]}),
    "no-text": lambda ids: answer({"Emails": [entry(i, message="") for i in ids]}),
    "text-is-a-number": changed_entry(message=7),
    "echo": lambda ids: answer({"Emails": [{"message_id": i, "linked_record": {}} for i in ids]}),
    "nested": lambda ids: answer({"Emails": [[e] for e in entries(ids)]}),
    "list": lambda ids: answer(entries(ids)),
    "data": lambda ids: answer({"data": entries(ids)}),
    "more-data": lambda ids: answer({"Emails": entries(ids), "info": {}}),
    "flat": lambda ids: answer(entry(ids[0])),
    "flat-error": lambda ids: refusal("INVALID_DATA", 200),
    "busy": lambda ids: refusal("TOO_MANY_REQUESTS", 200),
    "code-and-entries": lambda ids: answer(
        {"code": "INTERNAL_ERROR", "status": "error", "Emails": entries(ids)}
    ),
    "key-twice": raw(b'"status": "success"', b'"status": "error", "status": "success"'),
    "key-twice-error": raw(b'"status": "success"', b'"status": "success", "status": "error"'),
    "emails-twice": raw(b'{"Emails"', b'{"Emails": [], "Emails"'),
    "surrogate": raw(b"linked", b"\\ud800"),
    "not-utf-8": raw(b"linked", b"\xff"),
    "nul": raw(b"linked", b"\\u0000"),
    "nan": raw(b'{"Emails"', b'{"n": NaN, "Emails"'),
    "byte-order-mark": raw(b'{"Emails"', b'\xef\xbb\xbf{"Emails"'),
    "cut-off": raw(b"]}", b"]"),
    "twice": raw(b"]}", b"]}{}"),
    "spaces": raw(b"{", b" \n{\t"),
    "page": lambda ids: Answer(200, b"<html>ok</html>"),
    "empty": lambda ids: Answer(200, b""),
    "204": lambda ids: Answer(204, b""),
    "500": lambda ids: Answer(500, b""),
    "503": lambda ids: refusal("INTERNAL_ERROR", 503),
    "429": lambda ids: refusal("TOO_MANY_REQUESTS", 429),
    "lost": lambda ids: LOST,
    "timed-out": lambda ids: NoResponse("no answer", timed_out=True),
    "not-sent": lambda ids: NoResponse("nothing accepts connections there", sent=False),
    "forbidden": lambda ids: refusal("NO_PERMISSION", 403),
    "refused-call": lambda ids: refusal("INVALID_DATA"),
}


class Script(NamedTuple):
    """What one contact sends, and how each request is answered.

    Args:
        messages: the messages.
        answers: names in `ANSWERS` of the answers to write calls, in order; then all are plain.
        deals: deal on which reads show every email.
        batch_size: maximum messages per call.
        by_contact: whether several owners share a link call.
        read_back: whether doubts are settled by reads.
    """

    messages: tuple[Message, ...]
    answers: tuple[str, ...]
    deals: tuple[str | None, ...] = (None,)
    batch_size: int = 20
    by_contact: bool = False
    read_back: bool = True


class Crm(ScriptedCrm):
    """Answers as a script says."""

    def __init__(self, script: Script) -> None:
        super().__init__(LOST)
        self._script = script
        self._writes = self._reads = 0

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | NoResponse:
        scripted = self._answer(method, url, body)
        await super().send(method, url, headers, body)
        return scripted

    def _answer(self, method: str, url: str, body: bytes | None) -> Answer | NoResponse:
        script = self._script
        if method == "GET":
            deal = script.deals[min(self._reads, len(script.deals) - 1)]
            self._reads += 1
            deal_record = deal and {"id": deal, "name": "", "module": {"api_name": "Deals"}}
            ids = [message.message_id for message in script.messages]
            return answer(
                {"Emails": [{"message_id": i, "linked_record": deal_record} for i in ids]}
            )
        ids = (
            [item["message_id"] for item in json.loads(body)["Emails"]]
            if body
            else [
                name.replace("%C3%A9", "é") for name in url.partition("message_ids=")[2].split(",")
            ]
        )
        name = script.answers[self._writes] if self._writes < len(script.answers) else "plain"
        self._writes += 1
        return ANSWERS[name](ids)


class Outcome(NamedTuple):
    """What a contact leaves behind."""

    requests: list[tuple[str, str, bytes | None]]
    ledger: bytes
    answers: bytes
    results: dict[int, Any]
    stopped_by: str | None


def outcome_of(script: Script, *, settles_batches: bool) -> Outcome:
    """Send the messages of a script, settled a batch at a time where possible, or one by one."""

    async def send() -> Outcome:
        crm = Crm(script)
        async with engine_run(
            crm,
            snapshot=False,
            may_skip_states=settles_batches,
            batch_size=script.batch_size,
            by_contact=script.by_contact,
            read_back=script.read_back,
        ) as run:
            await send_all(ItemsInMemory([list(script.messages)]), run.context, workers=2)
        reason = run.context.stop.reason
        return Outcome(
            [(request.method, request.url, request.body) for request in crm.sent],
            run.files.ledger,
            run.files.answers,
            run.results,
            str(reason.stopped_by) if reason else None,
        )

    return run_virtual(send())


def assert_same(script: Script) -> None:
    assert outcome_of(script, settles_batches=True) == outcome_of(script, settles_batches=False)


def messages(
    count: int, op: Op, owners: Sequence[str] = (fakes.OWNER,), odd: str | None = None
) -> tuple[Message, ...]:
    """Return messages of one op, owner by owner in turn; one may have an odd message id."""
    result = [email(row, op, owners[row % len(owners)]) for row in range(1, count + 1)]
    if odd is not None:
        result[0] = msgspec.structs.replace(result[0], message_id=odd)
    return tuple(result)


@pytest.mark.parametrize("op", [Op.LINK, Op.UNLINK])
@pytest.mark.parametrize("name", ANSWERS)
def test_each_answer_is_settled_like_message_by_message(name: str, op: Op) -> None:
    for count in (1, 3):
        for deal in (None, OTHER_DEAL, fakes.DEAL):
            assert_same(Script(messages(count, op), (name,), (deal,)))


@settings(max_examples=150)
@given(
    script=st.builds(
        Script,
        st.builds(
            messages,
            st.integers(1, 9),
            st.sampled_from([Op.LINK, Op.UNLINK]),
            st.sampled_from([(fakes.OWNER,), (fakes.OWNER, OTHER_OWNER)]),
            st.sampled_from([None, None, *ODD_IDS]),
        ),
        st.lists(st.sampled_from(["plain", "plain", *ANSWERS]), max_size=6).map(tuple),
        st.lists(st.sampled_from([None, fakes.DEAL, OTHER_DEAL]), min_size=1, max_size=3).map(
            tuple
        ),
        st.sampled_from([1, 2, 4, 20]),
        st.booleans(),
        st.booleans(),
    )
)
def test_any_answers_are_settled_like_message_by_message(script: Script) -> None:
    assert_same(script)


parse = PlainSuccessParser.parse


def test_a_batch_of_plain_success_makes_no_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the other tests of this module would compare one path with itself."""

    def no_state(self: object, *arguments: object, **options: object) -> None:
        raise AssertionError("a state was made")

    script = Script(messages(5, Op.LINK), (), batch_size=2)
    expected = outcome_of(script, settles_batches=False)
    monkeypatch.setattr(MessageState, "__init__", no_state)
    assert outcome_of(script, settles_batches=True) == expected


@pytest.mark.parametrize(
    "lie",
    [
        lambda _, ids, received: "Email linked successfully" if received.ok else None,
        lambda _, ids, received: (
            received.body[:9].decode() if b"SUCCESS" in received.body else None
        ),
        lambda parser, ids, received: "" if parse(parser, ids, received) else None,
    ],
    ids=["every-2xx-is-success", "any-success-is-success", "the-text-is-lost"],
)
def test_a_batch_settled_wrongly_is_noticed(
    lie: Callable[[object, Sequence[bytes], Answer], str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcomes(*, settles_batches: bool) -> list[Outcome]:
        scripts = [Script(messages(3, Op.LINK), (name,)) for name in ANSWERS]
        return [outcome_of(script, settles_batches=settles_batches) for script in scripts]

    expected = outcomes(settles_batches=False)
    monkeypatch.setattr(PlainSuccessParser, "parse", lie)
    assert outcomes(settles_batches=True) != expected
