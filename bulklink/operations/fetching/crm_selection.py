"""Selection of contacts by what the CRM shows: addresses, names, deals and conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TypeVar

from bulklink.counts import count_of
from bulklink.engine.breaker import ReadBreaker
from bulklink.engine.lookups import look_up_deals
from bulklink.engine.record_lookups import MAX_QUERIES_AT_ONCE, query_pages, read_contact_roles
from bulklink.mapping.contact_requests import RequestKind
from bulklink.mapping.contact_selection import ContactRequests, write_deals_to_read
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.fetching.folder import FetchFolder, read_ids
from bulklink.operations.fetching.log import (
    deal_line,
    queried_line,
    role_line,
    roles_line,
    selected_line,
)
from bulklink.operations.fetching.progress import QueryProgress
from bulklink.operations.fetching.selection import Conditions, Roles
from bulklink.operations.forecast_renewal import ReadForecaster
from bulklink.operations.session import CrmSession, read_contacts
from bulklink.task_group import task_group
from bulklink.zoho.coql import (
    ContactRow,
    CoqlPage,
    Query,
    Row,
    in_batches,
    parse_contact_rows,
    parse_deal_rows,
    select_contacts,
    select_contacts_by_email,
    select_contacts_by_name,
    select_deals,
)
from bulklink.zoho.coql_condition import Condition, parse_condition
from bulklink.zoho.http import Answer
from bulklink.zoho.link_response import AnswerVerdict

T = TypeVar("T")
R = TypeVar("R", bound=Row)
_NAMED_DEALS = "deal"
"""Selector of deals that are named by their ids."""
_DEALS_AT_ONCE = 2048
"""Named deals held in memory while they are looked up."""


@dataclass(slots=True)
class CrmSelection:
    """Asks the CRM for the contacts of a selection, and logs what it shows.

    What an earlier command logged is not asked again, except for named deals, which take a call
    for fifty of them.

    Args:
        session: open session.
        folder: folder of the fetch, with its requests.
        conditions: conditions on deals and contacts.
        callbacks: called with phases, the queries of conditions, and progress.
        confirm_roles: asked before contact roles are read, with the number of deals.
    """

    session: CrmSession
    folder: FetchFolder
    conditions: Conditions
    callbacks: RunCallbacks
    confirm_roles: Callable[[int], None]
    _queries: QueryProgress = field(init=False)
    _breaker: ReadBreaker = field(init=False, default_factory=ReadBreaker)
    _records: int = field(init=False, default=0)
    _roles_read: int = field(init=False, default=0)

    async def run(self) -> None:
        """Log everything that the selection needs.

        Raises:
            RefusedError: if the CRM refuses a condition, or the user refuses the cost.
            RunStoppedError: if the CRM cannot be asked.
            StoppedError: if the fetch was stopped.
        """
        run_blocking = self.session.run_blocking
        self._queries = await run_blocking(partial(QueryProgress, self.folder))
        requests = ContactRequests(self.folder.requests, self.session.interrupt)
        self.callbacks.on_phase("Selecting contacts")
        await self._look_up(requests, RequestKind.ADDRESS)
        await self._look_up(requests, RequestKind.NAME)
        await self._look_up_deals(requests)
        for number, text in enumerate(self.conditions.deals_where):
            await self._query_deals(f"deals-where:{number}", parse_condition(text))
        for number, text in enumerate(self.conditions.contacts_where):
            await self._query_contacts(f"contacts-where:{number}", parse_condition(text))
        await self._read_roles()
        await self.session.ledger.commit()

    async def _look_up(self, requests: ContactRequests, kind: RequestKind) -> None:
        """Look up the contacts of addresses or names, several calls at once."""
        batches = enumerate(in_batches(requests.values(kind)))
        take_wave = partial(_take, batches, MAX_QUERIES_AT_ONCE)
        while wave := await self.session.run_blocking(take_wave):
            async with task_group() as group:
                for number, values in wave:
                    group.start_soon(self._look_up_batch, kind, number, values)

    async def _look_up_batch(self, kind: RequestKind, number: int, values: Sequence[str]) -> None:
        by_address = kind is RequestKind.ADDRESS
        select = select_contacts_by_email if by_address else select_contacts_by_name

        def lines(contact: ContactRow) -> bytes:
            return selected_line(kind, contact.email if by_address else contact.name, contact.id)

        await self._query(f"{kind}:{number}", partial(select, values), parse_contact_rows, lines)

    async def _look_up_deals(self, requests: ContactRequests) -> None:
        """Look up the deals that are named by their ids."""
        ids = requests.values(RequestKind.DEAL, RequestKind.EMAILS_ON)
        while batch := await self.session.run_blocking(partial(_take, ids, _DEALS_AT_ONCE)):
            await look_up_deals(
                self.session.caller,
                iter(batch),
                lambda deal: self.session.ledger.append(deal_line(_NAMED_DEALS, deal)),
                at_once=self.session.job.max_in_flight(),
                on_batch=self._count,
            )

    async def _query_deals(self, selector: str, condition: Condition) -> None:
        """Query the deals of a condition."""
        await self._query(
            selector,
            partial(select_deals, condition),
            parse_deal_rows,
            partial(deal_line, selector),
            self.callbacks.on_query,
        )

    async def _query_contacts(self, selector: str, condition: Condition) -> None:
        """Query the contacts of a condition."""

        def line(contact: ContactRow) -> bytes:
            return selected_line(selector, None, contact.id)

        query = partial(select_contacts, condition)
        await self._query(selector, query, parse_contact_rows, line, self.callbacks.on_query)

    async def _query(
        self,
        key: str,
        query_after: Callable[[str], Query],
        parse: Callable[[Answer], CoqlPage[R] | None],
        line: Callable[[R], bytes],
        on_query: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Log the rows of a query, page by page, from where an earlier command stopped."""
        if self._queries.is_done(key):
            return
        after = self._queries.last_id(key)

        def on_page(rows: Sequence[R], last_id: str) -> None:
            self.session.ledger.append(*map(line, rows), queried_line(key, last_id, done=False))
            self._count(len(rows))

        await query_pages(
            self.session.caller, query_after, parse, on_page, after=after, on_query=on_query
        )
        self.session.ledger.append(queried_line(key, after, done=True))

    async def _read_roles(self) -> None:
        """Read the contact roles of the deals whose roles count, one call a deal."""
        selectors = self._role_selectors()
        if not selectors:
            return
        await self.session.ledger.commit()
        path = self.folder.deals_to_read
        files = self.folder.selection_files
        write = partial(write_deals_to_read, files, selectors, path, self.session.interrupt)
        deals = await self.session.run_blocking(write)
        if not deals:
            return
        self.confirm_roles(deals)
        self.callbacks.on_phase("Reading contact roles")
        await read_contacts(
            self.session,
            read_ids(path),
            self._read_deal_roles,
            callbacks=self.callbacks,
            unit="deals",
            total=deals,
            count_done=lambda: self._roles_read,
            forecaster=ReadForecaster(deals),
        )
        self.session.stop.check()

    def _role_selectors(self) -> list[str]:
        """Return the selectors of the deals whose contact roles select contacts."""
        if self.conditions.roles is Roles.NO:
            return []
        conditions = len(self.conditions.deals_where) if self.conditions.roles is Roles.YES else 0
        return [_NAMED_DEALS, *(f"deals-where:{number}" for number in range(conditions))]

    async def _read_deal_roles(self, deal_id: str) -> None:
        roles = await read_contact_roles(self.session.caller, self._breaker, deal_id)
        if isinstance(roles, AnswerVerdict):
            self.session.ledger.append(roles_line(deal_id, roles))
        else:
            lines = [role_line(deal_id, role.contact_id) for role in roles]
            self.session.ledger.append(*lines, roles_line(deal_id, None))
        self._roles_read += 1

    def _count(self, records: int) -> None:
        self._records += records
        self.callbacks.on_phase(f"Selecting contacts: {count_of(self._records, 'record')}")


def _take(items: Iterator[T], count: int) -> list[T]:
    return list(islice(items, count))
