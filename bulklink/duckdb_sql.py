"""SQL for DuckDB: quoting of texts and names, and safe names for files."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path

from bulklink.errors import RunDirError

#: Folder names do not become columns.
_NO_PARTITIONS = "hive_partitioning = false"
#: Characters other than letters and digits that the path of the links' folder may contain.
_PLAIN_CHARACTERS = frozenset(" ._-" + os.sep) | (frozenset(":~") if os.name == "nt" else set())
_JSON_LINE_BYTES = 16 << 20
_USUAL_TEMPORARY_FOLDERS = ("/tmp", "/var/tmp")  # noqa: S108 - a private folder is created there


def literal(text: str) -> str:
    """Quote a text as an SQL literal; for paths, use `DuckDBFiles`."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Quote a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def metadata_option(values: Mapping[str, str]) -> str:
    """Return the option of COPY that writes texts about the whole table into a Parquet file."""
    entries = (f"{identifier(name)}: {literal(text)}" for name, text in values.items())
    return f"KV_METADATA {{{', '.join(entries)}}}"


class DuckDBFiles:
    """The files of one database, which DuckDB opens through links in a private folder.

    DuckDB expands `*`, `?`, `[` and `~` in a path, guesses formats, turns folders such as `a=b`
    into columns, and rejects paths that are not UTF-8. It only gets names made by bulklink, so that
    it opens exactly the named file.

    Attributes:
        linked_bytes: total size of the files when their links were made.

    Raises:
        RunDirError: if the folder of the links cannot be created.
    """

    def __init__(self) -> None:
        folder = _plain_temporary_folder()
        try:
            self._folder = tempfile.mkdtemp(prefix="bulklink-", dir=folder)
        except OSError as error:
            raise _link_error(Path(folder), error) from None
        self._numbers = count(1)
        self.linked_bytes = 0
        self._remove = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def spill_folder(self, folder: Path) -> str:
        """Return the name of a folder that DuckDB may create; its parent exists."""
        return str(Path(self._link(folder.parent), folder.name))

    def read_csv(self, path: Path, options: Mapping[str, str]) -> str:
        """Return the SQL relation of a CSV file.

        Args:
            path: the file.
            options: options of `read_csv`, as SQL.
        """
        arguments = ", ".join(f"{option} = {value}" for option, value in options.items())
        return f"read_csv({self._source(path)}, {arguments}, {_NO_PARTITIONS})"

    def read_json(
        self,
        path: Path,
        types: Mapping[str, str],
        *,
        skip_errors: bool = False,
        max_line_bytes: int = _JSON_LINE_BYTES,
    ) -> str:
        """Return the SQL relation of a JSONL file.

        Args:
            path: the file.
            types: types of the columns by name.
            skip_errors: whether to skip invalid JSON instead of failing.
            max_line_bytes: maximum length of a line; DuckDB's buffers are twice as long.
        """
        columns = ", ".join(f"{identifier(name)}: '{kind}'" for name, kind in types.items())
        return (
            f"read_json({self._source(path)}, format = 'newline_delimited', "
            f"columns = {{{columns}}}, ignore_errors = {skip_errors}, "
            f"maximum_object_size = {max_line_bytes}, {_NO_PARTITIONS})"
        )

    def read_parquet(self, path: Path, *, row_numbers: bool = False) -> str:
        """Return the SQL relation of a Parquet file.

        Args:
            path: the file.
            row_numbers: whether to add the column `file_row_number`, from 0.
        """
        numbers = ", file_row_number = true" if row_numbers else ""
        return f"read_parquet({self._source(path)}, {_NO_PARTITIONS}{numbers})"

    def parquet_metadata(self, path: Path) -> str:
        """Return the SQL relation of a Parquet file's key-value metadata."""
        return f"parquet_kv_metadata({self._source(path)})"

    def parquet_schema(self, path: Path) -> str:
        """Return the SQL relation of a Parquet file's schema elements."""
        return f"parquet_schema({self._source(path)})"

    def copy(self, query: str, path: Path, *options: str) -> str:
        """Return the statement that writes the rows of a query to a file.

        Args:
            query: a SELECT.
            path: the file; created if missing, readable only by its owner.
            options: options of COPY.
        """
        path.touch(mode=0o600)  # DuckDB creates no file behind a link
        # DuckDB would write to a file next to the link, and replace the link by it.
        settings = ", ".join([*options, "USE_TMP_FILE false"])
        return f"COPY ({query}) TO {literal(self._link(path))} ({settings})"

    def close(self) -> None:
        """Remove the links."""
        self._remove()

    def _source(self, path: Path) -> str:
        name = self._link(path)
        # Windows may not permit links; the path itself is then read as a pattern.
        return literal(name if name.startswith(self._folder) else name.replace("[", "[[]"))

    def _link(self, path: Path) -> str:
        """Return the path of a new link; the path itself if Windows does not permit links."""
        link = Path(self._folder, str(next(self._numbers)))
        try:
            target = path.absolute()  # keeps `..`, which may be behind a link of the user
            link.symlink_to(target)
        except OSError as error:
            if os.name == "nt":
                return str(target)
            raise _link_error(path, error) from None
        with suppress(OSError):
            self.linked_bytes += target.stat().st_size
        return str(link)


def _plain_temporary_folder() -> str:
    """Return a temporary folder whose path DuckDB takes literally.

    Raises:
        RunDirError: if there is none.
    """
    folder = tempfile.gettempdir()
    for path in (folder, *_USUAL_TEMPORARY_FOLDERS):
        if _is_plain(path) and os.access(path, os.W_OK | os.X_OK):
            return path
    raise RunDirError(
        "The path of the temporary folder has characters that DuckDB interprets as a pattern.",
        where=folder,
        advice="Set TMPDIR to a folder whose path has only letters, digits, '.', '_' and '-'.",
    )


def _is_plain(path: str) -> bool:
    # DuckDB encodes paths as UTF-8, whatever the locale; Windows uses Unicode paths.
    return (
        Path(path).is_absolute()
        and (os.name == "nt" or path.isascii())
        and all(character.isalnum() or character in _PLAIN_CHARACTERS for character in path)
    )


def _link_error(path: Path, error: OSError) -> RunDirError:
    return RunDirError(
        f"Cannot create a temporary link to it: {error.strerror or error}.",
        where=str(path),
        advice=f"Check that the temporary folder {tempfile.gettempdir()} is writable and has space"
        " (set TMPDIR to use another), and that the path is not too long.",
    )
