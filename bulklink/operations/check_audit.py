"""`audit --checked`: what verdicts on a sample prove, and the demotion of tiers."""

from __future__ import annotations

from contextlib import ExitStack
from os import PathLike, fspath
from pathlib import Path

import msgspec

from bulklink.atomic_files import atomic_replace
from bulklink.mapping.demoted_mapping import open_demoted_mapping
from bulklink.mapping.schema import normalize_header
from bulklink.operations.auditing.check_table import read_check_table
from bulklink.operations.auditing.files import find_verdicts, review_path
from bulklink.operations.auditing.review import write_review
from bulklink.operations.auditing.rows import MAPPING_COLUMNS, OPS
from bulklink.operations.auditing.sample import (
    AuditCheck,
    check_drawn,
    make_audit_check,
    open_audit,
)
from bulklink.tables import TableColumn, format_for, write_table

_ID_HEADERS = {normalize_header(column.header) for column in MAPPING_COLUMNS if column.is_id}


def check_audit(
    mapping: str | PathLike[str],
    verdicts: str | PathLike[str],
    *,
    encoding: str | None = None,
) -> AuditCheck:
    """Read the verdicts on a sample, and demote tiers whose promise they reject at 5 %; blocks.

    The review page then shows what the verdicts prove. A demotion writes the mapping and the file
    of verdicts again. Other cells of the mapping stay as they are, also those that the user filled
    in. No tier is ever raised, and the same verdicts change nothing twice.

    Args:
        mapping: mapping that the audit wrote.
        verdicts: table of `sample_audit` with verdicts, in any format of a mapping.
        encoding: encoding of a text file of verdicts; None is UTF-8.

    Raises:
        UsageError: if there is no audit, or no mapping.
        BadFileError: if a file cannot be read, or the verdicts are about another audit or
            contradict themselves.
        RunDirError: if a file cannot be written.
    """
    path, table_path = Path(fspath(mapping)), Path(fspath(verdicts))
    with open_audit(path) as proposals:
        table = read_check_table(table_path, proposals, encoding)
        check = check_drawn(proposals, table.sizes, table)
        tiers = {
            (one.tier.value, one.kind.value): one.becomes.value
            for one in check
            if one.becomes is not one.tier
        }
        files = {"check": table_path, "review": review_path(path)}
        if proposals.count_demoted(tiers):
            files |= {"mapping": path, "audit": find_verdicts(path)}
        result = make_audit_check(proposals, check, tiers, files)
    if result.demoted:
        result = msgspec.structs.replace(result, demoted_rows=_demote(path, tiers))
    write_review(path, check)
    return result


def _demote(mapping: Path, tiers: dict[tuple[str, str], str]) -> int:
    """Write mapping and verdicts with lower tiers, the verdicts last: they say what is done.

    Returns:
        The rows of the mapping whose tier was lowered.
    """
    verdicts = find_verdicts(mapping)
    ops = {kind.value: op.value for kind, op in OPS.items()}
    with ExitStack() as files:
        new_verdicts = files.enter_context(atomic_replace(verdicts))
        with open_audit(mapping) as proposals:
            proposals.write_demoted(new_verdicts, tiers)
        with open_demoted_mapping(mapping, verdicts, tiers, ops) as demoted:
            table_format = format_for(
                mapping.name, demoted.format.value, spreadsheet=demoted.escaped
            )
            columns = [
                TableColumn(header, is_id=normalize_header(header) in _ID_HEADERS)
                for header in demoted.headers
            ]
            with write_table(mapping, table_format, columns) as table:
                table.write(demoted.rows)
            return demoted.lowered
