"""The event loop of a command, and what --debug says of it."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from bulklink.cli.event_loop import FAST_LOOP, run_in_loop


class OtherLoop(asyncio.SelectorEventLoop):
    """Stands for the loop of the module `FAST_LOOP`."""


async def running_loop(name: str) -> tuple[str, type]:
    return name, type(asyncio.get_running_loop())


@pytest.fixture
def is_fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Install a stand-in for the fast loop, or hide it."""
    module = ModuleType(FAST_LOOP)
    module.new_event_loop = OtherLoop  # type: ignore[attr-defined]
    spec = ModuleSpec(FAST_LOOP, None) if request.param else None
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: spec if name == FAST_LOOP else find_spec(name)
    )
    monkeypatch.setitem(sys.modules, FAST_LOOP, module)
    return bool(request.param)


@pytest.mark.parametrize("is_fast", [True, False], indirect=True)
def test_the_fast_loop_is_used_where_it_is_installed(is_fast: bool) -> None:
    name, kind = run_in_loop(running_loop, "x")
    assert name == "x"
    assert (kind is OtherLoop) == is_fast


@pytest.mark.parametrize("is_fast", [True, False], indirect=True)
@pytest.mark.parametrize("debug", [True, False])
def test_debug_says_which_loop_is_used_and_which_extra_is_missing(
    is_fast: bool,
    debug: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["bulklink", "status", *["--debug"] * debug])
    run_in_loop(running_loop, "x")
    missing = f"asyncio. {FAST_LOOP} is not installed: the extra bulklink[fast] has it."
    text = f"Event loop: {f'{FAST_LOOP}.' if is_fast else missing}\n"
    assert capsys.readouterr().err == (text if debug else "")
