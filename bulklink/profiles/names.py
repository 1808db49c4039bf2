"""Profile names and folders; imports little, for fast shell completion."""

from __future__ import annotations

import re
from pathlib import Path

import platformdirs

from bulklink.advice import Advice, Keyword
from bulklink.errors import ConfigError

DEFAULT_PROFILE = "default"
"""Profile of a command without a profile name."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def config_folder() -> Path:
    """Return the folder of the user's settings."""
    return Path(platformdirs.user_config_dir("bulklink", appauthor=False))


def profiles_folder(folder: Path) -> Path:
    """Return the folder of the profiles, in the folder of the user's settings."""
    return folder / "profiles"


def profile_names(folder: Path) -> list[str]:
    """Return the names of all profiles in the folder of the user's settings, in order."""
    files = profiles_folder(folder).glob("*.toml")
    return sorted(file.stem for file in files if _NAME.fullmatch(file.stem))


def normalize_profile_name(name: str) -> str:
    """Return a profile name as stored: stripped, in lower case.

    Raises:
        ConfigError: if it is not a valid name.
    """
    normalized = name.strip().lower()
    if not _NAME.fullmatch(normalized):
        raise ConfigError(
            f"{name!r} is not a valid profile name.",
            where=Advice("{}", Keyword("profile")),
            advice="Use letters, digits, '.', '_' and '-', 64 at most, a letter or digit first.",
        )
    return normalized
