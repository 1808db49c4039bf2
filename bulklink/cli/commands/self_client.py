"""What a person brings to sign in: from standard input, the environment, or asked for."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping

import click

from bulklink.cli.console import note
from bulklink.errors import ConfigError
from bulklink.zoho.connection import Connection
from bulklink.zoho.data_centres import console_address
from bulklink.zoho.error_policy import SCOPES
from bulklink.zoho.sign_in import SelfClient

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
