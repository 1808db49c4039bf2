"""Behaviour of a run in various situations, as seen in the CRM and the ledger."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulklink.emulator.faults import Fault
from bulklink.emulator.settings import MixedAnswer, Settings
from bulklink.engine.dispatch import worker_count
from bulklink.engine.shutdown import StopController
from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.models import Op
from tests.simulation.cases import count_statuses, make_case
from tests.simulation.machine import Interruption, SimulatedCommand
from tests.simulation.simulator import (
    MODULE,
    OWNERS,
    Case,
    SimulatedRun,
    contact,
    deal,
    message,
    simulate,
)
from tests.virtual import now, run_virtual

GROUPS = st.lists(
    st.tuples(
        st.integers(0, 3), st.sampled_from(OWNERS), st.sampled_from(list(Op)), st.integers(1, 50)
    ),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=60)
@given(groups=GROUPS, size=st.integers(1, 20), data=st.data())
def test_a_run_makes_the_fewest_calls_that_the_snapshot_allows(
    groups: list[tuple[int, str, Op, int]], size: int, data: st.DataObject
) -> None:
    """Guarantee 4: links and relinks of a group share link calls; unlinks have separate calls."""
    case = make_case(groups, batch_size=size, snapshot=True)
    deal_numbers = {"none": None, "target": 0, "other": 100}
    items_to_send: Counter[tuple[str, str, str]] = Counter()
    expected_statuses: Counter[str] = Counter()
    for email, message_ in zip(case.emails, case.messages, strict=True):
        present_deal = data.draw(st.sampled_from(list(deal_numbers)))
        number = deal_numbers[present_deal]
        contact_number = _contact_number(email["contact_id"])
        email["deal_id"] = None if number is None else deal(number + contact_number)
        group = (email["contact_id"], email["owner_id"])
        match message_.op, present_deal:
            case (Op.LINK | Op.RELINK, "target") | (Op.UNLINK, "none"):
                expected_statuses["unchanged"] += 1
            case Op.LINK, "other":
                expected_statuses["failed"] += 1
            case op, _:
                expected_statuses["done"] += 1
                items_to_send[*group, "link"] += op is not Op.UNLINK
                items_to_send[*group, "unlink"] += op is not Op.LINK and present_deal != "none"
    outcome = run_virtual(simulate(case))
    for kind in ("link", "unlink"):
        fewest = sum(
            math.ceil(count / size) for (*_, op), count in items_to_send.items() if op == kind
        )
        assert outcome.calls[kind] == fewest
    assert count_statuses(outcome) == +expected_statuses


async def test_grouped_by_contact_several_owners_share_a_link_call() -> None:
    groups = [(0, owner, Op.RELINK, 5) for owner in OWNERS]
    by_owner = await simulate(make_case(groups, present_deal="other"))
    by_contact = await simulate(make_case(groups, present_deal="other", by_contact=True))
    assert (by_owner.calls["link"], by_contact.calls["link"]) == (3, 1)
    assert by_owner.calls["unlink"] == by_contact.calls["unlink"] == 3
    assert count_statuses(by_contact) == {"done": 15}


async def test_one_unnamed_invalid_email_is_found_in_eleven_calls() -> None:
    mixed = MixedAnswer(status=400, applied="no", shape="flat", named="none", good="omitted")
    case = make_case([(0, OWNERS[0], Op.LINK, 20)], settings=Settings(mixed_answer=mixed))
    for place in range(20):
        deals = {**case.deals, deal(7): contact(7)}
        messages = list(case.messages)
        messages[place] = message(place + 1, case.emails[place], Op.LINK, deal(7))
        outcome = await simulate(Case(case.emails, messages, deals, settings=case.settings))
        assert outcome.results[place + 1]["code"] == "NOT_ALLOWED"
        assert count_statuses(outcome) == {"done": 19, "failed": 1}
        assert outcome.calls["link"] <= 11


async def test_an_email_refused_alone_is_read_back_after_calls_that_named_no_email() -> None:
    mixed = MixedAnswer(status=400, applied="yes", shape="flat", named="none", good="omitted")
    case = make_case([(0, OWNERS[0], Op.LINK, 20)], settings=Settings(mixed_answer=mixed))
    deals = {**case.deals, deal(7): contact(7)}
    messages = [*case.messages[:-1], message(20, case.emails[-1], Op.LINK, deal(7))]
    refused = [Fault("NOT_ALLOWED", op="link", share=0.5)]
    outcome = await simulate(Case(case.emails, messages, deals, case.settings, refused))
    linked_rows = {sent.row for sent in messages if outcome.deal_of(sent) is not None}
    done_rows = {row for row, result in outcome.results.items() if result["status"] == "done"}
    assert done_rows == linked_rows
    assert 0 < len(linked_rows) < 20
    assert outcome.calls["read"] == 2


@pytest.mark.parametrize("applied", ["yes", "no"])
async def test_an_email_unknown_to_the_crm_fails_even_if_no_answer_names_it(
    applied: Literal["yes", "no"],
) -> None:
    mixed = MixedAnswer(status=400, applied=applied, shape="flat", named="none", good="omitted")
    case = make_case([(0, OWNERS[0], Op.LINK, 20)], settings=Settings(mixed_answer=mixed))
    absent = Case(case.emails[1:], case.messages, case.deals, settings=case.settings)
    outcome = await simulate(absent)
    assert count_statuses(outcome) == {"done": 19, "failed": 1}
    assert outcome.results[1]["code"] == "INVALID_DATA"


async def test_emails_named_as_invalid_fail_and_the_rest_is_retried_immediately() -> None:
    case = make_case([(0, OWNERS[0], Op.LINK, 20)])
    deals = {**case.deals, deal(7): contact(7)}
    messages = [*case.messages[:-1], message(20, case.emails[-1], Op.LINK, deal(7))]
    outcome = await simulate(Case(case.emails, messages, deals))
    assert outcome.calls["link"] == 2
    assert count_statuses(outcome) == {"done": 19, "failed": 1}


async def test_only_the_forbidden_contact_fails() -> None:
    fault = Fault("NO_PERMISSION", op="link", contact_id=contact(3))
    case = make_case([(n, OWNERS[0], Op.LINK, 2) for n in range(8)], faults=[fault])
    outcome = await simulate(case)
    assert outcome.stop.reason is None
    assert count_statuses(outcome) == {"done": 14, "failed": 2}
    assert {r["contact_id"] for r in outcome.results.values() if r["status"] == "failed"} == {
        contact(3)
    }


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("emails", [2, 60])
async def test_only_the_forbidden_contact_fails_at_any_position_and_size(
    place: int, emails: int
) -> None:
    groups = [(n, OWNERS[0], Op.LINK, emails if n == place else 2) for n in range(4)]
    fault = Fault("NO_PERMISSION", op="link", contact_id=contact(place))
    for in_flight in (1, 10):
        outcome = await simulate(make_case(groups, faults=[fault], in_flight=in_flight))
        assert outcome.stop.reason is None
        assert count_statuses(outcome) == {"done": 6, "failed": emails}


@pytest.mark.parametrize("interruption", [Interruption.CTRL_C, Interruption.KILL])
@pytest.mark.parametrize("op", list(Op))
async def test_a_forbidden_contact_does_not_stop_a_resumed_run(
    op: Op, interruption: Interruption, tmp_path: Path
) -> None:
    """Wherever the first command ends, even if only the forbidden contact is left unfinished."""
    kind = "unlink" if op is Op.UNLINK else "link"
    groups = [(n, OWNERS[0], op, 2) for n in range(4)]
    for place in (0, 3):
        fault = Fault("NO_PERMISSION", op=kind, contact_id=contact(place))
        for at in range(1, 40, 2):
            case = make_case(
                groups, present_deal=None if op is Op.LINK else "other", faults=[fault], in_flight=2
            )
            outcome = await simulate(
                case,
                commands=[SimulatedCommand(interruption, at_event=at), SimulatedCommand()],
                folder=tmp_path,
            )
            assert outcome.stop.reason is None, outcome.stop.reason
            assert count_statuses(outcome) == {"done": 6, "failed": 2}


@pytest.mark.parametrize("in_flight", [1, 3])
@pytest.mark.parametrize("contacts", [1, 2, 3, 40])
async def test_if_every_contact_is_forbidden_the_run_stops(contacts: int, in_flight: int) -> None:
    groups = [(n, OWNERS[0], Op.LINK, 2) for n in range(contacts)]
    outcome = await simulate(
        make_case(groups, faults=[Fault("NO_PERMISSION", op="link")], in_flight=in_flight)
    )
    reason = outcome.stop.reason
    assert reason is not None
    assert reason.stopped_by is StoppedBy.FATAL
    assert "Crm_Implied_View_Deals" in reason.advice
    assert outcome.results == {}
    assert outcome.crm.state.calls["link"] <= 6


@pytest.mark.parametrize(
    "code", ["INVALID_MODULE", "FEATURE_NOT_SUPPORTED", "OAUTH_SCOPE_MISMATCH"]
)
async def test_a_fatal_code_stops_the_run_and_its_rows_stay_pending(code: str) -> None:
    groups = [(n, OWNERS[0], Op.LINK, 20) for n in range(30)]
    fault = Fault(code, op="link", contact_id=contact(12))
    outcome = await simulate(make_case(groups, faults=[fault], in_flight=2))
    reason = outcome.stop.reason
    assert reason is not None
    assert reason.stopped_by is StoppedBy.FATAL
    assert code in reason.message
    assert set(count_statuses(outcome)) == {"done"}
    assert 0 < len(outcome.results) < 600


async def test_a_relink_whose_link_is_refused_is_put_back_on_its_deal() -> None:
    case = make_case([(0, OWNERS[0], Op.RELINK, 3)], present_deal="other")
    deals = {**case.deals, deal(7): contact(7)}
    messages = [*case.messages[:-1], message(3, case.emails[-1], Op.RELINK, deal(7))]
    outcome = await simulate(Case(case.emails, messages, deals))
    assert count_statuses(outcome) == {"done": 2, "failed": 1}
    failed = outcome.results[3]
    assert failed["code"] == "NOT_ALLOWED"
    assert failed["current_deal_id"] == failed["previous_deal_id"] == deal(100)
    assert outcome.deal_of(messages[2]) == deal(100)


async def test_a_relink_that_cannot_be_put_back_is_reported() -> None:
    case = make_case([(0, OWNERS[0], Op.RELINK, 1)], present_deal="other")
    faults = [Fault("NOT_ALLOWED", op="link")]
    outcome = await simulate(Case(case.emails, case.messages, case.deals, faults=faults))
    assert outcome.results[1]["code"] == "put-back-failed"
    assert outcome.deal_of(case.messages[0]) is None


async def test_a_relink_writes_a_snapshot_before_its_unlink_and_a_step_after_it() -> None:
    outcome = await simulate(make_case([(0, OWNERS[0], Op.RELINK, 1)], present_deal="other"))
    events = [line["event"] if line["event"] != "call" else line["op"] for line in outcome.lines()]
    assert events == ["lookup", "read", "snapshot", "unlink", "step", "link", "result"]


async def test_a_contact_is_read_once_for_all_its_relinks() -> None:
    groups = [(0, owner, Op.RELINK, 10) for owner in OWNERS]
    outcome = await simulate(make_case(groups, present_deal="other"))
    assert outcome.calls["read"] == 3


async def test_an_unlisted_email_is_in_doubt_and_not_changed() -> None:
    case = make_case([(0, OWNERS[0], Op.RELINK, 4)], present_deal="other", faults=[Fault("hidden")])
    outcome = await simulate(case)
    assert count_statuses(outcome) == {"in_doubt": 4}
    assert {r["code"] for r in outcome.results.values()} == {"not-listed"}
    assert outcome.calls["link"] == outcome.calls["unlink"] == 0


async def test_a_link_whose_answer_was_lost_is_retried_and_read_back() -> None:
    case = make_case(
        [(0, OWNERS[0], Op.LINK, 5)], faults=[Fault("lost-answer", op="link", count=1)]
    )
    outcome = await simulate(case)
    assert {(r["status"], r["code"]) for r in outcome.results.values()} == {
        ("done", "settled-by-read")
    }


async def test_an_unlink_whose_answer_was_lost_is_read_back_first() -> None:
    case = make_case(
        [(0, OWNERS[0], Op.RELINK, 5)],
        present_deal="other",
        faults=[Fault("lost-answer", op="unlink", count=1)],
    )
    outcome = await simulate(case)
    assert count_statuses(outcome) == {"done": 5}
    ops = [line["op"] for line in outcome.lines() if line["event"] == "call"]
    assert ops == ["lookup", "read", "unlink", "read", "link"]


async def test_an_email_on_its_target_is_unchanged_and_one_on_another_deal_fails() -> None:
    case = make_case([(0, OWNERS[0], Op.LINK, 2)])
    emails = [case.emails[0] | {"deal_id": deal(0)}, case.emails[1] | {"deal_id": deal(100)}]
    outcome = await simulate(Case(emails, case.messages, case.deals))
    assert outcome.results[1]["status"] == "unchanged"
    assert outcome.results[2]["status"] == "failed"
    assert outcome.results[2]["current_deal_id"] == deal(100)
    assert "relink" in outcome.results[2]["message"]


async def test_each_token_that_expires_during_a_run_costs_one_renewal_and_no_email() -> None:
    groups = [(n, OWNERS[0], Op.LINK, 20) for n in range(100)]
    settings_ = Settings(latency=1.0, expires_in=70)
    outcome = await simulate(make_case(groups, settings=settings_, in_flight=5))
    assert count_statuses(outcome) == {"done": 2000}
    assert outcome.crm.state.calls["token"] <= 4


async def test_calls_in_flight_reach_the_limit_and_never_exceed_it() -> None:
    groups = [(n, OWNERS[0], Op.LINK, 40) for n in range(20)]
    outcome = await simulate(make_case(groups, settings=Settings(latency=0.5), in_flight=7))
    assert outcome.crm.state.peak_in_flight == 7


async def test_a_run_waits_while_the_server_answers_too_many_requests() -> None:
    groups = [(n, OWNERS[0], Op.LINK, 20) for n in range(10)]
    limits = Settings(latency=0.5, concurrency=2)
    outcome = await simulate(make_case(groups, settings=limits, in_flight=4))
    assert count_statuses(outcome) == {"done": 200}
    assert outcome.crm.state.answered_429 > 0


async def test_a_stop_completes_half_done_relinks_and_leaves_the_rest() -> None:
    groups = [(n, OWNERS[0], Op.RELINK, 20) for n in range(20)]
    stop = StopController()

    case = make_case(groups, present_deal="other", settings=Settings(latency=0.5), in_flight=4)

    def on_request(method: str) -> None:
        if method == "DELETE":
            stop.request(RunStoppedError(StoppedBy.INTERRUPTED, "Ctrl-C"))

    outcome = await simulate(case, stop=stop, on_request=on_request)
    assert outcome.stop.reason is not None
    assert 0 < len(outcome.results) < 400
    assert set(count_statuses(outcome)) == {"done"}
    for sent in case.messages:
        target = sent.deal_id if sent.row in outcome.results else None
        assert outcome.deal_of(sent) == (target or deal(100 + _contact_number(sent.contact_id)))


def _contact_number(contact_id: str) -> int:
    return int(contact_id) - int(contact(0))


async def test_batches_of_one_use_the_single_endpoints() -> None:
    groups = [(0, OWNERS[0], Op.LINK, 21), (1, OWNERS[0], Op.UNLINK, 1)]
    outcome = await simulate(make_case(groups, single_endpoint=True, snapshot=False))
    paths = [target.partition("?")[0] for _, target in outcome.requests]
    single = [path for path in paths if path.count("/actions/") and len(path.split("/")) == 9]
    assert count_statuses(outcome) == {"done": 22}
    assert len(single) == 2


async def test_the_module_id_of_the_org_is_sent() -> None:
    outcome = await simulate(make_case([(0, OWNERS[0], Op.LINK, 1)]))
    assert outcome.crm.world.module_id == MODULE
    assert count_statuses(outcome) == {"done": 1}


async def test_a_link_refused_after_a_lost_answer_is_read_back() -> None:
    faults = [
        Fault("lost-answer", op="link", contact_id=contact(0), count=1),
        Fault("NOT_ALLOWED", op="link", contact_id=contact(0), count=2),
    ]
    case = make_case([(n, OWNERS[0], Op.LINK, 1) for n in range(3)], faults=faults)
    outcome = await simulate(case)
    calls = [line for line in outcome.lines() if line.get("op") == "link" and "attempt" in line]
    assert [line["attempt"] for line in calls if line["contact_id"] == contact(0)] == [1, 2]
    assert {(r["status"], r["code"]) for r in outcome.results.values()} == {
        ("done", "SUCCESS"),
        ("done", "settled-by-read"),
    }


async def test_an_unlink_executed_late_is_settled_before_the_link() -> None:
    fault = Fault("late", op="unlink", count=1, seconds=8.0)
    case = make_case([(0, OWNERS[0], Op.RELINK, 3)], present_deal="other", faults=[fault])
    outcome = await simulate(case)
    assert count_statuses(outcome) == {"done": 3}
    assert [outcome.deal_of(sent) for sent in case.messages] == [deal(0)] * 3


async def test_a_stale_read_is_not_trusted_too_soon() -> None:
    faults = [
        Fault("lost-answer", op="unlink", count=1),
        Fault("stale", op="read", seconds=9.0),
    ]
    case = make_case([(0, OWNERS[0], Op.UNLINK, 3)], present_deal="other", faults=faults)
    outcome = await simulate(case)
    assert {r["code"] for r in outcome.results.values()} == {"settled-by-read"}
    assert outcome.calls["unlink"] == 1


async def test_ctrl_c_settles_a_relink_whose_unlink_is_in_doubt() -> None:
    stop = StopController()
    fault = Fault("lost-answer", op="unlink")
    case = make_case([(0, OWNERS[0], Op.RELINK, 3)], present_deal="other", faults=[fault])

    def on_request(method: str) -> None:
        if method == "DELETE":
            stop.request(RunStoppedError(StoppedBy.INTERRUPTED, "Ctrl-C"))

    outcome = await simulate(case, stop=stop, on_request=on_request)
    assert count_statuses(outcome) == {"done": 3}


async def test_five_requests_without_an_answer_stop_the_run() -> None:
    groups = [(n, OWNERS[0], Op.LINK, 20) for n in range(30)]
    case = make_case(groups, faults=[Fault("503", op="link")], in_flight=1)
    outcome = await simulate(case)
    assert outcome.stop.reason is not None
    assert outcome.stop.reason.stopped_by is StoppedBy.NO_ANSWER
    sent = sum(target.endswith("link_record") for _, target in outcome.requests)
    assert sent <= 6 * worker_count(1), "calls held back by a suspected outage have lines too"


async def test_reads_refused_with_no_other_call_in_flight_stop_the_run_for_credits() -> None:
    faults = [Fault("TOO_MANY_REQUESTS", op="read")]
    outcome = await simulate(make_case([(0, OWNERS[0], Op.RELINK, 3)], faults=faults))
    assert outcome.stop.reason is not None
    assert outcome.stop.reason.stopped_by is StoppedBy.CREDITS
    assert outcome.calls["read"] <= 4
    assert outcome.results == {}


def stop_at_request(request_number: int, stop: StopController) -> Callable[[str], None]:
    """Return a callback that stops the run, as Ctrl-C does, at a request counted from 1."""
    request_count = Counter[str]()

    def on_request(method: str) -> None:
        request_count["all"] += 1
        if request_count["all"] == request_number:
            stop.request(RunStoppedError(StoppedBy.INTERRUPTED, "Ctrl-C"))

    return on_request


async def test_a_stop_holds_back_calls_that_wait_to_be_sent() -> None:
    groups = [(n, OWNERS[0], Op.LINK, 20) for n in range(20)]
    stop = StopController()
    case = make_case(groups, settings=Settings(latency=0.5), in_flight=4)
    outcome = await simulate(case, stop=stop, on_request=stop_at_request(10, stop))
    unsent = [line for line in outcome.lines() if line["event"] == "unsent"]
    assert len(outcome.requests) == 10  # including those for the token and the org
    assert outcome.calls["link"] == 8 + len(unsent)
    assert unsent
    assert not {row for line in unsent for row in line["rows"]} & outcome.results.keys()


async def test_all_calls_in_flight_are_used_while_the_disk_flushes() -> None:
    """The run takes as long as its calls, and no extra time for the disk."""
    groups = [(n, OWNERS[0], Op.LINK, 1) for n in range(2000)]
    for in_flight, latency in ((10, 0.05), (25, 0.2)):
        case = make_case(
            groups, settings=Settings(latency=latency, concurrency=in_flight), disk_seconds=0.005
        )
        case.in_flight = in_flight
        started_at = now()
        outcome = await simulate(case)
        assert count_statuses(outcome) == {"done": 2000}
        assert outcome.crm.state.answered_429 == 0
        assert outcome.crm.state.peak_in_flight == in_flight
        assert now() - started_at <= 1.03 * 2000 * latency / in_flight


async def test_calls_in_flight_are_used_while_others_wait_to_be_retried() -> None:
    """All that a run needs beyond its calls is time for the last retries."""
    groups = [(n, OWNERS[0], Op.LINK, 1) for n in range(4000)]
    fault = Fault("INTERNAL_ERROR", op="link", share=0.05, seed=1)
    case = make_case(groups, settings=Settings(latency=0.05, concurrency=25), faults=[fault])
    case.in_flight = 25
    started_at = now()
    outcome = await simulate(case)
    calls = outcome.crm.state.calls["link"]
    assert calls > 4100
    assert now() - started_at <= 1.03 * calls * 0.05 / 25 + 2.0


async def test_a_timed_out_call_counts_as_in_flight() -> None:
    groups = [(n, OWNERS[0], Op.LINK, 1) for n in range(60)]
    fault = Fault("stalled", op="link", count=1, seconds=45.0)
    case = make_case(groups, settings=Settings(latency=1.0), in_flight=2, faults=[fault])
    outcome = await simulate(case)
    assert count_statuses(outcome) == {"done": 60}
    assert outcome.crm.state.peak_in_flight == 2


async def test_a_contact_with_very_many_emails_leaves_half_of_the_calls_to_others() -> None:
    """Once no other contact waits, it uses all calls in flight."""
    groups = [(0, OWNERS[0], Op.LINK, 160), *((n, OWNERS[0], Op.LINK, 1) for n in range(1, 61))]
    case = make_case(groups, settings=Settings(latency=0.5), batch_size=1, in_flight=10)
    sent_at: list[float] = []
    outcome = await simulate(case, on_request=lambda method: sent_at.append(now()))
    contact_ids = [target.split("/")[4] for _, target in outcome.requests[2:]]
    calls = list(zip(sent_at[2:], contact_ids, strict=True))
    in_flight = [
        sum(at - 0.499 < other_at <= at and id_ == contact(0) for other_at, id_ in calls)
        for at, _ in calls
    ]
    last_other = max(n for n, (_, id_) in enumerate(calls) if id_ != contact(0))
    while_others_wait = in_flight[20 : last_other - 20]  # the first calls are all of this contact
    assert max(while_others_wait) == 5
    assert max(in_flight[last_other + 10 :]) == 10
    assert count_statuses(outcome) == {"done": 220}


@pytest.mark.parametrize(("pause", "longest"), [(0.0, 10.0), (4.0, 6.0), (300.0, 0.0)])
@pytest.mark.parametrize("retry", [False, True])
async def test_a_resume_waits_for_the_rest_of_settle_after(
    pause: float, longest: float, *, retry: bool, tmp_path: Path
) -> None:
    """It does so wherever the first command was killed."""
    durations = []
    for at in range(8, 24):
        case = make_case([(n, OWNERS[0], Op.UNLINK, 2) for n in range(3)], present_deal="other")
        sent_at: list[float] = []
        outcome = await simulate(
            case,
            commands=[
                SimulatedCommand(Interruption.KILL, at_event=at),
                SimulatedCommand(retry=retry, pause=pause),
            ],
            on_request=recorder(sent_at),
            folder=tmp_path,
        )
        assert count_statuses(outcome) == {"done": 6}
        durations.append(sent_at[-1] - resume_time(sent_at, outcome))
    assert max(durations) == pytest.approx(longest, abs=0.5)


@pytest.mark.parametrize("marks", [("here", "there"), (None, "here"), ("here", None), (None, None)])
async def test_a_resume_on_another_machine_waits_in_full(
    marks: tuple[str | None, str | None], tmp_path: Path
) -> None:
    """The ledger's times may be from another clock than this machine's."""
    durations = []
    for at in range(8, 24):
        case = make_case([(n, OWNERS[0], Op.UNLINK, 2) for n in range(3)], present_deal="other")
        sent_at: list[float] = []
        outcome = await simulate(
            case,
            commands=[
                SimulatedCommand(Interruption.KILL, at_event=at, machine_mark=marks[0]),
                SimulatedCommand(pause=300.0, machine_mark=marks[1]),
            ],
            on_request=recorder(sent_at),
            folder=tmp_path,
        )
        assert count_statuses(outcome) == {"done": 6}
        durations.append(sent_at[-1] - resume_time(sent_at, outcome))
    assert max(durations) == pytest.approx(10.0, abs=0.5)


def recorder(sent_at: list[float]) -> Callable[[str], None]:
    """Return a callback that records when each request is sent."""
    return lambda method: sent_at.append(now())


def resume_time(sent_at: list[float], outcome: SimulatedRun) -> float:
    """Return when the last command requested its token."""
    calls = zip(sent_at, outcome.requests, strict=True)
    return [at for at, (_, target) in calls if "oauth" in target][-1]


async def test_contacts_in_doubt_occupy_no_worker_while_they_wait_for_a_read() -> None:
    in_doubt = range(0, 4 * worker_count(2), 2)
    faults = [Fault("lost-answer", op="unlink", contact_id=contact(n), count=1) for n in in_doubt]
    groups = [(n, OWNERS[0], Op.UNLINK, 2) for n in range(100)]
    case = make_case(groups, present_deal="other", in_flight=2, faults=faults)
    sent_at: list[float] = []
    outcome = await simulate(case, on_request=recorder(sent_at))
    assert count_statuses(outcome) == {"done": 200}
    unlinked_at = [
        at for at, (method, _) in zip(sent_at, outcome.requests, strict=True) if method == "DELETE"
    ]
    assert len(unlinked_at) == 100
    assert max(unlinked_at) - min(unlinked_at) < case.settle_after


async def test_other_contacts_continue_while_a_resume_waits_to_read_calls_in_flight(
    tmp_path: Path,
) -> None:
    groups = [(n, OWNERS[0], Op.RELINK, 2) for n in range(60)]
    for at in range(40, 100, 10):
        case = make_case(groups, present_deal="other", in_flight=10, snapshot=False, batch_size=1)
        sent_at: list[float] = []
        outcome = await simulate(
            case,
            commands=[SimulatedCommand(Interruption.KILL, at_event=at), SimulatedCommand()],
            on_request=recorder(sent_at),
            folder=tmp_path,
        )
        assert count_statuses(outcome) == {"done": 120}
        resumed_at = resume_time(sent_at, outcome)
        called_early = {
            target.split("/")[4]
            for at, (_, target) in zip(sent_at, outcome.requests, strict=True)
            if "Contacts" in target and resumed_at < at < resumed_at + case.settle_after / 2
        }
        assert called_early >= {contact(n) for n in range(30, 60)}
