"""Circuit breaker: refused contacts wait until the cause is known."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import anyio
import pytest

from bulklink.engine.active_contacts import ActiveContacts
from bulklink.engine.breaker import CircuitBreaker, ReadBreaker, fatal_error
from bulklink.engine.shutdown import StopController
from bulklink.errors import RunStoppedError, StoppedBy, StoppedError
from bulklink.zoho.error_codes import Code
from bulklink.zoho.http import CallKind
from bulklink.zoho.link_response import AnswerVerdict

NO_PERMISSION = AnswerVerdict("NO_PERMISSION", "permission denied", 403)
WAITS, ALONE, RUN_STOPPED, FATAL = "waits", "alone", "run stopped", "fatal"


class Contacts:
    """Contacts in progress, and the fate of each refused one.

    Attributes:
        stop: stops the run.
        breaker: suspends refused contacts.
        active: contacts in progress.
        fates: whether each refused contact still waits, or how its wait ended.
    """

    def __init__(self, confirmed_kinds: Iterable[CallKind] = ()) -> None:
        self.stop = StopController()
        self.breaker = CircuitBreaker(self.stop, confirmed_kinds)
        self.active = ActiveContacts(self.breaker, self.stop)
        self.fates: dict[str, str] = {}

    async def refuse(
        self,
        contact_id: str,
        kind: CallKind = CallKind.LINK,
        *,
        completes_relink: bool = False,
    ) -> None:
        """Refuse a call of a contact, and wait until the breaker decides."""
        self.fates[contact_id] = WAITS
        try:
            await self.breaker.on_refusal(
                kind, contact_id, NO_PERMISSION, completes_relink=completes_relink
            )
            self.fates[contact_id] = ALONE
        except StoppedError:
            self.fates[contact_id] = RUN_STOPPED
        except RunStoppedError:
            self.fates[contact_id] = FATAL
        self.active.end(contact_id)


@asynccontextmanager
async def contacts_in_progress(
    *contact_ids: str, refused: Iterable[str] = (), confirmed_kinds: Iterable[CallKind] = ()
) -> AsyncIterator[Contacts]:
    """Start contacts, and refuse links of some of them one by one."""
    contacts = Contacts(confirmed_kinds)
    for contact_id in contact_ids:
        contacts.active.start(contact_id)
    async with anyio.create_task_group() as group:
        for contact_id in refused:
            group.start_soon(contacts.refuse, contact_id)
            await anyio.sleep(1)
        yield contacts
        group.cancel_scope.cancel()


async def test_a_refused_contact_waits_while_another_is_in_progress() -> None:
    async with contacts_in_progress("a", "b", refused="a") as contacts:
        contacts.active.all_started()
        await anyio.sleep(3600)
        assert contacts.fates == {"a": WAITS}
        assert contacts.breaker.is_suspended("a")
        assert contacts.stop.reason is None


async def test_a_success_of_another_contact_releases_a_refused_one() -> None:
    async with contacts_in_progress("a", "b", refused="a") as contacts:
        contacts.breaker.on_success(CallKind.LINK, "b")
        await anyio.sleep(1)
        assert contacts.fates == {"a": ALONE}
        assert not contacts.breaker.is_suspended("a")
        assert contacts.stop.reason is None


async def test_a_success_of_another_kind_of_call_does_not_count() -> None:
    async with contacts_in_progress("a", "b", refused="a") as contacts:
        contacts.breaker.on_success(CallKind.UNLINK, "b")
        contacts.breaker.on_success(CallKind.READ, "b")
        await anyio.sleep(1)
        assert contacts.fates == {"a": WAITS}


async def test_a_success_of_the_same_contact_does_not_count() -> None:
    async with contacts_in_progress("a", "b", refused="a") as contacts:
        contacts.breaker.on_success(CallKind.LINK, "a")
        await anyio.sleep(1)
        assert contacts.fates == {"a": WAITS}


async def test_three_contacts_refused_in_a_row_stop_the_run() -> None:
    async with contacts_in_progress("a", "b", "c", "d", refused="abc") as contacts:
        assert set(contacts.fates.values()) == {RUN_STOPPED}
        assert contacts.stop.reason is not None
        assert contacts.stop.reason.stopped_by is StoppedBy.FATAL
        assert "NO_PERMISSION permission denied" in contacts.stop.reason.message
        assert contacts.stop.reason.where == "contact c"


async def test_two_contacts_refused_in_a_row_do_not_stop_the_run() -> None:
    async with contacts_in_progress("a", "b", "c", refused="ab") as contacts:
        assert contacts.fates == {"a": WAITS, "b": WAITS}
        assert contacts.stop.reason is None


async def test_several_refused_calls_of_one_contact_count_once() -> None:
    async with contacts_in_progress("a", "b", refused="aaa") as contacts:
        assert contacts.fates == {"a": WAITS}
        assert contacts.stop.reason is None


async def test_a_success_resets_the_count_of_refused_contacts() -> None:
    async with contacts_in_progress("a", "b", "c", "d", "e", refused="ab") as contacts:
        contacts.breaker.on_success(CallKind.LINK, "e")
        for contact_id in "cd":
            with anyio.move_on_after(1):
                await contacts.refuse(contact_id)
        assert contacts.fates == {"a": ALONE, "b": ALONE, "c": WAITS, "d": WAITS}
        assert contacts.stop.reason is None


async def test_refusals_of_different_kinds_are_counted_separately() -> None:
    async with contacts_in_progress("a", "b", "c", "d", refused="ab") as contacts:
        with anyio.move_on_after(1):
            await contacts.refuse("c", CallKind.READ)
        assert contacts.fates == {"a": WAITS, "b": WAITS, "c": WAITS}
        assert contacts.stop.reason is None


async def test_the_run_stops_if_all_contacts_are_refused_and_none_succeeded() -> None:
    async with contacts_in_progress("a", "b", refused="ab") as contacts:
        contacts.active.all_started()
        await anyio.sleep(1)
        assert contacts.fates == {"a": RUN_STOPPED, "b": RUN_STOPPED}
        assert contacts.stop.reason is not None
        assert contacts.stop.reason.stopped_by is StoppedBy.FATAL


async def test_the_end_of_the_last_other_contact_decides() -> None:
    async with contacts_in_progress("a", "b", refused="a") as contacts:
        contacts.active.all_started()
        await anyio.sleep(1)
        assert contacts.fates == {"a": WAITS}
        contacts.active.end("b")
        await anyio.sleep(1)
        assert contacts.fates == {"a": RUN_STOPPED}


async def test_a_refusal_of_the_last_contact_concerns_it_alone_after_a_success() -> None:
    async with contacts_in_progress("a", "b") as contacts:
        contacts.breaker.on_success(CallKind.LINK, "b")
        contacts.active.end("b")
        contacts.active.all_started()
        await contacts.refuse("a")
        assert contacts.fates == {"a": ALONE}
        assert contacts.stop.reason is None


async def test_a_success_before_a_resume_counts() -> None:
    async with contacts_in_progress("a", confirmed_kinds=[CallKind.LINK]) as contacts:
        contacts.active.all_started()
        await contacts.refuse("a")
        assert contacts.fates == {"a": ALONE}
        assert contacts.stop.reason is None


async def test_an_earlier_success_counts_only_for_its_kind_of_call() -> None:
    async with contacts_in_progress(
        "a", "b", refused="a", confirmed_kinds=[CallKind.LINK]
    ) as contacts:
        contacts.active.all_started()
        await contacts.refuse("b", CallKind.READ)
        assert contacts.fates == {"a": ALONE, "b": RUN_STOPPED}


async def test_no_decision_is_made_while_other_contacts_have_not_started() -> None:
    async with contacts_in_progress("a", refused="a") as contacts:
        await anyio.sleep(1)
        assert contacts.fates == {"a": WAITS}
        contacts.active.all_started(others_follow=True)
        await anyio.sleep(1)
        assert contacts.fates == {"a": WAITS}
        contacts.active.all_started()
        await anyio.sleep(1)
        assert contacts.fates == {"a": RUN_STOPPED}


async def test_a_wait_for_credits_releases_suspended_contacts_after_a_success() -> None:
    confirmed = [CallKind.LINK]
    async with contacts_in_progress("a", "b", refused="a", confirmed_kinds=confirmed) as contacts:
        assert contacts.fates == {"a": WAITS}
        contacts.breaker.resolve_suspended()
        await anyio.sleep(1)
        assert contacts.fates == {"a": ALONE}
        assert contacts.stop.reason is None


async def test_a_wait_for_credits_stops_the_run_if_no_call_succeeded() -> None:
    async with contacts_in_progress("a", "b", refused="a") as contacts:
        contacts.breaker.resolve_suspended()
        await anyio.sleep(1)
        assert contacts.fates == {"a": RUN_STOPPED}
        assert contacts.stop.reason is not None
        assert contacts.stop.reason.stopped_by is StoppedBy.FATAL


async def test_a_wait_for_credits_without_suspended_contacts_changes_nothing() -> None:
    async with contacts_in_progress("a", "b", refused="a") as contacts:
        contacts.breaker.on_success(CallKind.LINK, "b")
        contacts.breaker.resolve_suspended()
        assert contacts.stop.reason is None


async def test_a_stop_releases_suspended_contacts_undecided() -> None:
    async with contacts_in_progress("a", "b", refused="a") as contacts:
        contacts.stop.interrupt()
        await anyio.sleep(1)
        assert contacts.fates == {"a": RUN_STOPPED}
        assert not contacts.breaker.is_suspended("a")


@pytest.mark.parametrize(
    ("confirmed_kinds", "fate"), [([CallKind.LINK], ALONE), ([CallKind.READ], FATAL)]
)
async def test_after_ctrl_c_earlier_successes_decide_on_a_refused_relink(
    confirmed_kinds: list[CallKind], fate: str
) -> None:
    async with contacts_in_progress("a", "b", confirmed_kinds=confirmed_kinds) as contacts:
        contacts.stop.interrupt()
        await contacts.refuse("a", completes_relink=True)
        assert contacts.fates == {"a": fate}


@pytest.mark.parametrize("code", ["OAUTH_SCOPE_MISMATCH", "FEATURE_NOT_SUPPORTED"])
async def test_a_fatal_code_stops_the_run_immediately(code: str) -> None:
    async with contacts_in_progress("a", "b", confirmed_kinds=[CallKind.LINK]) as contacts:
        with pytest.raises(RunStoppedError, match=code):
            await contacts.breaker.on_refusal(CallKind.LINK, "a", AnswerVerdict(code, "", 400))


@pytest.mark.parametrize("code", ["INVALID_DATA", "NOT_ALLOWED", "ALREADY_LINKED"])
async def test_a_code_about_one_email_suspends_no_contact(code: str) -> None:
    async with contacts_in_progress("a", "b", "c", "d") as contacts:
        for contact_id in "abc":
            verdict = AnswerVerdict(code, "", 400)
            await contacts.breaker.on_refusal(CallKind.LINK, contact_id, verdict)
        assert contacts.stop.reason is None


async def test_contacts_are_idle_once_each_is_done_or_suspended() -> None:
    async with contacts_in_progress("a", "b", refused="a") as contacts:
        contacts.active.all_started(others_follow=True)
        with anyio.move_on_after(60) as scope:
            await contacts.active.wait_until_idle()
        assert scope.cancelled_caught
        contacts.active.end("b")
        with anyio.fail_after(1):
            await contacts.active.wait_until_idle()
        assert contacts.fates == {"a": WAITS}


async def test_a_contact_waiting_for_a_read_counts_as_idle_but_may_still_decide() -> None:
    async with contacts_in_progress("a", "b", refused="a") as contacts:
        with contacts.active.waiting("b"), anyio.fail_after(1):
            contacts.active.all_started()
            await contacts.active.wait_until_idle()
        assert contacts.fates == {"a": WAITS}


async def test_refused_reads_concern_their_contacts_alone_after_a_successful_read() -> None:
    breaker = ReadBreaker()
    breaker.on_success(CallKind.READ, "readable")
    for contact_id in "abcd":
        await breaker.on_refusal(CallKind.READ, contact_id, NO_PERMISSION)


async def test_three_contacts_refused_before_any_read_stop_the_run() -> None:
    breaker = ReadBreaker()
    for contact_id in "aab":
        await breaker.on_refusal(CallKind.READ, contact_id, NO_PERMISSION)
    with pytest.raises(RunStoppedError, match="NO_PERMISSION"):
        await breaker.on_refusal(CallKind.READ, "c", NO_PERMISSION)


def test_a_refused_look_up_has_no_advice_about_a_row() -> None:
    verdict = AnswerVerdict(Code.INVALID_DATA, "the value is wrong", 400)
    assert "the ids of the row" in fatal_error(CallKind.LINK, verdict, "x").advice
    error = fatal_error(CallKind.LOOKUP, verdict, "look-up of the layouts")
    assert "row" not in error.advice
    error.advise_reading("f.csv.fetching/answers.jsonl")
    assert error.advice == (
        "The whole answer is in f.csv.fetching/answers.jsonl. Fix the cause, then run the same"
        " command again."
    )
    error.advise_reading("")
    assert error.advice == "Fix the cause, then run the same command again."
