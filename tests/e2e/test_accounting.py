"""Whatever a mapping holds, each row ends in exactly one status, the one that is true."""

from __future__ import annotations

import random

import pytest

from .audit import agrees, audited
from .command import Command, Row, row, write_mapping
from .servers import Emulator
from .world import STRANGER, Contact, Email

Judged = list[tuple[Row, str, str | None]]
"""Rows with the status and, where they are refused, the code that they must get."""


def drawn(chance: random.Random, contacts: list[Contact]) -> Judged:
    """Return a mapping of link rows with faults, conflicts and duplicates, judged by hand."""
    judged: Judged = []
    emails: list[tuple[Contact, Email]] = [
        (one, email)
        for one in contacts
        for email in chance.sample(one.emails, chance.randint(3, 30))
    ]
    for contact, email in emails:
        good = row(email, contact.a, Note=f"n{len(judged)}")
        status = "done" if email.deal is None else "unchanged"
        elsewhere = "done" if email.deal is None else "failed"
        match chance.randrange(9):
            case 0:
                judged.append(({**good, "message_id": ""}, "rejected", "missing-value"))
            case 1:
                judged.append(({**good, "contact_id": "12x"}, "rejected", "bad-id"))
            case 2:
                judged.append(({**good, "deal_id": STRANGER}, "rejected", "unknown-deal"))
            case 3:
                judged.append((good, "rejected", "conflict"))
                judged.append(({**good, "deal_id": contact.b}, "rejected", "conflict"))
            case 4:
                judged.append((good, status, None))
                judged.extend([({**good, "deal_name": "x"}, "duplicate", None)] * 2)
            case 5:
                judged.append(({**good, "deal_id": contact.b}, elsewhere, None))
            case 6:
                other = next(one for one in contacts if one is not contact)
                judged.append(({**good, "deal_id": other.a}, "failed", None))
            case _:
                judged.append((good, status, None))
    return judged


def shuffled(chance: random.Random, judged: Judged) -> Judged:
    """Return the rows in another order, the first of each duplicate still the sent one."""
    order = sorted(judged, key=lambda _: chance.random())
    seen: set[tuple[str, ...]] = set()
    true: Judged = []
    statuses = {
        key(one): status for one, status, _ in judged if status not in {"duplicate", "rejected"}
    }
    for one, status, code in order:
        if status != "rejected":
            status = "duplicate" if key(one) in seen else statuses[key(one)]
            seen.add(key(one))
        true.append((one, status, code))
    return true


def key(one: Row) -> tuple[str, ...]:
    """Return what makes two rows duplicates."""
    return tuple(one[name] for name in ("contact_id", "owner_id", "message_id", "deal_id"))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rows_are_the_sum_of_the_counts_and_each_has_its_true_status(
    linker: Command, emulator: Emulator, contacts: list[Contact], seed: int
) -> None:
    chance = random.Random(seed)
    judged = shuffled(chance, drawn(chance, contacts))
    before = emulator.links()
    half = len(judged) // 2
    write_mapping(linker.folder / "one.csv", [one for one, _, _ in judged[:half]])
    write_mapping(linker.folder / "two.jsonl", [one for one, _, _ in judged[half:]])
    told = linker("link", "one.csv", "two.jsonl", "--json", "--on-invalid", "skip")
    assert told.code == 1, told
    run = audited(told, linker.folder, len(judged))
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
def test_mixed_rows_end_as_the_crm_has_them(
    linker: Command, emulator: Emulator, contacts: list[Contact], seed: int
) -> None:
    chance = random.Random(seed)
    given = [
        row(email, chance.choice([one.a, one.b]), op=chance.choice(["link", "unlink", "relink"]))
        for one in contacts
        for email in chance.sample(one.emails, chance.randint(3, 40))
    ]
    chance.shuffle(given)
    before = emulator.links()
    write_mapping(linker.folder / "m.csv", given)
    run = audited(linker("run", "m.csv", "--json"), linker.folder, len(given))
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
    agrees(run, before, emulator.links())
