"""Parser for TOML files written by users."""

from __future__ import annotations

import re
import tomllib
from typing import Any

_PLACE = re.compile(r"at line (\d+), column (\d+)\)")


class TomlError(ValueError):
    """Raised when a text is not TOML.

    Args:
        reason: what is wrong with it, for the user.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse_toml(text: str) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        TomlError: if it is not TOML, or nested too deeply.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        where = f"line {place[1]}, column {place[2]}" if place else "its end"
        raise TomlError(f"it is not TOML at {where}") from None
    except ValueError:
        raise TomlError("it contains a number that is too long") from None
    except RecursionError:
        raise TomlError("it is nested too deeply") from None
