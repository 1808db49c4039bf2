"""Which contacts are meant: ids as given, in lists, or in mappings; each once, in order."""
# ruff: noqa: S608

from __future__ import annotations

import re
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING

from bulklink.atomic_files import replacing
from bulklink.errors import BadFileError, UsageError
from bulklink.mapping.database import Database
from bulklink.mapping.headers import LONGEST_ID, simple
from bulklink.mapping.interrupt import Stop
from bulklink.mapping.plan_layout import relation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_HEADER = simple("contact_id")
_QUOTED = re.compile('="(.*)"')
_DIGITS = re.compile(f"[0-9]{{1,{LONGEST_ID}}}")
_ADVICE = "An id has digits alone; export ids as text."
_ROWS = 2048
_MEMORY = "128MB"


def contact_id(text: str) -> str | None:
    """Return the id in a cell, without what exports put around it; None if there is none."""
    bare = text.strip().removeprefix("'")
    quoted = _QUOTED.fullmatch(bare)
    bare = (quoted[1] if quoted else bare).strip().removeprefix("'").removeprefix("zcrm_").strip()
    return bare if _DIGITS.fullmatch(bare) else None


def given(text: str) -> str:
    """Return the id that an argument is.

    Raises:
        UsageError: if it is none.
    """
    found = contact_id(text)
    if found is None:
        raise UsageError(
            f"{text!r} is no contact id.",
            where="CONTACTS",
            advice=f"{_ADVICE} A file of ids is written @FILE, a mapping --from-mapping FILE.",
        )
    return found


def listed(lines: Iterable[bytes], name: str) -> Iterator[str]:
    """Yield the ids of a list, one a line; blank lines and a first line `contact_id` are no ids.

    Raises:
        BadFileError: if a line holds no id.
    """
    for number, line in enumerate(lines, 1):
        text = line.decode("utf-8-sig" if number == 1 else "utf-8", "replace").strip()
        if not text or (number == 1 and simple(text) == _HEADER):
            continue
        found = contact_id(text)
        if found is None:
            raise BadFileError(
                f"{text[:60]!r} is no contact id.",
                where=f"{name}, line {number}",
                advice=f"Write one id a line. {_ADVICE} A table with a column contact_id is"
                " given by --from-mapping.",
            )
        yield found


def planned(plan: Path) -> Iterator[tuple[int, str]]:
    """Yield the contacts of a sealed plan, each with the first row that names it."""
    spill = plan.with_name(plan.name + ".spill")
    with closing(Database(spill, Stop(), threads=1, memory=_MEMORY)) as database:
        query = (
            "SELECT min(bulklink_row) AS row, bulklink_contact_id "
            f"FROM {relation(database, plan)} GROUP BY ALL ORDER BY row"
        )
        yield from database.rows(query)


def write_once_each(contacts: Iterable[tuple[int, str]], path: Path) -> int:
    """Write contacts to a file, one a line, each where it comes first; return how many.

    Args:
        contacts: pairs of a place and a contact, in any order.
        path: the file.
    """
    spill, pairs = path.with_name(path.name + ".spill"), iter(contacts)
    with closing(Database(spill, Stop(), threads=1, memory=_MEMORY)) as database:
        database.run("CREATE TABLE asked (place BIGINT, contact_id VARCHAR)")
        while batch := list(islice(pairs, _ROWS)):
            database.insert("asked", [(str(place), contact) for place, contact in batch])
        query = "SELECT contact_id FROM asked GROUP BY contact_id ORDER BY min(place), contact_id"
        count = 0
        with replacing(path) as temporary, temporary.open("wb") as file:
            for batch in database.batches(query):
                count += len(batch)
                file.writelines(f"{found[0]}\n".encode() for found in batch)
        return count
