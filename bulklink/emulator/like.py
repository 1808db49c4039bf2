"""Settings that make the emulator behave as an org that was probed.

`bulklink probe` writes the file, and docs/probing.md describes it: an answer by the key of each
question. A key is the name of a setting, or of a part of the mixed answer after `mixed-`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from bulklink.emulator.settings import MixedAnswer, Settings

VERSION = 1
"""Version of the files that can be read."""
_MAX_BYTES = 1 << 20
_MIXED = "mixed-"
PROBED_SETTINGS = frozenset(
    {
        *("over_max", "same_deal", "unlinked", "wrong_owner", "mixed_owners", "names"),
        *("long_names", "single_answer", "single_error", "single_view", "wording", "role_links"),
        *(
            "role_deals",
            "foreign_deals",
            "private_links",
            "shared_emails",
            "link_touches",
            "link_timeline",
        ),
        *("link_source", "coql_quote", "link_credits", "read_credits", "too_many_body"),
        "retry_after",
    }
)
"""Settings that a probe can find out."""
_SOURCE = re.compile("[a-z][a-z_]{0,39}")
_MAX_CREDITS = 1_000


class LikeError(ValueError):
    """Raised when a file is not one of a probe, or one of a newer version."""


class _Answer(msgspec.Struct, frozen=True):
    answer: str | None = None


class _ProbeFile(msgspec.Struct, frozen=True):
    version: int
    answers: dict[str, _Answer]


class LikedOrg(msgspec.Struct, frozen=True):
    """What a file says about an org.

    Args:
        settings: the settings that it determines.
        mixed_answer: the parts of the mixed answer that it determines; they fit together.
        unknown: keys of the answers that the probe could not find out.
        unsupported: answers that no setting can express, as `key: answer`.
    """

    settings: Mapping[str, Any]
    mixed_answer: Mapping[str, Any]
    unknown: tuple[str, ...]
    unsupported: tuple[str, ...]

    def apply(self, settings: Settings, chosen: frozenset[str]) -> Settings:
        """Return settings as the file says, except those that the user chose.

        Args:
            settings: the settings without the file.
            chosen: names of the settings that the user chose.
        """
        changes = dict(self.settings)
        if self.mixed_answer:
            changes["mixed_answer"] = MixedAnswer(**self.mixed_answer)
        return replace(settings, **{k: v for k, v in changes.items() if k not in chosen})


def read_probe_file(path: Path) -> LikedOrg:
    """Return what the file of a probe says.

    Raises:
        LikeError: if it cannot be read, is not such a file, or is of a newer version.
    """
    settings: dict[str, Any] = {}
    mixed_answer: dict[str, Any] = {}
    unknown, unsupported = [], []
    hints, mixed_hints = get_type_hints(Settings), get_type_hints(MixedAnswer)
    for key, answer in _read_answers(path).items():
        part, name = key.removeprefix(_MIXED), key.replace("-", "_")
        if answer is None:
            unknown.append(key)
        elif part != key and part in mixed_hints:
            _add_value(mixed_answer, part, mixed_hints[part], answer)
        elif name in PROBED_SETTINGS:
            _add_value(settings, name, hints[name], answer)
        if answer is not None and part not in mixed_answer and name not in settings:
            unsupported.append(f"{key}: {answer[:100]}")
    try:
        MixedAnswer(**mixed_answer)
    except ValueError:  # parts that the emulator cannot combine
        unsupported += [f"{_MIXED}{part}: {value}" for part, value in mixed_answer.items()]
        mixed_answer = {}
    return LikedOrg(settings, mixed_answer, tuple(unknown), tuple(unsupported))


def _read_answers(path: Path) -> dict[str, str | None]:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise LikeError(f"it cannot be read: {error.strerror or error}") from None
    if len(content) > _MAX_BYTES:
        raise LikeError("it is larger than 1 MiB, so it is not the file of a probe")
    try:
        version = msgspec.json.decode(content, type=dict[str, Any]).get("version")
        if isinstance(version, int) and version > VERSION:
            raise LikeError(
                f"it is of version {version}, and this bulklink reads versions up to {VERSION}:"
                " upgrade bulklink"
            )
        probe_file = msgspec.json.decode(content, type=_ProbeFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LikeError(f"it is not the file of a probe: {error}") from None
    return {key: value.answer for key, value in probe_file.answers.items()}


def _add_value(values: dict[str, Any], name: str, hint: Any, answer: str) -> None:
    """Add the value of a setting that an answer stands for, if there is one."""
    if get_origin(hint) is Literal:
        choices = {str(choice): choice for choice in get_args(hint)}
        if answer in choices:
            values[name] = choices[answer]
    elif hint is int:
        is_short = len(answer) <= len(str(_MAX_CREDITS))
        if is_short and answer.isascii() and answer.isdigit() and int(answer) <= _MAX_CREDITS:
            values[name] = int(answer)
    elif _SOURCE.fullmatch(answer):
        values[name] = answer
