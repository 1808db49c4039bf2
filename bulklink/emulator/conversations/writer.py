"""Writer of synthetic worlds, in memory that does not grow with the number of emails."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO, cast

import msgspec

from bulklink.emulator.conversations.company import CompanyRecords, make_company
from bulklink.emulator.conversations.knobs import ConversationRecipe, draw_knobs
from bulklink.emulator.conversations.org import OrgPlan, plan_org, record_id

CONVERSATION_FILES = ("world.json", "truth.json", "knobs.json")
"""Names of the files of a world."""


def generate_conversations(recipe: ConversationRecipe, folder: Path) -> None:
    """Write a world, the truth about its emails, and its knobs.

    The same recipe always produces the same bytes.

    Args:
        recipe: what is asked of the world.
        folder: created if missing; existing files are replaced.

    Raises:
        OSError: if a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    org = plan_org(recipe, draw_knobs(recipe))
    world, truth, knobs = (folder / name for name in CONVERSATION_FILES)
    with knobs.open("w", encoding="utf-8", newline="\n") as out:
        _write_knobs(out, org)
    with (
        world.open("w", encoding="utf-8", newline="\n") as world_out,
        truth.open("w", encoding="utf-8", newline="\n") as truth_out,
    ):
        _write_companies(org, world_out, truth_out, folder)


def _write_knobs(out: TextIO, org: OrgPlan) -> None:
    recipe = msgspec.to_builtins(org.recipe)
    json.dump({"recipe": recipe, "knobs": dict(org.knobs.values)}, out, indent=1)
    out.write("\n")


def _companies(org: OrgPlan) -> Iterator[CompanyRecords]:
    """Yield companies until they have as many emails as are asked for."""
    left, number = org.recipe.messages, 0
    while left:
        company = make_company(org, number, left)
        left -= len(company.emails)
        number += 1
        yield company


def _write_companies(org: OrgPlan, world_out: TextIO, truth_out: TextIO, folder: Path) -> None:
    """Write emails and truth at once; the other records wait in temporary files."""
    world_out.write("{\n")
    world_out.writelines(f'"{key}": {_to_json(value)},\n' for key, value in _head(org))
    with ExitStack() as stack:
        spools = {
            name: stack.enter_context(_open_spool(folder))
            for name in ("accounts", "contacts", "deals")
        }
        emails, truths = _ListWriter(world_out, '"emails": '), _ListWriter(truth_out, "")
        lists = {name: _ListWriter(spool, f'"{name}": ') for name, spool in spools.items()}
        for company in _companies(org):
            emails.add(company.emails)
            truths.add(company.truths)
            lists["accounts"].add(company.accounts)
            lists["contacts"].add(company.contacts)
            lists["deals"].add(company.deals)
        for writer in (emails, truths, *lists.values()):
            writer.close()
        for spool in spools.values():
            world_out.write(",\n")
            spool.seek(0)
            shutil.copyfileobj(spool, world_out)
    world_out.write("\n}\n")
    truth_out.write("\n")


def _open_spool(folder: Path) -> TextIO:
    """Return a temporary file in the folder of the world, which has space for it."""
    spool = tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n", dir=folder)  # noqa: SIM115
    return cast(TextIO, spool)


def _head(org: OrgPlan) -> Iterator[tuple[str, object]]:
    users = [user.as_entry() for user in (*org.users, *org.shared)]
    yield "module_id", record_id(1, 3735)
    yield (
        "org",
        {
            "company_name": f"Synthetic org {org.recipe.seed}",
            "time_zone": org.zone.name,
            "license_details": {
                "paid_type": "enterprise",
                "users_license_purchased": len(users),
            },
        },
    )
    yield "stages", [msgspec.to_builtins(stage) for stage in org.stages]
    yield "users", users


class _ListWriter:
    """Writer of a JSON list with one item per line."""

    def __init__(self, out: TextIO, start: str) -> None:
        self._out, self._is_empty = out, True
        out.write(start + "[")

    def add(self, items: Sequence[object]) -> None:
        """Write further items."""
        for item in items:
            self._out.write("\n" if self._is_empty else ",\n")
            self._out.write(_to_json(item))
            self._is_empty = False

    def close(self) -> None:
        """End the list."""
        self._out.write("\n]")


def _to_json(value: object) -> str:
    return msgspec.json.encode(value).decode()
