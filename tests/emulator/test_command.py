"""Options of the emulator command, and the errors of invalid ones."""

from __future__ import annotations

import dataclasses
import json
import socket
from pathlib import Path

import click
import pytest

from bulklink.cli.commands.emulator import emulator
from bulklink.emulator.settings import Settings
from bulklink.errors import BadFileError, ExitCode, RefusedError, UsageError
from tests.emulator.client import small_world


def run(*arguments: str) -> None:
    emulator.main(list(arguments), standalone_mode=False)


def test_every_setting_is_an_option_with_help_and_the_same_default() -> None:
    options = {
        option.name: option for option in emulator.params if isinstance(option, click.Option)
    }
    for setting in dataclasses.fields(Settings):
        option = options[setting.name]
        assert option.opts == ["--" + setting.name.replace("_", "-")]
        assert option.help
        if isinstance(setting.default, str | int | float):
            assert option.default == setting.default


@pytest.mark.parametrize(
    ("arguments", "kind", "expected_text"),
    [
        (["--host", "0.0.0.0"], UsageError, "loopback"),
        (["--host", "example.org"], UsageError, "loopback"),
        (["--fault", "flood"], UsageError, "no fault 'flood'"),
        (["--mixed-answer", "status=500"], UsageError, "--mixed-answer"),
        (["--max-items", "0"], UsageError, ": --max-items must"),
        (["--latency", "-1"], UsageError, "latency"),
        (["--world", "no-such-file.json"], BadFileError, "cannot be read"),
    ],
)
def test_invalid_options_exit_with_2(
    arguments: list[str], kind: type[RefusedError], expected_text: str
) -> None:
    with pytest.raises(kind, match=expected_text) as caught:
        run(*arguments)
    assert caught.value.exit_code is ExitCode.REFUSED
    assert caught.value.advice


def test_a_broken_world_names_the_file_and_the_place(tmp_path: Path) -> None:
    path = tmp_path / "world.json"
    path.write_text(json.dumps(small_world(users=[{"id": 1}])), "utf-8")
    with pytest.raises(BadFileError, match=r"users\[0\]") as caught:
        run("--world", str(path))
    assert caught.value.where == str(path)


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with pytest.raises(UsageError, match=port):
            run("--port", port)


@pytest.mark.parametrize("option", ["--edition", "--same-deal", "--too-many-body"])
def test_an_unknown_choice_is_a_usage_error(option: str) -> None:
    with pytest.raises(click.BadParameter, match="nothing"):
        run(option, "nothing")
