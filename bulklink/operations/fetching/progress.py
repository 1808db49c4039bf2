"""Progress of a selection and of a fetch, rebuilt from their log."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from bulklink.decoding import json_decoder
from bulklink.errors import RunDirError
from bulklink.folder_files import line_blocks, split_lines
from bulklink.ledger.state import repair_torn_line
from bulklink.operations.fetching.folder import FetchFolder, is_id
from bulklink.operations.fetching.log import FetchLine
from bulklink.operations.work_folder import REMOVE_WORK_FOLDER
from bulklink.zoho.link_response import AnswerVerdict

MAX_UNREAD_NAMED = 1000
"""Unread contacts to name in the result."""


class UnreadContact(msgspec.Struct, frozen=True):
    """A contact whose emails could not be read, and why.

    Args:
        contact_id: id of the contact.
        code: code of the refusal or failure.
        message: message of the refusal or failure.
    """

    contact_id: str
    code: str
    message: str


def read_log(folder: FetchFolder, add: Callable[[FetchLine], None]) -> None:
    """Call a function with each line of a log, which is created if missing; cut a torn last line.

    Args:
        folder: folder of the fetch.
        add: called with each line; raises ValueError or IndexError if the line does not fit.

    Raises:
        RunDirError: if a line is damaged or does not fit.
    """
    decode = json_decoder(FetchLine).decode
    folder.create_log()
    number = 0
    for block in line_blocks(folder.log):
        for line in split_lines(block):
            number += 1
            try:
                add(decode(line))
            except (ValueError, IndexError, RecursionError):
                raise RunDirError(
                    "This line does not belong to a fetch of these contacts.",
                    where=f"{folder.log}:{number}",
                    advice=REMOVE_WORK_FOLDER,
                ) from None
    repair_torn_line(folder.log, folder.log_torn)


class QueryProgress:
    """Progress of a selection: what its queries, and its reads of contact roles, have shown.

    Args:
        folder: folder of the fetch.

    Raises:
        RunDirError: if a line of the log is damaged.
    """

    def __init__(self, folder: FetchFolder) -> None:
        self._last_ids: dict[str, str] = {}
        self._done: set[str] = set()
        self._has_roles = False
        read_log(folder, self._add)

    def _add(self, line: FetchLine) -> None:
        self._has_roles |= line.event == "roles"
        if line.event != "queried" or line.query is None:
            return
        if line.done:
            self._done.add(line.query)
            self._last_ids.pop(line.query, None)
        elif line.after is not None and is_id(line.after):
            self._last_ids[line.query] = line.after

    def __bool__(self) -> bool:
        """Whether anything was read."""
        return bool(self._done or self._last_ids or self._has_roles)

    def is_done(self, query: str) -> bool:
        """Return whether all pages of a query were read."""
        return query in self._done

    def last_id(self, query: str) -> str:
        """Return the last id of the pages that were read; `0` if none was."""
        return self._last_ids.get(query, "0")


class FetchProgress:
    """Progress of a fetch, rebuilt from its lines; one byte per contact.

    Args:
        folder: folder of the fetch.
        contacts: number of contacts.

    Raises:
        RunDirError: if a line of the log is damaged.

    Attributes:
        invocation: number of this command on the fetch.
        contacts_read: contacts read to the end.
        contacts_unread: contacts that this command could not read.
        nameless: emails without a message id.
    """

    def __init__(self, folder: FetchFolder, contacts: int) -> None:
        self._read_flags = bytearray(contacts)
        self._unread_contacts: dict[int, UnreadContact] = {}
        self.invocation = 1
        self.contacts_read = self.contacts_unread = self.nameless = 0
        read_log(folder, self._add)

    def _add(self, line: FetchLine) -> None:
        self.invocation = max(self.invocation, line.life + 1)
        if line.event == "contact" and not self.is_read(line.n):
            self.mark_read(line.n, line.nameless)

    def is_read(self, contact_number: int) -> bool:
        """Return whether a contact was read."""
        return self._read_flags[contact_number] != 0

    def mark_read(self, contact_number: int, nameless: int) -> None:
        """Count a contact that was read."""
        self._read_flags[contact_number] = 1
        self.contacts_read += 1
        self.nameless += nameless

    def mark_unread(self, contact_number: int, contact_id: str, verdict: AnswerVerdict) -> None:
        """Count a contact that could not be read."""
        self.contacts_unread += 1
        if len(self._unread_contacts) < MAX_UNREAD_NAMED:
            contact = UnreadContact(contact_id, verdict.shown_code, verdict.text)
            self._unread_contacts[contact_number] = contact

    @property
    def unread_contacts(self) -> tuple[UnreadContact, ...]:
        """The first contacts that could not be read, in the requested order."""
        return tuple(contact for _, contact in sorted(self._unread_contacts.items()))
