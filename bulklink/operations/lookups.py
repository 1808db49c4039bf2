"""Looking up the names that a mapping leaves out, before the first change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from bulklink.engine.caller import Caller
from bulklink.engine.lookups import deals, user_names
from bulklink.mapping.plan_reader import SealedPlan
from bulklink.mapping.rejects import ForeignDeals, foreign_deals
from bulklink.operations.callbacks import Reading, Watch
from bulklink.operations.looking import looking
from bulklink.runs.folder import RunFolder
from bulklink.zoho.lookup_responses import FoundDeal

T = TypeVar("T", bound=msgspec.Struct)


async def look_up_names(
    folder: RunFolder, caller: Caller, watch: Watch, *, at_once: int
) -> ForeignDeals | None:
    """Look up what a plan needs and does not name, and write it beside the plan.

    The names found wait on disk, not in memory: there can be as many deals as messages.

    Args:
        folder: of the run.
        caller: makes the calls.
        watch: is told how far it is.
        at_once: look-ups in flight at most.

    Returns:
        What is likely to be refused, None if nothing had to be looked up.

    Raises:
        RunStoppedError: if it cannot be read.
        HaltedError: if the run was stopped.
    """
    plan = SealedPlan(folder.plan)
    owners = set(plan.owners_without_name())
    count = len(owners) + plan.count_deals_without_name()
    if not count:
        return None
    folder.scratch.mkdir(mode=0o700, exist_ok=True)
    looked_up = _LookedUp(folder.scratch, count, watch)
    async with looking(looked_up.tell):
        await looked_up.deals(caller, plan.deals_without_name(), at_once)
        await looked_up.owners(caller, owners)
    names = ((deal.id, deal.name) for deal in looked_up.found_deals())
    found = ((owner.id, owner.name) for owner in looked_up.found_owners())
    plan.write_names(names, found, folder.names)
    contacts = (
        (deal.id, deal.contact_id)
        for deal in looked_up.found_deals()
        if deal.contact_id is not None
    )
    foreign = foreign_deals(folder.plan, contacts)
    folder.clear_scratch()
    return foreign


class FoundOwner(msgspec.Struct, frozen=True):
    """A user that exists."""

    id: str
    name: str


class _LookedUp:
    """What was looked up: kept on disk, and counted.

    Args:
        scratch: the folder that keeps it.
        count: names that are to be looked up.
        watch: is told how many of them are.
    """

    def __init__(self, scratch: Path, count: int, watch: Watch) -> None:
        self._deals = scratch / "deals.jsonl"
        self._owners = scratch / "owners.jsonl"
        self._count = count
        self._watch = watch
        self._done = 0

    async def deals(self, caller: Caller, ids: Iterator[str], at_once: int) -> None:
        """Look up deals."""
        with self._deals.open("wb") as file:
            await deals(
                caller, ids, lambda deal: _keep(file, deal), at_once=at_once, done=self._note
            )

    async def owners(self, caller: Caller, wanted: set[str]) -> None:
        """Look up users."""
        with self._owners.open("wb") as file:

            def take(owner: str, name: str) -> None:
                _keep(file, FoundOwner(owner, name))
                self._note(1)

            await user_names(caller, wanted, take)

    def found_deals(self) -> Iterator[FoundDeal]:
        """Yield the deals that exist."""
        return _read(self._deals, FoundDeal)

    def found_owners(self) -> Iterator[FoundOwner]:
        """Yield the users that exist."""
        return _read(self._owners, FoundOwner)

    async def tell(self) -> None:
        """Tell how far it is."""
        self._watch.read(Reading("names", self._done, self._count))

    def _note(self, count: int) -> None:
        self._done += count


def _keep(file: BinaryIO, found: msgspec.Struct) -> None:
    file.write(msgspec.json.encode(found) + b"\n")


def _read(path: Path, kind: type[T]) -> Iterator[T]:
    decoder = msgspec.json.Decoder(kind)
    with path.open("rb") as file:
        for line in file:
            yield decoder.decode(line)
