"""File of the deals that an audit read, kept beside the file of emails; docs/auditing.md.

Its first line is a header. Each further line is a contact with its deals and their histories, in
the order of the ids as texts; a contact with long histories takes several lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import orjson

from bulklink.atomic_files import atomic_replace
from bulklink.counts import count_of
from bulklink.decoding import decode_json, json_decoder
from bulklink.errors import BadFileError
from bulklink.file_names import table_stem
from bulklink.finding.values import DealFacts
from bulklink.folder_files import (
    MAX_LINE_BYTES,
    advise_removal,
    check_folder_file,
    line_blocks,
    split_lines,
)
from bulklink.ledger.records import Count, json_line
from bulklink.mapping.interrupt import PlanningStop
from bulklink.models import ForecastType
from bulklink.operations.auditing.log import TOO_LONG_HISTORY, is_possible_time, without_nulls
from bulklink.operations.fetching.folder import is_id
from bulklink.runs.record import OrgRecord, check_address

_FORMAT = "bulklink-deals"
_VERSION = 1
_MAX_STAGES = 2_000
_MAX_DEAL_BYTES = MAX_LINE_BYTES * 3 // 4
"""Maximum size of a deal with its history, and of the deals of one line."""


def deals_file_path(emails: Path) -> Path:
    """Return the file of deals that belongs to a file of emails: `emails.deals.jsonl`."""
    return emails.parent / f"{table_stem(emails)}.deals.jsonl"


class DealsHeader(msgspec.Struct, frozen=True):
    """First line of the file.

    Args:
        read_at: when the first of the deals were read.
        api_url: address of the API.
        data_centre: the data centre; None if only the address was given.
        org: the org.
        stages: the type of each stage of deals, by its display and actual value.
        number_field: API name of the field with the deals' own numbers; None for none.
        emails_digest: digest of the emails for which the histories were read.
        contacts: number of contacts.
        format: what this file is.
        version: version of the format.
    """

    read_at: datetime
    api_url: str
    data_centre: str | None
    org: OrgRecord
    stages: dict[str, ForecastType]
    number_field: str | None
    emails_digest: str
    contacts: Count
    format: str = _FORMAT
    version: int = _VERSION


class ContactDeals(msgspec.Struct, frozen=True):
    """Deals of a contact.

    Args:
        contact_id: id of the contact.
        deals: its deals.
        addresses: its email addresses, in lower case; empty if unknown.
        without_history: why the history of a deal could not be read.
        code: why its deals could not be read; None if they were.
        message: message of the refusal or failure.
    """

    contact_id: str
    deals: tuple[DealFacts, ...] = ()
    addresses: tuple[str, ...] = ()
    without_history: dict[str, str] = {}
    code: str | None = None
    message: str | None = None


class _ContactLine(msgspec.Struct, gc=False):
    contact_id: str


class DealsFile(msgspec.Struct, frozen=True):
    """A file of deals.

    Args:
        path: path of the file.
    """

    path: Path

    @advise_removal()
    def read_header(self) -> DealsHeader | None:
        """Return the header; None if there is no file.

        Raises:
            BadFileError: if it is not such a file.
        """
        if not check_folder_file(self.path):
            return None
        first = next((split_lines(block)[0] for block in line_blocks(self.path)), b"")
        try:
            header = decode_json(first, DealsHeader)
            check_address(header.api_url)
        except (ValueError, RecursionError):
            raise self._damaged(1) from None
        if header.format != _FORMAT or header.read_at.tzinfo is None or not header.stages:
            raise self._damaged(1)
        if header.version != _VERSION:
            raise BadFileError(
                f"The file has format version {header.version}; this bulklink knows {_VERSION}.",
                where=str(self.path),
                advice="Use a newer bulklink, or remove the file: its deals are then read again.",
            )
        return header

    def contacts(self, stop: PlanningStop, start: int = 0) -> Iterator[ContactDeals]:
        """Yield the contacts in the order of their ids as texts.

        Args:
            stop: interrupts the reading.
            start: offset of the first line, as `offsets` returns it; 0 for the beginning.

        Raises:
            BadFileError: if a line is damaged, too long, or out of order.
        """
        for _, group in groupby(self._lines(stop, start), key=attrgetter("contact_id")):
            lines = list(group)
            yield lines[0] if len(lines) == 1 else _joined(lines)

    def offsets(self, contact_ids: Sequence[str], stop: PlanningStop) -> list[int]:
        """Return where the lines of some contacts, or of those that follow in the file, begin.

        Args:
            contact_ids: ascending ids.
            stop: interrupts the reading.

        Returns:
            An offset in bytes for each contact; the size of the file if none follows.
        """
        decode = json_decoder(_ContactLine).decode
        found: list[int] = []
        offset = 0
        for block in line_blocks(self.path) if contact_ids else ():
            stop.check()
            for line in split_lines(block):
                if offset and len(found) < len(contact_ids):
                    contact_id = decode(line).contact_id
                    while len(found) < len(contact_ids) and contact_ids[len(found)] <= contact_id:
                        found.append(offset)
                offset += len(line) + 1
        return found + [offset] * (len(contact_ids) - len(found))

    def _lines(self, stop: PlanningStop, start: int) -> Iterator[ContactDeals]:
        decode = json_decoder(ContactDeals).decode
        number, last = 0, ""
        for block in line_blocks(self.path, start=start):
            stop.check()
            for line in split_lines(block):
                number += 1
                if number == 1 and not start:
                    continue
                try:
                    contact = decode(line)
                    is_valid = contact.contact_id >= last and _is_valid(contact)
                except (ValueError, RecursionError):
                    is_valid = False
                if not is_valid:
                    raise self._damaged(number, start)
                last = contact.contact_id
                yield contact

    def write(self, header: DealsHeader, contacts: Iterable[ContactDeals]) -> None:
        """Write the file; it appears once it is complete, readable only by its owner.

        Args:
            header: its first line.
            contacts: the contacts in the order of their ids as texts.

        Raises:
            RunDirError: if it cannot be written.
        """
        stages = dict(list(header.stages.items())[:_MAX_STAGES])
        header = msgspec.structs.replace(header, stages=stages)
        with atomic_replace(self.path) as temporary, temporary.open("wb") as file:
            file.write(msgspec.json.encode(header) + b"\n")
            for contact in contacts:
                file.writelines(_lines_of(contact))

    def cut_short_error(self, contacts: int, wanted: int) -> BadFileError:
        """Return the error for a file that has fewer contacts than its header says."""
        return BadFileError(
            f"The file was cut short: it has {contacts:,} of {count_of(wanted, 'contact')}.",
            where=str(self.path),
            advice="Remove the file: the deals are then read again.",
        )

    def _damaged(self, number: int, start: int = 0) -> BadFileError:
        """Return the error about a line, counted from an offset on."""
        before = 0
        for block in line_blocks(self.path) if start else ():
            before += block[: max(start, 0)].count(b"\n")
            start -= len(block)
        number += before
        return BadFileError(
            "This line does not belong to a file of deals that an audit wrote.",
            where=f"{self.path}:{number}",
            advice="Remove the file: the deals are then read again.",
        )


def utc_time(seconds: float) -> datetime:
    """Return a time as the header has it."""
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=0)


def _joined(lines: list[ContactDeals]) -> ContactDeals:
    codes: dict[str, str] = {}
    for line in lines:
        codes |= line.without_history
    deals = tuple(chain.from_iterable(line.deals for line in lines))
    return ContactDeals(lines[0].contact_id, deals, lines[0].addresses, codes)


def _is_valid(contact: ContactDeals) -> bool:
    return is_id(contact.contact_id) and all(map(is_valid_deal, contact.deals))


def is_valid_deal(deal: DealFacts) -> bool:
    """Return whether the id and all times of a deal that was stored are possible."""
    history = [change.time for change in deal.history or ()]
    ends = (min(history), max(history)) if history else ()
    times = (deal.created, deal.modified, deal.history_since, *ends)
    return is_id(deal.id) and all(map(is_possible_time, times))


def _lines_of(contact: ContactDeals) -> Iterator[bytes]:
    """Yield the lines of a contact, each short enough to be read."""
    fields = {
        name: value
        for name in ("addresses", "code", "message")
        if (value := getattr(contact, name))
    }
    line: dict[str, Any] = {"contact_id": contact.contact_id, **fields}
    codes = dict(contact.without_history)
    size, deals = 0, list[Any]()
    for deal in contact.deals:
        encoded = _deal_json(deal)
        if len(encoded) > _MAX_DEAL_BYTES:
            encoded = _deal_json(msgspec.structs.replace(deal, history=None))
            codes[deal.id] = TOO_LONG_HISTORY
        if deals and size + len(encoded) > _MAX_DEAL_BYTES:
            yield json_line(line | _with_deals(deals, codes))
            size, deals = 0, []
        size += len(encoded)
        deals.append((deal.id, encoded))
    yield json_line(line | _with_deals(deals, codes))


def _deal_json(deal: DealFacts) -> bytes:
    fields = without_nulls(deal)
    if deal.history is not None:
        fields["history"] = list(map(without_nulls, deal.history))
    return msgspec.json.encode(fields)


def _with_deals(deals: list[tuple[str, bytes]], codes: dict[str, str]) -> dict[str, Any]:
    without = {deal_id: codes[deal_id] for deal_id, _ in deals if deal_id in codes}
    fields: dict[str, Any] = {}
    if deals:
        fields["deals"] = [orjson.Fragment(encoded) for _, encoded in deals]
    return fields | ({"without_history": without} if without else {})
