"""Options of `Job` that functions take by themselves, where a run folder holds the rest."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypedDict

import msgspec

from bulklink.engine.failure_limit import MaxFailures
from bulklink.operations.job import Edition, GroupBy, Job, WhenCreditsOut


class PaceOptions(TypedDict, total=False):
    """How many calls are made, and how fast; each as `Job` tells it."""

    concurrency: int | None
    edition: Edition | None
    rate: float | None
    settle_after: float
    max_credits: int | None
    credits_per_day: int | None
    reserve_credits: int


class LimitOptions(PaceOptions, total=False):
    """How a sealed plan is sent, never what of it; each as `Job` tells it."""

    sync: bool
    yes: bool
    read_back: bool
    read_pages: int
    max_failures: MaxFailures | None
    when_credits_out: WhenCreditsOut
    canary: int | None


class SendOptions(LimitOptions, total=False):
    """How emails are sent that come from elsewhere than a mapping; each as `Job` tells it."""

    batch_size: int
    group_by: GroupBy
    single_endpoint: bool
    names: bool
    memory: str
    run_dir: Path | None
    runs_dir: Path


PACE = frozenset(PaceOptions.__optional_keys__)
LIMITS = frozenset(LimitOptions.__optional_keys__)
SENDING = frozenset(SendOptions.__optional_keys__)
_NO_MAPPING = Job(mappings=())


def with_options(job: Job | None, options: Mapping[str, Any], known: Collection[str]) -> Job:
    """Return a job with some options changed.

    Args:
        job: the job; None is one without a mapping, of which all is as it is by default.
        options: by their names.
        known: the names that can be given here.

    Raises:
        TypeError: if one is not known, as Python itself does.
        UsageError: if one has a value that it cannot have.
    """
    strange = options.keys() - known
    if strange:
        raise TypeError(f"{', '.join(sorted(strange))}: no such option here")
    return msgspec.structs.replace(job or _NO_MAPPING, **options)
