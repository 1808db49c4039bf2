"""`report`: write the page of a run."""

from __future__ import annotations

import time
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import msgspec

from bulklink.atomic_files import atomic_replace
from bulklink.html_report.render import render_report
from bulklink.operations.report.collect import collect_report
from bulklink.runs.folder import RunFolder, folder_of
from bulklink.tables.output import check_can_create


class ReportResult(msgspec.Struct, frozen=True):
    """The page that was written, in how many bytes; `path` is None where it went to a stream."""

    path: str | None
    bytes: int


def report(
    run: str | PathLike[str],
    output: str | PathLike[str] | BinaryIO | None = None,
    *,
    counts_only: bool = False,
    force: bool = False,
) -> ReportResult:
    """Write the page of a run: one file that needs no network, for its owner's eyes only.

    Works at any time, also while the run goes on. It blocks.

    Args:
        run: the run folder.
        output: the file, or a stream of bytes; None is `report.html` in the run folder, which is
            replaced at each time.
        counts_only: leave out all ids and names, and what the CRM said.
        force: replace a file that is there.

    Raises:
        UsageError: if the file is there already, or has no folder.
        RunDirError: if this is no run folder, or the page cannot be written.
        LedgerError: if the ledger of the run is damaged.
    """
    folder = folder_of(run)
    folder.read()  # no page is written beside what is no run
    target = folder.html_report if output is None else output
    if isinstance(target, str | PathLike):
        path = Path(target)
        check_can_create(path, force=force or _is_default_page(path, folder))
        page = _render_page(folder, counts_only=counts_only)
        with atomic_replace(path) as temporary:
            temporary.write_bytes(page)
        return ReportResult(str(path), len(page))
    page = _render_page(folder, counts_only=counts_only)
    target.write(page)
    return ReportResult(None, len(page))


def _render_page(folder: RunFolder, *, counts_only: bool) -> bytes:
    return render_report(collect_report(folder, time.time(), full=not counts_only)).encode()


def _is_default_page(path: Path, folder: RunFolder) -> bool:
    """Tell whether a file is the page in the run folder, which is bulklink's own."""
    return path.absolute() == folder.html_report.absolute()
