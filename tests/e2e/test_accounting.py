"""For any mapping, each row ends in exactly one status, the true one."""

from __future__ import annotations

import random

import pytest

from tests.e2e.audit import assert_crm_matches, audit_run
from tests.e2e.command import Command, Row, row, write_mapping
from tests.e2e.servers import Emulator
from tests.e2e.world import UNKNOWN_ID, Contact, Email

ExpectedRows = list[tuple[Row, str, str | None]]
"""Rows with the status and, where they are refused, the code that they must get."""


def draw_rows(rng: random.Random, contacts: list[Contact]) -> ExpectedRows:
    """Return link rows with faults, conflicts and duplicates, and their expected statuses."""
    expected: ExpectedRows = []
    emails: list[tuple[Contact, Email]] = [
        (candidate, email)
        for candidate in contacts
        for email in rng.sample(candidate.emails, rng.randint(3, 30))
    ]
    for contact, email in emails:
        good = row(email, contact.a, Note=f"n{len(expected)}")
        status = "done" if email.deal is None else "unchanged"
        elsewhere = "done" if email.deal is None else "failed"
        match rng.randrange(9):
            case 0:
                expected.append(({**good, "message_id": ""}, "rejected", "missing-value"))
            case 1:
                expected.append(({**good, "contact_id": "12x"}, "rejected", "bad-id"))
            case 2:
                expected.append(({**good, "deal_id": UNKNOWN_ID}, "rejected", "unknown-deal"))
            case 3:
                expected.append((good, "rejected", "conflict"))
                expected.append(({**good, "deal_id": contact.b}, "rejected", "conflict"))
            case 4:
                expected.append((good, status, None))
                expected.extend([({**good, "deal_name": "x"}, "duplicate", None)] * 2)
            case 5:
                expected.append(({**good, "deal_id": contact.b}, elsewhere, None))
            case 6:
                other_contact = next(
                    candidate for candidate in contacts if candidate is not contact
                )
                expected.append(({**good, "deal_id": other_contact.a}, "failed", None))
            case _:
                expected.append((good, status, None))
    return expected


def shuffle_rows(rng: random.Random, expected: ExpectedRows) -> ExpectedRows:
    """Return the rows in another order; the first of duplicate rows is the one that is sent."""
    order = sorted(expected, key=lambda _: rng.random())
    seen_keys: set[tuple[str, ...]] = set()
    reordered: ExpectedRows = []
    statuses = {
        key(cells): status
        for cells, status, _ in expected
        if status not in {"duplicate", "rejected"}
    }
    for cells, status, code in order:
        if status != "rejected":
            status = "duplicate" if key(cells) in seen_keys else statuses[key(cells)]
            seen_keys.add(key(cells))
        reordered.append((cells, status, code))
    return reordered


def key(cells: Row) -> tuple[str, ...]:
    """Return the key that duplicate rows have in common."""
    return tuple(cells[name] for name in ("contact_id", "owner_id", "message_id", "deal_id"))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_counts_add_up_and_each_row_has_its_true_status(
    connected_command: Command, emulator: Emulator, contacts: list[Contact], seed: int
) -> None:
    chance = random.Random(seed)
    judged = shuffle_rows(chance, draw_rows(chance, contacts))
    before = emulator.links()
    half = len(judged) // 2
    write_mapping(connected_command.folder / "one.csv", [one for one, _, _ in judged[:half]])
    write_mapping(connected_command.folder / "two.jsonl", [one for one, _, _ in judged[half:]])
    command_result = connected_command(
        "link", "one.csv", "two.jsonl", "--json", "--on-invalid", "skip"
    )
    assert command_result.code == 1, command_result
    run = audit_run(command_result, connected_command.folder, len(judged))
    for number, (_, status, code) in enumerate(judged, 1):
        result = run.results[number]
        assert result["status"] == status, (number, result)
        assert code is None or result["code"] == code, (number, result)
    now = emulator.links()
    settled = [one for one in run.results.values() if one["status"] in {"done", "unchanged"}]
    assert all(now[one["message_id"]] == one["deal_id"] for one in settled)
    touched = {one["message_id"] for one in settled}
    assert all(now[one] == deal for one, deal in before.items() if one not in touched)
    assert len(run.results) == len(judged)


@pytest.mark.parametrize("seed", [4, 5])
def test_results_of_mixed_rows_match_the_crm(
    connected_command: Command, emulator: Emulator, contacts: list[Contact], seed: int
) -> None:
    chance = random.Random(seed)
    given = [
        row(email, chance.choice([one.a, one.b]), op=chance.choice(["link", "unlink", "relink"]))
        for one in contacts
        for email in chance.sample(one.emails, chance.randint(3, 40))
    ]
    chance.shuffle(given)
    before = emulator.links()
    write_mapping(connected_command.folder / "m.csv", given)
    run = audit_run(
        connected_command("run", "m.csv", "--json"), connected_command.folder, len(given)
    )
    assert "rejected" not in run.counts
    assert "in_doubt" not in run.counts
    refused = {
        email.message
        for one in contacts
        for email in one.linked
        for line in given
        if line["message_id"] == email.message and line["op"] == "link" and line["deal_id"] != one.a
    }
    failed = {one["message_id"] for one in run.results.values() if one["status"] == "failed"}
    assert failed == refused
    assert_crm_matches(run, before, emulator.links())
