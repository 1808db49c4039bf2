"""What the page does: commands on the runs of one folder, one at a time for each run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import anyio

from bulklink.counts import count_of
from bulklink.engine.shutdown import StopController
from bulklink.errors import BulklinkError, StoppedBy
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.environment import Environment
from bulklink.operations.plan import PlanResult
from bulklink.operations.queue_access import cancel
from bulklink.operations.resume import apply, resume, retry
from bulklink.operations.undo import plan_undo
from bulklink.operations.verify import verify
from bulklink.operations.verify_run import VerifyResult
from bulklink.runs.folder import RunFolder, list_run_folders, new_run_name
from bulklink.runs.queue import QueueOverview
from bulklink.task_group import task_group
from bulklink.ui.activity import Activity
from bulklink.ui.queue_places import QueuePlace, queue_places
from bulklink.zoho.connection import Connection

_MAX_ACTIVE = 8
"""Maximum commands at a time."""
_CONFLICT = 409
_MAX_DIGITS = 10
"""Digits from which on a number is none of a question."""
Work = Callable[[RunCallbacks, StopController], Awaitable[Any]]
_COMMANDS: Mapping[str, Callable[..., Awaitable[Any]]] = {
    "apply": apply,
    "resume": resume,
    "retry": retry,
    "verify": verify,
}
_SENDING = ("apply", "resume")
"""Commands that do what a worker does with the runs in its queue."""


def _no_options(verb: str, run: Path, profile: str | None) -> Mapping[str, Any]:
    del verb, run, profile
    return {}


class PageError(Exception):
    """Raised when the page cannot do what it was asked for.

    Args:
        message: why not, for the user.
        status: HTTP status.
    """

    def __init__(self, message: str, status: int = _CONFLICT) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class Commands:
    """Commands on the runs of one folder.

    Args:
        runs_dir: parent of the run folders; it may be missing.
        connect: returns the connection of a command, by the name of the profile that was chosen for
            it; None if none was.
        environment: network, disk and clock.
        look_at_queue: returns the queue of a folder of runs, None if nothing was ever approved in
            it; None if the page knows no queue.
        options_of: returns the options of a command that the page does not ask about, by its verb,
            its run folder and the profile that was chosen for it.

    Attributes:
        connect: see above.
        environment: network, disk and clock.
    """

    def __init__(
        self,
        runs_dir: Path,
        connect: Callable[[str | None], Connection],
        environment: Environment,
        look_at_queue: Callable[[Path], QueueOverview | None] | None = None,
        options_of: Callable[[str, Path, str | None], Mapping[str, Any]] = _no_options,
    ) -> None:
        self.runs_dir = runs_dir
        self._look_at_queue = look_at_queue
        self.connect = connect
        self.environment = environment
        self._options_of = options_of
        self._activities: dict[str, Activity] = {}
        self._starting = anyio.Lock()

    def find(self, name: str) -> RunFolder | None:
        """Return the run folder of this name; None if the page lists none."""
        folders = {folder.path.name: folder for folder in list_run_folders(self.runs_dir)}
        return folders.get(name)

    def queue_places(self) -> Mapping[str, QueuePlace]:
        """Return the places of approved runs in the queue, by name; none if it cannot be read."""
        queue = None
        if self._look_at_queue is not None:
            with suppress(BulklinkError):  # as for a worker, which then sends nothing
                queue = self._look_at_queue(self.runs_dir)
        return {} if queue is None else queue_places(queue, self.runs_dir)

    def cancel(self, folder: RunFolder) -> None:
        """Take a run out of the queue; a worker that is sending it stops it gently. Blocks.

        Raises:
            RunDirError: if it is not in the queue, or the queue cannot be written.
            ConfigError: if the key that signs approvals cannot be stored.
        """
        cancel(folder.path, environment=self.environment)

    def activity_of(self, name: str) -> Activity | None:
        """Return the last command of the page on a run; None if there was none."""
        return self._activities.get(name)

    def outcome_of(self, name: str) -> str | None:
        """Return what the last command found, if the run itself does not show it."""
        activity = self._activities.get(name)
        result = activity.result if activity is not None else None
        if not isinstance(result, VerifyResult):
            return None
        return _verified(result)

    async def start(
        self,
        verb: str,
        folder: RunFolder,
        *,
        digest: str | None = None,
        accept_canary: bool = False,
        profile: str | None = None,
    ) -> None:
        """Start a command on a run.

        Args:
            verb: apply, resume, retry or verify.
            folder: the run folder.
            digest: digest of the plan that was approved.
            accept_canary: whether the rest is sent although the canary did not pass.
            profile: name of the profile that was chosen; None if none was.

        Raises:
            PageError: if a command works on the run already, or nothing was approved.
            BulklinkError: if there is no connection, or an option is invalid.
        """
        async with self._starting:
            await self._start(
                verb, folder, digest=digest, accept_canary=accept_canary, profile=profile
            )

    async def _start(
        self,
        verb: str,
        folder: RunFolder,
        *,
        digest: str | None,
        accept_canary: bool,
        profile: str | None,
    ) -> None:
        name = folder.path.name
        active = [activity for activity in self._activities.values() if activity.is_active]
        current = self._activities.get(name)
        if current is not None and current.is_active:
            raise PageError("A command of this page works on this run already.")
        if len(active) >= _MAX_ACTIVE:
            raise PageError(f"{_MAX_ACTIVE} runs are active; wait until one has ended.")
        if verb == "apply" and not digest:
            raise PageError("Nothing was approved: the digest of the plan is missing.", 400)
        run_blocking = self.environment.run_blocking
        if verb in _SENDING:
            place = (await run_blocking(self.queue_places)).get(name)
            if place is not None and not place.is_left:
                raise PageError(f"{place.text} To send it here, take it out of the queue first.")
        options = dict(await run_blocking(partial(self._options_of, verb, folder.path, profile)))
        connection = await run_blocking(partial(self.connect, profile))
        if verb == "apply":
            options["expect"] = digest
        elif verb != "verify":
            options["accept_canary"] = accept_canary
        work = self._work(partial(_COMMANDS[verb], folder.path, connection, **options))
        activity = Activity(verb=verb, work=work)
        self._activities[name] = activity
        activity.start()

    def stop(self, name: str) -> None:
        """Stop the command of the page on a run gently; blocks while its event loop does.

        Raises:
            PageError: if there is none.
        """
        activity = self._activities.get(name)
        if activity is None or not activity.is_active:
            raise PageError("No command of this page works on this run.")
        activity.stop()

    def answer(self, name: str, *, question: str, typed: str, confirmed: bool) -> None:
        """Answer the question of a command.

        Raises:
            PageError: if it has another question, or what was typed is something else.
        """
        activity = self._activities.get(name)
        is_number = question.isascii() and question.isdigit() and len(question) < _MAX_DIGITS
        number = int(question) if is_number else 0
        if activity is None or not activity.answer(number, typed, confirmed=confirmed):
            raise PageError(
                "Nothing was confirmed: the number that was typed is not that of the emails, or the"
                " question was answered in another window."
            )

    async def plan_undo(self, folder: RunFolder) -> str:
        """Seal the undo of a run as a plan to be approved; return the name of its folder."""
        now = self.environment.clock.wall()
        target = self.runs_dir / new_run_name("undo", now, token_hex(2))
        result = await self.environment.run_blocking(partial(self._seal_undo, folder.path, target))
        if not result.messages and not result.rejected:
            raise PageError("There is nothing to undo: this run changed no email.")
        return target.name

    async def close(self, by: StoppedBy | None = None) -> None:
        """Stop all commands gently, and wait for their ends; if that is cancelled, end them."""
        for activity in self._activities.values():
            await self.environment.run_blocking(partial(activity.stop, by or StoppedBy.INTERRUPTED))
        async with task_group() as group:
            for activity in self._activities.values():
                group.start_soon(activity.close)

    def _seal_undo(self, run: Path, target: Path) -> PlanResult:
        options = self._options_of("undo", run, None)
        return plan_undo(run, clock=self.environment.clock, run_dir=target, **options)

    def _work(self, command: Callable[..., Awaitable[Any]]) -> Work:
        async def work(callbacks: RunCallbacks, stop: StopController) -> Any:
            return await command(callbacks=callbacks, stop=stop, environment=self.environment)

        return work


def _verified(result: VerifyResult) -> str:
    """Return what a verification found, in a sentence."""
    parts = {
        "as recorded": result.as_recorded,
        "on another deal": result.different,
        "not listed by the CRM": result.not_listed,
        "not read": result.not_read,
        "in doubt and on the wanted deal": result.as_wanted,
        "in doubt and not on the wanted deal": result.not_as_wanted,
    }
    found = ", ".join(f"{count:,} {text}" for text, count in parts.items() if count)
    return f"Verified {count_of(result.checked, 'email')}: {found or 'nothing to check'}."
