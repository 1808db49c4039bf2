"""`bulklink auth`: sign in by Zoho's self client, see what is stored, sign out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bulklink.cli.completion import ProfileName
from bulklink.cli.connection import log_option
from bulklink.cli.options import combine_options, common_options, option
from bulklink.cli.param_types import OneOf
from bulklink.zoho.data_centres import DATA_CENTRES, ENVIRONMENTS

_stored_profile_option = option(
    "--profile", type=ProfileName(), metavar="NAME", help="The profile's name; else default."
)


@click.group("auth")
def auth() -> None:
    """Sign in to Zoho CRM, see what is stored, sign out.

    A sign-in is stored as a profile, which --profile names to every command that contacts the
    CRM. The profile called default is used where neither --profile nor the environment says more.

    \b
    Examples:
      bulklink auth login
      bulklink auth status
    """


@auth.command("login")
@combine_options(
    _stored_profile_option,
    option(
        "--dc",
        type=OneOf(DATA_CENTRES, case_sensitive=False),
        help="The data centre that the org lives in.",
    ),
    option(
        "--environment",
        type=OneOf(ENVIRONMENTS, case_sensitive=False),
        help="The environment that the code is generated for; else production.",
    ),
    option("--client-id", metavar="ID", help="The client id of the self client."),
    option(
        "--stdin",
        is_flag=True,
        help="Read client_id, client_secret and code or refresh_token from standard input: the"
        " JSON file that the console lets you download, or a NAME=VALUE line for each.",
    ),
    option(
        "--plain-file",
        is_flag=True,
        help="Keep the secrets in a file that only you can read, not in the system keyring.",
    ),
    option("--force", is_flag=True, help="Replace a profile that is there without a question."),
)
@log_option
@common_options
def login(**options: Any) -> int:
    """Sign in, and store it as a profile: secrets in the system keyring.

    At a terminal it says what to do in Zoho's API console, asks for what it shows, and tries it.
    Elsewhere give client id, client secret and code by --stdin, or as BULKLINK_CLIENT_ID,
    BULKLINK_CLIENT_SECRET and BULKLINK_GRANT_CODE or BULKLINK_REFRESH_TOKEN; never as arguments.

    \b
    Examples:
      bulklink auth login
      bulklink auth login --profile test --dc eu --environment sandbox
      bulklink auth login --dc eu --stdin < self_client.json
    """
    from bulklink.cli.commands.auth_login import login_profile  # noqa: PLC0415 - not for --help
    from bulklink.cli.request_log import start_request_log  # noqa: PLC0415 - not for --help

    start_request_log(options.pop("log"))
    return login_profile(**options)


@auth.command("status")
@option("--profile", type=ProfileName(), metavar="NAME", help="Only this profile; else all.")
@log_option
@common_options
def auth_status(profile: str | None, log: Path | None, *, as_json: bool) -> int:
    """Show what is stored, where, and whether it works. No secret is shown.

    Each profile costs one call, and an access token if none is kept. Exit code 0: all that are
    shown work; 1: one does not, or there is none.

    \b
    Examples:
      bulklink auth status
      bulklink auth status --profile test --json
    """
    from bulklink.cli.commands.auth_status import show_status  # noqa: PLC0415 - not for --help
    from bulklink.cli.request_log import start_request_log  # noqa: PLC0415 - not for --help

    start_request_log(log)
    return show_status(profile, as_json=as_json)


@auth.command("logout")
@_stored_profile_option
@option("--force", is_flag=True, help="Remove it here even if it cannot be revoked at Zoho.")
@log_option
@common_options
def logout(profile: str | None, log: Path | None, *, force: bool, as_json: bool) -> int:
    """Revoke a profile's token at Zoho, and remove it from here.

    For a machine that shall contact the org no more: the profile goes with its secrets.

    \b
    Examples:
      bulklink auth logout
      bulklink auth logout --profile test
    """
    from bulklink.cli.commands.auth_status import sign_out  # noqa: PLC0415 - not for --help
    from bulklink.cli.request_log import start_request_log  # noqa: PLC0415 - not for --help

    start_request_log(log)
    return sign_out(profile, force=force, as_json=as_json)
