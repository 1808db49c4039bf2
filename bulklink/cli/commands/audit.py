"""`bulklink audit`: emails on the wrong deal or on none, and the mapping that corrects them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from bulklink.cli.completion import FileName
from bulklink.cli.connection import connection_from_options, connection_options
from bulklink.cli.console import print_json, print_line, show_error
from bulklink.cli.help import OUTPUT, Command
from bulklink.cli.options import (
    allow_round_ids_option,
    column_option,
    combine_options,
    common_options,
    credit_options,
    csv_options,
    encoding_option,
    hidden_rows_option,
    option,
    outage_option,
    pace_options,
    preset_option,
    progress_option,
    quiet_option,
    sheet_option,
)
from bulklink.cli.output_file import output_file_arguments, output_format_options
from bulklink.cli.output_types import OutputFile
from bulklink.cli.param_types import Duration, OneOf, WholeNumber
from bulklink.cli.selection_options import (
    CONTACT_NAMES,
    FILTER_NAMES,
    READING_NAMES,
    contact_options,
    filter_options,
    spending_option,
)
from bulklink.errors import ConfigError, ExitCode, UsageError

if TYPE_CHECKING:
    from bulklink.errors import RunStoppedError
    from bulklink.operations.auditing.result import AuditResult
    from bulklink.operations.auditing.sample import AuditCheck
    from bulklink.zoho.connection import Connection

_EVIDENCE = "Weigh the evidence"
_CHECKS = "Explain and check an audit"
_JUDGING_NAMES = (
    *("roles", "reading", "weights", "propose_detach", "number_field", "max_age", "read_again"),
)
_UNUSED_WITHOUT_AUDIT = (
    *(*FILTER_NAMES, *_JUDGING_NAMES, "format_", "spreadsheet"),
    *(name for name in READING_NAMES if name != "encoding"),
)
"""Options of an audit that have no meaning for one that is complete."""
_NAMES = (*CONTACT_NAMES, *FILTER_NAMES, *READING_NAMES, *_JUDGING_NAMES, "fetched", "yes")


@click.command("audit", cls=Command)
@click.argument("contacts", nargs=-1)
@option(
    "--output",
    "-o",
    type=OutputFile(),
    metavar="MAPPING",
    help="Mapping to write: .csv, .jsonl, .csv.gz, .jsonl.gz, .parquet or .xlsx. Beside it, with"
    " its stem: .audit.parquet, and the emails and deals that were read.",
)
@option(
    "--fetched",
    type=FileName(),
    metavar="FILE",
    help="Audit a file of emails that `bulklink fetch` or an audit wrote, in place of CONTACTS."
    " Its deals are kept beside it: a second audit makes no call.",
)
@combine_options(
    contact_options, filter_options("Propose changes only for emails"), spending_option
)
@option(
    "--roles",
    group=_EVIDENCE,
    type=OneOf(["named", "yes", "no"]),
    help="Whether contact roles count, for the contacts of deals and for the prediction rule. The"
    " roles are read of deals named by their ids (named, the default: the links of the org tell"
    " whether the rule considers them), of those that meet --deals-where too (yes), or of none"
    " (no).",
)
@option(
    "--reading",
    group=_EVIDENCE,
    type=OneOf(["strict", "loose", "last-modified-first"]),
    help="How the prediction rule is read. Default: as explains the links of the org best.",
)
@option(
    "--number-field",
    group=_EVIDENCE,
    metavar="FIELD",
    help="API name of the field with the deals' own numbers, such as Deal_Number: a number in a"
    " subject names its deal.",
)
@option(
    "--propose-detach",
    group=_EVIDENCE,
    is_flag=True,
    help="Also propose to unlink emails that belong to no deal of their contact.",
)
@option(
    "--weights",
    group=_EVIDENCE,
    type=FileName(),
    metavar="FILE",
    help="TOML file with weights of the evidence, edited from what --show-weights prints.",
)
@option(
    "--max-age",
    group=_EVIDENCE,
    type=Duration("max_age"),
    default="7d",
    show_default=True,
    metavar="TIME",
    help="Age up to which deals that were read before are used, such as 12h or 30d.",
)
@option(
    "--read-again",
    group=_EVIDENCE,
    is_flag=True,
    help="Read deals again although they were read before.",
)
@combine_options(output_format_options, column_option, preset_option, allow_round_ids_option)
@option(
    "--force",
    group=OUTPUT,
    is_flag=True,
    help="Replace existing files, and drop an unfinished audit of other contacts.",
)
@combine_options(csv_options, encoding_option, sheet_option, hidden_rows_option)
@option(
    "--explain",
    group=_CHECKS,
    metavar="MESSAGE_ID",
    help="Show the evidence for and against each deal of one email, from the audit that wrote"
    " MAPPING. Opens no connection.",
)
@option(
    "--check",
    group=_CHECKS,
    type=WholeNumber(1),
    metavar="N",
    help="Draw N emails of each tier at random, into a page and a table beside MAPPING, for you to"
    " check. Without CONTACTS: of the audit that wrote MAPPING. Opens no connection.",
)
@option(
    "--checked",
    group=_CHECKS,
    type=FileName(),
    metavar="FILE",
    help="Read your verdicts on such a sample, and demote each tier that breaks its promise.",
)
@option(
    "--show-weights",
    group=_EVIDENCE,
    is_flag=True,
    help="Print the weights of the evidence, as TOML.",
)
@combine_options(
    connection_options,
    pace_options,
    outage_option,
    credit_options,
    progress_option,
    quiet_option,
    common_options,
)
@click.pass_context
def audit(ctx: click.Context, /, contacts: tuple[str, ...], **options: Any) -> int:
    """Find emails that are on the wrong deal, or on none.

    \b
    Examples:
      bulklink audit --deals-where "Stage = 'Negotiation'" -o mapping.csv
      bulklink audit @contacts.txt --since 2026-01-01 -o mapping.xlsx
      bulklink audit --fetched emails.parquet -o mapping.csv
      bulklink audit --explain 8937fb4a -o mapping.csv
      bulklink audit --check 60 -o mapping.csv
      bulklink audit --checked mapping.check.csv -o mapping.csv
      bulklink audit --show-weights

    Use it if emails are missing on deals, and to get a mapping that corrects them. CONTACTS and the
    options that add to them are those of `bulklink fetch`. The audit reads their emails, their
    deals and, where it matters, the history of these. Each row of the mapping has a tier: sure,
    likely, or look, whose rows have no op and are not sent before you decide. A page for a browser
    beside the mapping, such as mapping.review.html, shows the reasons and makes a mapping of what
    you accept. Links that people made are never changed. The CRM is not changed either:
    `bulklink run` sends the mapping. If the command is stopped or killed, run it again to continue.
    Exit code 1: it proposes something, or could not read everything.
    """
    if options["show_weights"]:
        return _show_weights(as_json=options["as_json"])
    output = options["output"]
    if output is None:
        raise click.MissingParameter(ctx=ctx, param=_output_parameter(ctx))
    if options["explain"] is not None:
        _refuse_unused(ctx, "explain")
        return _explain(output, options["explain"], as_json=options["as_json"])
    if _is_check_only(contacts, output, options):
        _refuse_unused(ctx, "check" if options["checked"] is None else "checked")
        return _show_check(_check(output, options), output, as_json=options["as_json"])
    return _audit(contacts, output, options)


def _refuse_unused(ctx: click.Context, mode: str) -> None:
    """Refuse options of the command line that only an audit uses.

    Raises:
        UsageError: if there is one.
    """
    unused = [
        max(param.opts, key=len)
        for param in ctx.command.params
        if param.name in _UNUSED_WITHOUT_AUDIT
        and ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE
    ]
    if unused:
        raise UsageError(
            f"--{mode} uses the audit that wrote the mapping, which these options cannot change.",
            where=", ".join(unused),
            advice="Leave them out, or audit with them: name the contacts, or --fetched FILE.",
        )


def _output_parameter(ctx: click.Context) -> click.Parameter:
    return next(param for param in ctx.command.params if param.name == "output")


def _audit(contacts: tuple[str, ...], output: str, options: dict[str, Any]) -> int:
    from bulklink.cli.arguments import (  # noqa: PLC0415 - not for --help
        given_options,
        pace_arguments,
    )
    from bulklink.cli.progress import run_with_progress  # noqa: PLC0415 - not for --help
    from bulklink.operations.audit import audit as audit_emails  # noqa: PLC0415 - not for --help
    from bulklink.operations.auditing.files import (  # noqa: PLC0415 - not for --help
        emails_path,
    )
    from bulklink.operations.auditing.parts import (  # noqa: PLC0415 - not for --help
        judging_processes,
    )
    from bulklink.operations.fetching.emails import (  # noqa: PLC0415 - not for --help
        check_selection_files,
        has_unfinished_fetch,
    )

    # A missing file is reported before a missing profile.
    check_selection_files(
        lists=(*contacts, *options["contacts_of_deals"], *options["emails_on"]),
        from_mapping=(*options["from_mapping"], *filter(None, [options["checked"]])),
    )
    continues = (
        not options["force"]
        and options["fetched"] is None
        and has_unfinished_fetch(emails_path(Path(output)))
    )
    work = partial(
        audit_emails,
        contacts,
        output,
        _connection(options),
        workers=judging_processes(),
        **{name: options[name] for name in _NAMES},
        **output_file_arguments(options),
        **pace_arguments(given_options(options) if continues else options),
    )
    result, reason = run_with_progress(work, options)
    has_check = result.stopped_by is None and _wants_check(options)
    if has_check and options["as_json"]:
        _show_result(result, reason, output, _check(output, options), as_json=True)
        return result.exit_code
    _show_result(result, reason, output, as_json=options["as_json"])
    if has_check:
        _show_check(_check(output, options), output, as_json=False)
    return result.exit_code


def _wants_check(options: Mapping[str, Any]) -> bool:
    return options["check"] is not None or options["checked"] is not None


def _is_check_only(contacts: tuple[str, ...], output: str, options: Mapping[str, Any]) -> bool:
    """Return whether the sample is of an audit that is complete."""
    if not _wants_check(options):
        return False
    from bulklink.operations.auditing.files import (  # noqa: PLC0415 - not for --help
        has_unfinished_audit,
    )

    selected = (
        contacts
        or options["fetched"]
        or any(options[name] for name in (*CONTACT_NAMES, "emails_on"))
    )
    return not selected and not has_unfinished_audit(Path(output))


def _check(output: str, options: Mapping[str, Any]) -> AuditCheck:
    """Draw a sample and read verdicts, as far as each was requested."""
    import msgspec  # noqa: PLC0415 - not for --help

    from bulklink.operations.check_audit import check_audit  # noqa: PLC0415 - not for --help
    from bulklink.operations.sample_audit import sample_audit  # noqa: PLC0415 - not for --help

    checked, emails, encoding = (options[name] for name in ("checked", "check", "encoding"))
    if emails is None:
        return check_audit(output, checked, encoding=encoding)
    sample = sample_audit(
        output, emails, verdicts=checked, encoding=encoding, force=options["force"]
    )
    if checked is None:
        return sample
    # The table has the verdicts now: the file may be a pipe, which is read only once.
    result = check_audit(output, sample.files["check"])
    return msgspec.structs.replace(result, files=result.files | sample.files)


def _connection(options: Mapping[str, Any]) -> Connection | None:
    """Return the connection; None if none is set and a file may suffice."""
    try:
        return connection_from_options(options)
    except ConfigError:
        if options["fetched"] is None or options["profile"] is not None:
            raise
        return None


def _show_result(
    result: AuditResult,
    reason: RunStoppedError | None,
    output: str,
    check: AuditCheck | None = None,
    *,
    as_json: bool,
) -> None:
    from bulklink.cli.audit_summary import show_summary  # noqa: PLC0415 - not for --help

    if reason is not None:
        show_error(reason, as_json=False)
    show_summary(result, output, check, as_json=as_json)


def _show_check(check: AuditCheck, output: str, *, as_json: bool) -> int:
    from bulklink.cli.sample_summary import show_check  # noqa: PLC0415 - not for --help

    show_check(check, output, as_json=as_json)
    return check.exit_code


def _explain(output: str, message_id: str, *, as_json: bool) -> int:
    import msgspec  # noqa: PLC0415 - not for --help

    from bulklink.cli.explanation import explanation_lines  # noqa: PLC0415 - not for --help
    from bulklink.operations.explain import explain  # noqa: PLC0415 - not for --help

    explanations = explain(output, message_id)
    if as_json:
        content = [msgspec.to_builtins(explanation) for explanation in explanations]
        print_json({"explanations": content, "exit_code": int(ExitCode.OK)})
    else:
        for line in explanation_lines(explanations):
            print_line(line)
    return ExitCode.OK


def _show_weights(*, as_json: bool) -> int:
    from bulklink.operations.weights import (  # noqa: PLC0415 - not for --help
        default_weights,
        read_weights,
    )

    if as_json:
        weights = read_weights(None)
        print_json(
            {
                "weights": {
                    name: {"log_odds": log_odds, "sentence": weights.sentences.get(name, "")}
                    for name, log_odds in weights.log_odds.items()
                },
                "exit_code": int(ExitCode.OK),
            }
        )
    else:
        for line in default_weights().rstrip("\n").split("\n"):
            print_line(line)
    return ExitCode.OK
