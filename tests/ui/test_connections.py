"""Connections on the page: what is stored, whether it works, and no secret."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import anyio
import pytest

from bulklink import Connection
from bulklink.errors import ConfigError
from bulklink.operations.environment import real_environment
from bulklink.operations.plan import plan
from bulklink.profiles.profile import Profile, ProfileOrg, Profiles, SecretBackend
from bulklink.profiles.secrets import FileSecretStore
from bulklink.ui.connections import Connections
from bulklink.zoho.connection import Credentials
from tests.operations.local_crm import LocalCrm, job, local_crm
from tests.ui.form_client import PageClient, page_client

CLIENT_SECRET, REFRESH_TOKEN = "0123456789abcdef-client", "1000.0123456789abcdef-refresh"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the user's settings; tokens are kept in the folder of the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "config"


@pytest.fixture
async def crm() -> AsyncIterator[LocalCrm]:
    async with local_crm() as running:
        yield running


@pytest.fixture
async def client(tmp_path: Path, folder: Path) -> AsyncIterator[PageClient]:
    connections = Connections(real_environment(), folder)
    async with page_client(tmp_path / "runs", connections=connections) as running:
        yield running


def save(folder: Path, name: str, url: str, secret: str = "demo") -> None:
    """Store a profile."""
    org = ProfileOrg(id="1", name="Zylker <b>", type="production", edition="enterprise")
    profile = Profile(
        client_id="demo",
        secrets=SecretBackend.FILE,
        api_url=url,
        accounts_url=url,
        scopes=("ZohoCRM.modules.ALL",),
        signed_in="2026-03-01T10:00:00+00:00",
        org=org,
    )
    Profiles(folder).save(name, profile)
    FileSecretStore(folder).save(name, Credentials("demo", secret, secret))


async def test_without_a_profile_the_page_says_how_to_get_one(client: PageClient) -> None:
    assert "bulklink auth login" in (await client.get("/connections")).text


async def test_profiles_are_shown_without_a_secret(client: PageClient, folder: Path) -> None:
    save(folder, "default", "http://127.0.0.1:9", CLIENT_SECRET)
    FileSecretStore(folder).save("default", Credentials("demo", CLIENT_SECRET, REFRESH_TOKEN))
    shown = await client.get("/connections")
    assert "default" in shown.text
    assert "Zylker <b> (production, enterprise)" in shown.text
    assert "<b>" not in shown.html
    assert "ZohoCRM.modules.ALL" in shown.text
    checked = await client.post("/connections/default/check")
    for secret in (CLIENT_SECRET, REFRESH_TOKEN):
        assert secret not in shown.html + checked.html


async def test_nothing_is_checked_before_somebody_asks(
    client: PageClient, folder: Path, crm: LocalCrm
) -> None:
    save(folder, "default", crm.url)
    before = await client.get("/connections")
    assert "works" not in before.text
    assert not list(folder.parent.glob("state/**/tokens/*"))
    after = await client.post("/connections/default/check")
    assert after.path == "/connections"
    assert "default works" in after.text
    assert "Access token lasts until" in after.text
    assert "default works" in (await client.get("/connections")).text


async def test_a_profile_that_does_not_work_says_why(client: PageClient, folder: Path) -> None:
    save(folder, "default", "http://127.0.0.1:9")
    shown = await client.post("/connections/default/check")
    assert "default does not work" in shown.text
    assert "nothing accepts connections there" in shown.text


async def test_a_profile_without_its_secrets_says_what_to_do(
    client: PageClient, folder: Path, crm: LocalCrm
) -> None:
    save(folder, "default", crm.url)
    FileSecretStore(folder).remove("default")
    shown = await client.post("/connections/default/check")
    assert "default does not work" in shown.text
    assert "Sign in again" in shown.text


async def test_a_damaged_profile_hides_no_other(client: PageClient, folder: Path) -> None:
    save(folder, "good", "http://127.0.0.1:9")
    save(folder, "bad", "http://127.0.0.1:9")
    Profiles(folder).file("bad").write_text("client_id = ")
    shown = await client.get("/connections")
    assert "bad does not work" in shown.text
    assert "Check good" in shown.text


@pytest.mark.parametrize("name", ["nobody", "..", "%2e%2e%2fsecrets", "a" * 500])
async def test_a_profile_that_is_not_stored_is_not_checked(client: PageClient, name: str) -> None:
    shown = await client.post(f"/connections/{name}/check")
    assert shown.status in (404, 405)


async def test_a_command_uses_the_profile_that_was_chosen(tmp_path: Path, folder: Path) -> None:
    save(folder, "march", "http://127.0.0.1:9")
    save(folder, "sandbox", "http://127.0.0.1:9")
    chosen: list[str | None] = []

    def connect(profile: str | None) -> Connection:
        chosen.append(profile)
        raise ConfigError("Not today.")

    sealed = await anyio.to_thread.run_sync(
        partial(plan, job(tmp_path, 3, run_dir=tmp_path / "runs" / "run"))
    )
    connections = Connections(real_environment(), folder)
    async with page_client(tmp_path / "runs", connect, connections=connections) as client:
        run = await client.get("/runs/run")
        assert "<option>march</option><option>sandbox</option>" in run.html
        refused = await client.post("/runs/run/apply", digest=sealed.digest, profile="sandbox")
        assert "Not today." in refused.text
        await client.post("/runs/run/apply", digest=sealed.digest, profile="")
    assert chosen == ["sandbox", None]


async def test_one_profile_is_not_asked_for(tmp_path: Path, folder: Path) -> None:
    save(folder, "default", "http://127.0.0.1:9")
    await anyio.to_thread.run_sync(
        partial(plan, job(tmp_path, 3, run_dir=tmp_path / "runs" / "run"))
    )
    connections = Connections(real_environment(), folder)
    async with page_client(tmp_path / "runs", connections=connections) as client:
        assert 'name="profile"' not in (await client.get("/runs/run")).html
