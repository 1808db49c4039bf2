"""Opening of a fetch: a new one is begun, or an unfinished one is continued."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.errors import UsageError
from bulklink.folder_files import check_folder_file
from bulklink.mapping.contact_selection import (
    ContactRequests,
    Selected,
    write_requests,
    write_selection,
)
from bulklink.mapping.interrupt import PlanningStop
from bulklink.operations.fetching.folder import FetchFolder, FetchRecord
from bulklink.operations.fetching.progress import FetchProgress, QueryProgress
from bulklink.operations.fetching.selection import Selection
from bulklink.operations.preflight import check_same_host
from bulklink.operations.work_folder import damaged_error
from bulklink.runs.hashes import sha256_of
from bulklink.zoho.connection import Connection


@dataclass(slots=True, frozen=True)
class FetchOpening:
    """Begins a fetch, or continues the unfinished one of its folder.

    Args:
        folder: folder of the fetch.
        selection: the selection of this command; if it is empty, that of the unfinished fetch.
        new_record: options of this command, completed by those of the unfinished fetch.
        connection: endpoint of the CRM.
        memory: memory limit of the selection, such as `512MB`.
        force: whether an unfinished fetch of another selection is dropped.
    """

    folder: FetchFolder
    selection: Selection
    new_record: FetchRecord
    connection: Connection
    _: KW_ONLY
    memory: str
    force: bool

    def open(self, stop: PlanningStop, warn: Callable[[str | Advice], None]) -> FetchRecord:
        """Return the record of the fetch that was begun or continued; blocks.

        Args:
            stop: interrupts the work.
            warn: called with the rows of a mapping that cannot be read.

        Raises:
            UsageError: if nothing is selected, or an unfinished fetch has another selection.
            BadFileError: if a list or a mapping cannot be read.
            WrongOrgError: if an unfinished fetch used another host.
            RunDirError: if the folder is damaged.
        """
        existing = self.folder.read()
        if not self.selection:
            return self._resume_unselected(existing, stop)
        record = self._record_requests(stop, warn)
        is_other = existing is not None and not _is_same(existing, record)
        if existing is None or (is_other and self.force) or not self._has_progress(existing):
            return self._begin(record, stop)
        if is_other:
            self.folder.new_requests.unlink()
            raise self._other_selection_error()
        self.folder.new_requests.replace(self.folder.requests)
        return self._resume(existing, stop)

    def _record_requests(
        self, stop: PlanningStop, warn: Callable[[str | Advice], None]
    ) -> FetchRecord:
        """Write the requests of the selection, and return its record."""
        path = self.folder.new_requests
        write_requests(self.selection.requests(self.folder.path, stop, warn), path)
        requests, conditions = ContactRequests(path, stop), self.selection.conditions
        return msgspec.structs.replace(
            self.new_record,
            contacts_sha256=requests.digest(conditions.clauses()),
            needs_crm=requests.need_crm() or bool(conditions),
            email_filter=msgspec.structs.replace(
                self.new_record.email_filter, on_deals=bool(self.selection.emails_on)
            ),
            api_url=self.connection.api_url,
            data_centre=self.connection.data_centre,
        )

    def _has_progress(self, record: FetchRecord) -> bool:
        """Return whether a fetch has read anything but the org; if not, nothing is lost."""
        if record.needs_crm:
            return record.selected_sha256 is not None or bool(QueryProgress(self.folder))
        return FetchProgress(self.folder, record.contacts).contacts_read > 0

    def _begin(self, record: FetchRecord, stop: PlanningStop) -> FetchRecord:
        """Begin a fetch; select its contacts if that does not take the CRM."""
        self.folder.clear()
        self.folder.new_requests.replace(self.folder.requests)
        self.folder.write(record)
        if record.needs_crm:
            return record
        self.folder.create_log()
        return freeze_selection(self.folder, record, stop, self.memory)[0]

    def _resume_unselected(self, existing: FetchRecord | None, stop: PlanningStop) -> FetchRecord:
        """Continue a fetch by a command that selects nothing."""
        if existing is None or self.force or not check_folder_file(self.folder.requests):
            raise UsageError(
                "No contact is named.",
                where="CONTACTS",
                advice=Advice(
                    "Name ids, addresses, @FILE, or - for standard input; a mapping with {}, deals"
                    " with {}, or a condition with {} or {}.",
                    Keyword("from_mapping"),
                    Keyword("contacts_of_deals"),
                    Keyword("deals_where"),
                    Keyword("contacts_where"),
                ),
            )
        roles, candidates = self.new_record.conditions.roles, self.new_record.candidates
        if (roles, candidates) != (existing.conditions.roles, existing.candidates):
            raise self._other_selection_error()
        return self._resume(existing, stop)

    def _resume(self, existing: FetchRecord, stop: PlanningStop) -> FetchRecord:
        """Continue a fetch; its filters may be new."""
        check_same_host(existing, self.connection)
        if existing.selected_sha256 is not None:
            check_frozen(self.folder, existing)
        elif not existing.needs_crm:  # an earlier version did not freeze it
            existing, _ = freeze_selection(self.folder, existing, stop, self.memory)
        email_filter = msgspec.structs.replace(
            self.new_record.email_filter, on_deals=existing.email_filter.on_deals
        )
        record = msgspec.structs.replace(existing, email_filter=email_filter)
        self.folder.write(record)
        return record

    def _other_selection_error(self) -> UsageError:
        return UsageError(
            "An unfinished fetch into this file has other contacts, or other candidates.",
            where=str(self.folder.path),
            advice=Advice(
                "Finish it with the command that it was started with, start over with {}, or name"
                " another file.",
                Keyword("force", value=True),
            ),
        )


def _is_same(existing: FetchRecord, new: FetchRecord) -> bool:
    """Return whether a fetch reads what another one does."""
    return existing.contacts_sha256 == new.contacts_sha256 and existing.candidates == new.candidates


def freeze_selection(
    folder: FetchFolder, record: FetchRecord, stop: PlanningStop, memory: str
) -> tuple[FetchRecord, Selected]:
    """Write the list of the selected contacts, which later commands keep; blocks.

    Args:
        folder: folder of the fetch, with its requests and its log.
        record: record of the fetch.
        stop: interrupts the work.
        memory: memory limit, such as `512MB`.

    Returns:
        The record with the list, and what was selected.
    """
    selected = write_selection(folder.selection_files, stop, memory)
    record = msgspec.structs.replace(
        record, contacts=selected.contacts, selected_sha256=sha256_of(folder.contacts)
    )
    folder.write(record)
    return record, selected


def check_frozen(folder: FetchFolder, record: FetchRecord) -> None:
    """Check that the selection is as it was frozen; blocks.

    Raises:
        RunDirError: if one of its files is not.
    """
    is_frozen = sha256_of(folder.contacts) == record.selected_sha256
    if not is_frozen or sum(1 for _ in folder.contact_ids()) != record.contacts:
        raise damaged_error(folder.contacts)
    unseen = bytearray(b"\1") * record.contacts
    for number, _ in folder.contacts_in_reading_order(record.contacts):
        unseen[number] = 0
    if any(unseen):
        raise damaged_error(folder.reading_order)
    folder.read_unresolved()
