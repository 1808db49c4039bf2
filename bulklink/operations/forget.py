"""`forget`: drop the user's columns and names from a run folder; ids, counts and hashes stay."""

from __future__ import annotations

import time
from collections.abc import Iterator
from os import PathLike
from typing import Any

import msgspec

from bulklink.errors import RunDirError
from bulklink.ledger.records import timestamp
from bulklink.ledger.redact import forget_texts
from bulklink.ledger.state import mend, replay
from bulklink.mapping.plan_reader import forget_columns
from bulklink.runs.folder import RunFolder, folder_of
from bulklink.runs.hashes import ledger_hash, sha256_of
from bulklink.runs.record import Forgotten, RunRecord, State
from bulklink.shell import quoted

_ENDED = (State.FINISHED, State.REFUSED)
_USERS = ("columns", "only", "keep")
"""Options whose values are headers and cells of the user's."""


def forget(run: str | PathLike[str], *, force: bool = False, now: float | None = None) -> Forgotten:
    """Drop the user's columns and names from a run folder.

    Ended in the middle, it is completed by doing it again; until then the run is not gone on with.
    A run that has not ended can be resumed afterwards: names are looked up again.

    Args:
        run: the run folder.
        force: do so too with a run that has not ended.
        now: seconds since 1970; None asks the clock.

    Returns:
        The hashes before and after, as `run.json` keeps them.

    Raises:
        RunDirError: if this is no run folder, or the run has not ended.
        LockedError: if another process drives or verifies it.
        LedgerError: if its ledger is damaged; nothing is dropped then.
    """
    folder = folder_of(run)
    _may_be_forgotten(folder, force=force)  # before anything is made in a folder that is no run's
    with folder.driven(), folder.verified():
        _may_be_forgotten(folder, force=force)
        for _ in forgetting(folder, timestamp(time.time() if now is None else now)):
            pass
        return folder.read().forgotten[-1]


def _may_be_forgotten(folder: RunFolder, *, force: bool) -> None:
    record = folder.read()
    begun = bool(record.forgotten) and not record.forgotten[-1].complete
    if record.state not in _ENDED and not force and not begun:
        raise RunDirError(
            "This run has not reached its end.",
            where=str(folder.path),
            advice=f"{quoted('resume', folder.path)} goes on with it. --force forgets now: a resume"
            " then looks the names up again.",
        )


def forgetting(folder: RunFolder, at: str) -> Iterator[str]:
    """Do it step by step, and yield the name of each step when it is on disk.

    Args:
        folder: of the run, driven by this process.
        at: the time, as the ledger writes it.

    Raises:
        LedgerError: if the ledger is damaged; nothing is dropped then.
    """
    mend(folder.ledger, folder.torn)
    replay(folder.ledger)  # a damaged ledger is left as it is
    record = _begun(folder, at)
    yield "begun"
    forget_texts(folder.ledger)
    yield "ledger"
    if folder.plan.is_file():
        forget_columns(folder.plan)
    yield "plan"
    for path in folder.of_the_users:
        path.unlink(missing_ok=True)
        yield path.name
    folder.clear_scratch()
    _end(folder, record)
    yield "ended"


def _begun(folder: RunFolder, at: str) -> RunRecord:
    """Note what is about to be done; one that was begun before keeps the hashes of that time."""
    record = folder.read()
    if record.forgotten and not record.forgotten[-1].complete:
        return record
    before = Forgotten(
        at,
        sha256_of(folder.plan) if folder.plan.is_file() else None,
        str(ledger_hash(folder.ledger)["ledger_sha256"]) if folder.ledger.exists() else None,
    )
    record = record.but(forgotten=(*record.forgotten, before))
    folder.write(record)
    return record


def _end(folder: RunFolder, record: RunRecord) -> None:
    plan = sha256_of(folder.plan) if folder.plan.is_file() else None
    ledger: dict[str, Any] = dict(ledger_hash(folder.ledger)) if folder.ledger.exists() else {}
    *earlier, last = record.forgotten
    done = msgspec.structs.replace(
        last, plan_after=plan, ledger_after=ledger.get("ledger_sha256"), complete=True
    )
    folder.write(
        record.but(
            asked=_without_users(record.asked),
            plan_sha256=plan,
            forgotten=(*earlier, done),
            **ledger,
        )
    )


def _without_users(asked: dict[str, Any]) -> dict[str, Any]:
    """Leave out what was said of the user's columns; names that filled empty cells are names."""
    kept = {name: [] if name in _USERS else value for name, value in asked.items()}
    if "defaults" in kept:
        kept["defaults"] = [one for one in kept["defaults"] if not one[0].endswith("_name")]
    return kept
