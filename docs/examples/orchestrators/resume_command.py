"""Send a sealed plan, or continue it, by the command: for any program that can start one.

Only the standard library is needed, so bulklink may have an environment of its own.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

FINISHED, CREDITS = (0, 1), 4
"""Exit codes: every row has its result; credits ran out, and a later try continues."""


class OutOfCreditsError(Exception):
    """Raised when the credits are used up.

    Attributes:
        resume_at: when there are some again, RFC 3339 in UTC; None if that is unknown.
    """

    def __init__(self, message: str, resume_at: str | None) -> None:
        super().__init__(message)
        self.resume_at = resume_at


def send(
    run: str, *options: str, bulklink: str = "bulklink", tick: Callable[[], None] = lambda: None
) -> dict[str, int]:
    """Send the sealed plan in a run folder, or continue where an earlier try stopped.

    Args:
        run: the run folder.
        options: more options, such as --profile and a name.
        bulklink: path of the command.
        tick: called every few seconds while the command runs; if it raises, the command stops.

    Returns:
        The number of rows of each status.

    Raises:
        OutOfCreditsError: if the run stopped for credits: a later try continues it.
        RuntimeError: if it stopped for anything else, so somebody must look.
    """
    status, _ = _wait(_start(bulklink, "status", run, "--json"), tick)
    verb = "apply" if json.loads(status).get("state") == "planned" else "resume"
    process = _start(bulklink, verb, run, *options, "--yes", "--json", "--progress", "none")
    output, errors = _wait(process, tick)
    if process.returncode == CREDITS:
        raise OutOfCreditsError(errors.strip(), json.loads(output).get("resume_at"))
    if process.returncode not in FINISHED:
        raise RuntimeError(f"exit code {process.returncode}: {output}{errors}")
    counts: dict[str, int] = json.loads(output)["counts"]
    return counts


def _start(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - our own command
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _wait(process: subprocess.Popen[str], tick: Callable[[], None]) -> tuple[str, str]:
    try:
        while True:
            tick()
            try:
                return process.communicate(timeout=5)
            except subprocess.TimeoutExpired:
                continue
    except BaseException:
        process.terminate()  # gently: calls in flight are finished and recorded
        process.communicate()
        raise
