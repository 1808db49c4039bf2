"""Names of profiles and where they are: light enough for shell completion."""

from __future__ import annotations

import re
from pathlib import Path

import platformdirs

from bulklink.errors import ConfigError

DEFAULT_PROFILE = "default"
"""The profile that is used where nothing names one."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def config_folder() -> Path:
    """Return the folder of the user's settings on this system."""
    return Path(platformdirs.user_config_dir("bulklink", appauthor=False))


def profiles_folder(folder: Path) -> Path:
    """Return the folder of the profiles in that of the user's settings."""
    return folder / "profiles"


def profile_names(folder: Path) -> list[str]:
    """Return the names of all profiles below the folder of the user's settings, in order."""
    files = profiles_folder(folder).glob("*.toml")
    return sorted(file.stem for file in files if _NAME.fullmatch(file.stem))


def normalize_profile_name(name: str) -> str:
    """Return the name of a profile as it is stored: upper and lower case are the same.

    Raises:
        ConfigError: if no profile can be called that.
    """
    normalized = name.strip().lower()
    if not _NAME.fullmatch(normalized):
        raise ConfigError(
            f"{name!r} is no name of a profile.",
            where="--profile",
            advice="Use letters, digits, '.', '_' and '-', 64 at most, a letter or digit first.",
        )
    return normalized
