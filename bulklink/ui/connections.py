"""Stored profiles as the page shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from bulklink.operations.connections import ProfileStatus, check_profiles, load_profile_status
from bulklink.operations.environment import Environment
from bulklink.profiles.names import config_folder, profile_names
from bulklink.ui.wording import ShownError


class ProfileView(msgspec.Struct, frozen=True, kw_only=True):
    """A profile as the page shows it; it has no secret.

    Args:
        name: its name.
        org: name, type and edition of its org; empty if they are unknown.
        data_centre: data centre of the org, or the host of its API.
        environment: production, sandbox or developer.
        scopes: what it may do.
        signed_in: when the user signed in, RFC 3339; None if unknown.
        works: whether it works; None if it was not checked.
        token_ends: when its access token expires, RFC 3339; None if unknown.
        problem: why it cannot be read or does not work; None if neither is known.
    """

    name: str
    org: str = ""
    data_centre: str = ""
    environment: str = ""
    scopes: tuple[str, ...] = ()
    signed_in: str | None = None
    works: bool | None = None
    token_ends: str | None = None
    problem: ShownError | None = None


class Connections:
    """The stored profiles of the user, and the last check of each.

    Args:
        environment: network, disk and clock.
        folder: folder of the user's settings; None for the usual one.
    """

    def __init__(self, environment: Environment, folder: Path | None = None) -> None:
        self._environment = environment
        self._folder = folder
        self._checked: dict[str, ProfileView] = {}

    def names(self) -> list[str]:
        """Return the names of the profiles; blocks."""
        return profile_names(self._folder or config_folder())

    def all(self) -> list[ProfileView]:
        """Return the profiles as they are stored, and what the last check of each found; blocks."""
        folder = self._folder or config_folder()
        views = []
        for name in profile_names(folder):
            view = _view(load_profile_status(name, folder))
            checked = self._checked.get(name)
            if view.problem is None and checked is not None:
                found = {f: getattr(checked, f) for f in ("works", "token_ends", "problem")}
                view = msgspec.structs.replace(view, **found)
            views.append(view)
        return views

    async def check(self, name: str) -> bool:
        """Check whether a profile works, and keep what is found; return whether it is stored."""
        folder = self._folder or config_folder()
        if name not in await self._environment.run_blocking(partial(profile_names, folder)):
            return False
        for status in await check_profiles([name], folder, self._environment):
            self._checked[name] = _view(status)
        return True


def _view(status: ProfileStatus) -> ProfileView:
    profile, health = status.profile, status.health
    ends = health.token_ends_at if health is not None else None
    fields = ProfileView(
        name=status.name,
        works=None if health is None and status.problem is None else status.works,
        token_ends=None if ends is None else datetime.fromtimestamp(ends, UTC).isoformat(),
        problem=None if status.problem is None else ShownError.of(status.problem),
    )
    if profile is None:
        return fields
    org = profile.org
    details = ", ".join(text for text in (org.type, org.edition) if text)
    return msgspec.structs.replace(
        fields,
        org=f"{org.name or ''} ({details})".strip() if details else org.name or "",
        data_centre=profile.data_centre or profile.api_url or "",
        environment=profile.environment,
        scopes=profile.scopes,
        signed_in=profile.signed_in,
    )
