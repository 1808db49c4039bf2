"""Table of a sample of an audit: an email a row, with a verdict that the user fills in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import msgspec

from bulklink.errors import BadFileError
from bulklink.finding.sample_check import SampleVerdict
from bulklink.finding.verdicts import Tier
from bulklink.mapping.audit_proposals import AuditProposals, DrawnProposal
from bulklink.mapping.faults import quote_cell
from bulklink.mapping.id_cells import bare_id
from bulklink.mapping.ignorable import strip_ignorable
from bulklink.mapping.user_table import UserTable, open_user_table
from bulklink.models import NO_DEAL
from bulklink.operations.auditing.rows import proposal_reasons
from bulklink.spreadsheet_cells import ESCAPED_HEADER
from bulklink.tables import Cell, TableColumn

CHECK_COLUMNS = (
    TableColumn("audit"),
    TableColumn("number", is_number=True),
    TableColumn("tier"),
    TableColumn("kind"),
    TableColumn("contact_id", is_id=True),
    TableColumn("owner_id", is_id=True),
    TableColumn("owner_name"),
    TableColumn("message_id", is_id=True),
    TableColumn("deal_id", is_id=True),
    TableColumn("deal_name"),
    TableColumn("from_deal_id", is_id=True),
    TableColumn("from_deal_name"),
    TableColumn("reasons"),
    TableColumn("runner_up_deal_id", is_id=True),
    TableColumn("runner_up_deal_name"),
    TableColumn("subject"),
    TableColumn("time"),
    TableColumn("verdict"),
)
_REQUIRED = ("audit", "number", "tier", "contact_id", "owner_id", "message_id", "verdict")
_WORDS = {
    **dict.fromkeys(("right", "yes", "y"), SampleVerdict.RIGHT),
    **dict.fromkeys(("wrong", "no", "n"), SampleVerdict.WRONG),
    **dict.fromkeys(("unsure", "?"), SampleVerdict.UNSURE),
}
_NUMBER = re.compile(r"([0-9]{1,12})(?:\.0+)?")
_SHEET_NUMBER = re.compile(r"([0-9]+)(?:[.,]([0-9]*))?(?:[eE]\+?[0-9]{1,3})?")
_NUMBER_TEXT = re.compile(r"[0-9]+(?:[eE][0-9]{1,3})?")
_SHEET_DIGITS = 15
"""Digits that a spreadsheet keeps of a number."""


class CheckedRow(msgspec.Struct, frozen=True):
    """A row of a table with verdicts.

    Args:
        place: the row, for messages.
        tier: tier of the proposal.
        number: its place in the random order of the tier, from 1.
        ids: cells of contact, mailbox and message.
        verdict: what the user says about it; None for nothing.
        extra_cells: cells of the user's own columns.
    """

    place: str
    tier: Tier
    number: int
    ids: tuple[str, str, str]
    verdict: SampleVerdict | None
    extra_cells: tuple[str | None, ...]


class CheckTable(msgspec.Struct, frozen=True):
    """A table with verdicts, as the user filled it in.

    Args:
        rows: its rows, by tier and number.
        extra_headers: headers of the user's own columns.
    """

    rows: Mapping[tuple[Tier, int], CheckedRow] = {}
    extra_headers: tuple[str, ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        """Return how many emails of each tier must be drawn to have all of the table."""
        return self._sizes(self.rows.values())

    @property
    def filled_sizes(self) -> dict[str, int]:
        """Return how many emails of each tier must be drawn to have all that the user wrote."""
        return self._sizes(
            row for row in self.rows.values() if row.verdict is not None or any(row.extra_cells)
        )

    def _sizes(self, rows: Iterable[CheckedRow]) -> dict[str, int]:
        sizes = {tier.value: 0 for tier in Tier}
        for row in rows:
            sizes[row.tier] = max(sizes[row.tier], row.number)
        return sizes

    def verdict(self, proposal: DrawnProposal) -> SampleVerdict | None:
        """Return the verdict on a proposal."""
        row = self.rows.get((Tier(proposal.tier), proposal.number))
        return None if row is None else row.verdict

    def with_verdicts(self, other: CheckTable) -> CheckTable:
        """Return the table with the verdicts of another one too.

        Raises:
            BadFileError: if they contradict each other.
        """
        no_cells = (None,) * len(self.extra_headers)
        rows = dict(self.rows)
        for key, row in other.rows.items():
            verdict = _merge_rows(rows.get(key, row), row).verdict
            rows[key] = msgspec.structs.replace(
                rows.get(key, msgspec.structs.replace(row, extra_cells=no_cells)), verdict=verdict
            )
        return CheckTable(rows, self.extra_headers)


def read_check_table(
    path: Path, proposals: AuditProposals, encoding: str | None = None
) -> CheckTable:
    """Read the verdicts on emails of a sample; blocks.

    Args:
        path: the table, in any format of a mapping.
        proposals: the proposals of the audit.
        encoding: encoding of a text file; None is UTF-8.

    Raises:
        BadFileError: if it is not such a table, or a row contradicts another or the audit.
    """
    with open_user_table(str(path), _REQUIRED, encoding) as table:
        extra = _extra_columns(table)
        rows: dict[tuple[Tier, int], CheckedRow] = {}
        for row in _read_rows(table, proposals.digest, tuple(extra.values())):
            earlier = rows.setdefault((row.tier, row.number), row)
            rows[row.tier, row.number] = _merge_rows(earlier, row)
    checked = CheckTable(rows, tuple(extra))
    _check_drawn(checked, proposals)
    return checked


def _extra_columns(table: UserTable) -> dict[str, int]:
    """Return the place of each column of the user's own."""
    own = {table.find(name) for name in _REQUIRED}
    names = {column.header for column in CHECK_COLUMNS} | {ESCAPED_HEADER, ""}
    return {
        header: place
        for place, header in enumerate(table.headers.headers)
        if place not in own and strip_ignorable(header).casefold() not in names
    }


def _read_rows(table: UserTable, digest: str, extra_places: Sequence[int]) -> Iterator[CheckedRow]:
    places = {name: table.find(name) for name in _REQUIRED}
    for row in table.rows():
        cells = {name: strip_ignorable(row.cells[place] or "") for name, place in places.items()}
        if cells["audit"] != digest:
            raise BadFileError(
                "The verdicts are about another audit, or about one that was repeated since.",
                where=row.place,
                advice="Name the mapping that they are about, or draw a sample of this audit.",
            )
        yield CheckedRow(
            place=row.place,
            tier=_parse_tier(cells["tier"], row.place),
            number=_parse_number(cells["number"], row.place),
            ids=(cells["contact_id"], cells["owner_id"], cells["message_id"]),
            verdict=_parse_verdict(cells["verdict"], row.place),
            extra_cells=tuple(row.cells[place] for place in extra_places),
        )


def _parse_tier(text: str, place: str) -> Tier:
    if text.lower() not in tuple(Tier):
        raise BadFileError(
            f"The tier is {quote_cell(text)}.",
            where=place,
            advice="Restore the cell: the rows of a sample are only filled in.",
        )
    return Tier(text.lower())


def _parse_number(text: str, place: str) -> int:
    match = _NUMBER.fullmatch(bare_id(text))
    if match is None:
        raise BadFileError(
            f"The number is {quote_cell(text)}.",
            where=place,
            advice="Restore the cell: the rows of a sample are only filled in.",
        )
    return int(match[1])


def _parse_verdict(text: str, place: str) -> SampleVerdict | None:
    if text and text.lower() not in _WORDS:
        raise BadFileError(
            f"The verdict is {quote_cell(text)}.",
            where=place,
            advice="Write right, wrong or unsure, or leave the cell empty.",
        )
    return _WORDS.get(text.lower())


def _merge_rows(earlier: CheckedRow, later: CheckedRow) -> CheckedRow:
    """Return the row of an email that several rows name, of which one may have a verdict."""
    if None not in (earlier.verdict, later.verdict) and earlier.verdict != later.verdict:
        raise BadFileError(
            f"The verdict is {later.verdict}, but {earlier.verdict} on the same email in"
            f" {earlier.place}.",
            where=later.place,
            advice="Keep the right one.",
        )
    return later if earlier.verdict is None else earlier


def _check_drawn(checked: CheckTable, proposals: AuditProposals) -> None:
    """Check that each row names the email that was drawn as its number.

    Raises:
        BadFileError: if one does not.
    """
    unknown = dict(checked.rows)
    for proposal in proposals.draw(checked.sizes):
        key = Tier(proposal.tier), proposal.number
        if key in unknown and _names(unknown[key], proposal):
            del unknown[key]
    for row in unknown.values():
        raise BadFileError(
            f"The ids and number {row.number} of the tier {row.tier} do not belong together.",
            where=row.place,
            advice="If some columns were sorted without the others, undo that, or draw the sample"
            " again.",
        )


def _names(row: CheckedRow, proposal: DrawnProposal) -> bool:
    """Return whether the ids are those of a proposal, perhaps rounded by a spreadsheet."""
    ids = (proposal.contact_id, proposal.owner_id or "", proposal.message_id)
    return all(
        bare_id(cell) == ident or _is_rounded(bare_id(cell), ident)
        for cell, ident in zip(row.ids, ids, strict=True)
    )


def _is_rounded(text: str, ident: str) -> bool:
    """Return whether a number is what a spreadsheet makes of an id."""
    match = _SHEET_NUMBER.fullmatch(text)
    if match is None or not _NUMBER_TEXT.fullmatch(ident):
        return False
    number, exact = Decimal(text.replace(",", ".")), Decimal(ident)
    has_exponent = "e" in text.lower()
    digits = len(match[1] + (match[2] or "")) if has_exponent else _SHEET_DIGITS
    unit = Decimal(1).scaleb(exact.adjusted() - digits + 1)
    return has_exponent | (len(text) > _SHEET_DIGITS) and abs(number - exact) <= unit


def check_rows(
    drawn: Iterable[DrawnProposal], digest: str, earlier: CheckTable
) -> Iterator[tuple[Cell, ...]]:
    """Yield the rows of a sample, with the verdicts and the user's own cells of an earlier table.

    Args:
        drawn: the proposals of the sample.
        digest: digest of the audit.
        earlier: the earlier table.
    """
    no_cells = (None,) * len(earlier.extra_headers)
    for proposal in drawn:
        row = earlier.rows.get((Tier(proposal.tier), proposal.number))
        verdict = None if row is None or row.verdict is None else row.verdict.value
        extra_cells = no_cells if row is None else row.extra_cells
        yield (*_proposal_cells(proposal, digest), verdict, *extra_cells)


def _proposal_cells(proposal: DrawnProposal, digest: str) -> tuple[Cell, ...]:
    why = proposal_reasons(proposal.scores, proposal.deal_id)
    other = why.runner_up
    return (
        digest,
        proposal.number,
        proposal.tier,
        proposal.kind,
        proposal.contact_id,
        proposal.owner_id,
        proposal.owner_name,
        proposal.message_id,
        proposal.deal_id,
        why.deal_name,
        proposal.from_deal_id,
        proposal.from_deal_name,
        why.reasons,
        None if other is None else other.deal_id or NO_DEAL,
        None if other is None else other.deal_name,
        proposal.subject,
        proposal.time,
    )
