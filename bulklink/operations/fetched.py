"""What a fetch has read so far: lines as they came, how far it is, and the table of it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import msgspec
import orjson

from bulklink.ledger.state import mend
from bulklink.mapping.database import Database, literal
from bulklink.mapping.interrupt import Stop
from bulklink.models import NO_DEAL
from bulklink.operations.fetchfolder import FetchFolder
from bulklink.tables import Cell, Column
from bulklink.zoho.email_pages import ListedEmail
from bulklink.zoho.link_response import Verdict

COLUMNS = (
    Column("contact_id", ident=True),
    Column("owner_id", ident=True),
    Column("owner_name"),
    Column("message_id", ident=True),
    Column("deal_id", ident=True),
    Column("from_deal_id", ident=True),
    Column("from_deal_name"),
    Column("subject"),
    Column("time"),
    Column("direction"),
)
MOST_NAMED = 1000
"""Contacts that could not be read, and are named."""
_LONGEST_SUBJECT = 32_767
"""Characters: what a cell of a sheet holds."""
_MEMORY = "160MB"


class UnreadContact(msgspec.Struct, frozen=True):
    """A contact whose emails could not be read, and why."""

    contact_id: str
    code: str
    message: str


def email_line(number: int, life: int, place: int, contact_id: str, email: ListedEmail) -> bytes:
    """Return the line of one email.

    Args:
        number: of its contact.
        life: the command that read it; lines of one that was killed on the contact do not count.
        place: of the email in the contact's list.
        contact_id: of the contact.
        email: as it was listed.
    """
    # For an email on no deal it says so: as a guard, an empty cell would guard nothing.
    deal = email.deal
    known = deal if deal is not msgspec.UNSET else None
    received = {True: "received", False: "sent", None: None}[email.received]
    return _line(
        {
            "event": "email",
            "n": number,
            "life": life,
            "place": place,
            "contact_id": contact_id,
            "owner_id": email.owner_id,
            "owner_name": email.owner_name,
            "message_id": email.message_id,
            "from_deal_id": NO_DEAL if deal is None else known.id if known else None,
            "from_deal_name": known.name if known else None,
            "subject": (email.subject or "")[:_LONGEST_SUBJECT] or None,
            "time": email.time,
            "direction": received,
        }
    )


def finished_line(number: int, life: int, nameless: int) -> bytes:
    """Return the line that ends a contact; `nameless` of its emails have no message id."""
    return _line({"event": "contact", "n": number, "life": life, "nameless": nameless})


def unread_line(number: int, life: int, contact_id: str, verdict: Verdict) -> bytes:
    """Return the line of a contact that could not be read."""
    told = {"contact_id": contact_id, "code": verdict.code, "message": verdict.text}
    return _line({"event": "unread", "n": number, "life": life, **told})


class _Told(msgspec.Struct):
    event: str
    n: int = 0
    life: int = 0
    nameless: int = 0


class Progress:
    """How far a fetch is, by its lines. Memory: a byte a contact.

    Attributes:
        life: the number of this command on it.
        finished: how many contacts were read.
        nameless: emails without a message id.
    """

    def __init__(self, folder: FetchFolder, contacts: int) -> None:
        self._done = bytearray(contacts)
        self._unread: dict[int, UnreadContact] = {}
        self.unread = 0
        self.life = 1
        self.finished = 0
        self.nameless = 0
        mend(folder.lines, folder.path / "fetched.torn")
        decoder = msgspec.json.Decoder(_Told)
        os.close(os.open(folder.lines, os.O_RDONLY | os.O_CREAT, 0o600))
        with folder.lines.open("rb") as file:
            for line in file:
                told = decoder.decode(line)
                self.life = max(self.life, told.life + 1)
                if told.event == "contact":
                    self.finish(told.n, told.nameless)

    def is_done(self, number: int) -> bool:
        """Tell whether a contact was read."""
        return self._done[number] != 0

    def finish(self, number: int, nameless: int) -> None:
        """Note a contact that was read."""
        self._done[number] = 1
        self.finished += 1
        self.nameless += nameless

    def leave(self, number: int, unread: UnreadContact) -> None:
        """Note a contact that could not be read."""
        self.unread += 1
        if len(self._unread) < MOST_NAMED:
            self._unread[number] = unread

    @property
    def named(self) -> tuple[UnreadContact, ...]:
        """Contacts that could not be read, the first so many in the order asked for."""
        return tuple(one for _, one in sorted(self._unread.items()))


class FetchedTable:
    """The table of all that was fetched, contact by contact as asked for, newest email first.

    Args:
        folder: of the fetch.
        stop: ends the work from another thread.

    Attributes:
        counts: its emails: `emails` in all, `on_no_deal`, and `not_told` where no deal is told.
    """

    def __init__(self, folder: FetchFolder, stop: Stop) -> None:
        self._folder = folder
        self._stop = stop
        self.counts: Counter[str] = Counter(emails=0, on_no_deal=0, not_told=0)

    def rows(self) -> Iterator[list[tuple[Cell, ...]]]:
        """Stream its rows, some two thousand at a time."""
        spill = self._folder.path / "spill"
        query = _TABLE.format(lines=literal(str(self._folder.lines)))
        with closing(Database(spill, self._stop, threads=1, memory=_MEMORY)) as database:
            for batch in database.batches(query):
                for row in batch:
                    self.counts["emails"] += 1
                    self.counts["on_no_deal"] += row[5] == NO_DEAL
                    self.counts["not_told"] += row[5] is None
                yield batch


#: An email may be listed twice, where new ones came while the pages were read.
_TABLE = """
WITH lines AS (
    SELECT * FROM read_json({lines}, format = 'newline_delimited', columns = {{
        event: 'VARCHAR', n: 'BIGINT', life: 'BIGINT', place: 'BIGINT', contact_id: 'VARCHAR',
        owner_id: 'VARCHAR', owner_name: 'VARCHAR', message_id: 'VARCHAR',
        from_deal_id: 'VARCHAR', from_deal_name: 'VARCHAR', subject: 'VARCHAR', time: 'VARCHAR',
        direction: 'VARCHAR'
    }})
)
SELECT emails.contact_id, owner_id, owner_name, message_id, NULL, from_deal_id, from_deal_name,
    subject, time, direction
FROM (SELECT * FROM lines WHERE event = 'email') AS emails
JOIN (SELECT n, life FROM lines WHERE event = 'contact') AS finished USING (n, life)
QUALIFY row_number() OVER (PARTITION BY n, message_id, owner_id ORDER BY place) = 1
ORDER BY n, place
"""


def _line(content: dict[str, object]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)
