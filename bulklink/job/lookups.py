"""Looking up the names that a mapping leaves out, before the first change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from bulklink.engine.caller import Caller
from bulklink.engine.lookups import deals, user_names
from bulklink.mapping.plan import SealedPlan
from bulklink.mapping.unknown import ForeignDeals, foreign_deals
from bulklink.runs.folder import RunFolder
from bulklink.zoho.lookups import FoundDeal

T = TypeVar("T", bound=msgspec.Struct)


async def look_up_names(folder: RunFolder, caller: Caller, *, at_once: int) -> ForeignDeals | None:
    """Look up what a plan needs and does not name, and write it beside the plan.

    The names found wait on disk, not in memory: there can be as many deals as messages.

    Args:
        folder: of the run.
        caller: makes the calls.
        at_once: look-ups in flight at most.

    Returns:
        What is likely to be refused, None if nothing had to be looked up.

    Raises:
        RunStoppedError: if it cannot be read.
        HaltedError: if the run was stopped.
    """
    plan = SealedPlan(folder.plan)
    owners = set(plan.owners_without_name())
    deals_wanted = any(True for _ in plan.deals_without_name())
    if not owners and not deals_wanted:
        return None
    folder.scratch.mkdir(mode=0o700, exist_ok=True)
    deals_file, owners_file = folder.scratch / "deals.jsonl", folder.scratch / "owners.jsonl"
    with deals_file.open("wb") as file:
        ids = plan.deals_without_name()
        await deals(caller, ids, lambda deal: _keep(file, deal), at_once=at_once)
    with owners_file.open("wb") as file:
        await user_names(caller, owners, lambda owner, name: _keep(file, FoundOwner(owner, name)))
    found = _read(owners_file, FoundOwner)
    names = ((deal.id, deal.name) for deal in _read(deals_file, FoundDeal))
    plan.write_names(names, ((owner.id, owner.name) for owner in found), folder.names)
    foreign = foreign_deals(folder.plan, _contacts(deals_file))
    folder.clear_scratch()
    return foreign


class FoundOwner(msgspec.Struct, frozen=True):
    """A user that exists."""

    id: str
    name: str


def _contacts(path: Path) -> Iterator[tuple[str, str]]:
    return ((d.id, d.contact_id) for d in _read(path, FoundDeal) if d.contact_id is not None)


def _keep(file: BinaryIO, found: msgspec.Struct) -> None:
    file.write(msgspec.json.encode(found) + b"\n")


def _read(path: Path, kind: type[T]) -> Iterator[T]:
    decoder = msgspec.json.Decoder(kind)
    with path.open("rb") as file:
        for line in file:
            yield decoder.decode(line)
