"""The replay agrees with generated worlds, whose emails an independent program linked."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from bulklink.cli.app import cli
from bulklink.finding.connection_span import CONNECTION_UNKNOWN, ConnectionSpan
from bulklink.finding.link_evidence import LinkEvidence
from bulklink.finding.link_origin import LinkFacts, LinkOrigin, judge_link
from bulklink.finding.needed_histories import needed_histories
from bulklink.finding.prediction_rule import Reading
from bulklink.finding.rule_replay import RuleReplay
from bulklink.finding.values import ContactFacts, EmailFacts
from tests.finding.worlds import GeneratedWorld

SEEDS = range(1, 21)
MESSAGES = 150
_MOST_UNCERTAIN = {"given": 0.08, "inferred": 0.6}
"""Share of received emails; small worlds tell little of when mailboxes were connected."""


def generate(
    folder: Path,
    reading: Reading,
    seed: int,
    *,
    kind: str = "plain",
    messages: int = MESSAGES,
    users: int = 2,
) -> GeneratedWorld:
    options = {
        "--kind": "conversations",
        "--world": kind,
        "--messages": messages,
        "--users": users,
        "--prediction": reading,
        "--seed": seed,
        "--out": folder / f"{reading}-{seed}",
    }
    arguments = [str(word) for option in options.items() for word in option]
    cli.main(["generate", *arguments], standalone_mode=False)
    return GeneratedWorld(folder / f"{reading}-{seed}")


def replays(world: GeneratedWorld) -> list[RuleReplay]:
    return [RuleReplay(facts, world.stages, roles=world.roles_count) for facts in world.contacts()]


def infer(contacts: list[RuleReplay]) -> LinkEvidence:
    evidence = LinkEvidence()
    for replay in contacts:
        evidence.add(replay)
    return evidence


def agrees(world: GeneratedWorld, contact_id: str, email: EmailFacts, deal_id: str | None) -> bool:
    """Return whether an email is on the deal of the rule, or people moved it.

    People take emails off a deal only if these concern none of the contact's deals.
    """
    truth = world.truth[contact_id, email.message_id]
    moved = truth["linked_by"] == "hand"
    taken_off = email.deal_id is None and truth["deal_id"] is None and world.detached
    return email.deal_id == deal_id or moved or taken_off


def compare(
    world: GeneratedWorld,
    contacts: list[RuleReplay],
    reading: Reading,
    spans: Mapping[str, ConnectionSpan],
) -> Counter[str]:
    """Return how many received emails are replayed rightly, wrongly, or not for certain."""
    counts: Counter[str] = Counter()
    for replay in contacts:
        for email in replay.contact.emails:
            if email.direction == "received":
                span = spans.get(email.owner_id or "", CONNECTION_UNKNOWN)
                verdict = replay.replay(email, [reading], span)
                if not verdict.exact:
                    counts["uncertain"] += 1
                elif agrees(world, replay.contact.id, email, verdict.deal_id):
                    counts["right"] += 1
                else:
                    counts["wrong"] += 1
    return counts


@pytest.mark.parametrize("reading", Reading)
def test_every_exact_verdict_is_what_the_world_did(reading: Reading, tmp_path: Path) -> None:
    """The option -rP of pytest shows how many verdicts are uncertain."""
    totals = {"given": Counter[str](), "inferred": Counter[str]()}
    for seed in SEEDS:
        world = generate(tmp_path, reading, seed)
        contacts = replays(world)
        inferred = infer(contacts).connections()
        totals["given"] += compare(world, contacts, reading, world.connections)
        totals["inferred"] += compare(world, contacts, reading, inferred)
    for connections, counts in totals.items():
        uncertain = counts["uncertain"] / counts.total()
        sys.stdout.write(f"{reading}, connections {connections}: {uncertain:.1%} uncertain\n")
        assert counts["wrong"] == 0
        assert uncertain < _MOST_UNCERTAIN[connections]


@pytest.fixture(scope="module")
def large_world(tmp_path_factory: pytest.TempPathFactory) -> GeneratedWorld:
    """Return a world with enough emails to tell when its mailboxes were connected."""
    folder = tmp_path_factory.mktemp("world")
    return generate(
        folder, Reading.LOOSE, seed=1, kind="corrected-by-hand", messages=3_000, users=4
    )


def test_the_reading_and_the_connections_of_a_world_are_found(large_world: GeneratedWorld) -> None:
    evidence = infer(replays(large_world))
    spans = evidence.connections()
    assert spans
    for owner_id, span in spans.items():
        connected = large_world.connections[owner_id].earliest
        assert span.earliest <= connected <= span.latest
    assert evidence.choose_reading(spans).plausible == (Reading.LOOSE,)


def test_few_verdicts_on_a_large_world_are_uncertain_and_none_wrong(
    large_world: GeneratedWorld,
) -> None:
    contacts = replays(large_world)
    counts = compare(large_world, contacts, Reading.LOOSE, infer(contacts).connections())
    assert counts["wrong"] == 0
    assert counts["uncertain"] < 0.15 * counts.total()


def judge_loosely(
    replay: RuleReplay, email: EmailFacts, connections: Mapping[str, ConnectionSpan]
) -> LinkFacts:
    readings, connection = [Reading.LOOSE], connections[email.owner_id or ""]
    is_received = email.direction == "received"
    rule = replay.replay(email, readings, connection) if is_received else None
    return judge_link(replay, email, rule, readings, connection)


def test_links_are_told_apart_as_the_truth_says(large_world: GeneratedWorld) -> None:
    """A link that a person makes where the rule would have made it looks like one of the rule's."""
    found = Counter(
        (large_world.truth[replay.contact.id, email.message_id]["linked_by"], facts.origin)
        for replay in replays(large_world)
        for email in replay.contact.emails
        for facts in [judge_loosely(replay, email, large_world.connections)]
    )
    assert found["rule", LinkOrigin.RULE] > 500
    assert found["hand", LinkOrigin.HAND] > 10
    assert {
        pair
        for pair in found
        if LinkOrigin.UNCERTAIN not in pair
        and pair
        not in {
            ("rule", LinkOrigin.RULE),
            ("hand", LinkOrigin.HAND),
            ("hand", LinkOrigin.RULE),
            ("hand", LinkOrigin.SENT),
            ("sent", LinkOrigin.SENT),
            ("none", LinkOrigin.NONE),
        }
    } == set()


def test_the_histories_that_are_asked_for_are_enough(large_world: GeneratedWorld) -> None:
    complete = {facts.id: facts for facts in large_world.contacts()}
    unread = asked = 0
    for facts in large_world.contacts(histories=False):
        replay = RuleReplay(facts, large_world.stages)
        ids = needed_histories(replay, [Reading.LOOSE], {}, lives=False)
        unread += len(facts.deals)
        asked += len(ids)
        read = tuple(
            known if known.id in ids else deal
            for deal, known in zip(facts.deals, complete[facts.id].deals, strict=True)
        )
        partly = ContactFacts(facts.id, facts.emails, read, facts.addresses)
        partly_read = RuleReplay(partly, large_world.stages)
        wholly_read = RuleReplay(complete[facts.id], large_world.stages)
        for email in facts.emails:
            if email.direction == "received":
                assert partly_read.replay(email, [Reading.LOOSE]) == wholly_read.replay(
                    email, [Reading.LOOSE]
                )
    assert 0 < asked < unread
