"""What a load test measures: a local CRM of its own, or a server of the user."""

from __future__ import annotations

import hashlib
import os
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bulklink.cli.console import note
from bulklink.cli.local_crm import demo_variables, serve_world
from bulklink.cli.mapping_world import write_mapping_world
from bulklink.counts import count_of
from bulklink.errors import ConfigError, UsageError
from bulklink.load_analysis.merging import OWN_EMULATOR
from bulklink.load_results import LoadTarget
from bulklink.mapping.plan_reader import SealedPlan
from bulklink.models import Op
from bulklink.operations.job import Job, OnInvalid
from bulklink.operations.plan import plan
from bulklink.profiles.resolve import load_connection
from bulklink.zoho.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadWorld:
    """Emails to send, and the world that has them.

    Args:
        mappings: the emails.
        world: the world file; None for a server of the user.
        digest: SHA-256 of the world file; None without one.
        seed: seed of the generated emails; None if the user brought them.
    """

    mappings: tuple[str, ...]
    world: Path | None
    digest: str | None
    seed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredServer:
    """A server to measure.

    Args:
        connection: endpoint and credentials.
        target: what it is, for the result.
        must_prepare: whether its emails may be in another state than a test begins with.
    """

    connection: Connection
    target: LoadTarget
    must_prepare: bool


def check_target(options: Mapping[str, Any]) -> None:
    """Refuse production, and two servers at once.

    Raises:
        ConfigError: if the user asks for production.
        UsageError: if there are two servers.
    """
    if options["environment"] == "production":
        raise ConfigError(
            "A load test never measures a production org.",
            where="--environment",
            advice="Use sandbox or developer, or omit it to measure a local CRM.",
        )
    if options["environment"] and options["own_server"]:
        raise UsageError(
            "A load test measures one server.",
            where="--environment, --own-server",
            advice="Omit one of them.",
        )


@contextmanager
def make_load_world(job: Job, options: Mapping[str, Any], *, linked: bool) -> Iterator[LoadWorld]:
    """Make the world of a load test, with the emails of the job's mapping or generated ones.

    Args:
        job: options of the mapping.
        options: options of the command.
        linked: whether each email of the world is on its deal; otherwise it is on none.
    """
    is_own, mappings = options["own_server"] is None, job.mapping_names
    with tempfile.TemporaryDirectory(prefix="bulklink-") as name:
        world = Path(name) / "world.json"
        if not mappings:
            mappings = _generate(Path(name), options, linked=linked)
        elif is_own:
            _write_world_of(job, world, linked=linked)
        yield LoadWorld(
            mappings=mappings,
            world=world if is_own else None,
            digest=_sha256_of_file(world) if is_own else None,
            seed=None if job.mappings else options["seed"],
        )


@contextmanager
def measured_server(world: LoadWorld, options: Mapping[str, Any]) -> Iterator[MeasuredServer]:
    """Start a local CRM that serves the world, or connect to the server that the user names."""
    if world.world is None:
        connection = connection_to(options["own_server"], options["profile"], os.environ)
        target = LoadTarget(url=connection.api_url, world_digest=None)
        yield MeasuredServer(connection=connection, target=target, must_prepare=True)
        return
    emulator_options = ["--credits", "0", "--latency", str(options["latency"])]
    emulator_options += _split(options["emulator_options"])
    with serve_world(world.world, emulator_options) as url:
        yield MeasuredServer(
            connection=load_connection(None, demo_variables(url)),
            target=LoadTarget(url=OWN_EMULATOR, world_digest=world.digest),
            must_prepare=False,
        )


def connection_to(url: str, profile: str | None, env: Mapping[str, str]) -> Connection:
    """Return the connection to a server of the user.

    Credentials of the environment are sent only to the server that it names, and those of a
    profile only if the user names the profile. Any other server gets those of the local CRM.

    Args:
        url: address of the server.
        profile: the profile that the command line names; None if it names none.
        env: environment variables.

    Raises:
        ConfigError: if the address is not valid, or the profile is for another server.
    """
    try:
        connection = Connection.endpoint_from({"BULKLINK_API_URL": url})
    except ConfigError as error:
        raise ConfigError(
            error.message,
            where="--own-server",
            advice="Write it like http://127.0.0.1:8080 or https://crm.example.com.",
        ) from None
    if profile is not None:
        return load_connection(profile, {"BULKLINK_API_URL": url})
    named = env.get("BULKLINK_API_URL", "").strip()
    if (
        named
        and Connection.endpoint_from({"BULKLINK_API_URL": named}).api_url == connection.api_url
    ):
        return load_connection(None, env)
    return load_connection(None, {**demo_variables(url), "BULKLINK_ACCESS_TOKEN": "demo"})


def _write_world_of(job: Job, path: Path, *, linked: bool) -> None:
    """Write a world that has the emails of a job's mapping."""
    with tempfile.TemporaryDirectory(prefix="bulklink-") as name:
        run_dir = Path(name) / "plan"
        op = Op.UNLINK if linked else Op.LINK
        skip = OnInvalid.SKIP  # the load test itself refuses rows, in a folder that stays
        plan(msgspec.structs.replace(job, op=op, run_dir=run_dir, snapshot=False, on_invalid=skip))
        write_mapping_world(SealedPlan(run_dir / "plan.parquet").chunks(), path, linked=linked)


def _generate(folder: Path, options: Mapping[str, Any], *, linked: bool) -> tuple[str, ...]:
    """Generate a world and its mapping in a folder; return the mapping."""
    from bulklink.emulator.generate import generate  # noqa: PLC0415 - not with a mapping
    from bulklink.emulator.synthetic import Recipe  # noqa: PLC0415 - not with a mapping

    messages, contacts = options["world_messages"], options["world_contacts"]
    if not options["quiet"]:
        note(f"Making a world of {count_of(messages, 'email')}.")
    try:
        recipe = Recipe(
            messages=messages,
            contacts=contacts,
            seed=options["seed"],
            linked_right=1.0 if linked else 0.0,
        )
    except ValueError as error:
        raise UsageError(
            f"{error}.",
            where="--world-messages, --world-contacts",
            advice="Use at least as many emails as contacts.",
        ) from None
    generate(recipe, folder, "csv")
    return (str(folder / "mapping.csv"),)


def _sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(
            f"The options of the emulator cannot be read: {error}.",
            where="--emulator",
            advice='Quote them as in a shell: --emulator "--concurrency 25".',
        ) from None
