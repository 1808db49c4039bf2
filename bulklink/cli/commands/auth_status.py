"""Stored profiles: show, check, sign out."""

from __future__ import annotations

import os
from datetime import datetime
from functools import partial
from typing import Any

from bulklink.advice import Advice
from bulklink.cli.connection import check_profile_options, known_options
from bulklink.cli.console import (
    Line,
    Styled,
    can_ask,
    confirm,
    error_object,
    note,
    print_json,
    print_line,
    table_lines,
    warn,
)
from bulklink.cli.signals import run_cancellable
from bulklink.errors import BulklinkError, ConfigError, ExitCode, RunStoppedError
from bulklink.ledger.records import timestamp
from bulklink.operations.connections import ProfileStatus, check_profiles
from bulklink.operations.environment import Environment, real_environment
from bulklink.profiles.names import DEFAULT_PROFILE, config_folder, normalize_profile_name
from bulklink.profiles.profile import Profile, Profiles, SecretBackend
from bulklink.profiles.resolve import load_stored_connection
from bulklink.profiles.secrets import probable_secret_backend, secret_store_for
from bulklink.zoho.connection import Connection
from bulklink.zoho.health import ConnectionHealth
from bulklink.zoho.oauth import AccountsServer
from bulklink.zoho.sign_in import missing_optional_scopes

_CREDENTIAL_VARIABLES = ("BULKLINK_ACCESS_TOKEN", "BULKLINK_CLIENT_ID", "BULKLINK_REFRESH_TOKEN")


def show_profile(name: str, profile: Profile, *, as_json: bool) -> None:
    """Show a new profile."""
    entry = _profile_entry(name, profile)
    if as_json:
        print_json(entry)
        return
    print_line(Styled(f"Signed in to {_format_org(entry)}.", "green"))
    _print_table(entry)
    profile_option = "" if name == DEFAULT_PROFILE else f" --profile {name}"
    print_line(
        f"Try it: bulklink auth status{profile_option}; then: bulklink link"
        f" mapping.csv{profile_option}"
    )


def show_status(
    profile_name: str | None, *, as_json: bool, environment: Environment | None = None
) -> int:
    """Show one profile or all, and whether each works; return the exit code."""
    profiles = Profiles(config_folder())
    names = [normalize_profile_name(profile_name)] if profile_name else profiles.names()
    if profile_name and names[0] not in profiles.names():
        raise profiles.unknown_profile_error(names[0])
    check = partial(check_profiles, names, config_folder(), environment or real_environment(), warn)
    entries = list(map(_status_entry, run_cancellable(check)))
    set_variables = [name for name in _CREDENTIAL_VARIABLES if os.environ.get(name, "").strip()]
    if set_variables:
        note(
            f"The environment sets {', '.join(set_variables)}, which takes precedence over any"
            " profile."
        )
    if as_json:
        print_json({"profiles": entries})
    elif not entries:
        note("No profile is stored. Create one with `bulklink auth login`.")
    for entry in [] if as_json else entries:
        print_line(Styled(entry["profile"], bold=True))
        _print_table(entry)
    all_work = bool(entries) and all(entry["works"] for entry in entries)
    return ExitCode.OK if all_work else ExitCode.ROWS_NOT_DONE


def sign_out(
    profile_name: str | None,
    *,
    force: bool,
    as_json: bool,
    environment: Environment | None = None,
) -> int:
    """Revoke and remove a profile; return the exit code."""
    folder, environment = config_folder(), environment or real_environment()
    name, profiles = normalize_profile_name(profile_name or DEFAULT_PROFILE), Profiles(folder)
    revoked, connection, backend = True, None, probable_secret_backend(name, folder)
    try:
        profile = profiles.load(name)
        backend = profile.secrets
        connection = load_stored_connection(name, profile, folder, allow_exposed=True)
        run_cancellable(_revoke_token, connection, environment)
    except (ConfigError, RunStoppedError) as error:
        if name not in profiles.names():
            raise
        revoked = False
        _confirm_unrevoked_removal(name, error, force=force)
    _remove_profile(name, backend, connection, environment, force=force)
    if as_json:
        print_json({"profile": name, "revoked": revoked, "removed": True})
    elif revoked:
        print_line(f"Signed out: the token of the profile {name!r} is revoked and removed.")
    else:
        print_line(f"The profile {name!r} is removed from this machine only.")
    if not revoked:
        warn(
            "Its token was not revoked, so anyone who has it can use it. Revoke it in Zoho's"
            " API console."
        )
    return ExitCode.OK


def _status_entry(status: ProfileStatus) -> dict[str, Any]:
    """Return the entry of a profile, with whether it works."""
    entry: dict[str, Any] = {"profile": status.name}
    if status.profile is not None:
        entry = _profile_entry(status.name, status.profile)
    if status.health is not None:
        entry |= _health_entry(status.health)
    problem = status.problem or _options_problem(status)
    works = status.works and problem is None
    shown = error_object(problem) if problem else None
    token_ends = entry.pop("token_ends", None)
    return entry | {"works": works, "token_ends": token_ends, "problem": shown}


def _options_problem(status: ProfileStatus) -> ConfigError | None:
    """Return why commands refuse the options of a profile; None if they do not."""
    if status.profile is None:
        return None
    try:
        check_profile_options(
            status.profile.options, str(Profiles(config_folder()).file(status.name))
        )
    except ConfigError as error:
        return error
    return None


def _profile_entry(name: str, profile: Profile) -> dict[str, Any]:
    """Return the stored fields of a profile, without secrets."""
    connection = Connection.endpoint_from(profile.variables())
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
        "api_url": connection.api_url,
        "accounts_url": connection.accounts_url,
        "client_id": profile.client_id,
        "secrets": str(profile.secrets),
        "secrets_in": secret_store_for(profile.secrets, config_folder()).location(name),
        "scopes": list(profile.scopes),
        "missing_scopes": missing_optional_scopes(profile.scopes),
        "options": known_options(profile.options),
        "signed_in": profile.signed_in,
    }


def _health_entry(health: ConnectionHealth) -> dict[str, Any]:
    token_ends = None if health.token_ends_at is None else timestamp(health.token_ends_at)
    entry: dict[str, Any] = {"token_ends": token_ends}
    if health.org is not None and health.org.id:
        org = health.org
        entry["org"] = {"id": org.id, "name": org.name, "type": org.type, "edition": org.paid_type}
    return entry


def _print_table(entry: dict[str, Any]) -> None:
    for line in table_lines(_profile_rows(entry)):
        print_line(line)


def _profile_rows(entry: dict[str, Any]) -> dict[str, Line]:
    """Return the rows of a profile for the terminal."""
    rows: dict[str, Line] = {}
    if "org" in entry:
        rows = {
            "org": _format_org(entry),
            "data centre": f"{entry['data_centre'] or 'not named'}, {entry['environment']},"
            f" {entry['api_url']}",
            "client id": entry["client_id"],
            "secrets": f"{entry['secrets']}: {entry['secrets_in']}",
            "scopes": ", ".join(entry["scopes"]),
        }
        for scope, consequence in entry["missing_scopes"].items():
            rows[f"without {scope}"] = consequence
    if "works" in entry:
        rows["works"] = _describe_health(entry)
    return rows


def _describe_health(entry: dict[str, Any]) -> Line:
    problem = entry["problem"]
    if problem:
        return Styled("no: ", "red"), f"{problem['message']} {problem['advice']}"
    token_ends = datetime.fromisoformat(entry["token_ends"]).astimezone()
    until = f"; the access token lasts until {token_ends:%Y-%m-%d %H:%M %z}"
    return Styled("yes", "green"), until


def _format_org(entry: dict[str, Any]) -> str:
    org = entry["org"]
    details = ", ".join(text for text in (org["type"], org["edition"]) if text)
    name = org["name"] or "an org with an unknown name"
    return f"{name} ({details})" if details else str(name)


async def _revoke_token(connection: Connection, environment: Environment) -> None:
    credentials = connection.credentials
    if credentials is None or connection.accounts_url is None:
        raise TypeError("a stored connection has credentials and an accounts server")
    async with environment.transport() as transport:
        await AccountsServer(connection.accounts_url, transport).revoke(credentials.refresh_token)


def _confirm_unrevoked_removal(name: str, error: BulklinkError, *, force: bool) -> None:
    """Ask whether to remove a profile whose token cannot be revoked.

    Raises:
        BulklinkError: if the user declines or cannot be asked: the revocation error, with advice.
    """
    if force:
        return
    if can_ask():
        warn(f"{error.message} ({error.where})")
        if confirm(f"Remove the profile {name!r} from this machine anyway?"):
            return
    retry = "Try again later, or add" if isinstance(error, RunStoppedError) else "Add"
    error.guidance = Advice.of(
        f"Nothing was removed. {retry} --force to remove it from this machine."
    )
    raise error


def _remove_profile(
    name: str,
    backend: SecretBackend,
    connection: Connection | None,
    environment: Environment,
    *,
    force: bool,
) -> None:
    """Remove access token, secrets and profile."""
    folder = config_folder()
    if connection is not None and environment.token_store is not None:
        environment.token_store.remove(connection)
    try:
        secret_store_for(backend, folder).remove(name)
    except ConfigError as error:
        if not force:
            raise
        warn(f"The secrets may still be stored: {error.message}")
    Profiles(folder).remove(name)
