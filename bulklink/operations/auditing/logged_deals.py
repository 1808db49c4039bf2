"""The deals of contacts, put together from the log of an audit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import msgspec

from bulklink.decoding import json_decoder
from bulklink.finding.values import DealFacts, FieldChange
from bulklink.mapping.audit_lists import ReadDeal
from bulklink.operations.auditing.deals_file import ContactDeals, is_valid_deal
from bulklink.operations.work_folder import damaged_error

_decode_deal = json_decoder(DealFacts).decode
_decode_changes = json_decoder(tuple[FieldChange, ...]).decode


def logged_contacts(rows: Iterable[ReadDeal], log: Path) -> Iterator[ContactDeals]:
    """Yield the contacts of a log.

    Args:
        rows: the deals of the log, in the order of the contacts.
        log: the log, to be named.

    Raises:
        RunDirError: if a deal or a history is damaged.
    """
    for contact_id, group in groupby(rows, key=attrgetter("contact_id")):
        lines = list(group)
        if lines[0].code is not None:
            yield ContactDeals(contact_id, code=lines[0].code, message=lines[0].message)
            continue
        try:
            deals = tuple(_deal(line.deal, line) for line in lines if line.deal is not None)
        except (ValueError, RecursionError):
            raise damaged_error(log) from None
        if not all(map(is_valid_deal, deals)):
            raise damaged_error(log)
        codes = {
            deal.id: line.history_code
            for deal, line in zip(deals, lines, strict=False)
            if line.history_code is not None
        }
        yield ContactDeals(contact_id, deals, tuple(lines[0].addresses or ()), codes)


def _deal(text: str, line: ReadDeal) -> DealFacts:
    deal = _decode_deal(text)
    if line.histories is None:
        return deal
    changes = tuple(change for part in line.histories for change in _decode_changes(part))
    return msgspec.structs.replace(deal, history=changes, history_since=line.history_since)
