"""Options of what the page starts: those that its command would have, typed without any."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest
from aiohttp import ClientSession

from bulklink import Connection
from bulklink.cli.app import cli
from bulklink.cli.commands.ui import make_commands
from bulklink.cli.page_options import page_options
from bulklink.errors import ConfigError, UsageError, WrongOrgError
from bulklink.profiles.names import config_folder
from bulklink.profiles.profile import Profile, Profiles, SecretBackend
from bulklink.profiles.secrets import FileSecretStore
from bulklink.runs.record import RunState
from bulklink.ui.commands import Commands
from bulklink.ui.server import serve_page
from bulklink.zoho.connection import Credentials
from tests.guard import off_loop
from tests.operations.local_crm import EMAILS, LocalCrm
from tests.ui.form_client import PageClient
from tests.ui.planned import digest_of, seal_plan, wait_for_end

SET = {"credits_per_day": 7000, "expect_org": "999", "rate": 7.5, "settle_after": 2.0}
READING = {name: value for name, value in SET.items() if name != "expect_org"}


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of the user in the folder of the test."""
    for name in ("XDG_CONFIG_HOME", "APPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "config"))


@pytest.fixture
def root() -> Iterator[click.Context]:
    """Return the context of the command tree."""
    with click.Context(cli, info_name="bulklink") as ctx:
        yield ctx


@pytest.fixture
def page_commands(
    runs: Path, root: click.Context, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> Commands:
    """Return the commands that `bulklink ui` has, with a CRM in this process."""
    commands = make_commands(runs, None, root)
    monkeypatch.setattr(commands, "connect", lambda profile: connection)
    return commands


def set_environment(monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    for name, value in options.items():
        monkeypatch.setenv(f"BULKLINK_{name.upper()}", str(value))


def save_profile(name: str, **options: Any) -> None:
    profile = Profile(
        client_id="demo",
        secrets=SecretBackend.FILE,
        api_url="http://127.0.0.1:9",
        accounts_url="http://127.0.0.1:9",
        scopes=(),
        signed_in="2026-03-01T10:00:00+00:00",
        options=options,
    )
    Profiles(config_folder()).save(name, profile)
    FileSecretStore(config_folder()).save(name, Credentials("demo", "demo", "demo"))


async def options_of(
    root: click.Context, runs: Path, verb: str, profile: str | None = None
) -> dict[str, Any]:
    """Return the options that the page takes for a run whose plan sets none."""
    run = await seal_plan(runs)
    options = await off_loop(partial(page_options, root, verb, run.path, profile))
    return {name: value for name, value in options.items() if name in SET}


@pytest.mark.parametrize("verb", ["apply", "resume", "retry", "undo"])
async def test_sending_takes_the_options_of_the_environment(
    root: click.Context, runs: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    set_environment(monkeypatch, **SET)
    assert await options_of(root, runs, verb) == SET


async def test_a_verification_takes_those_that_limit_reads(
    root: click.Context, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, **SET)
    assert await options_of(root, runs, "verify") == READING


@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        ("apply", SET),
        ("resume", {"expect_org": "999"}),
        ("retry", {"expect_org": "999"}),
        ("undo", {"expect_org": "999"}),
        ("verify", READING),
    ],
)
async def test_a_profile_sets_what_it_sets_for_the_command(
    root: click.Context, runs: Path, verb: str, expected: dict[str, Any]
) -> None:
    save_profile("march", **SET)
    assert await options_of(root, runs, verb, "march") == expected


async def test_a_profile_keeps_what_the_plan_sets(root: click.Context, runs: Path) -> None:
    save_profile("march", rate=7.5)
    run = await seal_plan(runs, rate=3.0)
    assert "rate" not in await off_loop(partial(page_options, root, "apply", run.path, "march"))


async def test_the_environment_takes_precedence_over_a_profile(
    root: click.Context, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_profile("march", **SET)
    set_environment(monkeypatch, rate="off")
    assert await options_of(root, runs, "apply", "march") == SET | {"rate": None}


async def test_the_page_itself_asks_and_names_folders(
    root: click.Context, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, yes=1, accept_canary=1, expect="1", run_dir="a", runs_dir="b")
    run = await seal_plan(runs)
    for verb in ("apply", "undo", "retry"):
        options = await off_loop(partial(page_options, root, verb, run.path, None))
        assert options.keys().isdisjoint({"yes", "accept_canary", "expect", "run_dir", "runs_dir"})


async def test_another_org_than_the_expected_one_is_refused(
    page_commands: Commands, runs: Path, crm: LocalCrm, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, expect_org="999")
    run = await seal_plan(runs)
    await page_commands.start("apply", run, digest=digest_of(run))
    assert isinstance((await wait_for_end(page_commands, run)).error, WrongOrgError)
    assert crm.linked == 0


async def test_a_profile_that_is_chosen_counts(
    page_commands: Commands, runs: Path, crm: LocalCrm
) -> None:
    save_profile("other", expect_org="999")
    run = await seal_plan(runs)
    await page_commands.start("apply", run, digest=digest_of(run), profile="other")
    assert isinstance((await wait_for_end(page_commands, run)).error, WrongOrgError)
    await page_commands.start("apply", run, digest=digest_of(run))
    assert (await wait_for_end(page_commands, run)).error is None
    assert crm.linked == EMAILS


async def test_every_action_runs_with_options_of_the_environment(
    page_commands: Commands, runs: Path, crm: LocalCrm, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, **READING, outage="1m", max_failures="50%", memory="64MB")
    run = await seal_plan(runs)
    for verb in ("apply", "resume", "retry", "verify"):
        await page_commands.start(verb, run, digest=digest_of(run))
        assert (await wait_for_end(page_commands, run)).error is None, verb
    undo = page_commands.find(await page_commands.plan_undo(run))
    assert undo is not None
    assert undo.read().asked["rate"] == 7.5
    await page_commands.start("apply", undo, digest=digest_of(undo))
    assert (await wait_for_end(page_commands, undo)).error is None
    assert crm.linked == 0


async def test_an_invalid_value_is_shown_and_nothing_is_sent(
    page_commands: Commands, runs: Path, crm: LocalCrm, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, rate="fast")
    run = await seal_plan(runs)
    async with serve_page(page_commands) as url, ClientSession() as session:
        client = PageClient(session, url)
        shown = await client.post("/runs/march/apply", digest=digest_of(run))
    assert shown.status == 409
    assert "'fast' is neither 'off' nor a number above 0" in shown.text
    assert "BULKLINK_RATE" in shown.text
    assert page_commands.activity_of("march") is None
    assert run.read().state is RunState.PLANNED
    assert crm.linked == 0


async def test_an_invalid_option_of_a_profile_is_refused(root: click.Context, runs: Path) -> None:
    save_profile("march", rate="fast")
    with pytest.raises(ConfigError, match="'fast' is neither"):
        await options_of(root, runs, "retry", "march")


async def test_a_verification_that_reads_nothing_is_refused(
    root: click.Context, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, dry_run=1)
    with pytest.raises(UsageError, match="dry run"):
        await options_of(root, runs, "verify")
