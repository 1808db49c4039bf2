"""What `run.json` says of a run, as its page has it: calls, settings, hashes, commands."""

from __future__ import annotations

from typing import Any

from bulklink.errors import StoppedBy
from bulklink.html_report.model import (
    Calls,
    Commands,
    Forgot,
    Identity,
    Input,
    Invoked,
    Made,
    Setting,
)
from bulklink.models import Op, Status
from bulklink.operations.wording import beyond_max_credits, can_be_undone, limited
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import Invocation, RunRecord, State
from bulklink.runs.status import RunSummary
from bulklink.shell import typed

RUN = "RUN"
"""What stands for the run folder where its name is left out."""
MOST_INVOCATIONS = 100
"""Commands that drove a run which are listed: the last ones."""
_HARMLESS = (
    *("batch_size", "group_by", "single_endpoint", "names", "snapshot", "accept_no_put_back"),
    *("on_invalid", "allow_round_ids", "concurrency", "edition", "rate", "canary"),
    *("read_back", "read_pages", "settle_after", "max_failures", "max_credits"),
    *("credits_per_day", "reserve_credits", "when_credits_out", "sync", "memory", "format"),
)
"""Options whose values say nothing of whose emails these are."""
_NO_SETTINGS = ("op", "mappings", "run_dir", "runs_dir", "yes")
_HASHES = {
    "Digest of the plan": "digest",
    "SHA-256 of plan.parquet": "plan_sha256",
    "SHA-256 of the ledger": "ledger_sha256",
}


def identity(folder: RunFolder, record: RunRecord) -> Identity:
    """Return what tells whose run it is."""
    org = record.org
    return Identity(
        folder=str(folder.path),
        org_id=org.id if org else None,
        org_name=org.name if org else None,
        api_url=record.api_url,
        canary_found=record.canary.found if record.canary else None,
        undo_of=record.undo_of.run_dir if record.undo_of else None,
        files=tuple(one.name for one in record.inputs),
    )


def calls(record: RunRecord, summary: RunSummary) -> Calls:
    """Return calls and credits beside the forecast and the fewest there can be."""
    made, forecast = summary.calls, record.forecast
    kinds = {"link": made.link, "unlink": made.unlink, "read": made.read, "look-up": made.lookup}
    told: dict[str, int | None] = dict.fromkeys(kinds)
    if forecast is not None:
        told = {"link": forecast.link, "unlink": forecast.unlink, "read": forecast.read}
        told["look-up"] = forecast.lookup
    writes = [op for op in ("link", "unlink") if _writes(record, op)]
    least = {writes[0]: record.least} if len(writes) == 1 else {}
    lines = [Made(kind, count, told[kind], least.get(kind)) for kind, count in kinds.items()]
    if len(writes) > 1:
        both = forecast.link + forecast.unlink if forecast else None
        lines.insert(2, Made("link and unlink", made.link + made.unlink, both, record.least))
    in_all = made.link + made.unlink + made.read + made.lookup
    return Calls(
        lines=tuple(lines),
        credits=Made("credits", in_all, forecast.credits if forecast else None, None),
        retried=made.retried,
        seconds=summary.seconds,
        forecast_seconds=forecast.seconds if forecast else None,
        limited=limited(record),
        beyond_max_credits=beyond_max_credits(record),
    )


def _writes(record: RunRecord, op: str) -> bool:
    """Tell whether messages of a run need calls of a kind: a relink needs both."""
    return record.by_op.get(op, 0) > 0 or record.by_op.get(Op.RELINK, 0) > 0


def settings(record: RunRecord, *, full: bool) -> tuple[Setting, ...]:
    """Return the options of a run; without `full` those alone that say nothing of anybody."""
    kept = {
        name: value
        for name, value in record.asked.items()
        if name not in _NO_SETTINGS and (full or name in _HARMLESS)
    }
    return tuple(Setting(name.replace("_", "-"), _said(value)) for name, value in kept.items())


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_pair, value)) or "none"
    return "none" if value is None else str(value)


def _pair(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "=".join(str(part) for part in value if part is not None)
    return str(value)


def hashes(record: RunRecord) -> tuple[Setting, ...]:
    """Return the digest of the plan, and the hashes of the files as they were last written."""
    known = {name: getattr(record, field) for name, field in _HASHES.items()}
    return tuple(Setting(name, value) for name, value in known.items() if value)


def inputs(record: RunRecord, *, full: bool) -> tuple[Input, ...]:
    """Return the mappings as they were read."""
    return tuple(
        Input(one.name if full else None, one.records, one.bytes, one.sha256)
        for one in record.inputs
    )


def invocations(record: RunRecord, summary: RunSummary) -> tuple[Invoked, ...]:
    """Return the last commands that drove a run, and how each ended."""
    running = summary.state is State.RUNNING
    last = record.invocations[-1] if record.invocations else None
    return tuple(
        Invoked(one.started, one.ended, one.seconds, _how(one, goes_on=running and one is last))
        for one in record.invocations[-MOST_INVOCATIONS:]
    )


def _how(one: Invocation, *, goes_on: bool) -> str:
    if one.ended is None:
        return "goes on" if goes_on else f"stopped: {StoppedBy.KILLED}"
    said = f"stopped: {one.stopped_by}" if one.stopped_by else "reached its end"
    return said if one.exit_code is None else f"{said} (exit code {one.exit_code})"


def forgotten(record: RunRecord) -> tuple[Forgot, ...]:
    """Return when columns and names were dropped, and the hashes before that."""
    return tuple(Forgot(one.at, one.plan_before, one.ledger_before) for one in record.forgotten)


def undo_told(record: RunRecord) -> str:
    """Say whether the run can be taken back."""
    by_op = {op for op, many in record.by_op.items() if many}
    if not can_be_undone(record):
        return "It cannot be taken back: without a snapshot nobody knows which deal emails were on."
    if record.asked.get("snapshot") is False and by_op - {Op.LINK}:
        return (
            "Links can be taken back by `bulklink undo`. Unlinks and relinks cannot: without a"
            " snapshot nobody knows which deal emails were on."
        )
    if record.asked.get("snapshot") or by_op - {Op.LINK}:
        return (
            "It can be taken back: the deal that each email is on is read before it is changed, and"
            " `bulklink undo` puts it back."
        )
    return "It can be taken back: `bulklink undo` takes every email that was linked off its deal."


def commands(record: RunRecord, summary: RunSummary, run: str) -> Commands:
    """Return the commands that go on from where the run stands, as they are typed."""
    failed = summary.counts[Status.FAILED] + summary.counts[Status.IN_DOUBT]
    expect = ["--expect", record.digest] if record.digest else []
    return Commands(
        apply=typed("bulklink", "apply", run, *expect),
        resume=typed("bulklink", "resume", run) if summary.state is State.STOPPED else "",
        retry=typed("bulklink", "retry", run) if summary.state is State.FINISHED and failed else "",
    )
