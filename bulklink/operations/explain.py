"""`audit --explain`: the whole sum behind the verdict on one email."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path
from typing import Any

import msgspec

from bulklink.decoding import convert
from bulklink.errors import UsageError
from bulklink.mapping.verdict_table import bad_verdicts_error, read_verdicts
from bulklink.operations.auditing.files import find_verdicts
from bulklink.operations.auditing.rows import ScoredDeal, decode_scores


class Explanation(msgspec.Struct, frozen=True):
    """Verdict on an email of a contact, with what it is computed from.

    Args:
        contact_id: id of the contact.
        message_id: id of the email.
        owner_id: user whose mailbox holds it.
        owner_name: name of that user.
        subject: its subject.
        time: when it was sent, ISO 8601.
        direction: whether it was received or sent.
        from_deal_id: the deal that it is on; `none` for none, None if unknown.
        from_deal_name: name of that deal.
        linked_by: who made its present link.
        rule: the deal that the prediction rule chose, `none`, or `uncertain`; None for mail that
            was sent, or of which that is unknown.
        uncertainty: why that is uncertain.
        kind: the proposed change; None for none.
        tier: how far the proposal can be trusted.
        deal_id: the proposed deal.
        confidence: probability of the best candidate.
        candidates: the deals that the conversation may belong to, the most probable first.
    """

    contact_id: str
    message_id: str
    owner_id: str | None = None
    owner_name: str | None = None
    subject: str | None = None
    time: str | None = None
    direction: str | None = None
    from_deal_id: str | None = None
    from_deal_name: str | None = None
    linked_by: str | None = None
    rule: str | None = None
    uncertainty: str | None = None
    kind: str | None = None
    tier: str | None = None
    deal_id: str | None = None
    confidence: float | None = None
    candidates: tuple[ScoredDeal, ...] = ()


def explain(mapping: str | PathLike[str], message_id: str) -> tuple[Explanation, ...]:
    """Return the verdict on an email, for each contact and mailbox that has it; blocks.

    No connection is opened.

    Args:
        mapping: mapping that an audit wrote, or its file of verdicts.
        message_id: id of the email.

    Raises:
        UsageError: if the audit has no such email, or there is no file of verdicts.
        BadFileError: if that file cannot be read.
    """
    path = find_verdicts(Path(fspath(mapping)))
    rows = read_verdicts(path, message_id)
    if not rows:
        raise UsageError(
            f"The audit has no email {message_id!r}.",
            where=str(path),
            advice="Copy the id from the column message_id of the mapping.",
        )
    try:
        return tuple(map(_explanation, rows))
    except (ValueError, RecursionError):
        raise bad_verdicts_error(path) from None


def _explanation(row: dict[str, Any]) -> Explanation:
    scores = row.pop("scores", None)
    return convert({**row, "candidates": decode_scores(scores)}, Explanation)
