"""Looking up the names that a mapping leaves out, before the first change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

from bulklink.engine.caller import Caller
from bulklink.engine.lookups import deal_names, user_names
from bulklink.mapping.plan import SealedPlan
from bulklink.runs.folder import RunFolder


async def look_up_names(folder: RunFolder, caller: Caller, *, at_once: int) -> bool:
    """Look up what a plan needs and does not name, and write it beside the plan.

    The names found wait on disk, not in memory: there can be as many deals as messages.

    Args:
        folder: of the run.
        caller: makes the calls.
        at_once: look-ups in flight at most.

    Returns:
        Whether anything had to be looked up.

    Raises:
        RunStoppedError: if it cannot be read.
        HaltedError: if the run was stopped.
    """
    plan = SealedPlan(folder.plan)
    owners = set(plan.owners_without_name())
    deals_wanted = any(True for _ in plan.deals_without_name())
    if not owners and not deals_wanted:
        return False
    folder.scratch.mkdir(mode=0o700, exist_ok=True)
    deals_file, owners_file = folder.scratch / "deals.jsonl", folder.scratch / "owners.jsonl"
    with deals_file.open("wb") as file:
        ids = plan.deals_without_name()
        await deal_names(caller, ids, _taker(file.write), at_once=at_once)
    with owners_file.open("wb") as file:
        await user_names(caller, owners, _taker(file.write))
    plan.write_names(_pairs(deals_file), _pairs(owners_file), folder.names)
    folder.clear_scratch()
    return True


def _taker(write: Callable[[bytes], int]) -> Callable[[str, str], None]:
    def take(found: str, name: str) -> None:
        write(orjson.dumps([found, name], option=orjson.OPT_APPEND_NEWLINE))

    return take


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    with path.open("rb") as file:
        for line in file:
            found, name = orjson.loads(line)
            yield found, name
