"""Progress of a fetch, rebuilt from its log."""

from __future__ import annotations

import os

import msgspec

from bulklink.errors import RunDirError
from bulklink.folder_files import line_blocks, open_to_append, split_lines
from bulklink.ledger.state import repair_torn_line
from bulklink.operations.fetching.folder import REMOVE, FetchFolder
from bulklink.operations.fetching.log import FetchLine
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
        decode = msgspec.json.Decoder(FetchLine).decode
        os.close(open_to_append(folder.log))
        number = 0
        for block in line_blocks(folder.log):
            for line in split_lines(block):
                number += 1
                try:
                    self._add(decode(line))
                except (ValueError, IndexError, RecursionError):
                    raise RunDirError(
                        "This line does not belong to a fetch of these contacts.",
                        where=f"{folder.log}:{number}",
                        advice=REMOVE,
                    ) from None
        repair_torn_line(folder.log, folder.log_torn)

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
            contact = UnreadContact(contact_id, verdict.code, verdict.text)
            self._unread_contacts[contact_number] = contact

    @property
    def unread_contacts(self) -> tuple[UnreadContact, ...]:
        """The first contacts that could not be read, in the requested order."""
        return tuple(contact for _, contact in sorted(self._unread_contacts.items()))
