"""What a load test measures: a local CRM of its own, a server of the user, or a sandbox."""

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

from bulklink.cli.console import note
from bulklink.cli.local_crm import demo_variables, serve_world
from bulklink.cli.mapping_world import write_mapping_world
from bulklink.counts import count_of
from bulklink.engine.load.batches import LoadOp
from bulklink.errors import UsageError
from bulklink.load_results import LoadTarget
from bulklink.mapping.plan_reader import SealedPlan
from bulklink.models import Op
from bulklink.operations.job import Job
from bulklink.operations.load_options import LoadTest
from bulklink.operations.plan import plan
from bulklink.profiles.resolve import load_connection
from bulklink.zoho.connection import Connection

EMULATOR = "emulator"
"""Address of the local CRM that a load test starts, in its result: its port changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredServer:
    """A server to measure, with emails that it has.

    Args:
        connection: endpoint and credentials.
        target: what it is, for the result.
        mappings: emails that it has.
        seed: seed of the generated world; None without one.
        must_prepare: whether its emails may be in another state than a test begins with.
    """

    connection: Connection
    target: LoadTarget
    mappings: tuple[str, ...]
    seed: int | None
    must_prepare: bool


@contextmanager
def own_emulator(job: Job, load: LoadTest, options: Mapping[str, Any]) -> Iterator[MeasuredServer]:
    """Start a local CRM whose world has the emails of the job's mapping, or generated ones."""
    emulator_options = ["--latency", str(options["latency"]), *_split(options["emulator_options"])]
    linked = load.effective_op is LoadOp.UNLINK
    with tempfile.TemporaryDirectory(prefix="bulklink-") as name:
        folder = Path(name)
        if job.mappings:
            world = folder / "world.json"
            _make_world(job, world, linked=linked)
            mappings, seed = job.mappings, None
        else:
            world, mappings, seed = *_generate(folder, options, linked=linked), options["seed"]
        with world.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        with serve_world(world, emulator_options) as url:
            yield MeasuredServer(
                connection=Connection.from_environment(demo_variables(url)),
                target=LoadTarget(url=EMULATOR, world_digest=digest),
                mappings=mappings,
                seed=seed,
                must_prepare=False,
            )


@contextmanager
def server_of_user(job: Job, options: Mapping[str, Any]) -> Iterator[MeasuredServer]:
    """Connect to the server that the user names; without a mapping, with generated emails."""
    connection = connection_to(options["own_server"], options["profile"], os.environ)
    target = LoadTarget(url=connection.api_url, world_digest=None)
    if job.mappings:
        yield MeasuredServer(
            connection=connection,
            target=target,
            mappings=job.mappings,
            seed=None,
            must_prepare=True,
        )
        return
    with tempfile.TemporaryDirectory(prefix="bulklink-") as name:
        _, mappings = _generate(Path(name), options, linked=False)
        yield MeasuredServer(
            connection=connection,
            target=target,
            mappings=mappings,
            seed=options["seed"],
            must_prepare=True,
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
    endpoint = {"BULKLINK_API_URL": url, "BULKLINK_ACCOUNTS_URL": url}
    connection = Connection.endpoint_from(endpoint)
    if profile is not None:
        return load_connection(profile, {"BULKLINK_API_URL": url})
    named = env.get("BULKLINK_API_URL", "").strip()
    if (
        named
        and Connection.endpoint_from({"BULKLINK_API_URL": named}).api_url == connection.api_url
    ):
        return Connection.from_environment(env)
    return Connection.from_environment({**demo_variables(url), "BULKLINK_ACCESS_TOKEN": "demo"})


def _make_world(job: Job, path: Path, *, linked: bool) -> None:
    """Write a world that has the emails of a job's mapping."""
    with tempfile.TemporaryDirectory(prefix="bulklink-") as name:
        run_dir = Path(name) / "plan"
        op = Op.UNLINK if linked else Op.LINK
        plan(_replace(job, op=op, run_dir=run_dir, snapshot=False))
        write_mapping_world(SealedPlan(run_dir / "plan.parquet").chunks(), path, linked=linked)


def _replace(job: Job, **changes: Any) -> Job:
    import msgspec  # noqa: PLC0415 - only here

    return msgspec.structs.replace(job, **changes)


def _generate(
    folder: Path, options: Mapping[str, Any], *, linked: bool
) -> tuple[Path, tuple[str, ...]]:
    """Generate a world and its mapping; return their files."""
    from bulklink.emulator.generate import generate  # noqa: PLC0415 - not with a mapping
    from bulklink.emulator.synthetic import Recipe  # noqa: PLC0415 - not with a mapping

    messages, contacts = options["world_messages"], options["world_contacts"]
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
    return folder / "world.json", (str(folder / "mapping.csv"),)


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(
            f"The options of the emulator cannot be read: {error}.",
            where="--emulator",
            advice='Quote them as in a shell: --emulator "--concurrency 25".',
        ) from None
