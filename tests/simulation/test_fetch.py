"""A fetch has every email once and in order, for random worlds, faults and stops."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from bulklink.emulator.crm import Crm
from bulklink.emulator.faults import Fault, FaultKind, FaultRegistry
from bulklink.emulator.settings import Settings
from bulklink.engine.shutdown import StopController
from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.mapping.interrupt import PlanningStop
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.fetching.fetcher import Fetcher
from bulklink.operations.fetching.folder import FetchFolder, FetchRecord
from bulklink.operations.fetching.progress import FetchProgress, UnreadContact
from bulklink.operations.fetching.table import FetchTable
from bulklink.operations.job import Job
from bulklink.zoho.transport import ANSWER_TIMEOUT_SECONDS
from tests.guard import off_loop
from tests.simulation.environment import simulated_environment
from tests.simulation.scenarios import draw_scenario
from tests.simulation.simulator import CONNECTION, OWNERS, Case, contact, email
from tests.virtual import run_virtual

SEEDS = 60
CONTACTS = 30


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_a_fetch_has_every_email_once_and_in_order(first: int, tmp_path: Path) -> None:
    stops = 0
    for seed in range(first, first + 20):
        folder = FetchFolder(tmp_path / str(seed))
        folder.path.mkdir()
        stops += run_virtual(_check_fetch(seed, folder))
    assert stops >= 5


async def _check_fetch(seed: int, folder: FetchFolder) -> int:
    """Fetch a world with random stops; return the number of stops."""
    rng = random.Random(seed)
    crm = draw_scenario(seed).case.make_crm()
    contacts = list(crm.world.contacts)
    rng.shuffle(contacts)
    folder.contacts.write_text("".join(f"{item}\n" for item in contacts), "ascii")
    crm.state.faults = FaultRegistry(_draw_faults(rng))
    stops = 0
    unread: tuple[UnreadContact, ...] = ()
    for stops_left in range(8, -1, -1):
        stop = StopController()
        stop_at = rng.randint(1, 3 * stops_left + 1) if stops_left else 0
        unread = await _run_command(crm, folder, len(contacts), stop, stop_at)
        if stop.reason is None:
            break
        stops += 1
        _truncate_lines(folder, rng)
        await asyncio.sleep(1000)
    record = FetchRecord(len(contacts), "", selected_sha256="")
    table = FetchTable(folder, record, PlanningStop())
    fetched_rows = [
        (str(row[0]), str(row[3]), str(row[5]))
        for rows in await off_loop(lambda: list(table.rows()))
        for row in rows
    ]
    unread_contacts = {item.contact_id for item in unread}
    expected = []
    for contact_id in contacts:
        view = crm.state.view(contact_id)
        if contact_id not in unread_contacts:
            expected += [
                (contact_id, email.message_id, view.deal_of(email) or "none")
                for email in view.mailbox.emails
            ]
    assert fetched_rows == expected, seed
    return stops


async def _run_command(
    crm: Crm, folder: FetchFolder, contacts: int, stop: StopController, stop_at: int
) -> tuple[UnreadContact, ...]:
    """Run the command once, stopped at request number `stop_at`, or never if 0."""
    requests = 0

    def count_request() -> None:
        nonlocal requests
        requests += 1
        if requests == stop_at:
            stop.request(RunStoppedError(StoppedBy.INTERRUPTED, "Ctrl-C"))

    async with simulated_environment(crm, count_request) as environment:
        fetcher = await off_loop(
            Fetcher,
            folder,
            FetchRecord(contacts, "", selected_sha256=""),
            RunCallbacks(),
            stop,
            "512MB",
        )
        await fetcher.run(Job(mappings=(), rate=None), CONNECTION, environment)
    return progress_of(fetcher).unread_contacts


def _truncate_lines(folder: FetchFolder, rng: random.Random) -> None:
    """Cut off the end of the log at times, as a kill or a power loss does."""
    content = folder.log.read_bytes()
    if content and rng.random() < 0.5:
        folder.log.write_bytes(content[: rng.randint(0, len(content))])


def _draw_faults(rng: random.Random) -> list[Fault]:
    kinds = rng.sample(("lost-answer", "lost-request", "500", "502", "html-200", "truncated"), 2)
    return [
        Fault(FaultKind(kind), op="read", share=0.2, seed=rng.randrange(1000), count=9)
        for kind in kinds
        if rng.random() < 0.6
    ]


def progress_of(fetcher: Fetcher) -> FetchProgress:
    """Return the progress of a fetch whose contacts are selected."""
    assert fetcher.progress is not None
    return fetcher.progress


class _WarningCallbacks(RunCallbacks):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_warning(self, text: str) -> None:
        self.texts.append(text)


async def test_one_warning_reports_that_the_crm_allows_fewer_concurrent_reads(
    tmp_path: Path,
) -> None:
    crm = _make_crm(Settings(latency=0.3, concurrency=3), tmp_path)
    callbacks = _WarningCallbacks()
    async with simulated_environment(crm) as environment:
        fetcher = await off_loop(
            Fetcher,
            FetchFolder(tmp_path),
            FetchRecord(CONTACTS, "", selected_sha256=""),
            callbacks,
            StopController(),
            "512MB",
        )
        await fetcher.run(Job(mappings=(), rate=None, concurrency=10), CONNECTION, environment)
    assert progress_of(fetcher).contacts_read == CONTACTS
    (text,) = callbacks.texts
    assert "too many requests" in text


async def test_a_timed_out_read_counts_as_in_flight_while_the_crm_executes_it(
    tmp_path: Path,
) -> None:
    crm = _make_crm(Settings(latency=0.3, concurrency=4), tmp_path)
    slow = Fault(FaultKind.SLOW, op="read", count=4, seconds=ANSWER_TIMEOUT_SECONDS + 5)
    crm.state.faults = FaultRegistry([slow])
    async with simulated_environment(crm) as environment:
        fetcher = await off_loop(
            Fetcher,
            FetchFolder(tmp_path),
            FetchRecord(CONTACTS, "", selected_sha256=""),
            RunCallbacks(),
            StopController(),
            "512MB",
        )
        await fetcher.run(Job(mappings=(), rate=None, concurrency=4), CONNECTION, environment)
    assert progress_of(fetcher).contacts_read == CONTACTS
    assert crm.state.answered_429 == 0


def _make_crm(settings: Settings, folder: Path) -> Crm:
    """Return a CRM with one email per contact, and write the list of contacts."""
    case = Case([email(n, contact(n), OWNERS[0]) for n in range(CONTACTS)], [], {})
    case.settings = settings
    FetchFolder(folder).contacts.write_text(
        "".join(f"{contact(n)}\n" for n in range(CONTACTS)), "ascii"
    )
    return case.make_crm()
