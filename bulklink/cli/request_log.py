"""`--log FILE`: one JSON line per request, without tokens, names, queries and bodies."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import IO

import click
import msgspec

from bulklink.cli.console import warn
from bulklink.errors import ConfigError
from bulklink.ledger.records import timestamp
from bulklink.zoho.request_log import LOGGER, RequestLogRecord


def start_request_log(path: Path | None) -> None:
    """Log the requests of the current command to a file that only its owner can read.

    Args:
        path: the file; None logs nothing.

    Raises:
        ConfigError: if it cannot be written.
    """
    if path is None:
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise ConfigError(
            f"Cannot write the log: {error.strerror or error}.",
            where=f"--log {path}",
            advice="Check that the folder exists and that you may write there.",
        ) from None
    handler = _RequestLogHandler(os.fdopen(descriptor, "w", encoding="utf-8"), path)
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    click.get_current_context().call_on_close(handler.close)


class _RequestLogHandler(logging.StreamHandler[IO[str]]):
    """Logging handler that writes one JSON line per request."""

    def __init__(self, file: IO[str], path: Path) -> None:
        super().__init__(file)
        self._path = path

    def format(self, record: logging.LogRecord) -> str:
        """Return a request as a JSON line."""
        entry: RequestLogRecord = record.noted  # type: ignore[attr-defined]
        fields = {"ts": timestamp(record.created), **msgspec.structs.asdict(entry)}
        return msgspec.json.encode(fields).decode()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Warn once that the log has ended; the command continues without it."""
        del record
        LOGGER.removeHandler(self)
        warn(f"{self._path} can no longer be written: the log ends here.")

    def close(self) -> None:
        """Stop logging, and close the file."""
        LOGGER.removeHandler(self)
        if not LOGGER.handlers:
            LOGGER.setLevel(logging.NOTSET)
        with suppress(OSError):  # the disk may still be full
            self.stream.close()
        super().close()
