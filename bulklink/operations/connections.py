"""Stored profiles: what each is, and whether it works."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from bulklink.errors import BulklinkError, ConfigError
from bulklink.operations.environment import Environment
from bulklink.profiles.profile import Profile, Profiles
from bulklink.profiles.resolve import load_stored_connection
from bulklink.zoho.health import ConnectionHealth, check_connection


class ProfileStatus(msgspec.Struct, frozen=True):
    """A stored profile, without its secrets.

    Args:
        name: its name.
        profile: its fields; None if they cannot be read.
        health: result of its check; None if it was not checked.
        problem: why it cannot be read or does not work; None if neither is known.
    """

    name: str
    profile: Profile | None = None
    health: ConnectionHealth | None = None
    problem: BulklinkError | None = None

    @property
    def works(self) -> bool:
        """Whether a check found that it works."""
        return self.health is not None and self.health.problem is None


def load_profile_status(name: str, folder: Path) -> ProfileStatus:
    """Return a stored profile, unchecked; blocks.

    Args:
        name: its name.
        folder: folder of the user's settings.
    """
    try:
        return ProfileStatus(name, Profiles(folder).load(name))
    except ConfigError as error:
        return ProfileStatus(name, problem=error)


async def check_profiles(
    names: Iterable[str],
    folder: Path,
    environment: Environment,
    warn: Callable[[str], None] = lambda text: None,
) -> list[ProfileStatus]:
    """Check whether stored profiles work, by a look-up of the org with each.

    Args:
        names: their names.
        folder: folder of the user's settings.
        environment: network, disk and clock.
        warn: called with warnings.
    """
    store = environment.token_store
    if store is None:
        raise TypeError("a command has a token store")
    statuses = []
    async with environment.transport() as transport:
        for name in names:
            status = load_profile_status(name, folder)
            if status.profile is not None:
                try:
                    connection = load_stored_connection(name, status.profile, folder)
                    health = await check_connection(
                        connection, transport, store, environment.clock.wall, warn
                    )
                    status = ProfileStatus(name, status.profile, health, health.problem)
                except ConfigError as error:
                    status = ProfileStatus(name, status.profile, problem=error)
            statuses.append(status)
    return statuses
