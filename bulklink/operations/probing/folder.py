"""Working folder of a probe: what its emails were on before the first change."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bulklink.decoding import decode_json
from bulklink.errors import RunDirError
from bulklink.folder_files import check_folder_file, read_small_file
from bulklink.ledger.state import repair_torn_line
from bulklink.mapping.schema import id_pattern
from bulklink.operations.probing.values import ProbeEmail
from bulklink.operations.work_folder import locked_work_folder, write_work_record
from bulklink.runs.record import OrgRecord, check_address

_RECORD_ID = re.compile(id_pattern("contact_id"))
_MESSAGE_ID = re.compile(id_pattern("message_id"))


def is_record_id(text: str) -> bool:
    """Return whether a text is the id of a contact, deal or user."""
    return _RECORD_ID.fullmatch(text) is not None


def is_message_id(text: str) -> bool:
    """Return whether a text is the id of an email."""
    return _MESSAGE_ID.fullmatch(text) is not None


class ProbeRecord(msgspec.Struct, frozen=True):
    """What a probe has to put back, and where.

    Args:
        emails: the emails that it may change, as they were before.
        module_id: the org's id of the Deals module.
        org: the org.
        api_url: address of the API.
        data_centre: the data centre; None if only the address was given.
    """

    emails: tuple[ProbeEmail, ...]
    module_id: str
    org: OrgRecord
    api_url: str
    data_centre: str | None = None

    def check(self) -> None:
        """Check what was stored, as ids become parts of addresses.

        Raises:
            ValueError: if an id or the address is not valid.
        """
        check_address(self.api_url)
        record_ids = [self.module_id]
        for email in self.emails:
            record_ids += [email.contact_id, email.owner_id]
            record_ids += [email.deal.id] if email.deal else []
        message_ids = [email.message_id for email in self.emails]
        if not (all(map(is_record_id, record_ids)) and all(map(is_message_id, message_ids))):
            raise ValueError("not an id")


class ProbeFolder(msgspec.Struct, frozen=True):
    """Working folder of a probe.

    Args:
        path: path of the folder.
    """

    path: Path

    @property
    def record(self) -> Path:
        """File of the `ProbeRecord`; it exists from before the first change until all is back."""
        return self.path / "before.json"

    @property
    def log(self) -> Path:
        """File of the calls, each written before it is sent."""
        return self.path / "calls.jsonl"

    @property
    def log_torn(self) -> Path:
        """File of the log's torn last lines, after a kill."""
        return self.path / "calls.torn"

    @property
    def answers(self) -> Path:
        """File of the answers that are not a clean success."""
        return self.path / "answers.jsonl"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder and hold its lock; at the end it is removed if all emails are back.

        Raises:
            LockedError: if another process holds it.
            RunDirError: if it cannot be created, or holds a link or another file that is not
                regular.
        """
        with locked_work_folder(
            self.path,
            (self.record, self.log, self.log_torn, self.answers),
            message="Another process is probing into this file.",
            advice="Wait until it ends, or use another file.",
        ):
            repair_torn_line(self.log, self.log_torn)
            try:
                yield
            finally:
                if not check_folder_file(self.record):
                    shutil.rmtree(self.path, ignore_errors=True)

    def read(self) -> ProbeRecord | None:
        """Return the record; None if there is nothing to put back.

        Raises:
            RunDirError: if it cannot be read.
        """
        try:
            record = decode_json(read_small_file(self.record), ProbeRecord)
            record.check()
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError):
            raise RunDirError(
                "This is not the record of a probe.",
                where=str(self.record),
                advice="Restore it from a backup: it says which deals the emails were on.",
            ) from None
        return record

    def write(self, record: ProbeRecord) -> None:
        """Write the record to disk."""
        write_work_record(self.record, record)

    def clear(self) -> None:
        """Remove the record, as all emails are back."""
        self.record.unlink(missing_ok=True)
