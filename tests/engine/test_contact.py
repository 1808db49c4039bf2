"""The phases of one contact: snapshot, unlink, link, put back, settle by a read."""

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
    """Work on messages until each is settled, and return their statuses."""
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


async def test_the_ledger_has_each_half_of_a_relink_before_the_next_begins() -> None:
    async with engine_run(ScriptedCrm(page({1: OTHER_DEAL}), success(1))) as run:
        await send(run, [RELINK])
    assert run.files.events == ["read", "snapshot", "unlink", "step", "link", "result"]
    assert run.files.lines[1]["previous_deal_id"] == OTHER_DEAL


async def test_an_email_that_is_as_wanted_is_not_sent() -> None:
    crm = ScriptedCrm(page({1: DEAL}))
    async with engine_run(crm) as run:
        assert await send(run, [RELINK]) == {1: "unchanged"}
    assert crm.methods == [READ]


async def test_pages_are_read_until_all_emails_are_seen_and_no_further() -> None:
    crm = ScriptedCrm(page({1: DEAL}, "x1"), page({2: DEAL}, "x2"), page({3: DEAL}))
    async with engine_run(crm) as run:
        assert set(await send(run, [email(1), email(2)])) == {1, 2}
    assert crm.methods == [READ, READ]


async def test_no_more_pages_are_read_than_read_pages_says() -> None:
    crm = ScriptedCrm(page({8: None}, "x1"), page({9: None}, "x2"), page({1: OTHER_DEAL}))
    async with engine_run(crm, read_pages=2) as run:
        assert await send(run, [RELINK]) == {1: "in_doubt not-listed"}
    assert crm.methods == [READ, READ]


async def test_a_relink_that_no_page_lists_is_not_touched() -> None:
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


async def test_all_unlinks_go_before_the_first_link_and_share_its_call() -> None:
    crm = ScriptedCrm(page({1: OTHER_DEAL, 2: None}), success(1), success(1, 2))
    async with engine_run(crm) as run:
        assert len(await send(run, [RELINK, email(2)])) == 2
    assert crm.methods == [READ, UNLINK, LINK]
    assert crm.linked(2) == {1: DEAL, 2: DEAL}


async def test_an_unlink_is_followed_by_no_link() -> None:
    crm = ScriptedCrm(page({1: OTHER_DEAL}), success(1))
    async with engine_run(crm) as run:
        assert await send(run, [email(1, Op.UNLINK)]) == {1: "done SUCCESS"}
    assert crm.methods == [READ, UNLINK]


async def test_a_call_carries_no_more_emails_than_a_batch_holds() -> None:
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


async def test_links_refused_without_a_name_are_halved_at_once() -> None:
    crm = ScriptedCrm(refusal("INVALID_DATA"), success(*range(1, 6)))
    async with engine_run(crm, snapshot=False) as run:
        statuses = await send(run, [email(row) for row in range(1, 6)])
    assert set(statuses.values()) == {"done SUCCESS"}
    assert [sorted(crm.linked(call)) for call in range(3)] == [[1, 2, 3, 4, 5], [1, 2, 3], [4, 5]]


async def test_unlinks_refused_without_a_name_are_read_before_they_are_halved() -> None:
    messages = [email(1, Op.UNLINK), email(2, Op.UNLINK)]
    both = page({1: OTHER_DEAL, 2: OTHER_DEAL})
    crm = ScriptedCrm(refusal("INVALID_DATA"), both, success(1, 2))
    async with engine_run(crm, snapshot=False) as run:
        assert set((await send(run, messages)).values()) == {"done SUCCESS"}
    assert crm.methods == [UNLINK, READ, UNLINK, UNLINK]
    assert [crm.unlinked(call) for call in (2, 3)] == [[1], [2]]


async def test_an_answer_that_does_not_name_all_emails_is_kept() -> None:
    crm = ScriptedCrm(success(1), page({1: None, 2: None}))
    async with engine_run(crm, snapshot=False) as run:
        await send(run, [email(1, Op.UNLINK), email(2, Op.UNLINK)])
    (kept,) = map(orjson.loads, run.files.answers.splitlines())
    assert (kept["call"], kept["http_status"]) == (1, 200)


async def test_a_link_that_succeeds_lets_refused_contacts_go_on() -> None:
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


async def test_a_relink_that_cannot_be_put_back_either_says_so() -> None:
    crm = ScriptedCrm(page({1: OTHER_DEAL}), success(1), item_refusal("NOT_ALLOWED", 1))
    async with engine_run(crm) as run:
        assert await send(run, [RELINK]) == {1: "failed put-back-failed"}


async def test_putting_back_in_doubt_is_settled_by_a_read() -> None:
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


# Settle by a read


async def test_an_unlink_whose_answer_was_lost_is_read_before_its_link() -> None:
    crm = ScriptedCrm(page({1: OTHER_DEAL}), LOST, page({1: None}), success(1))
    async with engine_run(crm) as run:
        assert await send(run, [RELINK]) == {1: "done SUCCESS"}
    assert crm.methods == [READ, UNLINK, READ, LINK]


async def test_an_unlink_that_a_read_shows_not_applied_is_sent_again() -> None:
    still_there = page({1: OTHER_DEAL})
    crm = ScriptedCrm(still_there, LOST, still_there, success(1))
    async with engine_run(crm) as run:
        assert await send(run, [email(1, Op.UNLINK)]) == {1: "done SUCCESS"}
    assert crm.methods == [READ, UNLINK, READ, UNLINK]


@pytest.mark.parametrize("settle_after", [10.0, 45.0])
async def test_not_applied_is_believed_of_a_read_settle_after_seconds_after_the_call(
    settle_after: float,
) -> None:
    still_there = page({1: OTHER_DEAL})
    crm = ScriptedCrm(LOST, still_there, success(1))
    async with engine_run(crm, snapshot=False, settle_after=settle_after) as run:
        await send(run, [email(1, Op.UNLINK)])
    unlinked_at, *_, read_at, repeated_at = crm.sent_at
    assert read_at - unlinked_at >= settle_after
    assert repeated_at - read_at < 1


async def test_a_link_whose_answer_was_lost_is_sent_once_more_and_read() -> None:
    crm = ScriptedCrm(LOST, item_refusal("ALREADY_LINKED", 1), page({1: DEAL}))
    async with engine_run(crm, snapshot=False) as run:
        assert await send(run, [email(1)]) == {1: "done settled-by-read"}
    assert crm.methods == [LINK, LINK, READ]


@pytest.mark.parametrize(
    ("deal_id", "status"), [(DEAL, "unchanged"), (THIRD_DEAL, "failed ALREADY_LINKED")]
)
async def test_a_link_refused_as_linked_already_is_judged_by_the_deal_it_is_on(
    deal_id: str, status: str
) -> None:
    crm = ScriptedCrm(item_refusal("ALREADY_LINKED", 1), page({1: deal_id}))
    async with engine_run(crm, snapshot=False) as run:
        assert await send(run, [email(1)]) == {1: status}
    assert run.results[1].current_deal_id == deal_id


@pytest.mark.parametrize(
    "silent", [Answer(200, b"{}"), Answer(200, b"<html>"), success()], ids=["empty", "html", "none"]
)
async def test_an_unlink_that_its_answer_does_not_name_is_read(silent: Answer) -> None:
    crm = ScriptedCrm(silent, page({1: None}))
    async with engine_run(crm, snapshot=False) as run:
        assert await send(run, [email(1, Op.UNLINK)]) == {1: "done settled-by-read"}
    assert crm.methods == [UNLINK, READ]


@pytest.mark.parametrize(
    "failure",
    [refusal("INTERNAL_ERROR", 500), item_refusal("INTERNAL_ERROR", 1)],
    ids=["whole call", "email"],
)
async def test_an_unlink_that_failed_on_zohos_side_may_have_been_applied(failure: Answer) -> None:
    crm = ScriptedCrm(failure, page({1: None}))
    async with engine_run(crm, snapshot=False) as run:
        assert await send(run, [email(1, Op.UNLINK)]) == {1: "done settled-by-read"}
    assert crm.methods == [UNLINK, READ]


async def test_a_link_settled_by_a_read_shows_that_links_can_succeed() -> None:
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


async def test_read_back_never_leaves_an_unlink_in_doubt() -> None:
    crm = ScriptedCrm(LOST, page({1: None}))
    async with engine_run(crm, snapshot=False, read_back=False) as run:
        assert await send(run, [email(1, Op.UNLINK)]) == {1: "in_doubt no-answer"}
    assert crm.methods == [UNLINK]


async def test_read_back_never_leaves_a_link_refused_as_linked_already_in_doubt() -> None:
    crm = ScriptedCrm(item_refusal("ALREADY_LINKED", 1), page({1: DEAL}))
    async with engine_run(crm, snapshot=False, read_back=False) as run:
        assert await send(run, [email(1)]) == {1: "in_doubt ALREADY_LINKED"}
    assert crm.methods == [LINK]


async def test_a_read_back_that_is_refused_leaves_an_email_in_doubt() -> None:
    crm = ScriptedCrm(LOST, refusal("CANNOT_PROCESS"))
    async with engine_run(crm, snapshot=False) as run:
        assert await send(run, [email(1, Op.UNLINK)]) == {1: "in_doubt CANNOT_PROCESS"}


# Stops and credits


async def test_a_relink_between_its_halves_is_finished_after_ctrl_c() -> None:
    crm = ScriptedCrm(page({1: OTHER_DEAL, 2: None}), success(1))
    async with engine_run(crm) as run, anyio.create_task_group() as group:
        group.start_soon(send, run, [RELINK, email(2)])
        await anyio.sleep(0.15)  # the unlink is in flight
        assert crm.methods == [READ, UNLINK]
        run.context.stop.interrupt()
    assert crm.linked(2) == {1: DEAL}
    assert run.statuses == {1: "done SUCCESS"}


async def test_a_code_after_which_no_call_can_succeed_leaves_all_emails_pending() -> None:
    crm = ScriptedCrm(refusal("OAUTH_SCOPE_MISMATCH", 401))
    async with engine_run(crm, snapshot=False) as run:
        assert await send(run, [email(1), email(2)]) == {}
        assert run.context.stop.reason is not None
        assert run.context.stop.reason.stopped_by is StoppedBy.FATAL
    assert crm.methods == [LINK]


@pytest.mark.parametrize(
    ("credits_left", "methods"), [(2, []), (3, [UNLINK, LINK])], ids=["too few", "just enough"]
)
async def test_an_unlink_leaves_only_with_credits_to_link_and_to_put_back(
    credits_left: int, methods: list[str]
) -> None:
    crm = ScriptedCrm(success(1))
    async with engine_run(crm, snapshot=False, max_credits=credits_left) as run:
        await send(run, [RELINK])
    assert crm.methods == methods


async def test_relinks_that_have_their_credits_are_finished_where_others_have_none() -> None:
    crm = ScriptedCrm(success(1, 2))
    async with engine_run(crm, snapshot=False, batch_size=1, max_credits=4) as run:
        assert await send(run, [RELINK, email(2, Op.RELINK)]) == {1: "done SUCCESS"}
        assert run.context.stop.reason is not None
        assert run.context.stop.reason.stopped_by is StoppedBy.MAX_CREDITS
    assert crm.methods == [UNLINK, LINK]


async def test_credits_set_aside_for_a_relink_serve_other_emails_once_it_is_done() -> None:
    crm = ScriptedCrm(success(1), success(1), success(2))
    async with engine_run(crm, snapshot=False, max_credits=3) as run:
        await send(run, [RELINK])
        assert await send(run, [email(2)]) == {1: "done SUCCESS", 2: "done SUCCESS"}


# The first emails of a run, which are sent before the rest


async def test_the_first_batch_can_be_sent_before_the_rest() -> None:
    crm = ScriptedCrm(page(dict.fromkeys(range(1, 6))), success(*range(1, 6)))
    async with engine_run(crm, batch_size=2) as run:
        sender = ContactSender([email(row) for row in range(1, 6)], run.context)
        await sender.run_first(1)
        assert sorted(run.results) == [1, 2]
        await sender.run()
        assert sorted(run.results) == [1, 2, 3, 4, 5]
    assert crm.methods == [READ, LINK, LINK, LINK]


async def test_what_was_read_too_long_ago_is_read_again_before_it_is_sent() -> None:
    crm = ScriptedCrm(page({1: None, 2: None}), success(1), page({2: DEAL}))
    async with engine_run(crm, batch_size=1) as run:
        sender = ContactSender([email(1), email(2)], run.context)
        await sender.run_first(1)
        sender.reset_unsent()
        await sender.run()
    assert run.statuses == {1: "done SUCCESS", 2: "unchanged"}
    assert crm.methods == [READ, LINK, READ]
