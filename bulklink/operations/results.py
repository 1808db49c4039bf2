"""Results of a run for a program: as dicts, or as an Arrow table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from itertools import islice
from os import PathLike, fspath
from typing import Any

from bulklink.blocking import blocks
from bulklink.html_pages.notebook import rows_html
from bulklink.operations.result_rows import open_results, write_results
from bulklink.tables import Cell
from bulklink.tables.arrow import ArrowTable

_SHOWN_ROWS = 10


class Results:
    """Rows of a run, each with its result, in the order of the mapping. Made by `results`.

    Iterating reads the run each time and yields a dict for each row. A reader of Arrow gets a table
    that is made once, in a temporary file that exists as long as this object.

    Args:
        run: run folder.
        status: statuses of the rows; empty for all.
        code: codes of the rows; empty for all.
    """

    def __init__(
        self, run: str | PathLike[str], status: Collection[str], code: Collection[str]
    ) -> None:
        self._run = fspath(run)
        self._open = partial(open_results, run, status, code)
        self._table: ArrowTable | None = None
        with self._open() as opened:
            self._columns = opened.columns

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns: those of the mapping, then those of the results."""
        return tuple(column.name for column in self._columns)

    def __iter__(self) -> Iterator[dict[str, Cell]]:
        blocks("reading results")
        names = self.columns
        with self._open() as opened:
            for row in opened.rows:
                yield dict(zip(names, row.cells, strict=True))

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Return the rows as an Arrow stream: texts, and whole numbers of 64 bits.

        Args:
            requested_schema: ignored, as the interface allows.
        """
        if self._table is None:
            with self._open() as opened:
                write: Callable[..., object] = partial(write_results, opened)
                self._table = ArrowTable(opened.columns, write)
        return self._table.stream()

    def __repr__(self) -> str:
        return f"<results of {self._run}>"

    def _repr_html_(self) -> str:
        first = [row.values() for row in islice(self, _SHOWN_ROWS)]
        return rows_html(f"The first results of {self._run}", self.columns, first)


def results(
    run: str | PathLike[str], *, status: Collection[str] = (), code: Collection[str] = ()
) -> Results:
    """Return the rows of a run with their results, for a program.

    Works at any time, even during the run: rows without a result are pending. Blocks, and so does
    each iteration.

    Args:
        run: run folder.
        status: statuses of the rows; empty for all.
        code: codes of the rows; empty for all.

    Returns:
        The rows: an iterable of dicts, and an Arrow table for what reads one, such as
        `polars.DataFrame(results(run))`.

    Raises:
        UsageError: if a status does not exist.
        RunDirError: if this is not a run folder, or the run has no plan.
        LedgerError: if its ledger is damaged.
    """
    return Results(run, status, code)
