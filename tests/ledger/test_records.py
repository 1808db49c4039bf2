"""Formats of ledger lines."""

from __future__ import annotations

import msgspec
import orjson
from hypothesis import given
from hypothesis import strategies as st

from bulklink.ledger.done_batch import DoneBatch, done_lines
from bulklink.ledger.records import Result, result_line
from bulklink.models import Message, Op, Status

TS = "2026-11-28T12:00:00.000Z"
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
optional_texts = st.none() | texts
unset_texts = st.just(msgspec.UNSET) | optional_texts
results = st.builds(
    Result,
    row=st.integers(1, 10**8),
    op=st.none() | st.sampled_from(Op),
    contact_id=optional_texts,
    owner_id=optional_texts,
    message_id=optional_texts,
    deal_id=optional_texts,
    status=st.sampled_from(Status),
    code=optional_texts,
    http_status=st.none() | st.integers(0, 999),
    message=texts,
    attempts=st.integers(0, 20),
    call=st.none() | st.integers(1, 10**9),
    previous_deal_id=unset_texts,
    previous_deal_name=unset_texts,
    current_deal_id=unset_texts,
    duplicate_of=st.just(msgspec.UNSET) | st.integers(1, 10**8),
)


@given(results)
def test_a_result_is_a_line_with_its_fields_in_order(result: Result) -> None:
    line = result_line(TS, result)
    expected = {"event": "result", "ts": TS, **msgspec.to_builtins(result)}
    assert list(orjson.loads(line).items()) == list(expected.items())
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1


def test_a_long_text_is_cut() -> None:
    result = Result(1, Op.LINK, "1", "2", "m", "3", Status.FAILED, message="ä" * 400)
    assert orjson.loads(result_line(TS, result))["message"] == "ä" * 300


@given(
    messages=st.lists(
        st.builds(
            Message,
            row=st.integers(1, 10**8),
            op=st.just(Op.LINK),
            contact_id=st.just("1"),
            owner_id=texts,
            message_id=texts,
            deal_id=optional_texts,
        ),
        min_size=1,
        max_size=4,
    ),
    text=texts,
)
def test_a_batch_has_the_lines_of_its_results(messages: list[Message], text: str) -> None:
    batch = DoneBatch(messages, "SUCCESS", text, 200, 2, 7)
    expected = b"".join(result_line(TS, result) for result in batch.results())
    ids = [orjson.dumps(message.message_id).decode() for message in messages]
    assert done_lines(TS, batch, ids) == expected
