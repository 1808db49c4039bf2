"""Look-up of the names that a plan lacks, before it is sealed or sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.counts import count_of, inflect
from bulklink.decoding import json_decoder
from bulklink.engine.caller import Caller
from bulklink.engine.lookups import look_up_deals, look_up_user_names
from bulklink.folder_files import make_scratch
from bulklink.operations.callbacks import ReadProgress, RunCallbacks
from bulklink.operations.session import CrmSession
from bulklink.zoho.link_response import MAX_NAME_LENGTH
from bulklink.zoho.lookup_responses import DealDetails

T = TypeVar("T")


class UnnamedRecords(Protocol):
    """Deals and owners of links and relinks whose names a plan lacks."""

    def deals_without_name(self) -> Iterator[str]:
        """Stream the ids of the deals, each once."""
        ...

    def count_deals_without_name(self) -> int:
        """Count these deals."""
        ...

    def owners_without_name(self) -> Iterator[str]:
        """Stream the ids of the owners, each once."""
        ...


class _OwnerName(msgspec.Struct, frozen=True):
    id: str
    name: str | None


@dataclass(slots=True)
class NameLookup:
    """Names looked up so far, stored on disk: there can be as many deals as messages.

    Args:
        scratch: folder for the names, created empty.
        callbacks: called with progress and warnings.

    Attributes:
        deals: deals to look up.
        owners: owners to look up.
        done: names looked up so far.
        overlong: names too long to be sent.
    """

    scratch: Path
    callbacks: RunCallbacks
    deals: int = field(init=False, default=0)
    owners: int = field(init=False, default=0)
    done: int = field(init=False, default=0)
    overlong: int = field(init=False, default=0)
    _owner_ids: set[str] = field(init=False, default_factory=set)

    @property
    def total(self) -> int:
        """Names to look up."""
        return self.deals + self.owners

    @property
    def _deal_ids(self) -> Path:
        return self.scratch / "deal-ids.txt"

    @property
    def _deals(self) -> Path:
        return self.scratch / "deals.jsonl"

    @property
    def _owners(self) -> Path:
        return self.scratch / "owners.jsonl"

    def find_missing(self, plan: UnnamedRecords) -> None:
        """Find the deals and owners whose names a plan lacks; blocks."""
        self._owner_ids = set(plan.owners_without_name())
        self.owners, self.deals = len(self._owner_ids), plan.count_deals_without_name()
        if self.total:
            make_scratch(self.scratch)
            with self._deal_ids.open("w", encoding="ascii") as file:
                file.writelines(f"{deal_id}\n" for deal_id in plan.deals_without_name())

    async def fetch(self, session: CrmSession) -> None:
        """Look up all missing names.

        Raises:
            RunStoppedError: if the names cannot be looked up.
            StoppedError: if the run was stopped.
        """
        async with session.environment.sample_periodically(self._report_progress):
            await self._fetch_deals(session.caller, session.job.max_in_flight())
            await self._fetch_owners(session.caller)
        if self.overlong:
            self.callbacks.warn(
                Advice(
                    "{} in the CRM {} more than {} characters, the limit of a link. Rows"
                    " without a name of their own are refused: put a shorter name into the mapping,"
                    " or send no names with {}.",
                    count_of(self.overlong, "name"),
                    inflect(self.overlong, "has", "have"),
                    MAX_NAME_LENGTH,
                    Keyword("names", value=False),
                )
            )

    async def _fetch_deals(self, caller: Caller, max_in_flight: int) -> None:
        with self._deal_ids.open(encoding="ascii") as deal_ids, self._deals.open("wb") as file:
            await look_up_deals(
                caller,
                map(str.rstrip, deal_ids),
                lambda deal: self._save(file, deal),
                at_once=max_in_flight,
                on_batch=self._add_done,
            )

    async def _fetch_owners(self, caller: Caller) -> None:
        with self._owners.open("wb") as file:

            def save_owner(owner_id: str, name: str | None) -> None:
                self._save(file, _OwnerName(owner_id, name))
                self._add_done(1)

            await look_up_user_names(caller, self._owner_ids, save_owner)

    async def _report_progress(self) -> None:
        self.callbacks.on_read(ReadProgress("names", self.done, self.total))

    def _save(self, file: BinaryIO, record: DealDetails | _OwnerName) -> None:
        self.overlong += record.name is None
        file.write(msgspec.json.encode(record) + b"\n")

    def _add_done(self, count: int) -> None:
        self.done += count

    def named_deals(self) -> Iterator[tuple[str, str]]:
        """Yield id and name of each deal that exists and has a name that can be sent."""
        return _usable_names(_read_records(self._deals, DealDetails))

    def named_owners(self) -> Iterator[tuple[str, str]]:
        """Yield id and name of each owner that exists and has a name that can be sent."""
        return _usable_names(_read_records(self._owners, _OwnerName))

    def deal_contacts(self) -> Iterator[tuple[str, str]]:
        """Yield the ids of each deal with a contact and of the contact."""
        for deal in _read_records(self._deals, DealDetails):
            if deal.contact_id is not None:
                yield deal.id, deal.contact_id


def _usable_names(records: Iterable[DealDetails | _OwnerName]) -> Iterator[tuple[str, str]]:
    return ((record.id, record.name) for record in records if record.name is not None)


def _read_records(path: Path, record_type: type[T]) -> Iterator[T]:
    decoder = json_decoder(record_type)
    with path.open("rb") as file:
        for line in file:
            yield decoder.decode(line)
