"""`bulklink history`: what happened to one email."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bulklink.cli.console import Styled, note, print_json, print_line
from bulklink.cli.help import Command
from bulklink.cli.options import common_options, option, runs_dir_option
from bulklink.counts import count_of
from bulklink.errors import ExitCode

if TYPE_CHECKING:
    from bulklink.operations.history import HistoryEvent

_MAX_TEXT_LENGTH = 200


@click.command("history", cls=Command)
@click.argument("message_id")
@option("--contact", metavar="CONTACT_ID", help="Only events of this contact.")
@runs_dir_option
@common_options
def history(message_id: str, runs_dir: Path, *, contact: str | None, as_json: bool) -> int:
    """Show what happened to one email in all runs.

    \b
    Examples:
      bulklink history 8937fb4a
      bulklink history 8937fb4a --runs-dir runs

    Use it to find out why an email is on its deal. Events are in chronological order: when it was
    planned, every call that carried it, the answers, its previous deal, the results. The command
    reads the runs and jobs below --runs-dir and opens no connection. A run whose files are damaged
    is left out, with a warning. An email that is in no run is not an error.
    """
    import msgspec  # noqa: PLC0415 - not for --help

    from bulklink.cli.callbacks import WarningDisplay  # noqa: PLC0415 - not for --help
    from bulklink.operations.history import history as load_events  # noqa: PLC0415 - not for --help

    message_id = message_id.strip()
    callbacks = WarningDisplay()
    events = load_events(message_id, runs_dir, contact_id=contact, callbacks=callbacks)
    if as_json:
        event_objects = [_flatten(msgspec.to_builtins(event)) for event in events]
        content = {"message_id": message_id, "events": event_objects}
        print_json(content | {"warnings": callbacks.warnings, "exit_code": 0})
        return ExitCode.OK
    if not events:
        note(f"No run below {runs_dir} has this email. Are the runs elsewhere? Use --runs-dir.")
    _print_events(events)
    return ExitCode.OK


def _flatten(event: dict[str, Any]) -> dict[str, Any]:
    """Merge the details of an event into it; leave out fields that are None."""
    details: dict[str, Any] = event.pop("details")
    return {key: value for key, value in event.items() if value is not None} | details


def _print_events(events: Sequence[HistoryEvent]) -> None:
    run_dir = ""
    for event in events:
        if event.run_dir != run_dir:
            run_dir = event.run_dir
            undo = f" (undo of {event.undo_of})" if event.undo_of else ""
            undo += f" (undone by {event.undone_by})" if event.undone_by else ""
            print_line(Styled(run_dir + undo, bold=True))
        row = "refused row" if event.row is None else f"row {event.row}"
        print_line(f"  {event.ts}  {row}: {_describe_event(event)}")


def _describe_event(event: HistoryEvent) -> str:
    details = event.details
    match event.event:
        case "planned":
            return f"planned: {event.op}{_format_target(event.deal_id)}, contact {event.contact_id}"
        case "call":
            attempt_text = (
                f", attempt {details['attempt']}" if details.get("attempt", 1) > 1 else ""
            )
            emails = event.emails or 0
            batch_text = f" of {count_of(emails, 'email')}" if emails > 1 else ""
            return f"call {details['call']}: {event.sent}{batch_text}{attempt_text}"
        case "unsent":
            return f"call {details['call']} did not leave: the run was stopped"
        case "answer":
            status = f"HTTP {details['http_status']} " if details["http_status"] else ""
            return f"answer to call {details['call']}: {status}{_truncate(details['body'])}"
        case "snapshot":
            deal_id, name = details.get("previous_deal_id"), details.get("previous_deal_name")
            return f"was on {_format_deal(deal_id, name)}"
        case "step":
            return "is off its deal"
        case _:
            return _describe_result(details)


def _describe_result(details: dict[str, Any]) -> str:
    parts = [details["status"], details["code"] or "", _truncate(details["message"] or "")]
    if "duplicate_of" in details:
        parts.append(f"of row {details['duplicate_of']}")
    if "previous_deal_id" in details:
        name = details.get("previous_deal_name")
        parts.append(f"(before: {_format_deal(details['previous_deal_id'], name)})")
    if "current_deal_id" in details:
        parts.append(f"(now: {_format_deal(details['current_deal_id'], None)})")
    return " ".join(part for part in parts if part)


def _format_target(deal_id: str | None) -> str:
    return f" to deal {deal_id}" if deal_id else ""


def _format_deal(deal_id: str | None, name: str | None) -> str:
    if deal_id is None:
        return "no deal"
    return f"deal {deal_id}" + (f" ({name})" if name else "")


def _truncate(text: str) -> str:
    """Return the beginning of a text, without runs of spaces."""
    line = " ".join(text.split())
    return line if len(line) <= _MAX_TEXT_LENGTH else line[:_MAX_TEXT_LENGTH] + "…"
