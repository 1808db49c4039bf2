"""Weights of evidence: those that bundle with bulklink, and those of a user's file."""

from __future__ import annotations

from importlib.resources import files
from os import PathLike
from pathlib import Path

from bulklink.advice import Advice, Keyword
from bulklink.errors import ConfigError
from bulklink.finding.weights import Weights, load_weights

_MAX_BYTES = 1_000_000


def default_weights() -> str:
    """Return the weights of bulklink as TOML, each with a sentence.

    Raises:
        OSError: if the file of the package cannot be read.
    """
    return files("bulklink.finding").joinpath("weights.toml").read_text("utf-8")


def read_weights(path: str | PathLike[str] | None) -> Weights:
    """Return the weights of a file.

    Args:
        path: TOML as `default_weights` returns it, which may leave out what stays; None for the
            default.

    Raises:
        ConfigError: if it cannot be read, or a name or value is wrong.
    """
    if path is None:
        return load_weights(default_weights())
    text = _read(Path(path))
    try:
        return load_weights(text, load_weights(default_weights()))
    except ValueError as error:
        raise ConfigError(
            f"These are not weights: {error}.",
            where=str(path),
            advice=Advice(
                "Fix it there; {} prints the weights that such a file begins with.",
                Keyword("show_weights", value=True),
            ),
        ) from None


def _read(path: Path) -> str:
    try:
        content = _read_limited(path)
    except OSError as error:
        reason = error.strerror or str(error)
    else:
        if len(content) > _MAX_BYTES:
            reason = "it is too large"
        else:
            try:
                return content.decode("utf-8-sig")
            except UnicodeDecodeError:
                reason = "it is not UTF-8"
    raise ConfigError(
        f"Cannot read the weights: {reason}.",
        where=str(path),
        advice="Check the path; weights are TOML in UTF-8.",
    )


def _read_limited(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MAX_BYTES + 1)
