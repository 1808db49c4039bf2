"""Interactive sign-in of `bulklink auth login`."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Collection, Mapping

from bulklink.cli.commands.auth_status import show_profile
from bulklink.cli.console import ask, can_ask, confirm, note, warn
from bulklink.cli.param_types import OneOf
from bulklink.cli.signals import run_cancellable
from bulklink.errors import ConfigError, ExitCode, NotConfirmedError
from bulklink.ledger.records import timestamp
from bulklink.operations.environment import Environment, real_environment
from bulklink.profiles.names import DEFAULT_PROFILE, config_folder, normalize_profile_name
from bulklink.profiles.profile import Profile, ProfileOrg, Profiles, SecretBackend, check_writable
from bulklink.profiles.secrets import (
    FileSecretStore,
    KeyringSecretStore,
    choose_secret_backend,
    secret_store_for,
)
from bulklink.suggestions import close_matches, did_you_mean
from bulklink.zoho.connection import Connection
from bulklink.zoho.data_centres import DATA_CENTRES, ENVIRONMENTS, accounts_address, console_address
from bulklink.zoho.error_policy import SCOPES
from bulklink.zoho.sign_in import SelfClient, SignInResult, sign_in

_VARIABLES = {
    "client_id": "BULKLINK_CLIENT_ID",
    "client_secret": "BULKLINK_CLIENT_SECRET",
    "code": "BULKLINK_GRANT_CODE",
    "refresh_token": "BULKLINK_REFRESH_TOKEN",
}
_CONSOLE_NAMES = frozenset({"expiry_time", "grant_type", "scope"})
"""Other names in the file that Zoho's console offers to download."""
_PLAIN_NAME = re.compile(r"[A-Za-z_]{1,40}")
"""Text of an unknown name that is shown; any other may be a secret without a name."""
_MAX_INPUT_BYTES = 100_000
SignInInputs = dict[str, str]
"""Credentials by name; empty if missing."""


def collect_inputs(client_id: str | None, *, stdin: bool) -> SignInInputs:
    """Return the credentials from standard input, options and environment, in this order."""
    inputs = {key: os.environ.get(variable, "").strip() for key, variable in _VARIABLES.items()}
    inputs["client_id"] = (client_id or "").strip()
    if inputs["code"]:
        inputs["refresh_token"] = ""
    if stdin:
        stdin_inputs = _parse_inputs(
            sys.stdin.buffer.read(_MAX_INPUT_BYTES).decode("utf-8-sig", "replace")
        )
        if stdin_inputs.get("code") or stdin_inputs.get("refresh_token"):
            inputs |= {"code": "", "refresh_token": ""}
        inputs |= stdin_inputs
    return inputs


def _parse_inputs(text: str) -> SignInInputs:
    """Parse a JSON object or NAME=VALUE lines; warn of unknown names.

    Raises:
        ConfigError: if it is not valid, or has none of the credentials.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        if text.lstrip().startswith(("{", "[")):
            raise ConfigError(
                "The JSON is not valid or not complete.",
                where="standard input",
                advice="Pass the whole file from Zoho's API console.",
            ) from None
        pairs = (line.partition("=") for line in text.splitlines() if line.strip())
        content = {key.strip().lower(): value.strip() for key, _, value in pairs}
    fields = content if isinstance(content, dict) else {}
    inputs = {key: fields[key].strip() for key in _VARIABLES if isinstance(fields.get(key), str)}
    if unknown_names := fields.keys() - _VARIABLES.keys() - _CONSOLE_NAMES:
        warn(_unknown_names_warning(unknown_names))
    if not inputs:
        raise ConfigError(
            f"No credentials found: {', '.join(_VARIABLES)} are all missing.",
            where="standard input",
            advice="Pass them as a JSON object, or as one NAME=VALUE line each.",
        )
    return inputs


def _unknown_names_warning(unknown_names: Collection[str]) -> str:
    """Return the warning about unknown names of credentials; it shows no secret."""
    shown = sorted(name for name in unknown_names if _PLAIN_NAME.fullmatch(name))
    hidden = len(unknown_names) - len(shown)
    texts = [*shown, *([f"{hidden:,} that may be secret"] if hidden else [])]
    known = dict.fromkeys(
        match for name in shown for match in close_matches(name, _VARIABLES, limit=1)
    )
    return (
        f"Unknown names on standard input are ignored: {', '.join(texts)}. "
        f"{did_you_mean(tuple(known))}The names are {', '.join(_VARIABLES)}."
    )


def missing_inputs(inputs: SignInInputs, *, can_ask: bool) -> list[str]:
    """Return the names of the credentials to ask for.

    Raises:
        ConfigError: if some are missing and the user cannot be asked.
    """
    required_keys = ["client_id", "client_secret"]
    required_keys += [] if inputs["refresh_token"] else ["code"]
    missing_keys = [key for key in required_keys if not inputs[key]]
    if missing_keys and not can_ask:
        raise ConfigError(
            f"Missing for the sign-in: {', '.join(missing_keys)}.",
            where=", ".join(_VARIABLES[key] for key in missing_keys),
            advice="Set them, pass them with --stdin, or sign in at a terminal.",
        )
    return missing_keys


def prompt_self_client(
    inputs: SignInInputs, missing_keys: list[str], connection: Connection
) -> SelfClient:
    """Return the credentials of the self client; ask for missing ones."""
    values = dict(inputs)
    if missing_keys:
        _print_instructions(connection, values)
    labels = {"client_id": "Client ID", "client_secret": "Client Secret", "code": "Code"}
    for key in missing_keys:
        hidden = key == "client_secret"
        label = f"{labels[key]} (not shown)" if hidden else labels[key]
        values[key] = ask(label, hide_input=hidden).strip()
    return SelfClient(
        values["client_id"],
        values["client_secret"],
        values["code"] or None,
        values["refresh_token"] or None,
    )


def _print_instructions(connection: Connection, inputs: Mapping[str, str]) -> None:
    """Print the steps in the API console of the data centre."""
    console = (
        console_address(connection.data_centre) if connection.data_centre else "Zoho's API console"
    )
    note(f"1. Open {console} and choose Self Client (Create, the first time).")
    if not inputs["client_id"] or not inputs["client_secret"]:
        note("2. Its tab Client Secret shows Client ID and Client Secret.")
    if not inputs["code"] and not inputs["refresh_token"]:
        note("3. In its tab Generate Code, paste these scopes as one line:")
        for line in ("", ",".join(SCOPES), ""):
            note(line)
        note(
            "   Choose 10 minutes, enter any description, press Create, and choose the CRM org"
            f" ({connection.environment})."
        )


_URL_VARIABLES = ("BULKLINK_API_URL", "BULKLINK_ACCOUNTS_URL")


def login_profile(
    *,
    profile: str | None,
    dc: str | None,
    environment: str | None,
    client_id: str | None,
    stdin: bool,
    plain_file: bool,
    force: bool,
    as_json: bool,
    runtime: Environment | None = None,
) -> int:
    """Sign in, ask for missing credentials, store a profile and return the exit code."""
    name, profiles = normalize_profile_name(profile or DEFAULT_PROFILE), Profiles(config_folder())
    can_prompt = can_ask() and not stdin
    check_writable(config_folder())
    _confirm_replacement(name, profiles, force=force, can_ask=can_prompt)
    inputs = collect_inputs(client_id, stdin=stdin)
    missing_keys = missing_inputs(inputs, can_ask=can_prompt)
    connection = _resolve_connection(dc, environment, can_ask=can_prompt)
    secret_backend = _select_secret_backend(plain_file=plain_file)
    client = prompt_self_client(inputs, missing_keys, connection)
    runtime = runtime or real_environment()
    sign_in_result = run_cancellable(_sign_in, connection, client, runtime)
    stored_profile = _store_sign_in(name, sign_in_result, secret_backend, runtime)
    for scope, consequence in sign_in_result.missing_scopes.items():
        warn(f"The token lacks the scope {scope}: {consequence}.")
    show_profile(name, stored_profile, as_json=as_json)
    return ExitCode.OK


def _confirm_replacement(name: str, profiles: Profiles, *, force: bool, can_ask: bool) -> None:
    """Ask before a profile is replaced.

    Raises:
        NotConfirmedError: if the user declines or cannot be asked.
    """
    if force or name not in profiles.names():
        return
    if not can_ask:
        raise NotConfirmedError(
            f"The profile {name!r} already exists.",
            where=str(profiles.file(name)),
            advice="Replace it with --force, or use another --profile.",
        )
    if not confirm(f"The profile {name!r} already exists. Replace it?"):
        raise NotConfirmedError(
            "The profile was not changed.",
            where=str(profiles.file(name)),
            advice="Use another --profile to keep both.",
        )


def _select_secret_backend(*, plain_file: bool) -> SecretBackend:
    """Return the secret backend; print a note if the keyring is unavailable."""
    unavailable_reason = None if plain_file else KeyringSecretStore().unavailable_reason()
    backend = choose_secret_backend(
        plain_file=plain_file, unavailable_reason=unavailable_reason, windows=os.name == "nt"
    )
    if backend is SecretBackend.FILE:
        FileSecretStore(config_folder()).check()
    if unavailable_reason:
        note(f"{unavailable_reason} The secrets will be kept in a file that only you can read.")
    return backend


def _resolve_connection(dc: str | None, environment: str | None, *, can_ask: bool) -> Connection:
    """Return the endpoint of the CRM; ask for an unknown data centre.

    Raises:
        ConfigError: if the data centre is missing, or the options conflict.
    """
    urls = {name: os.environ.get(name, "").strip() for name in _URL_VARIABLES}
    location_unknown = dc is None and not urls["BULKLINK_API_URL"]
    if location_unknown and not can_ask:
        raise ConfigError(
            "The data centre of the org is missing.",
            where="--dc, BULKLINK_DC",
            advice=f"Set it to one of: {' '.join(DATA_CENTRES)}.",
        )
    if location_unknown:
        note("Which data centre is the org in? The CRM's address shows it: crm.zoho.eu is eu.")
        dc = ask("Data centre", type=OneOf(DATA_CENTRES))
        if environment is None:
            environment = ask("Environment", type=OneOf(ENVIRONMENTS), default="production")
    return Connection.endpoint_from(
        {"BULKLINK_DC": dc or "", "BULKLINK_ENVIRONMENT": environment or "", **urls}
    )


async def _sign_in(
    connection: Connection, client: SelfClient, environment: Environment
) -> SignInResult:
    async with environment.transport() as transport:
        return await sign_in(connection, client, transport, environment.clock.wall, warn)


def _store_sign_in(
    name: str, sign_in_result: SignInResult, secret_backend: SecretBackend, environment: Environment
) -> Profile:
    """Store a sign-in: secrets, profile and access token."""
    folder = config_folder()
    profiles, connection, org = Profiles(folder), sign_in_result.connection, sign_in_result.org
    previous = _previous_profile(name, profiles)
    credentials = connection.credentials
    if credentials is None:
        raise TypeError("a sign-in has credentials")
    profile = Profile(
        client_id=credentials.client_id,
        secrets=secret_backend,
        data_centre=connection.data_centre,
        environment=connection.environment,
        api_url=connection.api_url if connection.api_url_given else None,
        accounts_url=_custom_accounts_url(connection),
        scopes=sign_in_result.scopes,
        signed_in=timestamp(environment.clock.wall()),
        org=ProfileOrg(org.id, org.name, org.type, org.paid_type),
        options=previous.options if previous else {},
    )
    secret_store_for(secret_backend, folder).save(name, credentials)
    profiles.save(name, profile)
    if previous and previous.secrets is not secret_backend:
        _remove_previous_secrets(name, previous)
    if environment.token_store is not None:
        environment.token_store.save(connection, sign_in_result.token)
    return profile


def _remove_previous_secrets(name: str, previous: Profile) -> None:
    """Remove the secrets of a replaced profile from their previous backend."""
    try:
        secret_store_for(previous.secrets, config_folder()).remove(name)
    except ConfigError as error:
        warn(f"The previous secrets may still be stored: {error.message}")


def _custom_accounts_url(connection: Connection) -> str | None:
    """Return the accounts server; None if it is the data centre's own."""
    default_url = accounts_address(connection.data_centre) if connection.data_centre else None
    return None if connection.accounts_url == default_url else connection.accounts_url


def _previous_profile(name: str, profiles: Profiles) -> Profile | None:
    """Return the profile to be replaced; None if there is none or it cannot be read."""
    try:
        return profiles.load(name)
    except ConfigError:
        return None
