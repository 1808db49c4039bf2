"""Check of a draft: its plan, the faults of its rows, and the choice of its columns."""

from __future__ import annotations

import shutil
import tempfile
from array import array
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from secrets import token_hex

import msgspec

from bulklink.decoding import decode_json
from bulklink.engine.shutdown import StopController
from bulklink.errors import BadFileError, BulklinkError, InterruptedPlanningError, UsageError
from bulklink.folder_files import create_file, open_to_read
from bulklink.html_pages.report.plan_model import PlanSummary
from bulklink.mapping.checked import CheckedMapping
from bulklink.mapping.column_choices import NO_CHOICES, ColumnChoices, read_column_choices
from bulklink.mapping.faults import advice_for_fault
from bulklink.mapping.schema import RowFault
from bulklink.models import Op
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.cancellation import make_planning_stop
from bulklink.operations.environment import Environment
from bulklink.operations.job import OnInvalid
from bulklink.operations.plan import PlanResult, plan_draft
from bulklink.operations.prepare import mapping_options
from bulklink.operations.report.plan import read_plan_summary
from bulklink.runs.folder import new_run_name
from bulklink.ui.activity import Activity
from bulklink.ui.commands import PageError
from bulklink.ui.draft_form import FieldError
from bulklink.ui.drafts import OWN_CONNECTION, Draft, Drafts, DraftSettings
from bulklink.ui.wording import ShownError, page_text
from bulklink.zoho.connection import Connection

FAULTS_PER_PAGE = 50
MAX_FAULTS_STORED = 100_000
"""Maximum faults that can be looked at; with more, something is wrong with all rows."""
_MAX_CHECKS = 3
"""Maximum checks at a time; each may take the memory of a plan."""
_IS_CHECKED = "This mapping is being checked; wait until that has ended."
_GONE, _CONFLICT = 404, 409


class ShownFault(msgspec.Struct, frozen=True):
    """A refused row as the page shows it.

    Args:
        row: its number, from 1.
        line: its line in the file, from 1; None if the format has no lines.
        column: header of the cell; None if the whole record is at fault.
        message: what is wrong.
        cure: what to do about it.
    """

    row: int
    line: int | None
    column: str | None
    message: str
    cure: str


class FaultPages:
    """Faults of rows in a file, read page by page.

    Args:
        path: the file, which is created.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offsets = array("Q")
        self.stored = 0

    @property
    def count(self) -> int:
        """Number of pages."""
        return len(self._offsets)

    def write(self, faults: Iterable[RowFault]) -> None:
        """Write the faults, up to a maximum."""
        self._path.unlink(missing_ok=True)
        with create_file(self._path) as file:
            for number, fault in enumerate(islice(faults, MAX_FAULTS_STORED)):
                if number % FAULTS_PER_PAGE == 0:
                    self._offsets.append(file.tell())
                file.write(msgspec.json.encode(_shown(fault)) + b"\n")
                self.stored = number + 1

    def read(self, page: int) -> list[ShownFault]:
        """Return a page of faults, from 1; none beyond the last page."""
        if not 1 <= page <= self.count:
            return []
        with open_to_read(self._path) as file:
            file.seek(self._offsets[page - 1])
            end = self._offsets[page] if page < self.count else self._path.stat().st_size
            lines = file.read(end - self._offsets[page - 1]).splitlines()
        return [decode_json(line, ShownFault) for line in lines]


def _shown(fault: RowFault) -> ShownFault:
    message, cure = page_text(fault.message), page_text(advice_for_fault(fault.reason))
    return ShownFault(fault.row, fault.line, fault.column, message, cure)


class DraftResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found.

    Args:
        settings: how the draft was read.
        plan: its plan; None if there is none.
        summary: what the plan changes; None without a plan.
        problem: why it cannot be read as a whole; None if it can.
        choices: headers and columns; none unless some are unknown or were chosen,
            or rows are refused.
        faults: faults of its rows.
    """

    settings: DraftSettings
    plan: PlanResult | None = None
    summary: PlanSummary | None = None
    problem: ShownError | None = None
    choices: ColumnChoices = NO_CHOICES
    faults: FaultPages

    @property
    def can_seal(self) -> bool:
        """Whether the plan may become a run."""
        if self.plan is None or not self.plan.messages:
            return False
        return not self.plan.rejected or self.settings.on_invalid is OnInvalid.SKIP

    @property
    def name_credits(self) -> int:
        """Fewest credits for looking up the names that the plan lacks; 0 if it lacks none."""
        if self.plan is None:
            return 0
        others = 1 if self.plan.calls.link else 0  # the module, which a plan does not look up
        calls = self.plan.calls.lookup_at_least - others
        return calls if calls > 1 else 0  # one is the org, whether or not names are missing


def check_draft(
    draft: Draft,
    connection: Connection | None,
    callbacks: RunCallbacks,
    stop: StopController,
    environment: Environment,
) -> DraftResult:
    """Check a draft and seal its plan inside it; blocks.

    Args:
        draft: the draft.
        connection: connection for looking up missing names; None looks nothing up.
        callbacks: callbacks of the planning.
        stop: stops it.
        environment: network, disk and clock.

    Raises:
        InterruptedPlanningError: if `stop` stopped it.
    """
    settings, faults = draft.record.settings, FaultPages(draft.faults)
    shutil.rmtree(draft.plan.path, ignore_errors=True)
    result = DraftResult(settings=settings, faults=faults)

    def inspect(checked: CheckedMapping) -> None:
        faults.write(checked.faults() if checked.rejected else ())

    shows_columns = bool(settings.columns or settings.defaults)
    try:
        job = settings.job(draft.record.name, draft.plan.path)
        plan = plan_draft(
            job,
            draft.source,
            inspect=inspect,
            look_up_names=connection,
            callbacks=callbacks,
            stop=stop,
            environment=environment,
        )
        summary = read_plan_summary(draft.plan)
        result = msgspec.structs.replace(result, plan=plan, summary=summary)
        shows_columns |= plan.rejected > 0
    except InterruptedPlanningError:
        raise
    except BulklinkError as error:
        result = msgspec.structs.replace(result, problem=ShownError.of(error))
        shows_columns |= isinstance(error, BadFileError | UsageError)
    if not shows_columns:
        return result
    return msgspec.structs.replace(result, choices=_choices(draft, stop))


def _choices(draft: Draft, stop: StopController) -> ColumnChoices:
    try:
        job = draft.record.settings.job(draft.record.name)
        with tempfile.TemporaryDirectory(dir=draft.path) as folder:
            return read_column_choices(
                draft.source,
                mapping_options(job),
                Path(folder),
                make_planning_stop(stop),
                job.memory,
            )
    except UsageError:
        return NO_CHOICES


class DraftChecks:
    """Checks of drafts, one at a time for each.

    Args:
        drafts: the drafts.
        runs_dir: folder of the runs that they become.
        environment: network, disk and clock.
        connect: returns the connection of a profile, or of `bulklink ui` for None.
    """

    def __init__(
        self,
        drafts: Drafts,
        runs_dir: Path,
        environment: Environment,
        connect: Callable[[str | None], Connection],
    ) -> None:
        self.drafts = drafts
        self._connect = connect
        self._runs_dir = runs_dir
        self._environment = environment
        self._activities: dict[str, Activity] = {}
        self._busy: set[str] = set()

    def activity_of(self, draft: Draft) -> Activity | None:
        """Return the last check of a draft; None if this process made none."""
        return self._activities.get(draft.id)

    def result_of(self, draft: Draft) -> DraftResult | None:
        """Return what the last check of a draft found; None without one, or while it goes on."""
        activity = self._activities.get(draft.id)
        result = activity.result if activity is not None and not activity.is_active else None
        return result if isinstance(result, DraftResult) else None

    async def start(self, draft: Draft, settings: DraftSettings) -> None:
        """Start a check.

        Raises:
            PageError: if it is being checked or sealed, or too many others are.
            FieldError: if a setting is invalid, or names the profile of no connection.
        """
        try:
            settings.job(draft.record.name)
            connection = await self._environment.run_blocking(partial(self._connection, settings))
        except BulklinkError as error:
            raise FieldError.of(error) from None
        if sum(activity.is_active for activity in self._activities.values()) >= _MAX_CHECKS:
            raise PageError(
                f"{_MAX_CHECKS} mappings are being checked; wait until one has ended, then check"
                " this one.",
                _CONFLICT,
            )
        self._reserve(draft)
        try:
            await self._forget(draft)
            draft = await self._environment.run_blocking(
                partial(self.drafts.write_settings, draft, settings)
            )

            async def work(callbacks: RunCallbacks, stop: StopController) -> DraftResult:
                return await self._environment.run_blocking(
                    partial(check_draft, draft, connection, callbacks, stop, self._environment)
                )

            activity = Activity(verb="plan", work=work)
            self._activities[draft.id] = activity
            activity.start()
        finally:
            self._busy.discard(draft.id)

    async def stop(self, draft: Draft) -> None:
        """Ask the check of a draft to stop, if there is one: calls in flight are answered first."""
        activity = self._activities.get(draft.id)
        if activity is not None:
            await self._environment.run_blocking(activity.stop)

    async def seal(self, draft: Draft, digest: str) -> str:
        """Make a run of a draft, and return the name of its folder.

        Args:
            draft: the draft.
            digest: digest of the plan that was shown.

        Raises:
            PageError: if its plan is another one, or may not be sealed.
        """
        self._reserve(draft)
        try:
            result = self.result_of(draft)
            if result is None or result.plan is None:
                raise PageError("This mapping was not checked; check it first.", _CONFLICT)
            if digest != result.plan.digest:
                raise PageError(
                    "Nothing was sealed: the plan is another one than was shown, perhaps because"
                    " settings were changed in another window. Look at it again.",
                    _CONFLICT,
                )
            if not result.plan.messages:
                raise PageError("Nothing was sealed: the plan has no email to change.", _CONFLICT)
            if not result.can_seal:
                raise PageError(
                    "Nothing was sealed: rows are refused. Fix them, or leave them out.", _CONFLICT
                )
            name = await self._environment.run_blocking(partial(self._seal, draft, result, digest))
            await self._forget(draft)
            return name
        finally:
            self._busy.discard(draft.id)

    async def discard(self, draft: Draft) -> None:
        """Stop the check of a draft, and remove the draft."""
        await self._forget(draft)
        await self._environment.run_blocking(partial(self.drafts.remove, draft))

    async def close(self) -> None:
        """Stop all checks, and wait for their ends."""
        for activity in self._activities.values():
            activity.stop()
        for activity in self._activities.values():
            await activity.close()
        self._activities.clear()

    def _connection(self, settings: DraftSettings) -> Connection | None:
        """Return the connection for looking up names; None without look-ups. Blocks."""
        if settings.names_from is None:
            return None
        try:
            return self._connect(
                None if settings.names_from == OWN_CONNECTION else settings.names_from
            )
        except BulklinkError as error:
            shown = ShownError.of(error)
            raise FieldError("look_up_names", f"{shown.message} {shown.advice}".strip()) from None

    def _reserve(self, draft: Draft) -> None:
        activity = self._activities.get(draft.id)
        if draft.id in self._busy or (activity is not None and activity.is_active):
            raise PageError(_IS_CHECKED, _CONFLICT)
        self._busy.add(draft.id)

    async def _forget(self, draft: Draft) -> None:
        activity = self._activities.pop(draft.id, None)
        if activity is not None:
            activity.stop()
            await activity.close()

    def _seal(self, draft: Draft, result: DraftResult, digest: str) -> str:
        """Move the plan of a draft, which was sealed when it was checked, to the runs."""
        try:
            record = draft.plan.read()
            if record.digest != digest:
                raise PageError("Nothing was sealed: the plan was changed.", _CONFLICT)
            asked = {name: value for name, value in record.asked.items() if name != "run_dir"}
            asked |= {"on_invalid": result.settings.on_invalid, "runs_dir": str(self._runs_dir)}
            draft.plan.write(record.replace(asked=asked))
            op: str | Op = record.op
            name = new_run_name(op, self._environment.clock.wall(), token_hex(2))
            draft.plan.path.rename(self._runs_dir / name)
        except FileNotFoundError:
            raise PageError("This mapping is gone.", _GONE) from None
        self.drafts.remove(draft)
        return name
