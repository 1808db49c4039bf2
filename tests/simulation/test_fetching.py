"""For random worlds, faults and stops: what is fetched is whole, in order, and nothing is twice."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from bulklink.emulator.crm import Crm
from bulklink.emulator.faults import Fault, FaultBook, FaultKind
from bulklink.emulator.settings import Settings
from bulklink.engine.shutdown import Stopping
from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.mapping.interrupt import Stop
from bulklink.operations.callbacks import Watch
from bulklink.operations.fetch_run import (
    FetchedTable,
    Fetcher,
    FetchFolder,
    FetchRecord,
    UnreadContact,
)
from bulklink.operations.job import Job
from bulklink.zoho.transport import ANSWER_SECONDS
from tests.simulation.around import surroundings
from tests.simulation.drawn import draw
from tests.simulation.simulated import CONNECTION, OWNERS, Case, contact, email
from tests.virtual import VirtualLoop

SEEDS = 60
CONTACTS = 30


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_what_is_fetched_is_whole_in_order_and_there_once(first: int, tmp_path: Path) -> None:
    stops = 0
    for seed in range(first, first + 20):
        folder = FetchFolder(tmp_path / str(seed))
        folder.path.mkdir()
        loop = VirtualLoop()
        try:
            stops += loop.run_until_complete(_holds(seed, folder))
        finally:
            loop.close()
    assert stops > 5


async def _holds(seed: int, folder: FetchFolder) -> int:
    """Fetch a world, stopped now and then; return how often it was stopped."""
    chance = random.Random(seed)
    crm = draw(seed).case.crm()
    contacts = list(crm.world.contacts)
    chance.shuffle(contacts)
    folder.contacts.write_text("".join(f"{one}\n" for one in contacts), "ascii")
    crm.state.faults = FaultBook(_faults(chance))
    stops = 0
    unread: tuple[UnreadContact, ...] = ()
    for left in range(8, -1, -1):
        stopping = Stopping()
        stop_at = chance.randint(1, 3 * left + 1) if left else 0
        unread = await _one_life(crm, folder, len(contacts), stopping, stop_at)
        if stopping.reason is None:
            break
        stops += 1
        _tear(folder, chance)
        await asyncio.sleep(1000)
    got = [
        (str(row[0]), str(row[3]), str(row[5]))
        for rows in FetchedTable(folder, Stop()).rows()
        for row in rows
    ]
    missing = {one.contact_id for one in unread}
    expected = []
    for contact_id in contacts:
        view = crm.state.view(contact_id)
        if contact_id not in missing:
            expected += [
                (contact_id, email.message_id, view.deal_of(email) or "none")
                for email in view.mailbox.emails
            ]
    assert got == expected, seed
    return stops


async def _one_life(
    crm: Crm, folder: FetchFolder, contacts: int, stopping: Stopping, stop_at: int
) -> tuple[UnreadContact, ...]:
    """Run the command once; it is told to stop at some request, 0 for none."""
    requests = 0

    def seen() -> None:
        nonlocal requests
        requests += 1
        if requests == stop_at:
            stopping.stop(RunStoppedError(StoppedBy.INTERRUPTED, "It was told to stop."))

    async with surroundings(crm, seen) as around:
        fetcher = Fetcher(folder, FetchRecord(contacts, ""), Watch(), stopping)
        await fetcher.run(Job(mappings=(), rate=None), CONNECTION, around)
    return fetcher.progress.named


def _tear(folder: FetchFolder, chance: random.Random) -> None:
    """Lose the end of what was written, as a kill or the power does."""
    content = folder.lines.read_bytes()
    if content and chance.random() < 0.5:
        folder.lines.write_bytes(content[: chance.randint(0, len(content))])


def _faults(chance: random.Random) -> list[Fault]:
    kinds = chance.sample(("lost-answer", "lost-request", "500", "502", "html-200", "truncated"), 2)
    return [
        Fault(FaultKind(kind), op="read", share=0.2, seed=chance.randrange(1000), count=9)
        for kind in kinds
        if chance.random() < 0.6
    ]


class _Warned(Watch):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def warn(self, text: str) -> None:
        self.texts.append(text)


async def test_one_notice_says_that_the_crm_takes_fewer_reads_at_once(tmp_path: Path) -> None:
    crm = _of_contacts(Settings(latency=0.3, concurrency=3), tmp_path)
    watch = _Warned()
    async with surroundings(crm) as around:
        fetcher = Fetcher(FetchFolder(tmp_path), FetchRecord(CONTACTS, ""), watch, Stopping())
        await fetcher.run(Job(mappings=(), rate=None, concurrency=10), CONNECTION, around)
    assert fetcher.progress.finished == CONTACTS
    assert [text for text in watch.texts if "too many requests" in text] == watch.texts
    assert len(watch.texts) == 1


async def test_a_read_without_an_answer_in_time_holds_its_place_while_the_crm_is_at_work(
    tmp_path: Path,
) -> None:
    crm = _of_contacts(Settings(latency=0.3, concurrency=4), tmp_path)
    slow = Fault(FaultKind.SLOW, op="read", count=4, seconds=ANSWER_SECONDS + 5)
    crm.state.faults = FaultBook([slow])
    async with surroundings(crm) as around:
        fetcher = Fetcher(FetchFolder(tmp_path), FetchRecord(CONTACTS, ""), Watch(), Stopping())
        await fetcher.run(Job(mappings=(), rate=None, concurrency=4), CONNECTION, around)
    assert fetcher.progress.finished == CONTACTS
    assert crm.state.answered_429 == 0


def _of_contacts(settings: Settings, folder: Path) -> Crm:
    """Return a CRM with an email for each of some contacts, and write the list of these."""
    case = Case([email(n, contact(n), OWNERS[0]) for n in range(CONTACTS)], [], {})
    case.settings = settings
    FetchFolder(folder).contacts.write_text(
        "".join(f"{contact(n)}\n" for n in range(CONTACTS)), "ascii"
    )
    return case.crm()
