"""Network, disk and clock are arguments of the operations, and nothing bypasses them."""

from __future__ import annotations

import ast
import inspect
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

import bulklink
from bulklink.emulator.crm import Crm
from bulklink.engine.clock import Clock
from bulklink.operations.environment import Environment
from bulklink.runs.folder import RunFolder
from tests.guard import off_loop
from tests.operations.local_crm import CONTACT, EMAILS, job, world
from tests.simulation.environment import simulated_environment
from tests.simulation.simulator import CONNECTION

PACKAGE = Path(bulklink.__file__).parent
YEAR = 2040
LATER = datetime(YEAR, 7, 1, tzinfo=UTC).timestamp() - time.time()
FUNCTIONS = {
    name: getattr(bulklink, name)
    for name in bulklink.__all__
    if inspect.isfunction(getattr(bulklink, name))
}
REAL = {"real_environment": "Environment | None", "real_clock": "Clock | None"}
"""What makes the real thing, and the annotation of the argument that it is the default of."""
GIVEN_BY_ENVIRONMENT = {
    "HttpTransport",
    "TokenStore",
    "DailyUsageFile",
    "DiskLedgerFiles",
    "datetime.now",
    "platformdirs",
    "random.random",
    "tempfile.gettempdir",
    "time.monotonic",
    "time.perf_counter",
    "time.time",
}


@pytest.fixture
def crm() -> Crm:
    """A CRM without a socket."""
    return Crm(world())


@asynccontextmanager
async def environment_of(crm: Crm) -> AsyncIterator[Environment]:
    """Yield an in-process network and a clock that is years ahead."""
    clock = Clock(lambda: time.time() + LATER, time.monotonic, random.random)
    async with simulated_environment(crm) as simulated:
        yield msgspec.structs.replace(simulated, clock=clock)


def count_linked(crm: Crm) -> int:
    """Return the number of emails on a deal."""
    view = crm.state.view(CONTACT)
    return sum(view.deal_of(email) is not None for email in view.mailbox.emails)


def years(folder: RunFolder) -> set[str]:
    """Return the years in the times of a run and its ledger."""
    moments = [folder.read().created]
    moments += [msgspec.json.decode(line)["ts"] for line in folder.ledger.read_bytes().splitlines()]
    return {moment[:4] for moment in moments}


async def test_every_operation_uses_only_its_own_environment(tmp_path: Path, crm: Crm) -> None:
    """`http://crm` is not a host, so a socket would fail."""
    run_dir, planned, back, other = (
        tmp_path / name for name in ("run", "planned", "back", "other")
    )
    async with environment_of(crm) as environment:
        clock = environment.clock
        sealed = bulklink.plan(job(tmp_path, yes=True, canary=0), environment=environment)
        assert (sealed.messages, sealed.run_dir) == (EMAILS, str(run_dir))
        await bulklink.apply(run_dir, CONNECTION, environment=environment, yes=True)
        assert count_linked(crm) == EMAILS
        for operation in (bulklink.resume, bulklink.retry):
            result = await operation(run_dir, CONNECTION, environment=environment)
            assert result.exit_code == 0
        verified = await bulklink.verify(
            run_dir, CONNECTION, environment=environment, settle_after=0.0
        )
        assert verified.exit_code == 0
        fetched = await bulklink.fetch(
            (CONTACT,), tmp_path / "emails.csv", CONNECTION, environment=environment
        )
        assert fetched.emails == EMAILS
        await off_loop(bulklink.plan_undo, run_dir, clock=clock, run_dir=planned)
        await bulklink.undo(run_dir, CONNECTION, environment=environment, run_dir=back, yes=True)
        assert count_linked(crm) == 0
        whole = job(tmp_path, run_dir=other, yes=True)
        await bulklink.run(whole, CONNECTION, environment=environment)
        assert count_linked(crm) == EMAILS
    for folder in (run_dir, planned, back, other):
        assert years(RunFolder(folder)) == {str(YEAR)}
    await off_loop(bulklink.report, run_dir, clock=clock)
    assert str(YEAR) in (run_dir / "report.html").read_text("utf-8")
    forgotten = await off_loop(bulklink.forget, run_dir, clock=clock)
    assert forgotten.at.startswith(str(YEAR))
    assert not (tmp_path / "state").exists()


def test_functions_with_a_connection_take_an_environment_too() -> None:
    contacting = {
        name
        for name, function in FUNCTIONS.items()
        if any(
            "Connection" in str(parameter.annotation)
            for parameter in inspect.signature(function).parameters.values()
        )
    }
    assert contacting == {
        *("plan", "run", "apply", "resume", "retry", "undo", "verify", "fetch", "audit"),
        *("load_test", "match", "probe"),
    }
    assert contacting == {
        name
        for name, function in FUNCTIONS.items()
        if "environment" in inspect.signature(function).parameters
    }


def parse_modules(folder: Path = PACKAGE) -> Iterator[tuple[str, ast.Module]]:
    """Yield the modules below a folder by their paths."""
    for path in sorted(folder.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text("utf-8"))


def calls_of_real(node: ast.AST) -> list[str]:
    """Return the calls below a node that create a real environment or clock."""
    called = (inner.func for inner in ast.walk(node) if isinstance(inner, ast.Call))
    return [func.id for func in called if isinstance(func, ast.Name) and func.id in REAL]


def defaults_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Return the calls that follow `or`, as the default of an argument."""
    arguments = {
        argument.arg: ast.unparse(argument.annotation)
        for argument in (*function.args.args, *function.args.kwonlyargs)
        if argument.annotation is not None
    }
    return [
        name
        for node in ast.walk(function)
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or)
        for name in calls_of_real(node.values[-1])
        if arguments.get(ast.unparse(node.values[0])) == REAL[name]
    ]


def test_the_real_environment_is_created_only_as_the_default_of_an_argument() -> None:
    makers: list[str] = []
    for path, module in parse_modules():
        in_defaults: list[str] = []
        for node in module.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                defaults = defaults_of(node)
                assert len(defaults) <= 1, f"{path}: {node.name}"
                makers += [node.name] * len(defaults)
                in_defaults += defaults
        if path != "operations/environment.py":  # there the one is made of the other
            assert sorted(calls_of_real(module)) == sorted(in_defaults), path
    public = [name for name in makers if name in FUNCTIONS]
    assert sorted(public) == sorted(
        [
            *("run", "apply", "resume", "retry", "undo", "verify", "fetch", "audit"),
            *("plan", "plan_undo", "report", "forget", "load_test", "match", "probe"),
        ]
    )
    assert set(makers) - set(public) == {
        *("show_status", "sign_out", "login_profile", "make_commands"),
        *("queue_run", "cancel", "work", "overview"),  # commands of the worker
        *("submit", "drive"),  # of a cluster
    }


def names_used(module: ast.Module) -> set[str]:
    """Return the names, dotted names and imports of a module."""
    names: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Name | ast.Attribute):
            names.add(ast.unparse(node))
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {str(node.module), *(alias.name for alias in node.names)}
    return names


@pytest.mark.parametrize("package", ["operations", "cli/commands"])
def test_no_module_bypasses_the_environment(package: str) -> None:
    users = {
        path: names_used(module) & GIVEN_BY_ENVIRONMENT
        for path, module in parse_modules(PACKAGE / package)
        if path != "operations/environment.py"
    }
    assert {path: names for path, names in users.items() if names} == {}


def test_only_one_module_reads_the_clock_of_the_machine() -> None:
    """The live view has it as the default of an argument; the emulator is independent.

    A lease depends on clocks that no simulated run has: `cluster/clocks` reads them.
    """
    clocks = {"time.time", "time.monotonic", "time.perf_counter", "datetime.now", "random.random"}
    users = {
        path
        for path, module in parse_modules()
        if names_used(module) & clocks and not path.startswith("emulator/")
    }
    assert users == {"engine/clock.py", "cli/progress.py", "cluster/clocks.py"}
