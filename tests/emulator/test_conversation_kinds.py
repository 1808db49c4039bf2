"""What worlds of conversations contain, and how their kinds and knobs differ."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from bulklink.emulator.conversations.knobs import (
    KIND_RANGES,
    KNOB_RANGES,
    ConversationRecipe,
    draw_knobs,
)
from bulklink.emulator.conversations.moments import ZONES
from bulklink.emulator.conversations.texts import LANGUAGES
from tests.emulator.made_worlds import (
    KINDS,
    SECOND_DOMAIN,
    Library,
    Made,
    Replay,
    seconds,
)


def share(worlds: Iterable[Made], is_counted: Any) -> float:
    """Return the share of emails that are counted, by the email and the truth about it."""
    pairs = [pair for made in worlds for pair in made.pairs]
    return sum(bool(is_counted(email, truth)) for email, truth in pairs) / len(pairs)


def is_wrong(email: Mapping[str, Any], truth: Mapping[str, Any]) -> bool:
    return email["deal_id"] is not None and email["deal_id"] != truth["deal_id"]


def is_hijacked(_: Mapping[str, Any], truth: Mapping[str, Any]) -> bool:
    return bool(truth["kind"] == "hijacked")


def is_by_hand(_: Mapping[str, Any], truth: Mapping[str, Any]) -> bool:
    return bool(truth["linked_by"] == "hand")


def test_most_kinds_have_right_wrong_and_missing_links(worlds: Library) -> None:
    for kind in KINDS:
        missing = share(worlds[kind], lambda e, t: t["deal_id"] and not e["deal_id"])
        no_deal = share(worlds[kind], lambda _, t: t["deal_id"] is None)
        assert 0.1 < missing < 0.6, kind
        assert 0.08 < no_deal < 0.3, kind
        assert (0.03 < share(worlds[kind], is_wrong) < 0.5) == (kind != "all-right"), kind


def test_where_everything_is_right_no_link_is_wrong(worlds: Library) -> None:
    assert share(worlds["all-right"], is_wrong) == 0
    assert share(worlds["all-right"], lambda _, t: t["linked_by"] == "rule") > 0.2


def test_where_everything_is_right_a_workflow_touched_the_deal_just_before_many_emails(
    worlds: Library,
) -> None:
    def share_just_after_a_workflow(kind: str) -> float:
        made = worlds[kind][0]
        touches = {
            deal["id"]: [seconds(c["time"]) for c in deal["history"] if c["source"] == "workflow"]
            for deal in made.world["deals"]
        }
        by_rule = [email for email, truth in made.pairs if truth["linked_by"] == "rule"]
        return sum(
            any(0 < seconds(email["time"]) - touch <= 5_400 for touch in touches[email["deal_id"]])
            for email in by_rule
        ) / len(by_rule)

    assert share_just_after_a_workflow("all-right") > 0.1
    assert share_just_after_a_workflow("plain") < 0.03


def test_where_no_subject_names_a_deal_no_summary_does(worlds: Library) -> None:
    for kind, has_names in (("no-names", False), ("plain", True)):
        for made in worlds[kind]:
            deals = made.world["deals"]
            labels = {deal["name"] for deal in deals}
            labels |= {str(v) for deal in deals for v in deal.get("fields", {}).values()}
            texts = {e["subject"] + "|" + (e.get("summary") or "") for e in made.emails}
            assert any(label in text for text in texts for label in labels) == has_names


def test_hijacked_conversations_are_more_frequent_in_their_kind(
    worlds: Library,
) -> None:
    assert share(worlds["hijacked"], is_hijacked) > 2 * share(worlds["plain"], is_hijacked) > 0


def products_in(made: Made) -> int:
    """Return how many products of one language the names of deals have."""
    names = [deal["name"] for deal in made.world["deals"]]
    return max(
        sum(any(product in name for name in names) for product in language.products)
        for language in LANGUAGES.values()
    )


def test_one_product_is_all_that_its_kind_sells(worlds: Library) -> None:
    assert [products_in(made) for made in worlds["one-product"]] == [1, 1]
    assert min(products_in(made) for made in worlds["plain"]) > 3


def is_automatic(change: Mapping[str, Any]) -> bool:
    return change["source"] != "crm_ui" and change.get("field") != "Stage"


def test_nothing_but_people_touches_deals_without_automation(
    worlds: Library,
) -> None:
    for kind, is_expected in (("no-automation", False), ("plain", True)):
        for made in worlds[kind]:
            changes = [change for deal in made.world["deals"] for change in deal["history"]]
            assert any(map(is_automatic, changes)) == is_expected


def test_no_sent_email_is_linked_in_its_kind(worlds: Library) -> None:
    def is_linked_sent(email: Mapping[str, Any], _: object) -> bool:
        return not email["received"] and email["deal_id"] is not None

    assert share(worlds["no-linked-sent"], is_linked_sent) == 0
    assert share(worlds["plain"], is_linked_sent) > 0.01


def test_shared_mailboxes_hold_most_mail_of_their_kind(worlds: Library) -> None:
    def is_shared(email: Mapping[str, Any], _: object) -> bool:
        sides = [email["from"], *email["to"]]
        return not any(side["email"].startswith("user") for side in sides)

    assert share(worlds["shared-mailboxes"], is_shared) > 0.5 > share(worlds["plain"], is_shared)


def test_hands_correct_more_in_their_kind(worlds: Library) -> None:
    assert share(worlds["corrected-by-hand"], is_by_hand) > 0.15
    right = share(worlds["corrected-by-hand"], lambda e, t: is_by_hand(e, t) and not is_wrong(e, t))
    assert right > 0.13


def languages_of(made: Made) -> Counter[str]:
    """Return the number of emails by the language in which their subject is surely written."""
    phrases = {
        code: {phrase for group in language.phrases for phrase in group}
        for code, language in LANGUAGES.items()
    }
    return Counter(
        code
        for email in made.emails
        for code, own in phrases.items()
        if any(phrase in email["subject"] and len(phrase) > 7 for phrase in own)
    )


def test_many_languages_and_time_zones_meet_in_their_kind(worlds: Library) -> None:
    for made in worlds["languages"]:
        written = languages_of(made)
        assert len(written) > 3
        assert max(written.values()) < 0.8 * written.total()
        assert len({email["time"][-6:] for email in made.emails}) > 2


def merged_share(made: Made) -> float:
    """Return the share of contacts with deals of whom a duplicate record had one."""
    people = {deal["contact_id"] for deal in made.world["deals"]}
    merged = {
        deal["contact_id"]
        for deal in made.world["deals"]
        if any(change.get("field") == "Contact_Name" for change in deal["history"])
    }
    return len(merged) / len(people)


def test_merged_contacts_have_deals_of_two_records_and_write_from_two_addresses(
    worlds: Library,
) -> None:
    for made, plain in zip(worlds["merged"], worlds["plain"], strict=True):
        assert merged_share(made) > 0.15
        assert merged_share(made) > merged_share(plain)
        addresses = defaultdict[str, set[str]](set)
        for email in made.emails:
            addresses[email["contact_id"]].add(email["from"]["email"])
        second = [a for a in addresses.values() if any(x.endswith(SECOND_DOMAIN) for x in a)]
        assert len(second) > 10


def test_won_deals_are_renewed_more_often_in_their_kind(worlds: Library) -> None:
    def renewals(made: Made) -> float:
        words = {language.renewal for language in LANGUAGES.values()}
        names = [deal["name"] for deal in made.world["deals"]]
        return sum(any(word in name for word in words) for name in names) / len(names)

    assert sum(map(renewals, worlds["renewals"])) > 2 * sum(map(renewals, worlds["plain"]))


@pytest.mark.parametrize("name", KNOB_RANGES)
def test_a_knob_differs_between_worlds_and_stays_in_its_range(name: str) -> None:
    values = [draw_knobs(ConversationRecipe(1, seed=seed)).values[name] for seed in range(60)]
    knob_range = KNOB_RANGES[name]
    assert all(knob_range.low <= value <= knob_range.high for value in values if value)
    assert len(set(values)) > 1
    if knob_range.low:
        assert (0 in values) == (knob_range.never > 0)


def test_kinds_change_only_knobs_that_exist() -> None:
    assert {name for ranges in KIND_RANGES.values() for name in ranges} <= KNOB_RANGES.keys()


def test_two_kinds_with_one_seed_have_nothing_in_common(worlds: Library) -> None:
    first = [{email["message_id"] for email in worlds[kind][0].emails} for kind in KINDS]
    assert sum(map(len, first)) == len(set().union(*first))


# What a world contains


def test_one_email_is_listed_under_two_contacts_now_and_then(made: Made) -> None:
    contacts = defaultdict[str, set[str]](set)
    for email in made.emails:
        contacts[email["message_id"]].add(email["contact_id"])
    assert {len(people) for people in contacts.values()} == {1, 2}


def test_worlds_contain_what_makes_linking_hard(worlds: Library) -> None:
    made_worlds = [made for kind in KINDS for made in worlds[kind]]
    for made in made_worlds:
        deals, stages = made.world["deals"], made.world["stages"]
        names = Counter((deal["contact_id"], deal["name"]) for deal in deals)
        assert max(names.values()) > 1
        assert any(deal.get("contact_roles") for deal in deals)
        assert any(change.get("field") == "Owner" for d in deals for change in d["history"])
        assert {stage["forecast_type"] for stage in stages} == {"Open", "Closed Won", "Closed Lost"}
    assert any(is_reopened(made, deal) for made in made_worlds for deal in made.world["deals"])
    assert any(is_of_two_accounts(made) for made in made_worlds)
    lost = [
        sum(s["forecast_type"] == "Closed Lost" for s in m.world["stages"]) for m in made_worlds
    ]
    assert set(lost) == {1, 2, 3, 4}
    renamed = [
        any(s["display_value"] != s["actual_value"] for s in m.world["stages"]) for m in made_worlds
    ]
    assert set(renamed) == {True, False}


def is_reopened(made: Made, deal: Mapping[str, Any]) -> bool:
    forecasts = Replay(made, "strict").forecasts()
    changes = [change for change in deal["history"] if change.get("field") == "Stage"]
    return any(
        forecasts[change["old"]] != "Open" and forecasts[change["new"]] == "Open"
        for change in changes
    )


def is_of_two_accounts(made: Made) -> bool:
    accounts = defaultdict[str, set[str]](set)
    for deal in made.world["deals"]:
        accounts[deal["contact_id"]].add(deal["account_id"])
    return any(len(ids) > 1 for ids in accounts.values())


def test_a_stage_change_begins_where_the_last_one_ended(made: Made) -> None:
    for deal in made.world["deals"]:
        changes = [change for change in deal["history"] if change.get("field") == "Stage"]
        for earlier, later in pairwise(changes):
            assert earlier["new"] == later["old"]
            assert seconds(earlier["time"]) < seconds(later["time"])
        times = [seconds(change["time"]) for change in deal["history"]]
        assert times == sorted(times)
        assert seconds(deal["modified_time"]) == max([*times, seconds(deal["created_time"])])


def test_replies_follow_within_a_conversation(made: Made) -> None:
    threads = defaultdict[str, list[float]](list)
    for email in made.emails:
        if email.get("thread_id"):
            threads[email["thread_id"]].append(seconds(email["time"]))
    if threads:
        assert max(map(len, threads.values())) > 4


@pytest.mark.parametrize("zone", ZONES, ids=lambda zone: zone.name)
def test_a_time_zone_has_the_offsets_of_its_name(zone: Any) -> None:
    """The offsets are computed, as the time zones installed on a machine change."""
    zoneinfo = pytest.importorskip("zoneinfo")
    try:
        installed = zoneinfo.ZoneInfo(zone.name)
    except zoneinfo.ZoneInfoNotFoundError:
        pytest.skip("this machine has no time zones")
    start = int(seconds("2022-01-01T00:00:00+00:00"))
    for day in range(start, start + 5 * 366 * 86_400, 86_400):
        is_changing = zone.offset_at(day) != zone.offset_at(day + 86_400)
        for moment in range(day, day + 86_400, 900 if is_changing else 86_400):
            offset = datetime.fromtimestamp(moment, installed).utcoffset()
            assert offset is not None
            assert zone.offset_at(moment) * 60 == offset.total_seconds()
