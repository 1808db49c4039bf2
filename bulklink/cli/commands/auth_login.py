"""Interactive sign-in: Zoho's self client, the data centre, where the secrets go."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping

import anyio
import click

from bulklink.cli.commands.auth_status import show_profile
from bulklink.cli.console import note, warn
from bulklink.cli.param_types import OneOf
from bulklink.errors import ConfigError, ExitCode, NotConfirmedError
from bulklink.ledger.records import timestamp
from bulklink.operations.environment import Surroundings, real_surroundings
from bulklink.profiles.profile import (
    DEFAULT,
    Place,
    Profile,
    ProfileOrg,
    Profiles,
    check_writable,
    checked_name,
    config_folder,
)
from bulklink.profiles.secrets import KeyringVault, place_for, vault_of
from bulklink.zoho.connection import Connection
from bulklink.zoho.data_centres import DATA_CENTRES, ENVIRONMENTS, accounts_address, console_address
from bulklink.zoho.error_policy import SCOPES
from bulklink.zoho.sign_in import SelfClient, SignedIn, sign_in
from bulklink.zoho.tokens import TokenStore

_NAMES = {
    "client_id": "BULKLINK_CLIENT_ID",
    "client_secret": "BULKLINK_CLIENT_SECRET",
    "code": "BULKLINK_GRANT_CODE",
    "refresh_token": "BULKLINK_REFRESH_TOKEN",
}
_MOST_INPUT = 100_000
Given = dict[str, str]


def given(client_id: str | None, *, stdin: bool) -> Given:
    """Return what standard input, options and environment give; input goes first."""
    found = {key: os.environ.get(variable, "").strip() for key, variable in _NAMES.items()}
    found["client_id"] = (client_id or "").strip()
    if found["code"]:
        found["refresh_token"] = ""
    if stdin:
        told = _read(sys.stdin.buffer.read(_MOST_INPUT).decode("utf-8-sig", "replace"))
        if told.get("code") or told.get("refresh_token"):
            found |= {"code": "", "refresh_token": ""}
        found |= told
    return found


def _read(text: str) -> Given:
    """Read a JSON object or NAME=VALUE lines; what they hold beside is left alone.

    Raises:
        ConfigError: if it is neither.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        pairs = (line.partition("=") for line in text.splitlines() if line.strip())
        content = {key.strip().lower(): value.strip() for key, _, value in pairs}
    told = content if isinstance(content, dict) else {}
    found = {key: told[key].strip() for key in _NAMES if isinstance(told.get(key), str)}
    if not found:
        raise ConfigError(
            f"It holds none of {', '.join(_NAMES)}.",
            where="standard input",
            advice="Give a JSON object with them, or a NAME=VALUE line for each.",
        )
    return found


def missing(brought: Given, *, can_ask: bool) -> list[str]:
    """Return what has to be asked for.

    Raises:
        ConfigError: if that is something, and nobody can be asked.
    """
    needed = ["client_id", "client_secret"]
    needed += [] if brought["refresh_token"] else ["code"]
    lacking = [key for key in needed if not brought[key]]
    if lacking and not can_ask:
        raise ConfigError(
            f"To sign in, these are missing: {', '.join(lacking)}.",
            where=", ".join(_NAMES[key] for key in lacking),
            advice="Set them, or give them by --stdin, or sign in at a terminal.",
        )
    return lacking


def self_client(brought: Given, lacking: list[str], place: Connection) -> SelfClient:
    """Return the self client's data, of which what is missing is asked for."""
    asked = dict(brought)
    if lacking:
        _tell_steps(place, asked)
    labels = {"client_id": "Client ID", "client_secret": "Client Secret", "code": "Code"}
    for key in lacking:
        hidden = key == "client_secret"
        label = f"{labels[key]} (not shown)" if hidden else labels[key]
        asked[key] = click.prompt(label, hide_input=hidden, err=True).strip()
    return SelfClient(
        asked["client_id"],
        asked["client_secret"],
        asked["code"] or None,
        asked["refresh_token"] or None,
    )


def _tell_steps(place: Connection, known: Mapping[str, str]) -> None:
    """Say what to do in the console of the data centre."""
    console = console_address(place.data_centre) if place.data_centre else "Zoho's API console"
    note(f"1. Open {console} and choose Self Client (Create, the first time).")
    if not known["client_id"] or not known["client_secret"]:
        note("2. Client ID and Client Secret stand in its tab Client Secret.")
    if not known["code"] and not known["refresh_token"]:
        note("3. In its tab Generate Code, paste these scopes, all in one line:")
        note(f"\n{','.join(SCOPES)}\n")
        note(
            "   Choose 10 minutes, write any description, press Create, and choose the CRM org"
            f" ({place.environment})."
        )


_ADDRESSES = ("BULKLINK_API_URL", "BULKLINK_ACCOUNTS_URL")


def login_with(
    *,
    profile: str | None,
    dc: str | None,
    environment: str | None,
    client_id: str | None,
    stdin: bool,
    plain_file: bool,
    force: bool,
    as_json: bool,
) -> int:
    """Sign in as the options say, ask for what is missing, store it and return the exit code."""
    name, profiles = checked_name(profile or DEFAULT), Profiles(config_folder())
    can_ask = sys.stdin.isatty() and sys.stderr.isatty() and not stdin
    check_writable(config_folder())
    _check_free(name, profiles, force=force, can_ask=can_ask)
    brought = given(client_id, stdin=stdin)
    lacking = missing(brought, can_ask=can_ask)
    place = _place(dc, environment, can_ask=can_ask)
    kept_in = _place_of_secrets(plain_file=plain_file)
    client = self_client(brought, lacking, place)
    around = real_surroundings()
    signed_in = anyio.run(_signed_in, place, client, around)
    made = _stored(name, signed_in, kept_in, around)
    for scope, lost in signed_in.lacking.items():
        warn(f"The token has not the scope {scope}: {lost}.")
    show_profile(name, made, as_json=as_json)
    return ExitCode.OK


def _check_free(name: str, profiles: Profiles, *, force: bool, can_ask: bool) -> None:
    """Let pass only what replaces no profile, or is meant to.

    Raises:
        NotConfirmedError: if it is not.
    """
    if force or name not in profiles.names():
        return
    if not can_ask:
        raise NotConfirmedError(
            f"There is a profile {name!r} already.",
            where=str(profiles.file(name)),
            advice="Add --force to replace it, or give another --profile.",
        )
    if not click.confirm(f"There is a profile {name!r} already. Replace it?", err=True):
        raise NotConfirmedError(
            "The profile was left as it is.",
            where=str(profiles.file(name)),
            advice="Give another --profile to keep both.",
        )


def _place_of_secrets(*, plain_file: bool) -> Place:
    """Return where secrets will be kept, and say so where it is not where they should be."""
    trouble = None if plain_file else KeyringVault().trouble()
    place = place_for(plain_file=plain_file, trouble=trouble, windows=os.name == "nt")
    if trouble:
        note(f"{trouble} The secrets will be kept in a file that only you can read.")
    return place


def _place(dc: str | None, environment: str | None, *, can_ask: bool) -> Connection:
    """Return where the CRM is, asked for where nothing tells.

    Raises:
        ConfigError: if that is not known, or something does not fit.
    """
    addresses = {name: os.environ.get(name, "").strip() for name in _ADDRESSES}
    unknown = dc is None and not addresses["BULKLINK_API_URL"]
    if unknown and not can_ask:
        raise ConfigError(
            "It is not said where the org lives.",
            where="--dc, BULKLINK_DC",
            advice=f"Give its data centre, one of: {' '.join(DATA_CENTRES)}.",
        )
    if unknown:
        note("Where does the org live? The address of the CRM tells: crm.zoho.eu is eu.")
        dc = click.prompt("Data centre", type=OneOf(DATA_CENTRES), err=True)
        if environment is None:
            environment = click.prompt(
                "Environment", type=OneOf(ENVIRONMENTS), default="production", err=True
            )
    return Connection.place_from(
        {"BULKLINK_DC": dc or "", "BULKLINK_ENVIRONMENT": environment or "", **addresses}
    )


async def _signed_in(place: Connection, client: SelfClient, around: Surroundings) -> SignedIn:
    async with around.transport() as transport:
        return await sign_in(place, client, transport, around.clock.wall)


def _stored(name: str, found: SignedIn, kept_in: Place, around: Surroundings) -> Profile:
    """Store a sign-in: its secrets, its access token, and last the profile."""
    folder = config_folder()
    profiles, place, org = Profiles(folder), found.connection, found.org
    before = _before(name, profiles)
    credentials = place.credentials
    if credentials is None:
        raise TypeError("a sign-in has credentials")
    made = Profile(
        client_id=credentials.client_id,
        secrets=kept_in,
        data_centre=place.data_centre,
        environment=place.environment,
        api_url=place.api_url if place.api_url_given else None,
        accounts_url=_named_accounts(place),
        scopes=found.scopes,
        signed_in=timestamp(around.clock.wall()),
        org=ProfileOrg(org.id, org.name, org.type, org.paid_type),
        options=before.options if before else {},
    )
    vault_of(kept_in, folder).save(name, credentials)
    profiles.save(name, made)
    if before and before.secrets is not kept_in:
        _forget(name, before)
    _keep_token(around.token_store, found)
    return made


def _forget(name: str, before: Profile) -> None:
    """Remove the secrets of a profile that was replaced from where they were."""
    try:
        vault_of(before.secrets, config_folder()).remove(name)
    except ConfigError as error:
        warn(f"The former secrets may still be there: {error.message}")


def _named_accounts(place: Connection) -> str | None:
    """Return the accounts server, where it is not the one of the data centre."""
    usual = accounts_address(place.data_centre) if place.data_centre else None
    return None if place.accounts_url == usual else place.accounts_url


def _keep_token(store: TokenStore | None, found: SignedIn) -> None:
    if store is not None:
        store.save(found.connection, found.token)


def _before(name: str, profiles: Profiles) -> Profile | None:
    """Return the profile that is replaced, if there is one that can be read."""
    try:
        return profiles.load(name)
    except ConfigError:
        return None
