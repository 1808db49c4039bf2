"""Secrets are only in their stores, never on a screen or in another file."""

from __future__ import annotations

import subprocess

from tests.e2e.auth.sign_in_env import (
    REFRESH,
    ROOT,
    files,
    refresh_token,
    signing_in_command,
    stored_kinds,
)
from tests.e2e.command import PROGRAM, TIMEOUT, Command, rows, write_mapping
from tests.e2e.servers import SECRET, TOKEN, ReceivedRequest, Reply, StandIn


def test_no_secret_is_on_the_screen_or_in_any_file_but_the_stores(
    bulklink: Command, zoho: StandIn
) -> None:
    command = signing_in_command(bulklink, zoho.url)
    write_mapping(bulklink.folder / "m.csv", rows(zoho.world.contacts[0].free, "1"))
    steps = [
        command("auth", "login", "--debug", "--json"),
        bulklink("auth", "status", "--json"),
        bulklink("auth", "status", "--debug"),
        bulklink("link", "m.csv", "--yes", "-v"),
        bulklink("auth", "status", "--profile", "nope"),
        command("auth", "login"),
    ]
    secrets = (SECRET, REFRESH, TOKEN)
    shown = [secret for secret in secrets for step in steps if secret in step.output]
    holding = {
        path.parent.name for path in files(bulklink.folder) for secret in secrets
        if secret.encode() in path.read_bytes()
    }  # fmt: skip
    assert shown == []
    assert holding == {"secrets", "tokens"}


def test_a_requested_traceback_holds_no_secret(bulklink: Command, zoho: StandIn) -> None:
    async def refuse(seen: ReceivedRequest) -> Reply | None:
        return Reply(200, {"error": "invalid_code", "error_description": seen.body})

    zoho.script = refuse
    env = signing_in_command(bulklink, zoho.url, BULKLINK_GRANT_CODE=REFRESH).environment()
    done = subprocess.run(
        [PROGRAM, "auth", "login", "--debug"], env=env, capture_output=True, timeout=TIMEOUT
    )
    shown = (done.stdout + done.stderr).decode()
    assert done.returncode == 2
    assert "Traceback" in shown
    assert [secret for secret in (SECRET, REFRESH) if secret in shown] == []


def keyring(bulklink: Command, kind: str = "FileKeyring") -> Command:
    return bulklink.with_env(
        PYTHON_KEYRING_BACKEND=f"tests.profiles.keyrings.{kind}",
        PYTHONPATH=str(ROOT),
        TEST_KEYRING=str(bulklink.folder / "the-keyring"),
    )


def test_secrets_are_stored_in_the_keyring_if_there_is_one(
    bulklink: Command, zoho: StandIn
) -> None:
    result = keyring(signing_in_command(bulklink, zoho.url)).run_in_subprocess(
        "auth", "login", "--json"
    )
    assert result.code == 0, result
    assert result.object["secrets"] == "keyring"
    assert stored_kinds(bulklink.folder) == {"profiles", "tokens"}
    assert REFRESH in (bulklink.folder / "the-keyring").read_text()
    assert keyring(bulklink).run_in_subprocess("auth", "status").code == 0
    assert keyring(bulklink).run_in_subprocess("auth", "logout").code == 0
    assert (bulklink.folder / "the-keyring").read_text() == "{}"


def test_a_secrets_file_replaces_the_keyring_if_requested(bulklink: Command, zoho: StandIn) -> None:
    command = keyring(signing_in_command(bulklink, zoho.url))
    assert command.run_in_subprocess("auth", "login").code == 0
    result = command.run_in_subprocess("auth", "login", "--plain-file", "--force", "--json")
    assert result.object["secrets"] == "file"
    assert REFRESH not in (bulklink.folder / "the-keyring").read_text()
    assert refresh_token(bulklink.folder) == REFRESH


def test_an_unavailable_keyring_causes_a_warning_and_a_file_is_used(
    bulklink: Command, zoho: StandIn
) -> None:
    result = keyring(signing_in_command(bulklink, zoho.url), "LockedKeyring").run_in_subprocess(
        "auth", "login"
    )
    assert result.code == 0, result
    assert "a file that only you can read" in result.err
    assert SECRET not in result.output
    assert refresh_token(bulklink.folder) == REFRESH
