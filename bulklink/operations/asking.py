"""Which contacts a fetch is asked for: ids, lists of ids, mappings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import BinaryIO

import msgspec

from bulklink.errors import UsageError
from bulklink.mapping import contact_ids
from bulklink.mapping.faults import BAD_OP, CONFLICT
from bulklink.mapping.input.files import sources, unreadable
from bulklink.mapping.interrupt import Stop
from bulklink.mapping.plan_writer import PLAN
from bulklink.operations.job import Job
from bulklink.operations.prepare import check_mapping

_READABLE = (BAD_OP, CONFLICT)
"""What can be wrong with a row that names its contact well."""
_FILLED = (("op", "unlink"), ("owner_id", "1"), ("message_id", "x"), ("deal_id", "1"))
"""What a mapping may leave out where its contacts alone are of interest."""


class AskedContacts(msgspec.Struct, frozen=True):
    """The contacts that are asked for.

    Args:
        given: ids, `@FILE` for a list of ids, `-` for such a list from standard input.
        mappings: how mappings are read whose contacts are asked for; None for none.
        standard_input: what `-` reads; the process's own if None.
    """

    given: Sequence[str]
    mappings: Job | None
    standard_input: BinaryIO | None = None

    def ids(
        self, scratch: Path, stop: Stop, warn: Callable[[str], None]
    ) -> Iterator[tuple[int, str]]:
        """Yield each with its place.

        Args:
            scratch: a folder for temporary files.
            stop: ends the reading.
            warn: told of rows that cannot be read.

        Raises:
            UsageError: if an argument is no id, or none is asked for.
            BadFileError: if a file cannot be read.
        """
        if not self.given and self.mappings is None:
            raise UsageError(
                "No contact is named.",
                where="CONTACTS",
                advice="Name ids, @FILE, or - for standard input; or give --from-mapping FILE.",
            )
        places = count()
        for one in self.given:
            for contact_id in self._ids(one):
                stop.check()
                yield next(places), contact_id
        if self.mappings is not None:
            first = next(places)
            for row, contact_id in self._of_mappings(self.mappings, scratch, stop, warn):
                yield first + row, contact_id

    def _ids(self, one: str) -> Iterator[str]:
        if one == "-":
            yield from contact_ids.listed(self.standard_input or sys.stdin.buffer, one)
        elif one.startswith("@"):
            try:
                with Path(one[1:]).open("rb") as file:
                    yield from contact_ids.listed(file, one[1:])
            except OSError as error:
                raise unreadable(one[1:], error) from None
        else:
            yield contact_ids.given(one)

    def _of_mappings(
        self, job: Job, scratch: Path, stop: Stop, warn: Callable[[str], None]
    ) -> Iterator[tuple[int, str]]:
        filled = msgspec.structs.replace(job, defaults=_FILLED)
        with check_mapping(filled, sources(job.mappings), scratch, stop) as checked:
            unreadable_rows = 0
            for refused in checked.refused_rows():
                if refused.reason in _READABLE and refused.contact_id:
                    yield refused.row, refused.contact_id
                else:
                    unreadable_rows += 1
            if unreadable_rows:
                warn(
                    f"{unreadable_rows:,} rows of the mapping cannot be read: contacts that no"
                    " other row names are left out."
                )
            if checked.messages:
                checked.seal(scratch)
                yield from contact_ids.planned(scratch / PLAN)
                (scratch / PLAN).unlink()
