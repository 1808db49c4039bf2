"""What `bulklink auth` shows of the profiles that are stored, and how it signs out of one."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from typing import Any

import anyio
import click

from bulklink.cli.console import note, print_json, table, warn
from bulklink.errors import BulklinkError, ConfigError, ExitCode, RunStoppedError
from bulklink.ledger.records import timestamp
from bulklink.operations.environment import Surroundings, real_surroundings
from bulklink.profiles.profile import DEFAULT, Profile, Profiles, checked_name, config_folder
from bulklink.profiles.resolve import connection_stored
from bulklink.profiles.secrets import vault_of
from bulklink.zoho.connection import Connection
from bulklink.zoho.health import Found, look
from bulklink.zoho.oauth import Accounts

_ENVIRONMENT = ("BULKLINK_ACCESS_TOKEN", "BULKLINK_CLIENT_ID", "BULKLINK_REFRESH_TOKEN")


def show_profile(name: str, profile: Profile, *, as_json: bool) -> None:
    """Show a profile that was just made."""
    entry = _entry(name, profile)
    if as_json:
        print_json(entry)
        return
    click.secho(f"Signed in to {_org(entry)}.", fg="green")
    click.echo(table(_rows(entry)))
    named = "" if name == DEFAULT else f" --profile {name}"
    click.echo(f"Try it: bulklink auth status{named}; then: bulklink link mapping.csv{named}")


def show_status(named: str | None, *, as_json: bool) -> int:
    """Show one profile, or all, with whether each works; return the exit code."""
    profiles = Profiles(config_folder())
    names = [checked_name(named)] if named else profiles.names()
    if named and names[0] not in profiles.names():
        raise profiles.unknown(names[0])
    entries = anyio.run(_looked_at, names, profiles, real_surroundings())
    set_there = [name for name in _ENVIRONMENT if os.environ.get(name, "").strip()]
    if set_there:
        note(f"The environment sets {', '.join(set_there)}: that goes before any profile.")
    if as_json:
        print_json({"profiles": entries})
    elif not entries:
        note("No profile is stored. `bulklink auth login` makes one.")
    for entry in [] if as_json else entries:
        click.secho(entry["profile"], bold=True)
        click.echo(table(_rows(entry)))
    works = bool(entries) and all(entry["works"] for entry in entries)
    return ExitCode.OK if works else ExitCode.ROWS_NOT_DONE


def sign_out(named: str | None, *, force: bool, as_json: bool) -> int:
    """Revoke and remove a profile; return the exit code."""
    folder, around = config_folder(), real_surroundings()
    name, profiles = checked_name(named or DEFAULT), Profiles(folder)
    profile = profiles.load(name)
    revoked, connection = True, None
    try:
        connection = connection_stored(name, profile, folder)
        anyio.run(_revoked, connection, around)
    except (ConfigError, RunStoppedError) as error:
        revoked = False
        _check_unrevoked(name, error, force=force)
    _removed(name, profile, connection, around, force=force)
    if as_json:
        print_json({"profile": name, "revoked": revoked, "removed": True})
    elif revoked:
        click.echo(f"Signed out: the token of the profile {name!r} is revoked and removed.")
    else:
        click.echo(f"The profile {name!r} is removed from here alone.")
    if not revoked:
        warn(
            "Its token was not revoked: whoever has it can use it. End it in Zoho's API console,"
            " where its client was made."
        )
    return ExitCode.OK


async def _looked_at(
    names: list[str], profiles: Profiles, around: Surroundings
) -> list[dict[str, Any]]:
    """Return what is to be said of each profile."""
    entries = []
    async with around.transport() as transport:
        for name in names:
            entry: dict[str, Any] = {"profile": name}
            try:
                profile = profiles.load(name)
                entry = _entry(name, profile)
                connection = connection_stored(name, profile, config_folder())
                if around.token_store is None:
                    raise TypeError("a command has a store of tokens")
                found = await look(connection, transport, around.token_store, around.clock.wall)
                entry |= _outcome(found)
            except ConfigError as error:
                entry |= {"works": False, "token_ends": None, "problem": _problem(error)}
            entries.append(entry)
    return entries


def _entry(name: str, profile: Profile) -> dict[str, Any]:
    """Return what is stored of a profile, without secrets."""
    place = Connection.place_from(profile.variables())
    return {
        "profile": name,
        "org": {
            "id": profile.org.id,
            "name": profile.org.name,
            "type": profile.org.type,
            "edition": profile.org.edition,
        },
        "data_centre": profile.data_centre,
        "environment": profile.environment,
        "api_url": place.api_url,
        "accounts_url": place.accounts_url,
        "client_id": profile.client_id,
        "secrets": str(profile.secrets),
        "secrets_in": vault_of(profile.secrets, config_folder()).whereabouts(name),
        "scopes": list(profile.scopes),
        "options": profile.options,
        "signed_in": profile.signed_in,
    }


def _outcome(found: Found) -> dict[str, Any]:
    ends = None if found.ends_at is None else timestamp(found.ends_at)
    problem = _problem(found.problem) if found.problem else None
    told: dict[str, Any] = {"works": problem is None, "token_ends": ends, "problem": problem}
    if found.org is not None and found.org.id:
        org = found.org
        told["org"] = {"id": org.id, "name": org.name, "type": org.type, "edition": org.paid_type}
    return told


def _problem(error: BulklinkError) -> dict[str, str]:
    return {"where": error.where, "message": error.message, "advice": error.advice}


def _rows(entry: dict[str, Any]) -> dict[str, object]:
    """Return the lines of a profile for the screen."""
    rows: dict[str, object] = {}
    if "org" in entry:
        rows = {
            "org": _org(entry),
            "data centre": f"{entry['data_centre'] or 'not named'}, {entry['environment']},"
            f" {entry['api_url']}",
            "client id": entry["client_id"],
            "secrets": f"{entry['secrets']}: {entry['secrets_in']}",
            "scopes": "\n".join(entry["scopes"]).replace("\n", ", "),
        }
    if "works" in entry:
        rows["works"] = _verdict(entry)
    return rows


def _verdict(entry: dict[str, Any]) -> str:
    problem = entry["problem"]
    if problem:
        return click.style("no: ", fg="red") + f"{problem['message']} {problem['advice']}"
    ends = datetime.fromisoformat(entry["token_ends"]).astimezone()
    return (
        click.style("yes", fg="green") + f"; the access token lasts until {ends:%Y-%m-%d %H:%M %z}"
    )


def _org(entry: dict[str, Any]) -> str:
    org = entry["org"]
    told = ", ".join(text for text in (org["type"], org["edition"]) if text)
    name = org["name"] or "an org whose name cannot be read"
    return f"{name} ({told})" if told else str(name)


async def _revoked(connection: Connection, around: Surroundings) -> None:
    credentials = connection.credentials
    if credentials is None or connection.accounts_url is None:
        raise TypeError("a stored connection has credentials and an accounts server")
    async with around.transport() as transport:
        await Accounts(connection.accounts_url, transport).revoke(credentials.refresh_token)


def _check_unrevoked(name: str, error: BulklinkError, *, force: bool) -> None:
    """Let pass what cannot be revoked only if it is to be removed all the same.

    Raises:
        BulklinkError: what went wrong, with what to do, if it is not.
    """
    if force:
        return
    if sys.stdin.isatty() and sys.stderr.isatty():
        warn(f"{error.message} ({error.where})")
        if click.confirm(f"Remove the profile {name!r} from here all the same?", err=True):
            return
    error.advice = "Nothing was removed. Try again later, or add --force to remove it here alone."
    raise error


def _removed(
    name: str, profile: Profile, connection: Connection | None, around: Surroundings, *, force: bool
) -> None:
    """Remove access token, secrets and profile."""
    folder = config_folder()
    if connection is not None and around.token_store is not None:
        around.token_store.remove(connection)
    try:
        vault_of(profile.secrets, folder).remove(name)
    except ConfigError as error:
        if not force:
            raise
        warn(f"The secrets may still be there: {error.message}")
    Profiles(folder).remove(name)
