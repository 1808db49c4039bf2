"""A fetch forecasts its cost from a random sample, and asks before it spends much."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from bulklink import Connection, NotConfirmedError, RunCallbacks, fetch
from bulklink.emulator.crm import Crm
from bulklink.emulator.server import create_app
from bulklink.emulator.settings import Settings
from bulklink.emulator.worldfile import parse_world
from bulklink.operations.cost_model import sampled_calls
from bulklink.operations.fetching.fetcher import SAMPLE_CONTACTS
from bulklink.operations.forecast_renewal import ReadForecaster
from bulklink.runs.forecast import CreditRange
from tests.operations.local_crm import OWNER, message

CONTACTS = 400


@asynccontextmanager
async def crm_of_many_contacts(emails_each: int) -> AsyncIterator[tuple[Connection, list[str]]]:
    ids = [str(5843104000004000000 + 7 * number) for number in range(CONTACTS)]
    world = parse_world(
        {
            "module_id": "5843104000000003735",
            "users": [{"id": OWNER, "full_name": "Patricia Boyle", "email": "p@us.example"}],
            "contacts": [{"id": contact, "name": contact} for contact in ids],
            "deals": [],
            "emails": [
                {
                    "contact_id": contact,
                    "message_id": message(emails_each * number + email),
                    "owner_id": OWNER,
                }
                for number, contact in enumerate(ids)
                for email in range(emails_each)
            ],
        }
    )
    async with TestServer(create_app(Crm(world, Settings(credits=0)))) as server:
        url = str(server.make_url("")).rstrip("/")
        demo = {"client_id": "demo", "client_secret": "demo", "refresh_token": "demo"}
        yield Connection.from_values(api_url=url, accounts_url=url, **demo), ids


@dataclass
class Terminal(RunCallbacks):
    """Answers questions about costs, and keeps them and the costs that were shown."""

    answer: bool
    can_ask = True
    asked: list[str] = field(default_factory=list)
    costs: list[CreditRange | None] = field(default_factory=list)

    def on_cost(
        self, description: str, *, credits_at_least: int, credit_range: CreditRange | None = None
    ) -> None:
        self.costs.append(credit_range)

    def confirm_cost(self, description: str, credit_range: CreditRange) -> bool:
        self.asked.append(description)
        return self.answer


async def test_the_user_is_asked_after_a_random_sample_and_a_refusal_loses_nothing(
    tmp_path: Path,
) -> None:
    file = tmp_path / "emails.csv"
    async with crm_of_many_contacts(emails_each=55) as (connection, ids):
        terminal = Terminal(answer=False)
        with pytest.raises(NotConfirmedError, match="200 contacts left"):
            await fetch(ids, file, connection, callbacks=terminal, rate=None)
        assert not file.exists()
        assert terminal.costs[-1] == CreditRange(1200, 1200, 1200)
        again = Terminal(answer=False)
        with pytest.raises(NotConfirmedError, match="200 contacts left"):
            await fetch(ids, file, connection, callbacks=again, rate=None)
        assert again.costs[-1] == terminal.costs[-1]
        terminal = Terminal(answer=True)
        result = await fetch(ids, file, connection, callbacks=terminal, rate=None)
    assert (result.read, result.emails) == (CONTACTS, CONTACTS * 55)
    assert result.calls["read"] == 6 * (CONTACTS - SAMPLE_CONTACTS)
    with file.open(newline="") as rows:
        order = list(dict.fromkeys(row["contact_id"] for row in csv.DictReader(rows)))
    assert order == ids


@pytest.mark.parametrize(("emails_each", "yes"), [(55, True), (5, False)])
async def test_nobody_is_asked_where_little_is_spent_or_yes_was_said(
    tmp_path: Path, emails_each: int, yes: bool
) -> None:
    async with crm_of_many_contacts(emails_each) as (connection, ids):
        terminal = Terminal(answer=False)
        file = tmp_path / "emails.csv"
        result = await fetch(ids, file, connection, callbacks=terminal, rate=None, yes=yes)
    assert result.read == CONTACTS
    assert terminal.asked == []


@given(
    st.lists(st.integers(1, 50), min_size=2, max_size=SAMPLE_CONTACTS),
    st.integers(0, 10**6),
)
def test_the_interval_of_a_sample_contains_its_mean(sample: list[int], left: int) -> None:
    calls = sampled_calls(sample, left, fewest=1)
    assert left <= calls.least <= calls.likely <= calls.most
    assert calls.likely == round(left * sum(sample) / len(sample))


def test_the_forecast_of_a_sample_stands_whatever_is_read_first() -> None:
    """Contacts with many deals are read first, so what they take tells nothing of the rest."""
    forecaster = ReadForecaster(1000)
    forecaster.fix(600, CreditRange(2000, 2400, 2800))
    for _ in range(100):
        forecaster.add_contact(1, 20)
    assert forecaster.renew(2600) == CreditRange(3500, 3500, 3500)
