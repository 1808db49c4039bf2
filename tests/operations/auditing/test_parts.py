"""An audit gives the same files whatever the parts and the processes that judge them."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest

from bulklink.errors import BadFileError, InterruptedPlanningError
from bulklink.finding.values import ContactFacts, DealFacts
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.sorted_emails import write_sorted_emails
from bulklink.mapping.sorted_emails_reader import cut_contacts
from bulklink.operations.auditing.deals_file import ContactDeals, DealsFile, DealsHeader, utc_time
from bulklink.operations.auditing.parts import ContactPart, PartProcesses
from bulklink.runs.record import OrgRecord
from tests.operations.auditing.audit_world import AuditWorld, contact_id, deal_id

CONTACTS = 12
EMAILS = (1, 3, 0, 5, 2, 2, 1, 4, 1, 1, 2, 3)


def list_contacts(contacts: Iterable[ContactFacts]) -> list[ContactFacts]:
    return list(contacts)


def kill_other_processes(contacts: Iterable[ContactFacts], main: int) -> list[ContactFacts]:
    """End the process at once, unless it is the main one."""
    if os.getpid() != main:
        os._exit(1)
    return list(contacts)


def read_blocked_signals(contacts: Iterable[ContactFacts]) -> set[int]:
    blocked = set[int]()
    if sys.platform != "win32":
        blocked.update(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    return blocked


def say_that_it_works(contacts: Iterable[ContactFacts]) -> None:
    """Print a line, and then work until the process ends."""
    os.write(1, b"working\n")
    threading.Event().wait()


def map_for_ever(parts: list[ContactPart]) -> None:
    with PartProcesses(2, PlanningStop()) as processes:
        list(processes.map(say_that_it_works, parts))


def refuse(contacts: Iterable[ContactFacts]) -> None:
    raise BadFileError(f"Damaged after {len(list(contacts))}.", where="deals")


@pytest.fixture
def files(tmp_path: Path) -> ContactPart:
    """The files of an audit as one part: contacts with more deals than one line and none."""
    world = AuditWorld()
    for emails in EMAILS:
        world.add_contact(emails=emails)
    write_sorted_emails(
        str(world.write(tmp_path / "emails.csv")), tmp_path / "sorted.parquet", stop=PlanningStop()
    )
    deals = DealsFile(tmp_path / "emails.deals.jsonl")
    header = DealsHeader(
        utc_time(0), "https://api.example", None, OrgRecord(), {"Won": "won"}, None, "0", CONTACTS
    )
    deals.write(
        header,
        (
            ContactDeals(
                contact_id(number),
                tuple(DealFacts(deal_id(place), "n" * 400_000) for place in range(number % 4)),
            )
            for number in range(CONTACTS)
            if number != 4
        ),
    )
    return ContactPart(tmp_path / "sorted.parquet", deals)


def cut(files: ContactPart, emails: int) -> list[ContactPart]:
    stop = PlanningStop()
    cuts = cut_contacts(files.emails, emails, stop)
    offsets = files.deals_file.offsets(cuts, stop)
    return [
        ContactPart(files.emails, files.deals_file, *place)
        for place in zip(["", *cuts], [*cuts, None], [0, *offsets], strict=True)
    ]


def whole(files: ContactPart) -> list[ContactFacts]:
    return list(files.contacts(PlanningStop(), lambda contact: None))


@pytest.mark.parametrize("emails", [1, 2, 3, 7, 100])
def test_the_parts_together_have_each_contact_once(files: ContactPart, emails: int) -> None:
    processes = PartProcesses(1, PlanningStop())
    results = list(processes.map(list_contacts, cut(files, emails)))
    assert [contact for result in results for contact in result.value] == whole(files)
    assert sum(result.emails for result in results) == sum(EMAILS) - EMAILS[4]


def test_processes_give_the_same_results_in_the_same_order(files: ContactPart) -> None:
    parts = cut(files, 1)
    with PartProcesses(2, PlanningStop()) as processes:
        first, second = (list(processes.map(list_contacts, parts)) for _ in range(2))
    assert first == second == list(PartProcesses(1, PlanningStop()).map(list_contacts, parts))


def test_what_a_killed_process_left_is_done_by_this_one(files: ContactPart) -> None:
    work = partial(kill_other_processes, main=os.getpid())
    with PartProcesses(2, PlanningStop()) as processes:
        results = list(processes.map(work, cut(files, 1)))
    assert [contact for result in results for contact in result.value] == whole(files)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal masks")
def test_a_process_cannot_be_interrupted_from_its_start(files: ContactPart) -> None:
    """Ctrl-C of a terminal would reach it while it imports, and print a traceback."""
    with PartProcesses(2, PlanningStop()) as processes:
        results = list(processes.map(read_blocked_signals, cut(files, 1)))
    assert all(signal.SIGINT in result.value for result in results)
    assert signal.SIGINT not in read_blocked_signals(())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_no_process_outlives_a_killed_audit(files: ContactPart, tmp_path: Path) -> None:
    """Each of them holds the pipe of the output, which ends when the last one has."""
    (tmp_path / "parts").write_bytes(pickle.dumps(cut(files, 1)))
    program = f"""
import pickle, sys
from tests.operations.auditing.test_parts import map_for_ever
if __name__ == "__main__":
    with open({str(tmp_path / "parts")!r}, "rb") as file:
        map_for_ever(pickle.load(file))
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as audit:
        assert audit.stdout is not None
        assert [audit.stdout.readline() for _ in range(2)] == [b"working\n"] * 2
        audit.kill()
        assert audit.stdout.read() == b""


def test_the_error_of_a_process_is_raised_with_its_place(files: ContactPart) -> None:
    with (
        PartProcesses(2, PlanningStop()) as processes,
        pytest.raises(BadFileError, match="Damaged") as caught,
    ):
        list(processes.map(refuse, cut(files, 1)))
    assert caught.value.where == "deals"


def test_a_stop_interrupts_a_pass_of_processes(files: ContactPart) -> None:
    stop = PlanningStop()
    with PartProcesses(2, stop) as processes:
        results = processes.map(list_contacts, cut(files, 1))
        next(results)
        stop.interrupt()
        with pytest.raises(InterruptedPlanningError):
            list(results)


def test_a_damaged_line_is_named_wherever_the_reading_begins(files: ContactPart) -> None:
    path = files.deals_file.path
    (last,) = files.deals_file.offsets([contact_id(CONTACTS - 1)], PlanningStop())
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + b"{}\n")
    with pytest.raises(BadFileError) as caught:
        list(files.deals_file.contacts(PlanningStop(), last))
    assert caught.value.where == f"{path}:{len(lines)}"


def test_the_search_for_reference_cycles_is_paused_only_while_a_part_is_worked_on(
    files: ContactPart,
) -> None:
    with PartProcesses(1, PlanningStop()) as processes:
        (result,) = processes.map(is_searching, [files])
        assert not result.value
        with pytest.raises(BadFileError):
            list(processes.map(refuse, [files]))
    assert gc.isenabled()


def is_searching(contacts: Iterable[ContactFacts]) -> bool:
    return bool(list(contacts)) and gc.isenabled()
