"""Worlds of conversations: what they contain, and that the truth agrees with them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import click
import pytest

from bulklink.cli.commands.generate import generate as command
from bulklink.emulator.conversations.knobs import (
    KIND_RANGES,
    KNOB_RANGES,
    ConversationRecipe,
    draw_knobs,
)
from bulklink.emulator.conversations.moments import ZONES
from bulklink.emulator.conversations.texts import LANGUAGES
from bulklink.emulator.conversations.writer import CONVERSATION_FILES, generate_conversations
from bulklink.emulator.server import Emulator
from bulklink.emulator.settings import PredictionMode
from bulklink.emulator.worldfile import load_world
from bulklink.errors import ExitCode, UsageError
from tests.emulator.test_server import granted

KINDS = tuple(KIND_RANGES)
MAIL_KINDS = {"deal", "hijacked", "copy", "bulk", "invitation", "private", "office"}
SIZE = 1_500
SECOND_DOMAIN = "freemail.example"
"""Domain of the addresses of contacts who were two records once."""
PAGE = (Path(__file__).parents[2] / "docs" / "worlds.md").read_text("utf-8")
DIGESTS: list[tuple[str, PredictionMode, int, str]] = [
    ("plain", "strict", 1, "f638edc49d6cd880ebdf60788ef3d0c36f5a24f919fb066cd3971a70f81682a1"),
    ("plain", "loose", 2, "f7f16255c9dd0112140d8007cb810e82953d9b37ca60968bdc9e3de7bf9ee32f"),
    ("no-names", "strict", 3, "eeb4bb87615e383a25424b44e91d78c5123a6002ba1b3305d6be2144c8048254"),
    (
        "hijacked",
        "last-modified-first",
        4,
        "5ebf5fb2c74e1b54fe811943782c3ab3c9da4ed58fd5ebf0412cf3b60cd0157f",
    ),
    (
        "one-product",
        "strict",
        5,
        "50a2f9602fa687d256cff60574f0875e10456df5aa5f36fdfa1e96ae2a0c8511",
    ),
    (
        "shared-mailboxes",
        "loose",
        6,
        "9b3104aac3c16ab41333bf1ea4c949d364b7644ffef7725148c0beae6178123d",
    ),
    ("all-right", "strict", 7, "8d5861d7938c479eb5e1798436cfdbcf9c1abe06aab112b04da3179702277267"),
    (
        "languages",
        "last-modified-first",
        8,
        "69b66d08d694ee5d04aeb8bfe045a739c2bca83f89da2c4b026b42c6ea77c3cd",
    ),
    ("merged", "strict", 9, "208f4aa6aadf8465ffc6b55c0dfc1cac8b7ee61c5eb9b8feb0902a04420938be"),
    ("renewals", "loose", 10, "db00914b126bec300b2cdf81863845fa49fde68efaf31e273db4498b1ae4b78b"),
]


@dataclass(frozen=True)
class Made:
    """A generated world, as read by a plain JSON parser.

    Args:
        folder: its files.
        world: the object of world.json.
        truths: the entries of truth.json, in order.
        knobs: the knobs of knobs.json.
    """

    folder: Path
    world: Mapping[str, Any]
    truths: list[dict[str, Any]]
    knobs: Mapping[str, int]

    @property
    def emails(self) -> list[dict[str, Any]]:
        return list(self.world["emails"])

    @property
    def pairs(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Each email with the truth about it."""
        return zip(self.world["emails"], self.truths, strict=True)


def make(folder: Path, kind: str, reading: PredictionMode = "strict", seed: int = 1) -> Made:
    generate_conversations(ConversationRecipe(SIZE, kind, reading, seed=seed), folder)
    world, truths, knobs = (
        json.loads((folder / name).read_text("utf-8")) for name in CONVERSATION_FILES
    )
    return Made(folder, world, truths, knobs["knobs"])


class Library:
    """Two worlds of each kind, made when a test first asks for them.

    Args:
        folder: where they are written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, list[Made]] = {}

    def __getitem__(self, kind: str) -> list[Made]:
        if kind not in self._made:
            self._made[kind] = [
                make(self._folder / f"{kind}{seed}", kind, seed=seed) for seed in (1, 2)
            ]
        return self._made[kind]


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(tmp_path_factory.mktemp("worlds"))


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest, worlds: Library) -> Made:
    return worlds[request.param][0]


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def by_id(records: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {record["id"]: record for record in records}


# The truth


def test_the_world_has_the_emails_asked_for_and_the_truth_names_each_once(made: Made) -> None:
    listed = [(email["contact_id"], email["message_id"]) for email in made.emails]
    assert len(listed) == len(set(listed)) == SIZE
    assert [(truth["contact_id"], truth["message_id"]) for truth in made.truths] == listed
    assert {truth["kind"] for truth in made.truths} <= MAIL_KINDS


def test_the_truth_has_one_email_per_line(made: Made) -> None:
    lines = (made.folder / "truth.json").read_text("utf-8").splitlines()
    assert (lines[0], lines[-1]) == ("[", "]")
    assert [json.loads(line.rstrip(",")) for line in lines[1:-1]] == made.truths


def test_the_right_deal_is_of_the_contact_itself_or_by_role(made: Made) -> None:
    deals = by_id(made.world["deals"])
    for truth in made.truths:
        for deal_id in {truth["deal_id"]} - {None}:
            deal = deals[deal_id]
            people = {deal["contact_id"], *deal.get("contact_roles", [])}
            assert truth["contact_id"] in people


def test_every_link_is_to_a_deal_of_the_contact_itself_or_by_role(made: Made) -> None:
    deals = by_id(made.world["deals"])
    for email in made.emails:
        if email["deal_id"]:
            deal = deals[email["deal_id"]]
            assert email["contact_id"] in {deal["contact_id"], *deal.get("contact_roles", [])}


def test_only_an_inquiry_comes_before_its_deal_exists(made: Made) -> None:
    """The deal is created within days of the first email; a hijacked thread may be earlier."""
    deals = by_id(made.world["deals"])
    early = [
        (seconds(deals[truth["deal_id"]]["created_time"]) - seconds(email["time"]), truth["kind"])
        for email, truth in made.pairs
        if truth["deal_id"]
        and seconds(email["time"]) < seconds(deals[truth["deal_id"]]["created_time"])
    ]
    assert 0 < len(early) < SIZE / 6
    assert max(delay for delay, _ in early) < 6 * 86_400


def test_an_email_that_concerns_no_deal_has_none(made: Made) -> None:
    for truth in made.truths:
        if truth["kind"] in {"bulk", "invitation", "private", "office", "copy"}:
            assert truth["deal_id"] is None
        elif truth["kind"] == "deal":
            assert truth["deal_id"] is not None


def test_what_made_a_link_fits_the_link(made: Made) -> None:
    for email, truth in made.pairs:
        assert (truth["linked_by"] == "none") == (email["deal_id"] is None)
        if truth["linked_by"] == "rule":
            assert email["received"]
        assert (truth["linked_by"] == "sent") == email.get("sent_from_deal", False)
        if truth["linked_by"] == "sent":
            assert not email["received"]


# The rule, replayed from the world file alone


@dataclass(frozen=True)
class Replay:
    """The rule as the announcement states it, over the histories of a world file.

    Args:
        made: the world.
        reading: the reading of the rule.
    """

    made: Made
    reading: str

    def forecasts(self) -> dict[str, str]:
        return {
            name: stage["forecast_type"]
            for stage in self.made.world["stages"]
            for name in (stage["display_value"], stage["actual_value"])
        }

    def state(self, deal: Mapping[str, Any], moment: float) -> tuple[float, str]:
        """Return when a deal had been modified last at a moment, and its forecast type."""
        changes = sorted(deal["history"], key=lambda change: seconds(change["time"]))
        stages = [change for change in changes if change.get("field") == "Stage"]
        stage = stages[0]["old"] if stages else deal["stage"]
        modified = seconds(deal["created_time"])
        for change in changes:
            if seconds(change["time"]) <= moment:
                modified = seconds(change["time"])
                if change.get("field") == "Stage":
                    stage = change["new"]
        return modified, self.forecasts()[stage]

    def predict(self, email: Mapping[str, Any]) -> str | None:
        """Return the deal that the rule gave a received email."""
        moment = seconds(email["time"])
        owner = by_id(self.made.world["users"])[email["owner_id"]]
        deals = [deal for deal in self.candidates(email) if seconds(deal["created_time"]) <= moment]
        if moment < seconds(owner["connected_time"]) and len(deals) > 1:
            return None
        states = [(*self.state(deal, moment), int(deal["id"])) for deal in deals]
        if self.reading == "last-modified-first":
            states = sorted(states)[-1:]
        closed = {"Closed Lost"} if self.reading != "strict" else {"Closed Lost", "Closed Won"}
        open_states = [state for state in states if state[1] not in closed]
        last = max(open_states, key=lambda state: (state[0], state[2]), default=None)
        return str(last[2]) if last else None

    def candidates(self, email: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the deals of the record that an email was listed under when it came."""
        contact = by_id(self.made.world["contacts"])[email["contact_id"]]
        own = [d for d in self.made.world["deals"] if d["contact_id"] == contact["id"]]
        merge = self.merge_of(own)
        is_early = merge is not None and seconds(email["time"]) < merge
        at_duplicate = is_early and self.is_from_second_address(email, contact)
        if is_early:
            own = [deal for deal in own if (self.merge_of([deal]) is not None) == at_duplicate]
        roles = [
            deal
            for deal in self.made.world["deals"]
            if contact["id"] in deal.get("contact_roles", [])
            and deal["contact_id"] != contact["id"]
        ]
        return own + (roles if self.made.knobs["roles_count"] and not at_duplicate else [])

    def merge_of(self, deals: Iterable[Mapping[str, Any]]) -> float | None:
        """Return when the record that some deals belonged to was merged into another."""
        times = [
            seconds(change["time"])
            for deal in deals
            for change in deal["history"]
            if change.get("field") == "Contact_Name"
        ]
        return times[0] if times else None

    def is_from_second_address(self, email: Mapping[str, Any], contact: Mapping[str, Any]) -> bool:
        """Return whether a contact wrote an email from another address than the record's."""
        local_part, _, domain = email["from"]["email"].partition("@")
        own_local_part = contact["email"].partition("@")[0]
        is_own = bool(local_part.rpartition(".")[0] == own_local_part)
        return domain == SECOND_DOMAIN and is_own


def assert_links_are_the_rule_s(made: Made, reading: str) -> None:
    replay = Replay(made, reading)
    linked = 0
    for email, truth in made.pairs:
        if truth["linked_by"] == "rule":
            assert replay.predict(email) == email["deal_id"], email
            linked += 1
        elif email["received"] and truth["linked_by"] == "none" and truth["deal_id"]:
            is_second = email["from"]["email"].endswith(SECOND_DOMAIN)
            assert is_second or replay.predict(email) is None, email
    assert linked > SIZE / 6


def test_a_replay_over_the_histories_gives_every_link_that_the_rule_made(made: Made) -> None:
    assert_links_are_the_rule_s(made, "strict")


@pytest.mark.parametrize("reading", ["loose", "last-modified-first"])
@pytest.mark.parametrize("kind", ["plain", "renewals", "merged"])
def test_the_rule_follows_the_reading_asked_for(
    kind: str, reading: PredictionMode, tmp_path: Path
) -> None:
    made = make(tmp_path / "other", kind, reading)
    assert_links_are_the_rule_s(made, reading)
    strict = make(tmp_path / "strict", kind)
    assert made.world["deals"] == strict.world["deals"]
    assert made.emails != strict.emails


def test_mail_from_before_a_mailbox_was_connected_is_linked_only_to_a_single_deal(
    worlds: Library,
) -> None:
    backlog = linked = 0
    for made in worlds["plain"]:
        users = by_id(made.world["users"])
        for email, truth in made.pairs:
            connected = seconds(users[email["owner_id"]]["connected_time"])
            if email["received"] and seconds(email["time"]) < connected:
                backlog += 1
                linked += truth["linked_by"] == "rule"
    assert 0 < linked < backlog


# Kinds and knobs


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


# The files


def digest_of(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in CONVERSATION_FILES:
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


@pytest.mark.parametrize(("kind", "reading", "seed", "digest"), DIGESTS)
def test_worlds_are_frozen(
    kind: str, reading: PredictionMode, seed: int, digest: str, tmp_path: Path
) -> None:
    """Results of today can be compared with later ones only if worlds stay as they are."""
    generate_conversations(ConversationRecipe(700, kind, reading, seed=seed), tmp_path)
    assert digest_of(tmp_path) == digest


@pytest.mark.parametrize("hash_seed", ["0", "1", "4711"])
def test_the_bytes_do_not_depend_on_the_order_of_hashes(hash_seed: str, tmp_path: Path) -> None:
    recipe = ConversationRecipe(300, "shared-mailboxes", seed=3)
    generate_conversations(recipe, tmp_path / "here")
    program = (
        "import sys; from pathlib import Path; "
        "from bulklink.emulator.conversations.knobs import ConversationRecipe as Recipe; "
        "from bulklink.emulator.conversations.writer import generate_conversations as generate; "
        "generate(Recipe(300, 'shared-mailboxes', seed=3), Path(sys.argv[1]))"
    )
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "there")], env=environment, check=True
    )
    assert digest_of(tmp_path / "here") == digest_of(tmp_path / "there")


def test_only_the_three_files_are_left(tmp_path: Path) -> None:
    generate_conversations(ConversationRecipe(50), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(CONVERSATION_FILES)


MEMORY_PROGRAM = """
import sys
from pathlib import Path
from bulklink.emulator.conversations.knobs import ConversationRecipe
from bulklink.emulator.conversations.writer import generate_conversations
generate_conversations(ConversationRecipe(int(sys.argv[1])), Path(sys.argv[2]))
print(Path("/proc/self/status").read_text("utf-8").partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of the memory from /proc")
def test_memory_does_not_grow_with_the_number_of_emails(tmp_path: Path) -> None:
    def peak(messages: int) -> int:
        words = [sys.executable, "-c", MEMORY_PROGRAM, str(messages), str(tmp_path)]
        return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)

    assert peak(12_000) < peak(3_000) * 1.1


# The emulator and the command


def test_the_emulator_loads_the_world(made: Made) -> None:
    world = load_world(made.folder / "world.json")
    assert sum(len(mailbox.emails) for mailbox in world.mailboxes.values()) == SIZE
    assert len(world.users) == made.knobs["users"] + made.knobs["shared_mailboxes"]


async def test_the_emails_of_a_contact_can_be_read_over_a_socket(tmp_path: Path) -> None:
    generate_conversations(ConversationRecipe(200), tmp_path)
    world = json.loads((tmp_path / "world.json").read_text("utf-8"))
    contact_id, count = Counter(email["contact_id"] for email in world["emails"]).most_common(1)[0]
    links = {
        email["message_id"]: email["deal_id"]
        for email in world["emails"]
        if email["contact_id"] == contact_id
    }
    async with (
        Emulator(load_world(tmp_path / "world.json")) as emulator,
        aiohttp.ClientSession() as session,
    ):
        headers = await granted(session, emulator.url)
        url = f"{emulator.url}/crm/v8/Contacts/{contact_id}/Emails"
        async with session.get(url, headers=headers) as answer:
            emails = (await answer.json())["Emails"]
    assert len(emails) == min(10, count)
    for email in emails:
        linked = email["linked_record"]
        assert (linked["id"] if linked else None) == links[email["message_id"]]


def run(*arguments: str) -> None:
    command.main(list(arguments), standalone_mode=False)


def test_the_command_writes_a_world_of_conversations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--kind", "conversations", "--messages", "60", "--seed", "4", "--users", "3"]
    arguments += ["--world", "hijacked", "--prediction", "loose"]
    run(*arguments, "--out", str(tmp_path / "here"))
    files = capsys.readouterr().out.splitlines()
    assert files == [str(tmp_path / "here" / name) for name in CONVERSATION_FILES]
    recipe = ConversationRecipe(60, "hijacked", "loose", users=3, seed=4)
    generate_conversations(recipe, tmp_path / "there")
    assert digest_of(tmp_path / "here") == digest_of(tmp_path / "there")
    with pytest.raises(UsageError, match="already exists"):
        run(*arguments, "--out", str(tmp_path / "here"))
    run(*arguments, "--out", str(tmp_path / "here"), "--force")


LINKS = ["--messages", "10", "--contacts", "2"]
CONVERSATIONS = ["--kind", "conversations", "--messages", "10"]


@pytest.mark.parametrize(
    ("arguments", "option", "other"),
    [
        (LINKS, ["--world", "plain"], "conversations"),
        (LINKS, ["--prediction", "loose"], "conversations"),
        (CONVERSATIONS, ["--contacts", "2"], "links"),
        (CONVERSATIONS, ["--format", "csv"], "links"),
        (CONVERSATIONS, ["--skew", "0"], "links"),
        (CONVERSATIONS, ["--linked-wrong", "0.1"], "links"),
        (CONVERSATIONS, ["--deals-per-contact", "2"], "links"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
def test_an_option_of_the_other_kind_is_refused(
    arguments: list[str], option: list[str], other: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"{option[0]} belongs to --kind {other}") as caught:
        run(*arguments, *option, "--out", str(tmp_path / "out"))
    assert caught.value.exit_code is ExitCode.REFUSED
    assert not (tmp_path / "out").exists()


def test_every_option_belongs_to_a_kind_or_to_both(tmp_path: Path) -> None:
    """A new option must be sorted, or it is refused for worlds of conversations."""
    accepted = {"--kind", "--messages", "--world", "--prediction", "--seed", "--out", "--force"}
    accepted |= {"--users", "--json", "--debug"}
    for option in (param for param in command.params if isinstance(param, click.Option)):
        if option.opts[0] not in accepted:
            value = "csv" if option.name == "mapping_format" else "1"
            with pytest.raises(UsageError, match="belongs to"):
                run(*CONVERSATIONS, option.opts[0], value, "--out", str(tmp_path))


def test_a_mapping_needs_a_number_of_contacts(tmp_path: Path) -> None:
    with pytest.raises(click.MissingParameter, match="contacts"):
        run("--messages", "10", "--out", str(tmp_path))


# The page


def test_the_page_names_every_knob_with_its_range() -> None:
    for name, knob_range in KNOB_RANGES.items():
        values = str(knob_range.low)
        if knob_range.high != knob_range.low:
            values += f" to {knob_range.high}"
        if knob_range.never:
            values += f"; 0 in {knob_range.never // 10} % of worlds"
        assert f"| `{name}` | {values} | {knob_range.meaning} |" in PAGE, name


def test_the_page_describes_every_kind_and_every_kind_of_mail() -> None:
    for kind in KINDS:
        assert f"| `{kind}` |" in PAGE
    for mail_kind in MAIL_KINDS:
        assert f"| `{mail_kind}` |" in PAGE
