"""Files of an audit: the mapping, and what stands beside it with the same stem."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.atomic_files import atomic_replace
from bulklink.decoding import decode_json
from bulklink.errors import RunDirError, UsageError
from bulklink.file_names import table_stem
from bulklink.folder_files import advise_removal, check_folder_file, read_small_file
from bulklink.mapping.contact_selection import Unresolved
from bulklink.operations.auditing.rows import MAPPING_COLUMNS, VERDICT_COLUMNS
from bulklink.operations.fetching.emails import has_unfinished_fetch
from bulklink.operations.fetching.progress import UnreadContact
from bulklink.tables import (
    FileType,
    Table,
    TableFile,
    TableFormat,
    TableOutput,
    resolve_output,
    write_tables,
)
from bulklink.tables.output import check_can_create

_VERDICTS = ".audit.parquet"
REVIEW_SUFFIX = ".review.html"
"""What the name of a review page has in place of the suffix of its mapping."""
NOTES_KEY = "bulklink_audit"
"""Key of the metadata of the file of verdicts with notes on the audit as a whole."""


def verdicts_path(path: Path) -> Path:
    """Return the file of verdicts that belongs to a mapping; the path itself if it is one."""
    if path.name.endswith(_VERDICTS):
        return path
    return _beside(path, _VERDICTS)


def check_mapping_name(mapping: Path) -> None:
    """Check that a mapping has not the name of a file of verdicts.

    Raises:
        UsageError: if it has.
    """
    if verdicts_path(mapping) == mapping:
        raise UsageError(
            f"This is the name of an audit file: a mapping cannot end in {_VERDICTS}.",
            where=str(mapping),
            advice="Name the mapping; the audit file is beside it.",
        )


def find_verdicts(mapping: Path) -> Path:
    """Return the file of verdicts that belongs to a mapping.

    Raises:
        UsageError: if there is none.
    """
    path = verdicts_path(mapping)
    if not path.is_file():
        raise UsageError(
            "There is no such audit file: an audit writes it beside its mapping.",
            where=str(path),
            advice="Name the mapping as the audit did.",
        )
    return path


def check_is_there(mapping: Path) -> None:
    """Check that a mapping whose file of verdicts is there was not removed.

    Raises:
        UsageError: if it was.
    """
    if not mapping.is_file():
        raise UsageError(
            "There is no such mapping, although its audit file is there.",
            where=str(mapping),
            advice="Put it back, or audit again: what was read is kept.",
        )


def check_table_path(mapping: Path) -> Path:
    """Return the table of a sample that belongs to a mapping, in a format for spreadsheets."""
    return _beside(mapping, ".check.xlsx" if mapping.suffix.lower() == ".xlsx" else ".check.csv")


def check_page_path(mapping: Path) -> Path:
    """Return the page of a sample that belongs to a mapping."""
    return _beside(mapping, ".check.html")


def downloaded_verdicts_name(mapping: Path) -> str:
    """Return the name of the file with the verdicts that are given on the page of a sample."""
    return _beside(mapping, ".verdicts.csv").name


def review_path(mapping: Path) -> Path:
    """Return the review page that belongs to a mapping."""
    return _beside(mapping, REVIEW_SUFFIX)


def reviewed_mapping_name(mapping: Path) -> str:
    """Return the name of the mapping of what is accepted on the review page."""
    return _beside(mapping, ".reviewed.csv").name


def emails_path(mapping: Path) -> Path:
    """Return the file of emails that an audit fetches for a mapping."""
    return _beside(mapping, ".emails.parquet")


@advise_removal()
def has_unfinished_audit(mapping: Path) -> bool:
    """Return whether an unfinished audit into a mapping can be continued."""
    emails = emails_path(mapping)
    is_fetched = check_folder_file(_selection_path(emails)) and emails.is_file()
    return is_fetched or has_unfinished_fetch(emails)


def _selection_path(emails: Path) -> Path:
    return Path(f"{emails}.selection")


def _beside(mapping: Path, suffix: str) -> Path:
    return mapping.parent / f"{table_stem(mapping)}{suffix}"


class AuditFetch(msgspec.Struct, frozen=True):
    """What an audit that is not complete has fetched.

    Args:
        selection: digest of the selection.
        nameless: emails left out for lack of a message id.
        unread: contacts whose emails could not be read.
        unread_contacts: the first 1,000 of them.
        unresolved: the first 1,000 addresses, names and deals that select no contact.
    """

    selection: str
    nameless: int = 0
    unread: int = 0
    unread_contacts: tuple[UnreadContact, ...] = ()
    unresolved: tuple[Unresolved, ...] = ()


class AuditFiles(msgspec.Struct, frozen=True):
    """Files that an audit writes.

    Args:
        output: the mapping.
        mapping: its path.
    """

    output: TableOutput
    mapping: Path

    @property
    def verdicts(self) -> Path:
        """File of the verdict on every email."""
        return verdicts_path(self.mapping)

    @property
    def review(self) -> Path:
        """The review page."""
        return review_path(self.mapping)

    @property
    def emails(self) -> Path:
        """File of the emails, if they have to be fetched."""
        return emails_path(self.mapping)

    @property
    def _selection(self) -> Path:
        """File with the selection whose emails were fetched, until the audit is complete."""
        return _selection_path(self.emails)

    def check_fetched(self, fetched: Path) -> None:
        """Check that no file of emails would be replaced.

        Raises:
            UsageError: if it would.
        """
        replaced = (self.mapping, self.verdicts, self.review)
        if fetched.resolve() in (path.resolve() for path in replaced):
            raise UsageError(
                "The audit would replace the file of emails that it reads.",
                where=str(fetched),
                advice="Use another name for the mapping.",
            )

    @advise_removal()
    def read_fetched(self, selection: AuditSelection, *, force: bool) -> AuditFetch | None:
        """Return what an unfinished audit of this selection has fetched; None if it has not.

        Args:
            selection: the selection of this command; if it is empty, any.
            force: whether what another selection left behind is dropped.

        Raises:
            UsageError: if the unfinished audit has another selection.
            RunDirError: if its record is damaged.
        """
        if not check_folder_file(self._selection) or not self.emails.is_file():
            return None
        try:
            fetched = decode_json(read_small_file(self._selection), AuditFetch)
        except (ValueError, RecursionError):
            raise RunDirError(
                "This is not the record of an unfinished audit.",
                where=str(self._selection),
                advice="Remove it; the emails can be audited by their file.",
            ) from None
        if not selection or fetched.selection == selection.digest:
            return fetched
        if force:
            return None
        raise UsageError(
            "An unfinished audit into this file has other contacts.",
            where=str(self.emails),
            advice=Advice(
                "Finish it with the command that it was started with, start over with {}, or name"
                " another file.",
                Keyword("force", value=True),
            ),
        )

    def is_begun(self) -> bool:
        """Return whether an unfinished audit into these files can be continued."""
        return has_unfinished_audit(self.mapping)

    def record_fetched(self, fetched: AuditFetch) -> None:
        """Record that the emails of a selection were fetched; blocks."""
        with atomic_replace(self._selection) as temporary:
            temporary.write_bytes(msgspec.json.encode(fetched))

    def forget_fetched(self) -> None:
        """Remove the record: the audit is complete, or starts over."""
        self._selection.unlink(missing_ok=True)

    @contextmanager
    def open(self, notes: Callable[[], bytes]) -> Iterator[Sequence[Table]]:
        """Open the mapping and the file of verdicts; both appear once both are complete.

        Args:
            notes: called at the end; returns JSON about the audit as a whole, which the file of
                verdicts keeps.
        """
        mapping = TableFile(self.mapping, self.output.table_format, MAPPING_COLUMNS)
        verdicts = TableFile(
            self.verdicts,
            TableFormat(FileType.PARQUET),
            VERDICT_COLUMNS,
            lambda: {NOTES_KEY: notes().decode()},
        )
        with write_tables([mapping, verdicts]) as tables:
            yield tables


def plan_audit_files(
    mapping: str | PathLike[str], format_: str | None, *, spreadsheet: bool, force: bool
) -> AuditFiles:
    """Return the files of an audit, after checking that they can be written.

    Args:
        mapping: file of the mapping.
        format_: its file type, if its name does not show it.
        spreadsheet: whether a spreadsheet will open it.
        force: whether to replace existing files.

    Raises:
        UsageError: if one cannot be written or exists, or the mapping has the name of another.
    """
    path = Path(fspath(mapping))
    if str(path) == "-":
        raise UsageError(
            "An audit writes several files, which standard output cannot hold.",
            where="-",
            advice="Name a file.",
        )
    check_mapping_name(path)
    files = AuditFiles(resolve_output(path, format_, spreadsheet=spreadsheet, force=force), path)
    check_can_create(files.verdicts, force=force)
    check_can_create(files.review, force=force)
    return files


class AuditSelection(msgspec.Struct, frozen=True):
    """What selects the contacts of an audit.

    Args:
        values: what is selected, by the keyword of each selector.
    """

    values: dict[str, tuple[str, ...]]

    def __bool__(self) -> bool:
        """Whether anything is selected."""
        return any(self.values.values())

    @property
    def digest(self) -> str:
        """Return a digest of everything."""
        return hashlib.sha256(msgspec.json.encode(self.values, order="sorted")).hexdigest()
