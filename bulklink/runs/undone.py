"""Record of an undo in the run that it reverses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from bulklink.errors import BulklinkError, RunDirError
from bulklink.file_names import file_name_text
from bulklink.models import Status
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import RunRecord, UndoneBy, UndoneRun

_MAX_UNDOS = 20
_MAY_HAVE_CHANGED = (Status.DONE, Status.UNCHANGED, Status.IN_DOUBT)


def record_undo(folder: RunFolder, record: RunRecord, at: str) -> Iterator[str]:
    """Record the state of an undo in the run that it reverses; yield warnings.

    An undo of an undo also affects the first run, so earlier runs are updated too. A run whose
    record cannot be updated stays unchanged.

    Args:
        folder: folder of the undo, or of another run, of which nothing is recorded.
        record: its record.
        at: time when its last command ended, RFC 3339 in UTC.
    """
    visited = {record.created}
    while record.undo_of is not None and _may_have_changed(record):
        source = RunFolder(Path(record.undo_of.run_dir))
        try:
            source_record = _add_undo(source, record.undo_of, _undone_by(folder, record, at))
        except BulklinkError as error:
            yield (f"{error.where}: cannot record there that this run was undone: {error.message}")
            return
        if source_record.created in visited:  # run.json may contain a cycle
            return
        visited.add(source_record.created)
        folder, record = source, source_record


def _may_have_changed(record: RunRecord) -> bool:
    return any(record.counts.get(status) for status in _MAY_HAVE_CHANGED)


def _undone_by(folder: RunFolder, record: RunRecord, at: str) -> UndoneBy:
    return UndoneBy(
        run_dir=file_name_text(folder.path.absolute()),
        created=record.created,
        at=at,
        state=record.state,
        stopped_by=record.stopped_by,
        counts=record.counts,
        invocations=record.undo_of.invocations if record.undo_of else None,
        undone=record.effective_undo is not None,
    )


def _add_undo(source: RunFolder, undone_run: UndoneRun, undo: UndoneBy) -> RunRecord:
    """Add an undo to the record of the run it reverses, replacing its earlier entry.

    Raises:
        RunDirError: if the folder holds another run or none, or cannot be written.
        LockedError: if a process is running the run.
    """
    _check_is(source.read(), undone_run)  # before a lock file is made in another folder
    with source.run_lock():
        record = source.read()
        _check_is(record, undone_run)
        before = next((one for one in record.undone_by if one.created == undo.created), None)
        if before is not None and undo.invocations is None:
            undo = msgspec.structs.replace(undo, invocations=before.invocations)
        elif undo.invocations is None:
            undo = msgspec.structs.replace(undo, invocations=len(record.invocations))
        others = [one for one in record.undone_by if one.created != undo.created]
        record = record.replace(undone_by=(*others, undo)[-_MAX_UNDOS:])
        source.write(record)
    return record


def _check_is(record: RunRecord, undone_run: UndoneRun) -> None:
    same = (
        record.created == undone_run.created
        if undone_run.created is not None
        else record.digest == undone_run.digest
    )
    if not same:
        raise RunDirError(
            "Another run is there now.",
            where=undone_run.run_dir,
            advice="The run that was undone was moved: move it back, and resume the undo.",
        )
