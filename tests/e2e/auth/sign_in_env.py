"""Input of a sign-in, and the files it leaves."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.e2e.command import Command
from tests.e2e.servers import SECRET, Emulator

ROOT = Path(__file__).parents[3]
posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")
CODE = "client_id=demo\nclient_secret=demo\ncode=demo\n"
SIGN_IN_ENV = {
    "BULKLINK_CLIENT_ID": "demo",
    "BULKLINK_CLIENT_SECRET": "demo",
    "BULKLINK_GRANT_CODE": "demo",
}
SCOPES = [
    *(f"ZohoCRM.modules.{name}.ALL" for name in ("emails", "contacts", "deals")),
    *("ZohoCRM.settings.modules.READ", "ZohoCRM.users.READ", "ZohoCRM.org.READ"),
    *("ZohoCRM.coql.READ", "ZohoCRM.settings.layouts.READ", "ZohoCRM.settings.pipeline.READ"),
]
REFRESH = "1000.made-for-the-code-7d1e"
THROTTLED = {"error": "Access Denied", "error_description": "You have made too many requests."}


def api_env(url: str) -> dict[str, str]:
    return {"BULKLINK_API_URL": url, "BULKLINK_ACCOUNTS_URL": url}


def signing_in_command(bulklink: Command, url: str, **env: str) -> Command:
    secrets = {**SIGN_IN_ENV, "BULKLINK_CLIENT_SECRET": SECRET}
    return bulklink.with_env(**{**api_env(url), **secrets, **env})


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def stored_kinds(folder: Path) -> set[str]:
    """Return the folders in which a sign-in left files."""
    return {path.parent.name for path in files(folder) if path.suffix in (".toml", ".json")}


def refresh_token(folder: Path, name: str = "default") -> str:
    secrets = json.loads((folder / "config" / "bulklink" / "secrets" / f"{name}.json").read_text())
    return str(secrets["refresh_token"])


def revoke(emulator: Emulator, token: str) -> None:
    body = urlencode({"token": token}).encode()
    urllib.request.urlopen(f"{emulator.url}/oauth/v2/token/revoke", body, timeout=20).close()
