"""The digest of a plan: what was mapped and how, in one number that can be compared."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bulklink.mapping.schema import InputFile


def digest(inputs: Iterable[InputFile], settings: Mapping[str, object]) -> str:
    """Compute a plan's digest.

    Args:
        inputs: the files of the mapping; their contents count, their names do not.
        settings: the options that a plan depends on; values that JSON can hold.

    Returns:
        A SHA-256 in hexadecimal: the same for the same contents and settings, wherever and
        whenever the plan is made.
    """
    said = {"inputs": [one.sha256 for one in inputs], "settings": dict(settings)}
    return hashlib.sha256(msgspec.json.encode(said, order="deterministic")).hexdigest()
