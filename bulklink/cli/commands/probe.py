"""`bulklink probe`: what an org answers where Zoho's documentation leaves it open."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from bulklink.cli.connection import connection_from_options, connection_options
from bulklink.cli.console import format_columns, note, print_json, print_line, show_error
from bulklink.cli.help import Command
from bulklink.cli.options import (
    combine_options,
    common_options,
    credit_options,
    option,
    outage_option,
    pace_options,
    progress_option,
    quiet_option,
    settle_after_option,
)
from bulklink.cli.output_types import OutputFile
from bulklink.counts import count_of
from bulklink.shell import bulklink_command

if TYPE_CHECKING:
    from bulklink.errors import RunStoppedError
    from bulklink.operations.probing.result import ProbeResult

_RECORDS = "Further records of the org"
_NAMES = ("emails", "other_contact", "role_deal", "private_email", "put_back", "yes", "force")

_record_options = combine_options(
    option(
        "--email",
        "emails",
        multiple=True,
        metavar="MESSAGE",
        help="Email of CONTACT to probe with. Repeatable; name two or more, and one of another"
        " owner if there is one. By default some of its first ten emails are chosen.",
    ),
    option(
        "--other-contact",
        group=_RECORDS,
        metavar="CONTACT",
        help="Another contact, to try a link to one of its deals, and an email that both have.",
    ),
    option(
        "--role-deal",
        group=_RECORDS,
        metavar="DEAL",
        help="Deal of another contact on which CONTACT has a contact role.",
    ),
    option(
        "--private-email",
        group=_RECORDS,
        metavar="MESSAGE",
        help="Email of CONTACT on no deal, from a mailbox that is not shared.",
    ),
)
_file_options = combine_options(
    option(
        "--output",
        "-o",
        type=OutputFile(),
        default="probe.json",
        show_default=True,
        metavar="FILE",
        help="File for the answers.",
    ),
    option("--force", is_flag=True, help="Replace an existing file."),
)


@click.command("probe", cls=Command)
@click.argument("contact", required=False)
@combine_options(_record_options, _file_options)
@option(
    "--put-back",
    is_flag=True,
    help="Only put back the emails that an earlier probe into FILE left changed.",
)
@option("--yes", is_flag=True, help="Change the emails named with --email without asking.")
@combine_options(
    connection_options,
    pace_options,
    settle_after_option,
    outage_option,
    credit_options,
    progress_option,
    quiet_option,
    common_options,
)
def probe(contact: str | None, output: str, *, as_json: bool, **options: Any) -> int:
    """Ask a sandbox what Zoho's documentation leaves open.

    \b
    Examples:
      bulklink probe 5843104000000424162
      bulklink probe 5843104000000424162 --other-contact 5843104000000424163 -o sandbox.json
      bulklink probe --put-back

    A few emails of CONTACT are linked and unlinked, and put back at the end. At a terminal each
    step is asked for first. What the emails were on is stored before the first change: if the
    command is killed, run it again, or with --put-back. The answers go to a file that names
    nobody, and `bulklink emulator --like FILE` behaves as they say. Production is refused.
    """
    from bulklink.cli.arguments import pace_arguments  # noqa: PLC0415 - not for --help
    from bulklink.cli.progress import run_with_progress  # noqa: PLC0415 - not for --help
    from bulklink.operations.probe import probe as probe_org  # noqa: PLC0415 - not for --help

    work = partial(
        probe_org,
        contact,
        output,
        connection_from_options(options),
        **{name: options[name] for name in _NAMES},
        **pace_arguments(options),
    )
    result, reason = run_with_progress(work, options)
    _show_result(result, reason, output, as_json=as_json)
    return result.exit_code


def _show_result(
    result: ProbeResult, reason: RunStoppedError | None, output: str, *, as_json: bool
) -> None:
    import msgspec  # noqa: PLC0415 - not for --help

    if reason is not None:
        show_error(reason, as_json=False)
    if as_json:
        print_json(msgspec.to_builtins(result))
    elif result.answers:
        _show_answers(result)
    note(f"{count_of(sum(result.calls.values()), 'call')}, {count_of(result.credits, 'credit')}.")
    if result.not_restored:
        note(
            f"{count_of(result.not_restored, 'email')} may not be as before the probe. What they"
            f" were on is in {result.folder}. To put them back:"
            f" {bulklink_command('probe', '--put-back', '-o', output)}"
        )
    elif result.restored:
        note(f"{count_of(result.restored, 'email is', 'emails are')} as before the probe.")
    else:
        note("Nothing was changed, so there is nothing to put back.")
    if result.file is not None:
        note(
            f"Written to {result.file}. To rehearse:"
            f" {bulklink_command('emulator', '--like', result.file)}"
        )


def _show_answers(result: ProbeResult) -> None:
    """Print a table of the answers, then why others are unknown."""
    rows = [("question", "answer", "emulator option")]
    rows += [
        (row.question, row.answer or "unknown", f"--{row.option}" if row.option else "")
        for row in result.answers
    ]
    for line in format_columns(rows, ()):
        print_line(line)
    reasons: dict[str, list[str]] = {}
    for row in result.answers:
        if row.answer is None:
            reasons.setdefault(f"{row.reason} {row.seen}".rstrip(), []).append(row.key)
    for reason, keys in reasons.items():
        note(f"Unknown: {', '.join(keys)}. {reason}")
