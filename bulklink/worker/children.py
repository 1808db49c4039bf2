"""Child processes of a worker: each is a command that sends one run."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

import anyio
import msgspec
from anyio.abc import Process

from bulklink.decoding import decode_json
from bulklink.runs.queue import Approval
from bulklink.worker.verdict import Ended

if sys.platform == "win32":
    _STOP_SIGNAL = signal.CTRL_BREAK_EVENT
    #: Without a group of its own, no signal reaches it alone.
    _CREATION_FLAGS = subprocess.CREATE_NEW_PROCESS_GROUP
else:
    _STOP_SIGNAL = signal.SIGTERM
    _CREATION_FLAGS = 0
_MAX_OUTPUT_BYTES = 1 << 20
_MAX_MESSAGE = 500


class Child(Protocol):
    """A process that sends a run."""

    async def wait(self) -> Ended:
        """Wait until it has ended."""
        ...

    def stop(self) -> None:
        """Ask it to stop gently; asked again, it stops immediately."""
        ...


class KillableChild(Child, Protocol):
    """A process that can be ended without its help."""

    def kill(self) -> None:
        """End it at once, even if it is suspended."""
        ...


class _ErrorText(msgspec.Struct):
    code: str = ""
    where: str = ""
    message: str = ""


class _Output(msgspec.Struct):
    error: _ErrorText | None = None


def child_command(
    approval: Approval, run: Path, *, profile: str | None, was_sent: bool
) -> list[str]:
    """Return the command that sends an approved run.

    Args:
        approval: its approval.
        run: its folder.
        profile: profile to connect with; None for the environment's.
        was_sent: whether something of it was sent, or may have been.
    """
    # -P: nothing is imported from the working folder.
    command = [sys.executable, "-P", "-m", "bulklink", "resume" if was_sent else "apply"]
    command += [str(run), "--expect", approval.digest, "--yes", "--json", "--progress", "none"]
    if profile is not None:
        command += ["--profile", profile]
    if approval.org is not None and approval.org.id is not None:
        command += ["--expect-org", approval.org.id]
    if was_sent and approval.accept_canary:
        command.append("--accept-canary")
    if not was_sent and approval.canary is not None:
        command += ["--canary", str(approval.canary)]
    return [*command, *approval.options]


async def start_child(command: Sequence[str]) -> KillableChild:
    """Start a command in a session of its own, so that Ctrl-C does not reach it.

    Its output goes to files without a name, as it may outlive the worker.

    Raises:
        OSError: if it cannot be started.
    """
    output, errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
    try:
        process = await anyio.open_process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
            creationflags=_CREATION_FLAGS,
        )
    except BaseException:
        output.close()
        errors.close()
        raise
    return _ChildProcess(process, output, errors)


class _ChildProcess:
    def __init__(self, process: Process, output: IO[bytes], errors: IO[bytes]) -> None:
        self._process = process
        self._output = output
        self._errors = errors
        self._was_asked = False

    async def wait(self) -> Ended:
        """Wait until it has ended."""
        with self._output, self._errors:
            exit_code = await self._process.wait()
            error = _read_error(self._output)
            last_line = _read_last_line(self._errors)
        return Ended(
            exit_code,
            code=error.code if error else None,
            message=_message_of(error) if error else last_line,
            stopped=self._was_asked,
        )

    def stop(self) -> None:
        """Ask it to stop gently; asked again, it stops immediately."""
        self._was_asked = True
        with suppress(ProcessLookupError):
            self._process.send_signal(_STOP_SIGNAL)

    def kill(self) -> None:
        """End it at once, even if it is suspended."""
        with suppress(ProcessLookupError):
            self._process.kill()


def _message_of(error: _ErrorText) -> str:
    text = f"{error.where}: {error.message}" if error.where else error.message
    return text[:_MAX_MESSAGE]


def _read_error(output: IO[bytes]) -> _ErrorText | None:
    """Return the error in the JSON object that a command printed; None without one."""
    output.seek(0)
    with suppress(ValueError, RecursionError):
        return decode_json(output.read(_MAX_OUTPUT_BYTES), _Output).error
    return None


def _read_last_line(errors: IO[bytes]) -> str:
    errors.seek(0, 2)
    errors.seek(max(0, errors.tell() - _MAX_OUTPUT_BYTES))
    lines = errors.read().decode("utf-8", "replace").split("\n")
    return next((line.strip()[:_MAX_MESSAGE] for line in reversed(lines) if line.strip()), "")
