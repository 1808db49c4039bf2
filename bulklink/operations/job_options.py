"""Options of a job that functions take, and what of a job they change."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypedDict

import msgspec

from bulklink.engine.failure_limit import MaxFailures
from bulklink.operations.job import Edition, GroupBy, Job, WhenCreditsOut


class PaceOptions(TypedDict, total=False):
    """Options of `Job` that affect how many calls are made, and how fast.

    Args:
        concurrency: most calls in flight; None takes the edition's.
        edition: the org's edition; None takes it from the org's licence.
        rate: most calls a second; None is no limit.
        settle_after: seconds after a call before a read that shows no change is trusted.
        outage: seconds that is waited while no call is answered, or a text such as `5m`.
        max_credits: requests that this call may make; None is no limit.
        credits_per_day: requests of all runs on the org from this machine in 24 hours.
        reserve_credits: credits that are left for others.
    """

    concurrency: int | None
    edition: Edition | None
    rate: float | None
    settle_after: float
    outage: float
    max_credits: int | None
    credits_per_day: int | None
    reserve_credits: int


class LimitOptions(PaceOptions, total=False):
    """Options of `Job` that affect how a plan is sent, not what is sent; adds to `PaceOptions`.

    Args:
        sync: flush the ledger to disk before each call; False is for load runs.
        yes: change an org that is not a sandbox without confirmation.
        read_back: settle what is in doubt by reading links back.
        read_pages: pages of a contact's emails that are read at most.
        max_failures: failures after which the run stops; None is the default limit.
        when_credits_out: stop where credits are out, or wait for them.
        canary: messages that are sent and read back before the rest; 0 is none.
    """

    sync: bool
    yes: bool
    read_back: bool
    read_pages: int
    max_failures: MaxFailures | None
    when_credits_out: WhenCreditsOut
    canary: int | None


class SendOptions(LimitOptions, total=False):
    """Options of `Job` for emails that do not come from a mapping; adds to `LimitOptions`.

    Args:
        batch_size: most messages a call, 1 to 20.
        group_by: what the emails of one link call have in common.
        single_endpoint: send a batch of one to the single-email endpoint.
        names: send names beside ids, and look missing ones up.
        memory: what planning holds in memory at most, such as `512MB`.
        run_dir: the run folder, missing or empty; None makes one below `runs_dir`.
        runs_dir: where run folders go.
    """

    batch_size: int
    group_by: GroupBy
    single_endpoint: bool
    names: bool
    memory: str
    run_dir: Path | None
    runs_dir: Path


PACE_OPTIONS = frozenset(PaceOptions.__optional_keys__)
LIMIT_OPTIONS = frozenset(LimitOptions.__optional_keys__)
SEND_OPTIONS = frozenset(SendOptions.__optional_keys__)
PER_CALL_OPTIONS = frozenset({"yes", "max_credits", "run_dir", "runs_dir"})
"""Options that what goes on with something does not keep: they are for one call alone."""
_DEFAULT_JOB = Job(mappings=())


def with_options(job: Job | None, options: Mapping[str, Any], allowed: Collection[str]) -> Job:
    """Return a job with some options changed.

    Args:
        job: the job; None is one without a mapping, of which all is as it is by default.
        options: by their names.
        allowed: the names that can be given here.

    Raises:
        TypeError: if one is not known, as Python itself does.
        UsageError: if one has a value that it cannot have.
    """
    unknown = options.keys() - allowed
    if unknown:
        raise TypeError(f"{', '.join(sorted(unknown))}: no such option here")
    return msgspec.structs.replace(job or _DEFAULT_JOB, **options)
