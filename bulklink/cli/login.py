"""What `bulklink auth login` asks, tries and stores."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping

import anyio
import click

from bulklink.cli.screen import note, warn
from bulklink.cli.signed_in import show_profile
from bulklink.errors import ConfigError, ExitCode, NotConfirmedError
from bulklink.job.surroundings import Surroundings, real_surroundings
from bulklink.ledger.lines import timestamp
from bulklink.profiles.profile import (
    DEFAULT,
    Place,
    Profile,
    ProfileOrg,
    Profiles,
    checked_name,
    config_folder,
)
from bulklink.profiles.vault import KeyringVault, vault_of
from bulklink.zoho.classes import SCOPES
from bulklink.zoho.connection import Connection
from bulklink.zoho.hosts import DATA_CENTRES, ENVIRONMENTS, accounts_address, console_address
from bulklink.zoho.signin import SelfClient, SignedIn, sign_in
from bulklink.zoho.tokens import TokenStore

_NAMES = {
    "client_id": "BULKLINK_CLIENT_ID",
    "client_secret": "BULKLINK_CLIENT_SECRET",
    "code": "BULKLINK_GRANT_CODE",
    "refresh_token": "BULKLINK_REFRESH_TOKEN",
}
_ADDRESSES = ("BULKLINK_API_URL", "BULKLINK_ACCOUNTS_URL")
_MOST_INPUT = 100_000
Given = dict[str, str]


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
    _check_free(name, profiles, force=force, can_ask=can_ask)
    given = _given(client_id, stdin=stdin)
    missing = _missing(given, can_ask=can_ask)
    place = _place(dc, environment, can_ask=can_ask)
    kept_in = _place_of_secrets(plain_file=plain_file)
    client = _self_client(given, missing, place)
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
        raise NotConfirmedError("The profile was left as it is.")


def _given(client_id: str | None, *, stdin: bool) -> Given:
    """Return what standard input, options and environment give; input goes first."""
    given = {key: os.environ.get(variable, "").strip() for key, variable in _NAMES.items()}
    given["client_id"] = (client_id or "").strip()
    if given["code"]:
        given["refresh_token"] = ""
    if stdin:
        told = _read(sys.stdin.read(_MOST_INPUT))
        if told.get("code") or told.get("refresh_token"):
            given |= {"code": "", "refresh_token": ""}
        given |= told
    return given


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


def _place_of_secrets(*, plain_file: bool) -> Place:
    """Return where secrets will be kept.

    Raises:
        ConfigError: if that would be a file that others can read.
    """
    if plain_file:
        return Place.FILE
    trouble = KeyringVault().trouble()
    if trouble is None:
        return Place.KEYRING
    if os.name == "nt":
        raise ConfigError(
            trouble,
            where="system keyring",
            advice="Add --plain-file to keep the secrets in a file of your user's folder.",
        )
    note(f"{trouble} The secrets will be kept in a file that only you can read.")
    return Place.FILE


def _place(dc: str | None, environment: str | None, *, can_ask: bool) -> Connection:
    """Return where the CRM is, asked for where nothing tells."""
    addresses = {name: os.environ.get(name, "") for name in _ADDRESSES}
    if can_ask and dc is None and not addresses["BULKLINK_API_URL"].strip():
        note("Where does the org live? The address of the CRM tells: crm.zoho.eu is eu.")
        dc = click.prompt("Data centre", type=click.Choice(DATA_CENTRES), err=True)
        if environment is None:
            environment = click.prompt(
                "Environment", type=click.Choice(ENVIRONMENTS), default="production", err=True
            )
    return Connection.place_from(
        {"BULKLINK_DC": dc or "", "BULKLINK_ENVIRONMENT": environment or "", **addresses}
    )


def _missing(given: Given, *, can_ask: bool) -> list[str]:
    """Return what has to be asked for.

    Raises:
        ConfigError: if that is something, and nobody can be asked.
    """
    needed = ["client_id", "client_secret"]
    needed += [] if given["refresh_token"] else ["code"]
    missing = [key for key in needed if not given[key]]
    if missing and not can_ask:
        raise ConfigError(
            f"To sign in, these are missing: {', '.join(missing)}.",
            where=", ".join(_NAMES[key] for key in missing),
            advice="Set them, or give them by --stdin, or sign in at a terminal.",
        )
    return missing


def _self_client(given: Given, missing: list[str], place: Connection) -> SelfClient:
    """Return the self client's data, of which what is missing is asked for."""
    asked = dict(given)
    if missing:
        _tell_steps(place, asked)
    labels = {"client_id": "Client ID", "client_secret": "Client Secret", "code": "Code"}
    for key in missing:
        hidden = key == "client_secret"
        label = f"{labels[key]} (not shown)" if hidden else labels[key]
        asked[key] = click.prompt(label, hide_input=hidden, err=True).strip()
    return SelfClient(
        asked["client_id"],
        asked["client_secret"],
        asked["code"] or None,
        asked["refresh_token"] or None,
    )


def _tell_steps(place: Connection, given: Mapping[str, str]) -> None:
    """Say what to do in the console of the data centre."""
    console = console_address(place.data_centre) if place.data_centre else "Zoho's API console"
    note(f"1. Open {console} and choose Self Client (Create, the first time).")
    if not given["client_id"] or not given["client_secret"]:
        note("2. Client ID and Client Secret stand in its tab Client Secret.")
    if not given["code"] and not given["refresh_token"]:
        note("3. In its tab Generate Code, paste these scopes, all in one line:")
        note(f"\n{','.join(SCOPES)}\n")
        note(
            "   Choose 10 minutes, write any description, press Create, and choose the CRM org"
            f" ({place.environment})."
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
        vault_of(before.secrets, folder).remove(name)
    _keep_token(around.token_store, found)
    return made


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
