"""Constant-memory writer of a synthetic world, its mapping and truth.json."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal, TextIO

import msgspec

from bulklink.emulator.expected_results import (
    ExpectedTotals,
    MessageFacts,
    Operation,
    expected_result,
    message_facts,
    row_facts,
    usual_result,
)
from bulklink.emulator.invalid_rows import invalid_row
from bulklink.emulator.synthetic import Recipe, RowKind, SyntheticRow, SyntheticWorld, splitmix64

MappingFormat = Literal["csv", "jsonl"]
_TotalsByOperation = Mapping[Operation, ExpectedTotals]
MAPPING_COLUMNS = (
    "contact_id",
    "owner_id",
    "message_id",
    "deal_id",
    "owner_name",
    "deal_name",
    "subject",
)
_FIRST_NAMES = ("Ana", "Tom", "Mei", "Lukas", "Priya", "Olivia", "Diego", "Nora", "Samuel", "Zoë")
_LAST_NAMES = ("Ferreira", "Okafor", "Tanaka", "Brandt", "Raman", "Hart", "Salas", "Lindqvist")
_PRODUCTS = ("Travel Insurance", "Fleet Renewal", "Site Liability", "Cargo Cover", "Health Plan")
_SUBJECTS = ("Quote, please", "Re: our offer", "Signed papers, as agreed", "Next steps", "Invoice")
_STAGES = ("Qualification", "Proposal/Price Quote", "Negotiation/Review", "Closed Won")
_LICENSE = {"paid_type": "enterprise", "users_license_purchased": 10}


def file_names(mapping_format: MappingFormat) -> tuple[str, str, str]:
    """Return the names of the files that `generate` writes."""
    return "world.json", f"mapping.{mapping_format}", "truth.json"


def generate(recipe: Recipe, folder: Path, mapping_format: MappingFormat = "csv") -> None:
    """Write a world, its mapping and truth.json to `folder`.

    The same recipe always produces the same bytes.

    Args:
        recipe: sizes and shares of the world.
        folder: created if missing; existing files are replaced.
        mapping_format: format of the mapping.

    Raises:
        OSError: if a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    synthetic = SyntheticWorld(recipe)
    totals = {op: ExpectedTotals(op, synthetic) for op in Operation}
    world, mapping, truth = (folder / name for name in file_names(mapping_format))
    with world.open("w", encoding="utf-8", newline="\n") as out:
        _write_object(out, _world_members(synthetic, totals))
    with mapping.open("w", encoding="utf-8", newline="") as out:
        _write_mapping(out, synthetic, mapping_format)
    with truth.open("w", encoding="utf-8", newline="\n") as out:
        _write_object(out, _truth_members(synthetic, totals))


def _write_object(out: TextIO, members: Iterable[tuple[str, object]]) -> None:
    """Write a JSON object; an iterator is written as a list with one item per line."""
    out.write("{")
    for number, (key, value) in enumerate(members):
        out.write(("," if number else "") + f"\n{json.dumps(key)}: ")
        if isinstance(value, Iterator):
            out.write("[")
            out.writelines(
                (",\n" if index else "\n") + _to_json(item) for index, item in enumerate(value)
            )
            out.write("\n]")
        else:
            out.write(_to_json(value))
    out.write("\n}\n")


def _to_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _world_members(
    synthetic: SyntheticWorld, totals: _TotalsByOperation
) -> Iterator[tuple[str, object]]:
    recipe = synthetic.recipe
    yield "module_id", synthetic.module_id
    yield "org", {"company_name": f"Synthetic org {recipe.seed}", "license_details": _LICENSE}
    yield "users", (_user_entry(synthetic, number) for number in range(recipe.users))
    yield "contacts", (_contact_entry(synthetic, number) for number in range(recipe.contacts))
    yield (
        "deals",
        (_deal_entry(synthetic, n) for n in range(recipe.contacts * recipe.deals_per_contact)),
    )
    yield "emails", _email_entries(synthetic, totals)


def _person_name(synthetic: SyntheticWorld, stream: int, number: int) -> str:
    random_bits = splitmix64(synthetic.recipe.seed, stream, number)
    first_name = _FIRST_NAMES[random_bits % len(_FIRST_NAMES)]
    return f"{first_name} {_LAST_NAMES[random_bits // 16 % len(_LAST_NAMES)]}"


def _user_name(synthetic: SyntheticWorld, number: int) -> str:
    return f"{_person_name(synthetic, 10, number)} {number}"


def _user_entry(synthetic: SyntheticWorld, number: int) -> dict[str, object]:
    name = _user_name(synthetic, number)
    return {"id": synthetic.user_id(number), "full_name": name, "email": f"user{number}@us.example"}


def _contact_entry(synthetic: SyntheticWorld, number: int) -> dict[str, object]:
    name = _person_name(synthetic, 11, number)
    return {
        "id": synthetic.contact_id(number),
        "name": name,
        "email": f"c{number}@customer.example",
    }


def _deal_name(synthetic: SyntheticWorld, number: int) -> str:
    product = _PRODUCTS[splitmix64(synthetic.recipe.seed, 12, number) % len(_PRODUCTS)]
    return f"{product} {number}"


def _deal_entry(synthetic: SyntheticWorld, number: int) -> dict[str, object]:
    day = splitmix64(synthetic.recipe.seed, 13, number) % 28 + 1
    return {
        "id": synthetic.deal_id(number),
        "name": _deal_name(synthetic, number),
        "contact_id": synthetic.contact_id(number // synthetic.recipe.deals_per_contact),
        "stage": _STAGES[splitmix64(synthetic.recipe.seed, 14, number) % len(_STAGES)],
        "created_time": "2025-12-01T09:00:00+00:00",
        "modified_time": f"2026-0{day % 9 + 1}-{day:02}T09:00:00+00:00",
    }


def _subject(synthetic: SyntheticWorld, message: int) -> str:
    return _SUBJECTS[splitmix64(synthetic.recipe.seed, 15, message) % len(_SUBJECTS)]


def _email_entries(
    synthetic: SyntheticWorld, totals: _TotalsByOperation
) -> Iterator[dict[str, object]]:
    """Yield the emails of the world, adding each to the totals."""
    for message in range(synthetic.recipe.messages):
        facts = message_facts(synthetic, message)
        for op_totals in totals.values():
            op_totals.add_message(facts)
        yield _email_entry(synthetic, message, facts)


def _email_entry(synthetic: SyntheticWorld, message: int, facts: MessageFacts) -> dict[str, object]:
    return {
        "contact_id": facts.contact_id,
        "message_id": facts.message_id,
        "owner_id": synthetic.user_id(synthetic.owner_of(message)),
        "subject": _subject(synthetic, message),
        "time": synthetic.time_of(message),
        "received": True,
        "deal_id": facts.initial_deal_id,
    }


def _write_mapping(out: TextIO, synthetic: SyntheticWorld, mapping_format: MappingFormat) -> None:
    rows = (
        _row_values(synthetic, synthetic.row_at(position))
        for position in range(synthetic.row_count)
    )
    if mapping_format == "csv":
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(MAPPING_COLUMNS)
        writer.writerows(rows)
        return
    for values in rows:
        record = {name: value for name, value in zip(MAPPING_COLUMNS, values, strict=True) if value}
        out.write(_to_json(record) + "\n")


def _row_values(synthetic: SyntheticWorld, row: SyntheticRow) -> list[str]:
    message = row.message
    deal = (
        synthetic.other_deal(message)
        if row.kind is RowKind.CONFLICT
        else synthetic.deal_of(message)
    )
    owner = synthetic.owner_of(message)
    omit_names = splitmix64(synthetic.recipe.seed, 6, message) < synthetic.recipe.names_missing * (
        1 << 64
    )
    values = [
        synthetic.contact_id(synthetic.contact_of(message)),
        synthetic.user_id(owner),
        synthetic.message_id(message),
        synthetic.deal_id(deal),
        "" if omit_names else _user_name(synthetic, owner),
        "" if omit_names else _deal_name(synthetic, deal),
        _subject(synthetic, message),
    ]
    if row.kind is RowKind.INVALID:
        invalid_row(row.index_in_kind).break_values(values)
    return values


def _truth_members(
    synthetic: SyntheticWorld, totals: _TotalsByOperation
) -> Iterator[tuple[str, object]]:
    yield "recipe", asdict(synthetic.recipe)
    yield "rows", synthetic.row_count
    yield "messages", synthetic.recipe.messages
    yield "usual", {op.value: usual_result(synthetic, op) for op in Operation}
    yield "unusual", _unusual_rows(synthetic, totals)
    for op, op_totals in totals.items():
        yield op.value, op_totals.as_dict()


def _unusual_rows(
    synthetic: SyntheticWorld, totals: _TotalsByOperation
) -> Iterator[dict[str, object]]:
    """Yield the expected results that differ from the usual ones, adding all rows to the totals."""
    usual_results = {op: usual_result(synthetic, op) for op in Operation}
    for position in range(synthetic.row_count):
        facts = row_facts(synthetic, position)
        results = {op: expected_result(facts, op) for op in Operation}
        for op, op_totals in totals.items():
            op_totals.add_row(results[op])
        if results != usual_results:
            yield {
                "row": position + 1,
                **{op.value: results[op] for op in Operation if results[op] != usual_results[op]},
            }
