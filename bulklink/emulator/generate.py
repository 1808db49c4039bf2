"""Writes a synthetic world, a mapping for it and the truth about a run, in flat memory."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal, TextIO

import msgspec

from bulklink.emulator.synthetic import Recipe, Row, RowKind, Synthetic, mixed
from bulklink.emulator.truth import INVALID_REASONS, Mail, Op, Tally, expected, facts, mail, usual

Format = Literal["csv", "jsonl"]
_Tallies = Mapping[Op, Tally]
COLUMNS = (
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
_EDITION = {"paid_type": "enterprise", "users_license_purchased": 10}


def file_names(kind: Format) -> tuple[str, str, str]:
    """Return the names of the files that `generate` writes."""
    return "world.json", f"mapping.{kind}", "truth.json"


def generate(recipe: Recipe, folder: Path, kind: Format = "csv") -> None:
    """Write world, mapping and truth into `folder`.

    The same recipe writes the same bytes.

    Args:
        recipe: what they are made of.
        folder: made if it is not there; files of the same names are replaced.
        kind: the format of the mapping.

    Raises:
        OSError: where a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = Synthetic(recipe)
    tallies = {op: Tally(op, made) for op in Op}
    world, mapping, truth = (folder / name for name in file_names(kind))
    with world.open("w", encoding="utf-8", newline="\n") as out:
        _write_object(out, _world_parts(made, tallies))
    with mapping.open("w", encoding="utf-8", newline="") as out:
        _write_mapping(out, made, kind)
    with truth.open("w", encoding="utf-8", newline="\n") as out:
        _write_object(out, _truth_parts(made, tallies))


def _write_object(out: TextIO, parts: Iterable[tuple[str, object]]) -> None:
    """Write a JSON object; an iterator among its values becomes a list, a line an item."""
    out.write("{")
    for number, (key, value) in enumerate(parts):
        out.write(("," if number else "") + f"\n{json.dumps(key)}: ")
        if isinstance(value, Iterator):
            out.write("[")
            out.writelines(
                (",\n" if index else "\n") + _json(item) for index, item in enumerate(value)
            )
            out.write("\n]")
        else:
            out.write(_json(value))
    out.write("\n}\n")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _world_parts(made: Synthetic, tallies: _Tallies) -> Iterator[tuple[str, object]]:
    recipe = made.recipe
    yield "module_id", made.module_id
    yield "org", {"company_name": f"Synthetic org {recipe.seed}", "license_details": _EDITION}
    yield "users", (_user(made, number) for number in range(recipe.users))
    yield "contacts", (_contact(made, number) for number in range(recipe.contacts))
    yield "deals", (_deal(made, n) for n in range(recipe.contacts * recipe.deals_per_contact))
    yield "emails", _emails(made, tallies)


def _person(made: Synthetic, stream: int, number: int) -> str:
    drawn = mixed(made.recipe.seed, stream, number)
    first = _FIRST_NAMES[drawn % len(_FIRST_NAMES)]
    return f"{first} {_LAST_NAMES[drawn // 16 % len(_LAST_NAMES)]}"


def _user_name(made: Synthetic, number: int) -> str:
    return f"{_person(made, 10, number)} {number}"


def _user(made: Synthetic, number: int) -> dict[str, object]:
    name = _user_name(made, number)
    return {"id": made.user_id(number), "full_name": name, "email": f"user{number}@us.example"}


def _contact(made: Synthetic, number: int) -> dict[str, object]:
    name = _person(made, 11, number)
    return {"id": made.contact_id(number), "name": name, "email": f"c{number}@customer.example"}


def _deal_name(made: Synthetic, number: int) -> str:
    product = _PRODUCTS[mixed(made.recipe.seed, 12, number) % len(_PRODUCTS)]
    return f"{product} {number}"


def _deal(made: Synthetic, number: int) -> dict[str, object]:
    day = mixed(made.recipe.seed, 13, number) % 28 + 1
    return {
        "id": made.deal_id(number),
        "name": _deal_name(made, number),
        "contact_id": made.contact_id(number // made.recipe.deals_per_contact),
        "stage": _STAGES[mixed(made.recipe.seed, 14, number) % len(_STAGES)],
        "created_time": "2025-12-01T09:00:00+00:00",
        "modified_time": f"2026-0{day % 9 + 1}-{day:02}T09:00:00+00:00",
    }


def _subject(made: Synthetic, message: int) -> str:
    return _SUBJECTS[mixed(made.recipe.seed, 15, message) % len(_SUBJECTS)]


def _emails(made: Synthetic, tallies: _Tallies) -> Iterator[dict[str, object]]:
    """Yield the emails of the world, and count each in on the way."""
    for message in range(made.recipe.messages):
        known = mail(made, message)
        for tally in tallies.values():
            tally.add_message(known)
        yield _email(made, message, known)


def _email(made: Synthetic, message: int, known: Mail) -> dict[str, object]:
    return {
        "contact_id": known.contact_id,
        "message_id": known.message_id,
        "owner_id": made.user_id(made.owner_of(message)),
        "subject": _subject(made, message),
        "time": made.time_of(message),
        "received": True,
        "deal_id": known.first_deal,
    }


def _write_mapping(out: TextIO, made: Synthetic, kind: Format) -> None:
    rows = (_values(made, made.row(place)) for place in range(made.rows))
    if kind == "csv":
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
        return
    for values in rows:
        filled = {name: value for name, value in zip(COLUMNS, values, strict=True) if value}
        out.write(_json(filled) + "\n")


def _values(made: Synthetic, row: Row) -> list[str]:
    message = row.message
    wanted = made.other_deal(message) if row.kind is RowKind.CONFLICT else made.deal_of(message)
    owner = made.owner_of(message)
    nameless = mixed(made.recipe.seed, 6, message) < made.recipe.names_missing * (1 << 64)
    values = [
        made.contact_id(made.contact_of(message)),
        made.user_id(owner),
        made.message_id(message),
        made.deal_id(wanted),
        "" if nameless else _user_name(made, owner),
        "" if nameless else _deal_name(made, wanted),
        _subject(made, message),
    ]
    return _broken(values, row.nth) if row.kind is RowKind.INVALID else values


def _broken(values: list[str], nth: int) -> list[str]:
    """Break a row in a way that every op must refuse, in turn by `INVALID_REASONS`."""
    match nth % len(INVALID_REASONS):
        case 0:
            values[2] = ""
        case 1:
            values[0] = "x" + values[0][1:]
        case 2:
            values[1] = f"{values[1][0]}.{values[1][1:5]}E+{len(values[1]) - 1}"
        case _:
            values[2] = values[2][:-1] + "-"
    return values


def _truth_parts(made: Synthetic, tallies: _Tallies) -> Iterator[tuple[str, object]]:
    yield "recipe", asdict(made.recipe)
    yield "rows", made.rows
    yield "messages", made.recipe.messages
    yield "usual", {op.value: usual(made, op) for op in Op}
    yield "unusual", _unusual(made, tallies)
    for op, tally in tallies.items():
        yield op.value, tally.shape()


def _unusual(made: Synthetic, tallies: _Tallies) -> Iterator[dict[str, object]]:
    """Count the rows, and tell what a correct run reports of those that are not as most are."""
    most = {op: usual(made, op) for op in Op}
    for place in range(made.rows):
        known = facts(made, place)
        told = {op: expected(known, op) for op in Op}
        for op, tally in tallies.items():
            tally.add_row(told[op])
        if told != most:
            yield {"row": place + 1, **{op.value: told[op] for op in Op if told[op] != most[op]}}
