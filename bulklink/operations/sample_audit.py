"""`audit --check`: draw a sample of an audit into a table and a page for a person to check."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path

from bulklink.advice import Advice, Keyword
from bulklink.atomic_files import atomic_replace
from bulklink.errors import BadFileError, UsageError
from bulklink.finding.verdicts import Tier
from bulklink.html_pages.sample.render import render_sample
from bulklink.mapping.audit_proposals import AuditProposals
from bulklink.operations.auditing.check_page import sampled_audit
from bulklink.operations.auditing.check_table import (
    CHECK_COLUMNS,
    CheckTable,
    check_rows,
    read_check_table,
)
from bulklink.operations.auditing.files import check_page_path, check_table_path, review_path
from bulklink.operations.auditing.review import write_review
from bulklink.operations.auditing.sample import (
    AuditCheck,
    check_drawn,
    make_audit_check,
    open_audit,
)
from bulklink.tables import TableColumn, format_for, write_table


def sample_audit(
    mapping: str | PathLike[str],
    emails: int,
    *,
    verdicts: str | PathLike[str] | None = None,
    encoding: str | None = None,
    force: bool = False,
) -> AuditCheck:
    """Draw a random sample of each tier of an audit into a table and a page; blocks.

    The table is beside the mapping, with its stem: `.check.csv`, or `.check.xlsx` if the mapping
    is a workbook. Fill in its column `verdict` with right, wrong or unsure, in the order of the
    rows, or answer on the page beside it, `.check.html`. Then call `check_audit`. The same audit
    draws the same emails, and a larger sample begins with a smaller one: verdicts in an existing
    table are kept.

    Args:
        mapping: mapping that the audit wrote.
        emails: emails of each tier to draw, without replacement; 1 or more.
        verdicts: another table of a sample of this audit, whose verdicts to take over.
        encoding: encoding of text files with verdicts; None is UTF-8.
        force: whether to replace an existing table that is about another audit, or unreadable.

    Returns:
        The result; its `check` says what the verdicts in an existing table prove.

    Raises:
        UsageError: if there is no audit, or no mapping, or the number is less than 1.
        BadFileError: if the files of the audit cannot be read, or an existing table is about
            another audit.
        RunDirError: if the table cannot be written.
    """
    if emails < 1:
        raise UsageError(
            f"A sample cannot have {emails:,} of each tier.",
            where="emails",
            advice="Draw 1 or more.",
        )
    mapping_path = Path(fspath(mapping))
    path, page = check_table_path(mapping_path), check_page_path(mapping_path)
    with open_audit(mapping_path) as proposals:
        earlier = _read_earlier(path, proposals, encoding, force=force)
        if verdicts is not None:
            earlier = earlier.with_verdicts(
                read_check_table(Path(fspath(verdicts)), proposals, encoding)
            )
        sizes = {tier.value: max(emails, earlier.filled_sizes[tier]) for tier in Tier}
        _write_table(path, proposals, sizes, earlier)
        with atomic_replace(page) as temporary:
            sample = sampled_audit(mapping_path, proposals, sizes, earlier)
            temporary.write_text(render_sample(sample), encoding="utf-8")
        check = check_drawn(proposals, sizes, earlier)
        files = {"check": path, "check_page": page, "review": review_path(mapping_path)}
        result = make_audit_check(proposals, check, {}, files)
    write_review(mapping_path, check)
    return result


def _write_table(
    path: Path, proposals: AuditProposals, sizes: Mapping[str, int], earlier: CheckTable
) -> None:
    """Write the table of a sample, with what the user wrote into an earlier one."""
    columns = (*CHECK_COLUMNS, *map(TableColumn, earlier.extra_headers))
    # A spreadsheet will open it, and must neither round its ids nor run its subjects.
    table_format = format_for(path.name, spreadsheet=path.suffix == ".csv")
    with write_table(path, table_format, columns) as table:
        table.write(check_rows(proposals.draw(sizes), proposals.digest, earlier))


def _read_earlier(
    path: Path, proposals: AuditProposals, encoding: str | None, *, force: bool
) -> CheckTable:
    """Return an earlier table of this audit; an empty one if there is none."""
    if not path.exists():
        return CheckTable()
    try:
        return read_check_table(path, proposals, encoding)
    except BadFileError as error:
        if force:
            return CheckTable()
        raise BadFileError(
            error.message,
            where=error.place,
            advice=Advice.join(
                " ",
                [
                    error.guidance,
                    Advice(
                        "Or rename the file to keep it, or drop its verdicts with {}.",
                        Keyword("force", value=True),
                    ),
                ],
            ),
        ) from None
