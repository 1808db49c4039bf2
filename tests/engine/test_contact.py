"""Phases of one contact: snapshot, unlink, link, put back, read back."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import orjson
import pytest

from bulklink.engine.contact import ContactSender
from bulklink.errors import StoppedBy
from bulklink.models import Message, Op
from bulklink.zoho.http import Answer, CallKind
from bulklink.zoho.link_response import AnswerVerdict
from tests.engine.fakes import (
    CONTACT,
    DEAL,
    LOST,
    OTHER_DEAL,
    OTHER_OWNER,
    THIRD_DEAL,
    EngineRun,
    ScriptedCrm,
    email,
    engine_run,
    item_refusal,
    page,
    refusal,
    success,
)

READ, UNLINK, LINK = "GET", "DELETE", "POST"
RELINK = email(1, Op.RELINK)
NO_PERMISSION = AnswerVerdict("NO_PERMISSION", "permission denied", 403)


async def send(run: EngineRun, messages: Sequence[Message]) -> dict[int, str]:
    """Send messages until each is settled; return their statuses."""
    await ContactSender(messages, run.context).run()
    return run.statuses


# Snapshot


async def test_a_relink_is_read_then_unlinked_then_linked() -> None:
    crm = ScriptedCrm(page({1: OTHER_DEAL}), success(1), success(1))
    async with engine_run(crm) as run:
        assert await send(run, [RELINK]) == {1: "done SUCCESS"}
    assert crm.methods == [READ, UNLINK, LINK]
    assert crm.unlinked(1) == [1]
    assert crm.linked(2) == {1: DEAL}


async def test_without_a_snapshot_a_relink_is_not_read() -> None:
    crm = ScriptedCrm(success(1))
    async with engine_run(crm, snapshot=False) as run:
        assert await send(run, [RELINK]) == {1: "done SUCCESS"}
    assert crm.methods == [UNLINK, LINK]


async def test_the_ledger_records_each_half_of_a_relink_before_the_next_begins() -> None:
    async with engine_run(ScriptedCrm(page({1: OTHER_DEAL}), success(1))) as run:
        await send(run, [RELINK])
    assert run.files.events == ["read", "snapshot", "unlink", "step", "link", "result"]
    assert run.files.lines[1]["previous_deal_id"] == OTHER_DEAL


async def test_an_email_on_its_wanted_deal_is_not_sent() -> None:
    crm = ScriptedCrm(page({1: DEAL}))
    async with engine_run(crm) as run:
        assert await send(run, [RELINK]) == {1: "unchanged"}
    assert crm.methods == [READ]


async def test_pages_are_read_until_all_emails_are_listed() -> None:
    crm = ScriptedCrm(page({1: DEAL}, "x1"), page({2: DEAL}, "x2"), page({3: DEAL}))
    async with engine_run(crm) as run:
        assert set(await send(run, [email(1), email(2)])) == {1, 2}
    assert crm.methods == [READ, READ]


async def test_at_most_read_pages_pages_are_read() -> None:
    crm = ScriptedCrm(page({8: None}, "x1"), page({9: None}, "x2"), page({1: OTHER_DEAL}))
    async with engine_run(crm, read_pages=2) as run:
        assert await send(run, [RELINK]) == {1: "in_doubt not-listed"}
    assert crm.methods == [READ, READ]


async def test_an_unlisted_relink_is_not_sent() -> None:
    crm = ScriptedCrm(page({2: OTHER_DEAL}))
    async with engine_run(crm) as run:
        assert await send(run, [RELINK]) == {1: "in_doubt not-listed"}
    assert crm.methods == [READ]


async def test_a_refused_snapshot_changes_nothing() -> None:
    crm = ScriptedCrm(refusal("CANNOT_PROCESS"))
    async with engine_run(crm) as run:
        assert await send(run, [RELINK]) == {1: "failed CANNOT_PROCESS"}
    assert crm.methods == [READ]


# Unlink and link


async def test_links_wait_for_all_unlinks_and_share_a_call() -> None:
    crm = ScriptedCrm(page({1: OTHER_DEAL, 2: None}), success(1), success(1, 2))
    async with engine_run(crm) as run:
        assert len(await send(run, [RELINK, email(2)])) == 2
    assert crm.methods == [READ, UNLINK, LINK]
    assert crm.linked(2) == {1: DEAL, 2: DEAL}


async def test_an_unlink_is_not_followed_by_a_link() -> None:
    crm = ScriptedCrm(page({1: OTHER_DEAL}), success(1))
    async with engine_run(crm) as run:
        assert await send(run, [email(1, Op.UNLINK)]) == {1: "done SUCCESS"}
    assert crm.methods == [READ, UNLINK]


async def test_a_call_has_at_most_batch_size_emails() -> None:
    crm = ScriptedCrm(success(*range(1, 6)))
    async with engine_run(crm, snapshot=False, batch_size=2) as run:
        assert len(await send(run, [email(row) for row in range(1, 6)])) == 5
    assert [sorted(crm.linked(call)) for call in range(3)] == [[1, 2], [3, 4], [5]]


async def test_owners_do_not_share_a_call() -> None:
    crm = ScriptedCrm(success(1, 2))
    async with engine_run(crm, snapshot=False) as run:
        await send(run, [email(1), email(2, owner_id=OTHER_OWNER)])
    assert [crm.linked(call) for call in range(2)] == [{1: DEAL}, {2: DEAL}]


async def test_by_contact_owners_share_a_link_call_but_no_unlink_call() -> None:
    crm = ScriptedCrm(success(1, 2))
    async with engine_run(crm, snapshot=False, by_contact=True) as run:
        await send(run, [RELINK, email(2, Op.RELINK, OTHER_OWNER)])
    assert crm.methods == [UNLINK, UNLINK, LINK]


async def test_an_email_refused_by_name_fails_and_the_others_are_done() -> None:
    crm = ScriptedCrm(item_refusal("NOT_ALLOWED", 2), success(1, 3))
    async with engine_run(crm, snapshot=False) as run:
        statuses = await send(run, [email(row) for row in (1, 2, 3)])
    assert statuses == {1: "done SUCCESS", 2: "failed NOT_ALLOWED", 3: "done SUCCESS"}
    assert [sorted(crm.linked(call)) for call in range(2)] == [[1, 2, 3], [1, 3]]


async def test_links_refused_without_a_name_are_split_immediately() -> None:
    crm = ScriptedCrm(refusal("INVALID_DATA"), success(*range(1, 6)))
    async with engine_run(crm, snapshot=False) as run:
        statuses = await send(run, [email(row) for row in range(1, 6)])
    assert set(statuses.values()) == {"done SUCCESS"}
    assert [sorted(crm.linked(call)) for call in range(3)] == [[1, 2, 3, 4, 5], [1, 2, 3], [4, 5]]


@pytest.mark.parametrize("op", [Op.LINK, Op.UNLINK])
async def test_a_call_for_a_contact_that_does_not_exist_is_not_repeated_in_parts(op: Op) -> None:
    crm = ScriptedCrm(refusal("INVALID_DATA", resource_path_index=1))
    async with engine_run(crm, snapshot=False) as run:
        statuses = await send(run, [email(row, op) for row in range(1, 6)])
    assert set(statuses.values()) == {"failed INVALID_DATA"}
    assert len(crm.sent) == 1


async def test_an_email_in_doubt_stays_so_if_its_contact_is_refused_later() -> None:
    refused = refusal("INVALID_DATA", resource_path_index=1)
    async with engine_run(ScriptedCrm(LOST, refused), snapshot=False) as run:
        statuses = await send(run, [email(1), email(2)])
    assert set(statuses.values()) == {"in_doubt INVALID_DATA"}


async def test_unlinks_refused_without_a_name_are_read_before_they_are_split() -> None:
    messages = [email(1, Op.UNLINK), email(2, Op.UNLINK)]
    both = page({1: OTHER_DEAL, 2: OTHER_DEAL})
    crm = ScriptedCrm(refusal("INVALID_DATA"), both, success(1, 2))
    async with engine_run(crm, snapshot=False) as run:
        assert set((await send(run, messages)).values()) == {"done SUCCESS"}
    assert crm.methods == [UNLINK, READ, UNLINK, UNLINK]
    assert [crm.unlinked(call) for call in (2, 3)] == [[1], [2]]


async def test_an_answer_that_does_not_name_all_emails_is_stored() -> None:
    crm = ScriptedCrm(success(1), page({1: None, 2: None}))
    async with engine_run(crm, snapshot=False) as run:
        await send(run, [email(1, Op.UNLINK), email(2, Op.UNLINK)])
    (stored,) = map(orjson.loads, run.files.answers.splitlines())
    assert (stored["call"], stored["http_status"]) == (1, 200)


async def test_a_successful_link_releases_refused_contacts() -> None:
    async with engine_run(ScriptedCrm(success(1)), snapshot=False) as run:
        breaker = run.context.breaker
        run.context.contacts.start(CONTACT)
        run.context.contacts.start("forbidden")
        async with anyio.create_task_group() as group:
            group.start_soon(breaker.on_refusal, CallKind.LINK, "forbidden", NO_PERMISSION)
            await anyio.sleep(1)
            assert breaker.is_suspended("forbidden")
            await send(run, [email(1)])
            assert not breaker.is_suspended("forbidden")


# Put back


async def test_a_relink_whose_link_is_refused_is_put_back_on_its_deal() -> None:
    crm = ScriptedCrm(page({1: OTHER_DEAL}), success(1), item_refusal("NOT_ALLOWED", 1), success(1))
    async with engine_run(crm) as run:
        assert await send(run, [RELINK]) == {1: "failed NOT_ALLOWED"}
    assert crm.methods == [READ, UNLINK, LINK, LINK]
    assert crm.linked(3) == {1: OTHER_DEAL}
    assert run.results[1].current_deal_id == OTHER_DEAL


async def test_a_relink_that_was_on_no_deal_is_not_put_back() -> None:
    crm = ScriptedCrm(page({1: None}), item_refusal("NOT_ALLOWED", 1))
    async with engine_run(crm) as run:
        assert await send(run, [RELINK]) == {1: "failed NOT_ALLOWED"}
    assert crm.methods == [READ, LINK]


async def test_a_relink_that_cannot_be_put_back_is_reported() -> None:
    crm = ScriptedCrm(page({1: OTHER_DEAL}), success(1), item_refusal("NOT_ALLOWED", 1))
    async with engine_run(crm) as run:
        assert await send(run, [RELINK]) == {1: "failed put-back-failed"}


async def test_a_put_back_in_doubt_is_settled_by_a_read() -> None:
    crm = ScriptedCrm(
        page({1: OTHER_DEAL}),
        success(1),
        item_refusal("NOT_ALLOWED", 1),
        LOST,
        item_refusal("ALREADY_LINKED", 1),
        page({1: OTHER_DEAL}),
    )
    async with engine_run(crm) as run:
        assert await send(run, [RELINK]) == {1: "failed NOT_ALLOWED"}
    assert crm.methods == [READ, UNLINK, LINK, LINK, LINK, READ]
    assert run.results[1].current_deal_id == OTHER_DEAL


# Read back


async def test_an_unlink_whose_answer_was_lost_is_read_before_its_link() -> None:
    crm = ScriptedCrm(page({1: OTHER_DEAL}), LOST, page({1: None}), success(1))
    async with engine_run(crm) as run:
        assert await send(run, [RELINK]) == {1: "done SUCCESS"}
    assert crm.methods == [READ, UNLINK, READ, LINK]


async def test_an_unlink_that_was_not_applied_is_retried() -> None:
    unchanged_page = page({1: OTHER_DEAL})
    crm = ScriptedCrm(unchanged_page, LOST, unchanged_page, success(1))
    async with engine_run(crm) as run:
        assert await send(run, [email(1, Op.UNLINK)]) == {1: "done SUCCESS"}
    assert crm.methods == [READ, UNLINK, READ, UNLINK]


@pytest.mark.parametrize("settle_after", [10.0, 45.0])
async def test_a_read_that_shows_no_change_is_trusted_after_settle_after_seconds(
    settle_after: float,
) -> None:
    unchanged_page = page({1: OTHER_DEAL})
    crm = ScriptedCrm(LOST, unchanged_page, success(1))
    async with engine_run(crm, snapshot=False, settle_after=settle_after) as run:
        await send(run, [email(1, Op.UNLINK)])
    unlinked_at, *_, read_at, repeated_at = crm.sent_at
    assert read_at - unlinked_at >= settle_after
    assert repeated_at - read_at < 1


async def test_a_link_whose_answer_was_lost_is_retried_once_and_then_read() -> None:
    crm = ScriptedCrm(LOST, item_refusal("ALREADY_LINKED", 1), page({1: DEAL}))
    async with engine_run(crm, snapshot=False) as run:
        assert await send(run, [email(1)]) == {1: "done settled-by-read"}
    assert crm.methods == [LINK, LINK, READ]


@pytest.mark.parametrize(
    ("deal_id", "status"), [(DEAL, "unchanged"), (THIRD_DEAL, "failed ALREADY_LINKED")]
)
async def test_a_link_refused_as_already_linked_is_settled_by_its_current_deal(
    deal_id: str, status: str
) -> None:
    crm = ScriptedCrm(item_refusal("ALREADY_LINKED", 1), page({1: deal_id}))
    async with engine_run(crm, snapshot=False) as run:
        assert await send(run, [email(1)]) == {1: status}
    assert run.results[1].current_deal_id == deal_id


@pytest.mark.parametrize(
    "unclear_answer",
    [Answer(200, b"{}"), Answer(200, b"<html>"), success()],
    ids=["empty", "html", "none"],
)
async def test_an_unlink_not_named_in_its_answer_is_read_back(unclear_answer: Answer) -> None:
    crm = ScriptedCrm(unclear_answer, page({1: None}))
    async with engine_run(crm, snapshot=False) as run:
        assert await send(run, [email(1, Op.UNLINK)]) == {1: "done settled-by-read"}
    assert crm.methods == [UNLINK, READ]


@pytest.mark.parametrize(
    "failure",
    [refusal("INTERNAL_ERROR", 500), item_refusal("INTERNAL_ERROR", 1)],
    ids=["whole call", "email"],
)
async def test_an_unlink_is_read_back_after_a_server_error(failure: Answer) -> None:
    crm = ScriptedCrm(failure, page({1: None}))
    async with engine_run(crm, snapshot=False) as run:
        assert await send(run, [email(1, Op.UNLINK)]) == {1: "done settled-by-read"}
    assert crm.methods == [UNLINK, READ]


async def test_a_link_settled_by_a_read_counts_as_a_success() -> None:
    crm = ScriptedCrm(LOST, item_refusal("ALREADY_LINKED", 1), page({1: DEAL}))
    async with engine_run(crm, snapshot=False) as run:
        await send(run, [email(1)])
        breaker = run.context.breaker
        run.context.contacts.start("forbidden")
        run.context.contacts.all_started()
        await breaker.on_refusal(CallKind.LINK, "forbidden", NO_PERMISSION)
        assert run.context.stop.reason is None


async def test_one_read_settles_all_emails_in_doubt() -> None:
    messages = [email(row, Op.UNLINK) for row in (1, 2, 3)]
    crm = ScriptedCrm(LOST, page({1: None, 2: None, 3: None}))
    async with engine_run(crm, snapshot=False) as run:
        assert set((await send(run, messages)).values()) == {"done settled-by-read"}
    assert crm.methods == [UNLINK, READ]


async def test_without_read_backs_an_unlink_stays_in_doubt() -> None:
    crm = ScriptedCrm(LOST, page({1: None}))
    async with engine_run(crm, snapshot=False, read_back=False) as run:
        assert await send(run, [email(1, Op.UNLINK)]) == {1: "in_doubt no-answer"}
    assert crm.methods == [UNLINK]


async def test_without_read_backs_a_link_refused_as_already_linked_stays_in_doubt() -> None:
    crm = ScriptedCrm(item_refusal("ALREADY_LINKED", 1), page({1: DEAL}))
    async with engine_run(crm, snapshot=False, read_back=False) as run:
        assert await send(run, [email(1)]) == {1: "in_doubt ALREADY_LINKED"}
    assert crm.methods == [LINK]


async def test_a_refused_read_back_leaves_an_email_in_doubt() -> None:
    crm = ScriptedCrm(LOST, refusal("CANNOT_PROCESS"))
    async with engine_run(crm, snapshot=False) as run:
        assert await send(run, [email(1, Op.UNLINK)]) == {1: "in_doubt CANNOT_PROCESS"}


# Stops and credits


async def test_a_half_done_relink_is_completed_after_ctrl_c() -> None:
    crm = ScriptedCrm(page({1: OTHER_DEAL, 2: None}), success(1))
    async with engine_run(crm) as run, anyio.create_task_group() as group:
        group.start_soon(send, run, [RELINK, email(2)])
        await anyio.sleep(0.15)  # the unlink is in flight
        assert crm.methods == [READ, UNLINK]
        run.context.stop.interrupt()
    assert crm.linked(2) == {1: DEAL}
    assert run.statuses == {1: "done SUCCESS"}


async def test_a_fatal_code_leaves_all_emails_pending() -> None:
    crm = ScriptedCrm(refusal("OAUTH_SCOPE_MISMATCH", 401))
    async with engine_run(crm, snapshot=False) as run:
        assert await send(run, [email(1), email(2)]) == {}
        assert run.context.stop.reason is not None
        assert run.context.stop.reason.stopped_by is StoppedBy.FATAL
    assert crm.methods == [LINK]


@pytest.mark.parametrize(
    ("credits_left", "methods"), [(2, []), (3, [UNLINK, LINK])], ids=["too few", "just enough"]
)
async def test_the_unlink_of_a_relink_requires_credits_to_link_and_to_put_back(
    credits_left: int, methods: list[str]
) -> None:
    crm = ScriptedCrm(success(1))
    async with engine_run(crm, snapshot=False, max_credits=credits_left) as run:
        await send(run, [RELINK])
    assert crm.methods == methods


async def test_relinks_with_reserved_credits_are_completed_when_credits_run_out() -> None:
    crm = ScriptedCrm(success(1, 2))
    async with engine_run(crm, snapshot=False, batch_size=1, max_credits=4) as run:
        assert await send(run, [RELINK, email(2, Op.RELINK)]) == {1: "done SUCCESS"}
        assert run.context.stop.reason is not None
        assert run.context.stop.reason.stopped_by is StoppedBy.MAX_CREDITS
    assert crm.methods == [UNLINK, LINK]


async def test_unused_credits_reserved_for_a_relink_are_available_afterwards() -> None:
    crm = ScriptedCrm(success(1), success(1), success(2))
    async with engine_run(crm, snapshot=False, max_credits=3) as run:
        await send(run, [RELINK])
        assert await send(run, [email(2)]) == {1: "done SUCCESS", 2: "done SUCCESS"}


# First batches


async def test_the_first_batch_can_be_sent_before_the_rest() -> None:
    crm = ScriptedCrm(page(dict.fromkeys(range(1, 6))), success(*range(1, 6)))
    async with engine_run(crm, batch_size=2) as run:
        sender = ContactSender([email(row) for row in range(1, 6)], run.context)
        await sender.run_first(1)
        assert sorted(run.results) == [1, 2]
        await sender.run()
        assert sorted(run.results) == [1, 2, 3, 4, 5]
    assert crm.methods == [READ, LINK, LINK, LINK]


async def test_outdated_snapshots_are_read_again_before_sending() -> None:
    crm = ScriptedCrm(page({1: None, 2: None}), success(1), page({2: DEAL}))
    async with engine_run(crm, batch_size=1) as run:
        sender = ContactSender([email(1), email(2)], run.context)
        await sender.run_first(1)
        sender.reset_unsent()
        await sender.run()
    assert run.statuses == {1: "done SUCCESS", 2: "unchanged"}
    assert crm.methods == [READ, LINK, READ]
