"""Groups of job options that operations accept."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypedDict

import msgspec

from bulklink.engine.failure_limit import MaxFailures
from bulklink.file_names import file_name_text
from bulklink.operations.job import Edition, GroupBy, Job, WhenCreditsOut


class PaceOptions(TypedDict, total=False):
    """Options of `Job` that affect how many calls are made, and how fast.

    Args:
        concurrency: maximum calls in flight; None uses the limit of the edition.
        edition: the org's edition; None uses the org's licence.
        rate: maximum calls per second; None is no limit.
        settle_after: seconds to wait after a call before trusting a read that shows no change.
        outage: seconds to wait while no call is answered, or a text such as `5m`.
        max_credits: maximum requests of this operation; None is no limit.
        credits_per_day: maximum requests of all runs on the org from this machine in 24 hours.
        reserve_credits: credits to leave for others.
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
        wait_for_org: wait until another run that is sent to the org from this machine has ended.
        expect_org: id that the org must have; None accepts any.
        read_back: settle emails in doubt by reading their links back.
        read_pages: maximum pages of a contact's emails to read.
        max_failures: failures that an invocation accepts; None is the default limit.
        when_credits_out: when credits run out, stop or wait.
        canary: messages to send and read back before the rest; 0 is none.
    """

    sync: bool
    yes: bool
    wait_for_org: bool
    expect_org: str | None
    read_back: bool
    read_pages: int
    max_failures: MaxFailures | None
    when_credits_out: WhenCreditsOut
    canary: int | None


class SendOptions(LimitOptions, total=False):
    """Options of `Job` for emails that do not come from a mapping; adds to `LimitOptions`.

    Args:
        batch_size: maximum messages per call, 1 to 20.
        group_by: what the emails of one link call have in common.
        single_endpoint: send a batch of one to the single-email endpoint.
        names: send names as well as ids, and look up missing ones.
        memory: memory limit of planning, such as `512MB`.
        run_dir: run folder, new or empty; None creates one below `runs_dir`.
        runs_dir: folder that contains the run folders.
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
PER_CALL_OPTIONS = frozenset(
    {"yes", "wait_for_org", "expect_org", "max_credits", "run_dir", "runs_dir"}
)
"""Options that apply to one call only: a resumed run or fetch does not keep them."""
_SETTINGS = (
    *("batch_size", "group_by", "single_endpoint", "names", "snapshot", "accept_no_put_back"),
    *("concurrency", "edition", "rate", "canary", "read_back", "read_pages", "settle_after"),
    *("outage", "max_failures", "max_credits", "credits_per_day", "reserve_credits"),
    *("when_credits_out", "sync"),
)
"""Options of sending, as results list them."""
_DEFAULT_JOB = Job(mappings=())


def with_options(job: Job | None, options: Mapping[str, Any], allowed: Collection[str]) -> Job:
    """Return a job with some options changed.

    Args:
        job: the job; None is a job without a mapping, with default options.
        options: values by name.
        allowed: names allowed here.

    Raises:
        TypeError: if a name is not allowed.
        UsageError: if a value is invalid.
    """
    unknown = options.keys() - allowed
    if unknown:
        raise TypeError(f"{', '.join(sorted(unknown))}: no such option here")
    return msgspec.structs.replace(job or _DEFAULT_JOB, **options)


def serialize_job(job: Job) -> dict[str, object]:
    """Return a job's options as stored in `run.json`.

    None is left out, unless it is a value that differs from the default.
    """
    mappings = tuple(map(file_name_text, job.mapping_names))
    options = msgspec.to_builtins(
        msgspec.structs.replace(job, mappings=mappings), enc_hook=file_name_text
    )
    return {
        name: value
        for name, value in options.items()
        if value is not None or getattr(_DEFAULT_JOB, name) is not None
    }


def sending_settings(job: Job) -> dict[str, object]:
    """Return the options of sending as stored in `run.json`; None is a default."""
    options = serialize_job(job)
    return {name: options.get(name) for name in _SETTINGS}
