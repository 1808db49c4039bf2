"""`report`: write the HTML report of a run."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import BinaryIO

import msgspec

from bulklink.atomic_files import atomic_replace
from bulklink.engine.clock import Clock, real_clock
from bulklink.html_pages.load.render import render_load
from bulklink.html_pages.report.render import render_report
from bulklink.operations.load_files import RESULT_NAME, read_load_result
from bulklink.operations.report.collect import collect_report
from bulklink.operations.report.job import collect_job_report
from bulklink.runs.folder import RunFolder, folder_of
from bulklink.runs.job_folder import JobFolder, find_job
from bulklink.tables.output import check_can_create


class ReportResult(msgspec.Struct, frozen=True):
    """Where the report was written, and its size.

    Args:
        path: file written; None for a stream.
        bytes: size of the report.
    """

    path: str | None
    bytes: int


def report(
    run: str | PathLike[str],
    output: str | PathLike[str] | BinaryIO | None = None,
    *,
    counts_only: bool = False,
    force: bool = False,
    clock: Clock | None = None,
) -> ReportResult:
    """Write the HTML report of a run: one file, readable only by its owner, that needs no network.

    Works at any time, even during the run. The report of a load test that has ended is about its
    figures. Blocks.

    Args:
        run: run folder, or the folder of a job, whose report has a line for each shard.
        output: file, or stream of bytes; None for `report.html` in the run folder, which is
            replaced each time.
        counts_only: whether to leave out all ids, names and texts of the CRM.
        force: whether to replace an existing file.
        clock: clock; None for this machine's, others for tests.

    Raises:
        UsageError: if the file exists, or its folder is missing.
        RunDirError: if this is not a run folder, or the report cannot be written.
        LedgerError: if the ledger of the run is damaged.
    """
    folder: RunFolder | JobFolder = find_job(run) or folder_of(run)
    folder.read()  # write nothing into a folder that is not a run's
    now = (clock or real_clock()).wall()
    target = folder.html_report if output is None else output
    if isinstance(target, str | PathLike):
        path = Path(target)
        check_can_create(path, force=force or _is_default_page(path, folder))
        page = _render_page(folder, now, counts_only=counts_only)
        with atomic_replace(path) as temporary:
            temporary.write_bytes(page)
        return ReportResult(str(path), len(page))
    page = _render_page(folder, now, counts_only=counts_only)
    target.write(page)
    return ReportResult(None, len(page))


def _render_page(folder: RunFolder | JobFolder, now: float, *, counts_only: bool) -> bytes:
    if isinstance(folder, JobFolder):
        return render_report(collect_job_report(folder, now, full=not counts_only)).encode()
    if folder.read().load_test and (folder.path / RESULT_NAME).is_file():
        return render_load(read_load_result(folder.path)).encode()
    return render_report(collect_report(folder, now, full=not counts_only)).encode()


def _is_default_page(path: Path, folder: RunFolder | JobFolder) -> bool:
    """Return whether a file is the report in the run folder, which is bulklink's own."""
    return path.absolute() == folder.html_report.absolute()
