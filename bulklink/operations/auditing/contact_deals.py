"""Reading of the deals of contacts: by queries, or one call a contact; and of deals by role."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby, islice

from bulklink.advice import Advice, Keyword
from bulklink.counts import count_of
from bulklink.engine.breaker import ReadBreaker
from bulklink.engine.record_lookups import (
    MAX_QUERIES_AT_ONCE,
    query_pages,
    read_addresses,
    read_contact_deals,
    read_deals,
)
from bulklink.errors import RunStoppedError, StoppedBy, UsageError
from bulklink.operations.auditing.context import ReadingContext
from bulklink.operations.auditing.log import (
    addresses_lines,
    batch_line,
    deal_facts,
    listed_deal_line,
    read_contact_line,
    role_deals_line,
    unread_contact_line,
)
from bulklink.operations.fetching.folder import is_id
from bulklink.operations.forecast_renewal import ReadForecaster
from bulklink.operations.session import read_contacts
from bulklink.zoho.coql import (
    MAX_IN_VALUES,
    MAX_ROWS,
    DealRow,
    Query,
    in_batches,
    parse_deal_rows,
    select_deals_of_contacts,
)
from bulklink.zoho.link_response import AnswerVerdict
from bulklink.zoho.lookup_responses import deal_batches

_DEALS_PER_CONTACT = 2.0
"""Deals of a contact that are expected before any are known."""
_MARGIN = 1.2
"""Factor by which more deals are expected than the contacts before had."""
_MORE_FIELDS = ("Account_Name",)
"""Dispensable fields that a look-up of deals does not request by itself."""
_DEALS_AT_ONCE = 500
"""Deals by contact role that are held in memory while they are looked up."""

Batch = tuple[tuple[str, ...], str]
"""Contacts, and the last id of the pages of their deals that were read; `0` for none."""


@dataclass(slots=True)
class ContactDealsReader:
    """Reads the deals of the contacts that are left.

    A query for fifty contacts costs one to three credits, and a call for one contact costs one. So
    queries are used if the token permits them, each with the limit that the expected deals need.

    Args:
        context: session, folder and record.
    """

    context: ReadingContext
    _breaker: ReadBreaker = field(init=False, default_factory=ReadBreaker)
    _done: int = field(init=False, default=0)
    _contacts_queried: int = field(init=False, default=0)
    _deals_queried: int = field(init=False, default=0)
    _addresses_refused: bool = field(init=False, default=False)

    async def read(self) -> None:
        """Read the deals of all contacts, those by contact role, and addresses of contacts.

        Only an email to or from a contact with several deals can be on the wrong one, and only for
        those it matters which addresses the contact has.

        Raises:
            RefusedError: if the org lacks the user's field, or the user refuses the cost.
            RunStoppedError: if the CRM cannot be asked.
            StoppedError: if the reading was stopped.
        """
        await self._read_contacts()
        await self._read_role_deals()
        await self._read_addresses()

    async def _read_contacts(self) -> None:
        context, session = self.context, self.context.session
        await session.ledger.commit()
        write = partial(context.lists.write_contacts, context.folder.to_read)
        left = await session.run_blocking(write)
        total = left + sum(map(len, context.progress.unfinished))
        if not total:
            return
        context.callbacks.on_phase("Reading the deals of the contacts")
        batches = self._batches()
        by_query = await self._try_queries(batches)
        rest = total - self._done
        calls = -(-rest // MAX_IN_VALUES) if by_query else rest
        if rest:
            context.confirm("deals", f"the deals of {count_of(rest, 'contact')}", calls)
        await read_contacts(
            session,
            batches,
            self._read_batch if by_query else self._read_one_by_one,
            callbacks=context.callbacks,
            unit="contacts",
            total=total,
            count_done=lambda: self._done,
            size_of=lambda batch: len(batch[0]),
            forecaster=ReadForecaster(calls),
            at_once=MAX_QUERIES_AT_ONCE if by_query else None,
        )
        session.stop.check()

    def _batches(self) -> Iterator[Batch]:
        """Yield the contacts that are left: first those of which some pages were read."""
        yield from list(self.context.progress.unfinished.items())
        ids = (contact_id for (contact_id,) in self.context.folder.lines_to_read(is_id))
        size = MAX_IN_VALUES if self.context.record.queries is not False else 1
        for batch in in_batches(ids):
            for start in range(0, len(batch), size):
                yield tuple(batch[start : start + size]), "0"

    async def _try_queries(self, batches: Iterator[Batch]) -> bool:
        """Read the first contacts by a query; return whether queries are permitted."""
        context = self.context
        if context.record.queries is not None:
            return context.record.queries
        batch = await context.session.run_blocking(partial(next, batches))
        try:
            await self._read_batch(batch)
        except RunStoppedError as error:
            if error.stopped_by is not StoppedBy.FATAL:
                raise
            context.callbacks.warn(
                f"{error.message} The deals of contacts are read one by one, a call each."
            )
            context.save(queries=False)
            await self._read_one_by_one(batch)
            return False
        context.save(queries=True)
        return True

    async def _read_batch(self, batch: Batch) -> None:
        """Read the deals of up to 50 contacts by one query."""
        context, (contact_ids, after) = self.context, batch
        wanted = set(contact_ids)
        last, expected = after, self._expected_deals(len(contact_ids))

        def next_query(last_id: str) -> Query:
            return select_deals_of_contacts(
                contact_ids, last_id, rows=expected, number_field=context.record.number_field
            )

        def on_page(rows: Sequence[DealRow], last_id: str) -> None:
            nonlocal last, expected
            last, expected = last_id, MAX_ROWS  # the contacts have more deals than expected
            lines = [
                listed_deal_line(row.contact_id, deal_facts(row, row.contact_id))
                for row in rows
                if row.contact_id in wanted
            ]
            self._deals_queried += len(lines)
            context.append(*lines, batch_line(contact_ids, last_id, done=False))

        left_out = await query_pages(
            context.session.caller,
            next_query,
            partial(parse_deal_rows, number_field=context.record.number_field),
            on_page,
            after=after,
            left_out=context.record.left_out,
        )
        self._leave_out(left_out)
        context.append(batch_line(contact_ids, last, done=True))
        self._done += len(contact_ids)
        self._contacts_queried += len(contact_ids)

    def _expected_deals(self, contacts: int) -> int:
        """Return the deals that some contacts probably have, by those that were read."""
        if not self._contacts_queried:
            return round(contacts * _DEALS_PER_CONTACT)
        return round(contacts * _MARGIN * self._deals_queried / self._contacts_queried)

    def _leave_out(self, fields: frozenset[str]) -> None:
        """Note the fields that the org lacks.

        Raises:
            UsageError: if the one that the user named is among them.
        """
        context = self.context
        if context.record.number_field in fields:
            raise UsageError(
                f"Zoho refuses the field {context.record.number_field} of deals.",
                where=Advice("{}", Keyword("number_field")),
                advice="Give the API name of a field of the module Deals, as the settings of the"
                " CRM show it.",
            )
        if not fields <= context.record.left_out:
            context.save(left_out=context.record.left_out | fields)

    async def _read_one_by_one(self, batch: Batch) -> None:
        """Read the deals of contacts, a call each."""
        for contact_id in batch[0]:
            await self._read_contact(contact_id)
            self._done += 1

    async def _read_contact(self, contact_id: str) -> None:
        more_fields = self._more_fields()
        deals = await read_contact_deals(
            self.context.session.caller,
            self._breaker,
            contact_id,
            more_fields=more_fields,
            number_field=self.context.record.number_field,
        )
        if not isinstance(deals, AnswerVerdict):
            lines = [listed_deal_line(contact_id, deal_facts(deal, contact_id)) for deal in deals]
            self.context.append(*lines, read_contact_line(contact_id))
        elif refused := {name for name in more_fields if name in deals.text}:
            self._leave_out(self.context.record.left_out | refused)
            await self._read_contact(contact_id)
        else:
            self.context.append(unread_contact_line(contact_id, deals))

    def _more_fields(self) -> tuple[str, ...]:
        """Return the fields to request besides those of every deal."""
        record = self.context.record
        number_field = () if record.number_field is None else (record.number_field,)
        return tuple(name for name in (*_MORE_FIELDS, *number_field) if name not in record.left_out)

    async def _read_addresses(self) -> None:
        """Read the addresses of contacts with several deals; without them, they are unknown."""
        context, session = self.context, self.context.session
        await session.ledger.commit()
        write = partial(context.lists.write_addresses, context.folder.to_read)
        total = await session.run_blocking(write)
        if not total:
            return
        ids = (contact_id for (contact_id,) in context.folder.lines_to_read(is_id))
        self._done = 0
        await read_contacts(
            session,
            deal_batches(ids),
            self._read_address_batch,
            callbacks=context.callbacks,
            unit="contacts",
            total=total,
            count_done=lambda: self._done,
            size_of=len,
            forecaster=ReadForecaster(-(-total // MAX_IN_VALUES)),
        )
        session.stop.check()

    async def _read_address_batch(self, contact_ids: Sequence[str]) -> None:
        addresses: dict[str, tuple[str, ...]] = {}
        if not self._addresses_refused:
            try:
                addresses = await read_addresses(self.context.session.caller, contact_ids)
            except RunStoppedError as error:
                if error.stopped_by is not StoppedBy.FATAL:
                    raise
                if not self._addresses_refused:
                    self.context.callbacks.warn(
                        f"The addresses of contacts stay unknown: {error.message}"
                    )
                self._addresses_refused = True
        self.context.append(*addresses_lines(contact_ids, addresses))
        self._done += len(contact_ids)

    async def _read_role_deals(self) -> None:
        """Read the deals on which contacts have a role, as the file of emails knows them."""
        context, session = self.context, self.context.session
        await session.ledger.commit()
        write = partial(context.lists.write_role_deals, context.folder.to_read)
        if not await session.run_blocking(write):
            return
        context.callbacks.on_phase("Reading deals by contact role")
        pairs = context.folder.lines_to_read(is_id, is_id)
        deals = (
            (deal_id, [contact_id for _, contact_id in group])
            for deal_id, group in groupby(pairs, key=lambda pair: pair[0])
        )
        while wave := await session.run_blocking(lambda: dict(islice(deals, _DEALS_AT_ONCE))):
            for deal_ids in deal_batches(iter(wave)):
                await self._read_role_batch(deal_ids, wave)

    async def _read_role_batch(
        self, deal_ids: Sequence[str], contacts: dict[str, list[str]]
    ) -> None:
        deals = await read_deals(
            self.context.session.caller,
            deal_ids,
            more_fields=self._more_fields(),
            number_field=self.context.record.number_field,
        )
        lines = [
            listed_deal_line(contact_id, deal_facts(deal, contact_id, by_role=True))
            for deal in deals
            for contact_id in contacts.get(deal.id, ())
        ]
        self.context.append(*lines, role_deals_line(deal_ids))
