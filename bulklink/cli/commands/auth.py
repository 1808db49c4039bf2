"""`bulklink auth`: sign in by Zoho's self client, see what is stored, sign out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bulklink.cli.completion import ProfileName
from bulklink.cli.connection import log_option
from bulklink.cli.help import Command, Group
from bulklink.cli.options import combine_options, common_options, option
from bulklink.cli.param_types import OneOf
from bulklink.zoho.data_centres import DATA_CENTRES, ENVIRONMENTS

_stored_profile_option = option(
    "--profile", type=ProfileName(), metavar="NAME", help="Name of the profile. Default: default."
)


@click.group("auth", cls=Group)
def auth() -> None:
    """Sign in to Zoho CRM, show stored sign-ins, sign out.

    \b
    Examples:
      bulklink auth login
      bulklink auth status

    A sign-in is stored as a profile. Every command that contacts the CRM takes one with --profile.
    Without --profile or environment variables, they use the profile named default.
    """


@auth.command("login", cls=Command)
@combine_options(
    _stored_profile_option,
    option(
        "--dc",
        type=OneOf(DATA_CENTRES, case_sensitive=False),
        help="The org's data centre.",
    ),
    option(
        "--environment",
        type=OneOf(ENVIRONMENTS, case_sensitive=False),
        help="Environment that the code is generated for. Default: production.",
    ),
    option("--client-id", metavar="ID", help="Client id of the self client."),
    option(
        "--stdin",
        is_flag=True,
        help="Read client_id, client_secret and code or refresh_token from standard input: the"
        " JSON file from the API console, or one NAME=VALUE line for each.",
    ),
    option(
        "--plain-file",
        is_flag=True,
        help="Keep the secrets in a file that only you can read, not in the system keyring.",
    ),
    option("--force", is_flag=True, help="Replace an existing profile without asking."),
)
@log_option
@common_options
def login(**options: Any) -> int:
    """Sign in, and store a profile in the system keyring.

    \b
    Examples:
      bulklink auth login
      bulklink auth login --profile test --dc eu --environment sandbox
      bulklink auth login --dc eu --stdin < self_client.json

    At a terminal, the command guides you through Zoho's API console, asks for the values shown
    there, and tests them. Elsewhere, pass client id, client secret and code with --stdin, or as
    BULKLINK_CLIENT_ID, BULKLINK_CLIENT_SECRET and BULKLINK_GRANT_CODE or BULKLINK_REFRESH_TOKEN.
    Secrets are never arguments.
    """
    from bulklink.cli.commands.auth_login import login_profile  # noqa: PLC0415 - not for --help
    from bulklink.cli.request_log import start_request_log  # noqa: PLC0415 - not for --help

    start_request_log(options.pop("log"))
    return login_profile(**options)


@auth.command("status", cls=Command)
@option("--profile", type=ProfileName(), metavar="NAME", help="Only this profile. Default: all.")
@log_option
@common_options
def auth_status(profile: str | None, log: Path | None, *, as_json: bool) -> int:
    """Show which profiles are stored, where, and whether they work.

    \b
    Examples:
      bulklink auth status
      bulklink auth status --profile test --json

    No secret is shown. Each profile costs one call, and an access token if none is stored. Exit
    code 0: all profiles shown work; 1: one does not work, or there is none.
    """
    from bulklink.cli.commands.auth_status import show_status  # noqa: PLC0415 - not for --help
    from bulklink.cli.request_log import start_request_log  # noqa: PLC0415 - not for --help

    start_request_log(log)
    return show_status(profile, as_json=as_json)


@auth.command("logout", cls=Command)
@_stored_profile_option
@option("--force", is_flag=True, help="Remove the profile even if Zoho cannot revoke its token.")
@log_option
@common_options
def logout(profile: str | None, log: Path | None, *, force: bool, as_json: bool) -> int:
    """Revoke a profile's token at Zoho, and remove the profile.

    \b
    Examples:
      bulklink auth logout
      bulklink auth logout --profile test

    Use it on a machine that must no longer contact the org: the secrets are removed too.
    """
    from bulklink.cli.commands.auth_status import sign_out  # noqa: PLC0415 - not for --help
    from bulklink.cli.request_log import start_request_log  # noqa: PLC0415 - not for --help

    start_request_log(log)
    return sign_out(profile, force=force, as_json=as_json)
