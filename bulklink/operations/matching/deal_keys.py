"""Deals by the keys that they have in another system, read from a field in the CRM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.engine.record_lookups import query_pages
from bulklink.engine.shutdown import StopController
from bulklink.errors import UsageError
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.environment import Environment
from bulklink.operations.job import Job
from bulklink.operations.session import CrmSession, run_read_session
from bulklink.zoho.connection import Connection
from bulklink.zoho.coql import DealRow, is_field_name, parse_deal_rows, select_deals_with_key


def check_key_field(field: str) -> None:
    """Check the name of the field with the keys of deals.

    Raises:
        UsageError: if it cannot be the API name of a field.
    """
    if not is_field_name(field):
        raise UsageError(
            f"{field!r} is not the API name of a field.",
            where=Advice("{}", Keyword("deal_key")),
            advice="Use letters, digits and underscores, as in Legacy_Id.",
        )


class ReadDeals(msgspec.Struct, frozen=True):
    """What was read from the CRM.

    Args:
        calls: requests by kind.
        credits: credits spent.
    """

    calls: dict[str, int]
    credits: int


@dataclass(slots=True, kw_only=True)
class DealKeysReader:
    """Reads all deals with a key, page by page, into a file.

    Args:
        key_field: API name of the field with the key.
        connection: endpoint and credentials of the CRM.
        job: limits of calls and credits.
        environment: network, disk and clock.
        folder: folder for temporary files.
    """

    key_field: str
    connection: Connection
    job: Job
    environment: Environment
    folder: Path
    _credits: int = field(init=False, default=0)

    @property
    def deals(self) -> Path:
        """File of the deals, a line of JSON each: `deal_key`, `deal_id` and `deal_name`."""
        return self.folder / "deals.jsonl"

    async def read(self, callbacks: RunCallbacks, stop: StopController) -> ReadDeals:
        """Read the deals; if `stop` has a reason afterwards, some are missing.

        Args:
            callbacks: called with phases and progress.
            stop: stops the reading.

        Raises:
            UsageError: if the CRM refuses the field.
        """
        calls = await run_read_session(
            partial(self._read_pages, callbacks),
            environment=self.environment,
            connection=self.connection,
            job=self.job,
            stop=stop,
            ledger_path=self.folder / "calls.jsonl",
            answers_path=self.folder / "answers.jsonl",
            callbacks=callbacks,
            keeps_answers=False,
        )
        return ReadDeals(calls, self._credits)

    async def _read_pages(self, callbacks: RunCallbacks, session: CrmSession) -> None:
        callbacks.on_phase("Looking up the org")
        await session.look_up_org()
        callbacks.on_phase("Reading the keys of the deals")
        with self.deals.open("wb") as file:

            def on_page(rows: Sequence[DealRow], last_id: str) -> None:
                del last_id
                file.writelines(map(_deal_line, rows))

            try:
                await query_pages(
                    session.caller,
                    partial(select_deals_with_key, self.key_field),
                    partial(parse_deal_rows, number_field=self.key_field),
                    on_page,
                    on_query=callbacks.on_query,
                )
            finally:
                self._credits = session.quota.budget.sent


def _deal_line(deal: DealRow) -> bytes:
    line = {"deal_key": deal.number, "deal_id": deal.id, "deal_name": deal.name}
    return msgspec.json.encode(line) + b"\n"
