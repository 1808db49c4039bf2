"""docs/tutorial.md, followed as it is written.

python -m tests.docs.tutorial    # shows what the commands print today
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.docs.reference import ROOT
from tests.e2e.command import Command
from tests.e2e.servers import connection, serve_world_file

PAGE = ROOT / "docs" / "tutorial.md"
_NOT_FOLLOWED = ("crontab", "ini", "powershell", "shell", "sql", "text")
_PART = re.compile(r"^```(\w+)\n(.*?)^```$|^<!-- ([\w ]+) -->$", re.DOTALL | re.MULTILINE)
_SAVED_AS = re.compile(r"`(\w+\.py)`:\s*$")
_ADDRESS = "http://127.0.0.1:8080"
_DIGEST = re.compile(r"^Digest: (\w+)", re.MULTILINE)
_VARYING = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d"), "TIME"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "TIME"),
    (re.compile(r"\d{8}T\d{6}Z"), "STAMP"),
    (re.compile(r"^Rate: .*", re.MULTILINE), "RATE"),
)
"""What differs between two runs of the same command."""
_NUMBER = re.compile(r"\d[\d,.]*")
_MEASURED = re.compile(r"^(?:After the canary|Snapshot|Calls|Forecast|Time): .*", re.MULTILINE)
"""Lines whose numbers depend on which calls are in flight together."""
_PROGRESS = re.compile(r"^(?:Reading|Sending|Limited by)\b.*\n", re.MULTILINE)
"""Lines that depend on the time that a command takes."""


@dataclass(slots=True)
class Follower:
    """A user who follows the tutorial in an empty folder.

    Args:
        folder: the folder.
        actions: what the user does outside the terminal, by the comment that stands for it.
    """

    folder: Path
    actions: dict[str, Callable[[Path], None]] = field(default_factory=dict)
    _command: Command = field(init=False)
    _servers: ExitStack = field(init=False, default_factory=ExitStack)
    _url: str = field(init=False, default="")
    _digest: str = field(init=False, default="")

    def __post_init__(self) -> None:
        self._command = Command(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._servers.close()

    def follow(self, text: str) -> str:
        """Do what the tutorial says; return it with what the commands printed."""
        return _PART.sub(self._do, text)

    def _do(self, part: re.Match[str]) -> str:
        language, block, action = part.groups()
        if action is not None:
            self.actions[action](self.folder)
        elif language == "console":
            return f"```console\n{self._run_commands(block)}```"
        elif language == "sh":
            self._run_shell_lines(block)
        elif language == "python":
            (name,) = _SAVED_AS.findall(part.string[: part.start()])
            (self.folder / name).write_text(block, encoding="utf-8")
        else:
            assert language in _NOT_FOLLOWED, f"the page has a block of {language}"
        return part[0]

    def _run_commands(self, block: str) -> str:
        commands = re.findall(r"^\$ (.*)$", block, re.MULTILINE)
        return "".join(f"$ {command}\n{self._run(command)}" for command in commands)

    def _run(self, command: str) -> str:
        program, *arguments = shlex.split(command)
        if program == "python":
            return subprocess.run(
                [sys.executable, *arguments],
                cwd=self.folder,
                check=True,
                capture_output=True,
                encoding="utf-8",
                timeout=45,
            ).stdout
        assert program == "bulklink", command
        named = [self._digest if argument == "DIGEST" else argument for argument in arguments]
        printed = _PROGRESS.sub("", self._command.run_on_one_stream(*named))
        self._digest = (_DIGEST.findall(printed) or [self._digest])[-1]
        return printed.replace(self._url, _ADDRESS) if self._url else printed

    def start_crm(self) -> None:
        """Serve crm/world.json, and connect the commands that follow to it.

        This CRM never shows old links, so reads need not wait until they are believed.
        """
        self._serve()
        settings = connection(self._url, BULKLINK_SETTLE_AFTER="0")
        self._command = self._command.with_env(**settings)

    def set_variables(self, **variables: str) -> None:
        """Set environment variables of the commands that follow."""
        self._command = self._command.with_env(**variables)

    def _serve(self) -> None:
        server = serve_world_file(self.folder / "crm" / "world.json")
        self._url = self._servers.enter_context(server).url

    def _run_shell_lines(self, block: str) -> None:
        for line in block.splitlines():
            program, *arguments = shlex.split(line)
            if program == "export":
                assert self._url, "the emulator is started before"
                settings = dict(argument.split("=", 1) for argument in arguments)
                self._command = self._command.with_env(
                    **{name: text.replace(_ADDRESS, self._url) for name, text in settings.items()}
                )
            else:
                assert line == "bulklink emulator --world crm/world.json --port 8080"
                self._serve()


def mask(text: str) -> str:
    """Return the tutorial without what differs between two runs."""
    for pattern, name in _VARYING:
        text = pattern.sub(name, text)
    return _MEASURED.sub(lambda line: _NUMBER.sub("#", line[0]), text)


def main() -> None:
    """Write into the tutorial what its commands print, unless only times differ."""
    from tests.docs.test_tutorial import ACTIONS  # noqa: PLC0415 - which imports this module

    shown = PAGE.read_text("utf-8")
    with tempfile.TemporaryDirectory() as folder, Follower(Path(folder), ACTIONS) as follower:
        text = follower.follow(shown)
    if mask(text) != mask(shown):
        PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
