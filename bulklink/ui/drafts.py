"""Drafts: uploaded mappings that are being looked at, in a hidden folder below the runs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePath
from secrets import token_hex
from typing import BinaryIO

import msgspec

from bulklink.atomic_files import atomic_replace
from bulklink.decoding import decode_json
from bulklink.errors import RunDirError
from bulklink.file_names import file_name_text
from bulklink.folder_files import check_subfolder, create_file, read_small_file
from bulklink.mapping.input.files import Source, format_of_name
from bulklink.mapping.schema import HiddenRows
from bulklink.models import Op
from bulklink.operations.job import Job, OnInvalid
from bulklink.private_files import make_folder_private
from bulklink.runs.folder import RunFolder
from bulklink.ui.commands import PageError
from bulklink.visible_text import escape_controls

DRAFTS_FOLDER = ".drafts"
MAX_UPLOAD_BYTES = 2 << 30
MAX_DRAFTS = 10
DRAFT_SECONDS = 86_400.0
"""Age at which a draft is removed."""
OWN_CONNECTION = "."
"""Stands for the connection of `bulklink ui` where profiles are named; no profile has this name."""
_ID = re.compile("[0-9a-f]{32}")
_MAX_NAME = 120
_MAX_SUFFIX = 20
_TOO_LARGE, _NO_SPACE, _BAD_REQUEST = 413, 507, 400


class DraftSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a draft is read, and what is done with its rows; options as of `Job`, and one more.

    Args:
        op: operation for every row; None uses the column `op`.
        on_invalid: stop at refused rows, or leave them out.
        columns: pairs of a column and the header that carries it.
        defaults: pairs of a column and the value of its empty cells.
        sheet: name or number of the sheet.
        skip_lines: lines above the headers.
        encoding: encoding of the text.
        delimiter: delimiter of a CSV file.
        quote: quote character of a CSV file.
        escape: escape character of a CSV file.
        hidden_rows: treatment of the rows that a sheet hides.
        allow_round_ids: accept ids that look rounded.
        preset: system whose headers are known too.
        only: pairs of a header and a value; rows that do not match all of them are left out.
        keep: headers of the user's own columns that the run keeps; None keeps all.
        names_from: profile with which missing names are looked up, or `OWN_CONNECTION`; None looks
            nothing up.
    """

    op: Op | None = None
    on_invalid: OnInvalid = OnInvalid.STOP
    columns: tuple[tuple[str, str], ...] = ()
    defaults: tuple[tuple[str, str], ...] = ()
    sheet: str | None = None
    skip_lines: int = 0
    encoding: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    hidden_rows: HiddenRows | None = None
    allow_round_ids: bool = False
    preset: str | None = None
    only: tuple[tuple[str, str | None], ...] = ()
    keep: tuple[str, ...] | None = None
    names_from: str | None = None

    def job(self, name: str, run_dir: Path | None = None) -> Job:
        """Return the job that plans the draft.

        Refused rows are always left out of it: the page shows them, and seals the plan only if
        the user leaves them out.

        Args:
            name: name of the mapping.
            run_dir: folder of its plan.

        Raises:
            UsageError: if a value is invalid.
        """
        options = {**msgspec.structs.asdict(self), "on_invalid": OnInvalid.SKIP}
        del options["names_from"]
        return Job(mappings=(name,), run_dir=run_dir, **options)


class DraftRecord(msgspec.Struct, frozen=True):
    """What a draft is, besides the upload.

    Args:
        name: the client's name of the file, only to be shown.
        created: seconds since 1970.
        bytes: size of the upload.
        settings: how it is read.
    """

    name: str
    created: float
    bytes: int
    settings: DraftSettings


class Draft(msgspec.Struct, frozen=True):
    """The folder of a draft.

    Args:
        path: the folder.
        record: what it holds.
    """

    path: Path
    record: DraftRecord

    @property
    def id(self) -> str:
        """Name of the folder."""
        return self.path.name

    @property
    def source(self) -> Source:
        """The upload as a mapping, under the client's name."""
        return Source(
            self.record.name, _upload(self.path), format_of_name(PurePath(self.record.name))
        )

    @property
    def plan(self) -> RunFolder:
        """The run folder that it becomes."""
        return RunFolder(self.path / "plan")

    @property
    def faults(self) -> Path:
        """Faults of its rows, one JSON object a line."""
        return self.path / "faults.jsonl"


class Drafts:
    """The drafts of a folder of runs. All methods block.

    Args:
        runs_dir: the folder; it may be missing.
        wall: returns seconds since 1970.
        max_bytes: maximum size of an upload.
        create: creates a file.
    """

    def __init__(
        self,
        runs_dir: Path,
        wall: Callable[[], float],
        *,
        max_bytes: int = MAX_UPLOAD_BYTES,
        create: Callable[[Path], BinaryIO] = create_file,
    ) -> None:
        self.folder = runs_dir / DRAFTS_FOLDER
        self.max_bytes = max_bytes
        self._wall = wall
        self._create = create

    def all(self) -> list[Draft]:
        """Return the complete drafts, the newest first."""
        drafts = [draft for path in self._folders() if (draft := self.find(path.name))]
        return sorted(drafts, key=lambda draft: draft.record.created, reverse=True)

    def find(self, draft_id: str) -> Draft | None:
        """Return the draft of this id; None if there is none."""
        path = self.folder / draft_id
        if _ID.fullmatch(draft_id) is None or path.is_symlink():
            return None
        try:
            record = decode_json(read_small_file(_record(path)), DraftRecord)
        except (FileNotFoundError, RunDirError, msgspec.DecodeError):
            return None
        return Draft(path, record)

    def begin(self) -> Upload:
        """Create the folder of a new draft, and return the upload into it.

        Raises:
            PageError: if there are too many, or it cannot be created.
        """
        self.remove_old()
        if len(self._folders()) >= MAX_DRAFTS:
            raise PageError(
                f"There are {MAX_DRAFTS} mappings already; seal or discard one of them."
            )
        path = self.folder / token_hex(16)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_subfolder(self.folder)
            make_folder_private(self.folder)
            path.mkdir(mode=0o700)
            make_folder_private(path)
            return Upload(path, self._create(_upload(path)), self.max_bytes, self._wall())
        except OSError as error:
            shutil.rmtree(path, ignore_errors=True)
            raise _write_error(error) from None

    def write_settings(self, draft: Draft, settings: DraftSettings) -> Draft:
        """Change how a draft is read.

        Raises:
            RunDirError: if it cannot be written.
        """
        record = msgspec.structs.replace(draft.record, settings=settings)
        _write_record(draft.path, record)
        return Draft(draft.path, record)

    def remove(self, draft: Draft) -> None:
        """Remove a draft and everything in it."""
        shutil.rmtree(draft.path, ignore_errors=True)

    def remove_old(self) -> None:
        """Remove the drafts that are older than a day, and uploads that were cut off then."""
        for path in self._folders():
            draft = self.find(path.name)
            with suppress(OSError):
                created = draft.record.created if draft else path.stat().st_mtime
                if self._wall() - created > DRAFT_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)

    def _folders(self) -> list[Path]:
        """Return the folders of all drafts, complete or not."""
        if self.folder.is_symlink():
            return []
        return [path for path in self.folder.glob("*") if _ID.fullmatch(path.name)]


class Upload:
    """An upload into a new draft. All methods block.

    Args:
        path: folder of the draft.
        file: its open file.
        max_bytes: maximum size.
        now: seconds since 1970.
    """

    def __init__(self, path: Path, file: BinaryIO, max_bytes: int, now: float) -> None:
        self._path = path
        self._file = file
        self._max_bytes = max_bytes
        self._now = now
        self._bytes = 0

    def write(self, chunk: bytes) -> None:
        """Write the next bytes.

        Raises:
            PageError: if it is too large, or cannot be written.
        """
        self._bytes += len(chunk)
        if self._bytes > self._max_bytes:
            raise large_upload_error(self._max_bytes)
        try:
            self._file.write(chunk)
        except OSError as error:
            raise _write_error(error) from None

    def complete(self, name: str, settings: DraftSettings) -> Draft:
        """Complete the draft.

        Args:
            name: the client's name of the file.
            settings: how to read it.

        Raises:
            PageError: if it is empty, or cannot be written.
            RunDirError: if what describes it cannot be written.
        """
        if not self._bytes:
            raise PageError("The file is empty. Check the export that made it.", _BAD_REQUEST)
        try:
            self._file.close()
        except OSError as error:
            raise _write_error(error) from None
        record = DraftRecord(shown_name(name), self._now, self._bytes, settings)
        _write_record(self._path, record)
        return Draft(self._path, record)

    def discard(self) -> None:
        """Remove what was uploaded."""
        with suppress(OSError):
            self._file.close()
        shutil.rmtree(self._path, ignore_errors=True)


def shown_name(name: str) -> str:
    """Return a client's file name as it is shown: without folders, on one line, not too long."""
    text = escape_controls(file_name_text(re.split(r"[\\/]", name)[-1])).strip()
    if text.strip("-. ") == "":
        return "mapping"
    if len(text) <= _MAX_NAME:
        return text
    suffix = PurePath(text).suffix[-_MAX_SUFFIX:]
    return text[: _MAX_NAME - len(suffix) - 1] + "…" + suffix


def large_upload_error(max_bytes: int) -> PageError:
    """Return the error for an upload that is too large."""
    return PageError(
        f"The file is larger than {max_bytes:,} bytes, the maximum here. Split it, or plan it in a"
        " terminal: `bulklink plan` has no such limit.",
        _TOO_LARGE,
    )


def _write_error(error: OSError) -> PageError:
    return PageError(
        f"The upload cannot be stored: {error.strerror or error}. Free some space in the folder of"
        " the runs, and check that you may write there.",
        _NO_SPACE,
    )


def _write_record(path: Path, record: DraftRecord) -> None:
    with atomic_replace(_record(path)) as temporary:
        temporary.write_bytes(msgspec.json.encode(record))


def _record(path: Path) -> Path:
    return path / "draft.json"


def _upload(path: Path) -> Path:
    return path / "mapping"
