"""Parser for TOML files written by users."""

from __future__ import annotations

import re
import tomllib
from typing import Any

_ADVICE = "Fix it there. Text values need quotes."
_BYTE_ORDER_MARK = "\ufeff"
_REPEATED = re.compile("Cannot overwrite|Cannot declare|Duplicate")
"""Beginning of the texts of `tomllib` about a key or table that is set twice."""
_PLACE = re.compile(r"at line (\d+), column (\d+)\)")


class TomlError(ValueError):
    """Raised when a text is not TOML.

    Args:
        reason: what is wrong with it, for the user.
        advice: what to do.
    """

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice


def parse_toml(text: str) -> dict[str, Any]:
    """Return the content of a TOML file, which may begin with a byte order mark.

    Raises:
        TomlError: if it is not TOML, or nested too deeply.
    """
    try:
        return tomllib.loads(text.removeprefix(_BYTE_ORDER_MARK))
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        where = f"line {place[1]}, column {place[2]}" if place else "its end"
        if _REPEATED.match(str(error)):
            reason = f"it sets a key again at {where}"
            raise TomlError(reason, "Each key may be set once: keep one of them.") from None
        raise TomlError(f"it is not TOML at {where}", _ADVICE) from None
    except ValueError:
        raise TomlError("it contains a number that is too long", _ADVICE) from None
    except RecursionError:
        raise TomlError("it is nested too deeply", _ADVICE) from None
