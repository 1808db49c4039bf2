"""What `bulklink auth login` asks, tries and stores."""

from __future__ import annotations

import os
import sys

import anyio
import click

from bulklink.cli.commands.auth_status import show_profile
from bulklink.cli.commands.self_client import given, missing, self_client
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
from bulklink.zoho.data_centres import DATA_CENTRES, ENVIRONMENTS, accounts_address
from bulklink.zoho.sign_in import SelfClient, SignedIn, sign_in
from bulklink.zoho.tokens import TokenStore

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
