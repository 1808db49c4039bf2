"""Command options as a `Job` and keyword arguments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bulklink.engine.failure_limit import MaxFailures
from bulklink.models import Op
from bulklink.operations.job import (
    Edition,
    GroupBy,
    Job,
    LimitOptions,
    OnInvalid,
    PaceOptions,
    SendOptions,
    WhenCreditsOut,
)


def job_from_options(mappings: tuple[str, ...], options: Mapping[str, Any]) -> Job:
    """Return the job of a command's options."""
    op = options.get("op")
    return Job(
        mappings=mappings,
        op=Op(op) if op else None,
        format=options["format_"],
        delimiter=options["delimiter"],
        encoding=options["encoding"],
        columns=options["columns"],
        preset=options["preset"],
        defaults=options["defaults"],
        only=options["only"],
        keep=options["keep"] or None,
        allow_round_ids=options["allow_round_ids"],
        on_invalid=OnInvalid(options["on_invalid"]),
        snapshot=options["snapshot"],
        accept_no_put_back=options["accept_no_put_back"],
        **send_arguments(options),
    )


def send_arguments(options: Mapping[str, Any]) -> SendOptions:
    """Return the options for sending emails, whatever they come from."""
    return {
        "batch_size": options["batch_size"],
        "group_by": GroupBy(options["group_by"]),
        "single_endpoint": options["single_endpoint"],
        "names": not options["no_names"],
        "memory": options["memory"],
        "run_dir": options.get("run_dir"),
        "runs_dir": options.get("runs_dir", Path("runs")),
        **limit_arguments(options),
    }


def limit_arguments(options: Mapping[str, Any]) -> LimitOptions:
    """Return the options that affect how a plan is sent, not what is sent."""
    max_failures, when_credits_out = options.get("max_failures"), options.get("when_credits_out")
    limits: LimitOptions = {
        "sync": options.get("sync", "on") == "on",
        "yes": options.get("yes", False),
        "read_back": options.get("read_back", "auto") == "auto",
        "read_pages": options.get("read_pages", 200),
        "max_failures": MaxFailures(**max_failures) if max_failures else None,
    }
    if when_credits_out:
        limits["when_credits_out"] = WhenCreditsOut(when_credits_out)
    if "canary" in options:
        limits["canary"] = options["canary"]
    return {**limits, **pace_arguments(options)}


def pace_arguments(options: Mapping[str, Any]) -> PaceOptions:
    """Return the options that affect how many calls are made, how fast, and what they may spend.

    Credit limits that are not set are left out, so that a resume keeps the run's own; only
    `max_credits` is for one command alone.
    """
    edition = options.get("edition")
    pace: PaceOptions = {
        "concurrency": options["concurrency"],
        "edition": Edition(edition) if edition else None,
        "rate": options["rate"],
        "settle_after": options.get("settle_after", 10.0),
        "max_credits": options.get("max_credits"),
    }
    if options.get("credits_per_day") is not None:
        pace["credits_per_day"] = options["credits_per_day"]
    if options.get("reserve_credits") is not None:
        pace["reserve_credits"] = options["reserve_credits"]
    return pace
