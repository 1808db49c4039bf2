"""Options and findings of a verification, and the lines of `verify.jsonl`."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.errors import UsageError
from bulklink.ledger.records import json_line
from bulklink.operations.expected_links import ExpectedLink
from bulklink.runs.forecast import CreditRange
from bulklink.zoho.email_pages import LinkedDeal


class VerifyFinding(StrEnum):
    """Outcome of comparing one email with the CRM."""

    AS_RECORDED = "as-recorded"
    DIFFERENT = "different"
    AS_WANTED = "as-wanted"
    NOT_AS_WANTED = "not-as-wanted"
    NOT_LISTED = "not-listed"
    NOT_READ = "not-read"


class VerifyOptions(msgspec.Struct, frozen=True):
    """What to verify, and how.

    Args:
        in_doubt: verify the emails in doubt instead of the others.
        sample: emails to draw; None verifies all.
        seed: random seed of the sample.
        read_pages: maximum pages to read of a contact; None reads all.
    """

    in_doubt: bool = False
    sample: int | None = None
    seed: int = 1
    read_pages: int | None = None

    def __post_init__(self) -> None:
        """Refuse invalid options.

        Raises:
            UsageError: if a sample is to be drawn of emails in doubt, or a value is out of range.
        """
        if self.in_doubt and self.sample is not None:
            raise UsageError(
                "A sample is drawn from emails with a recorded result, not from emails in doubt.",
                where=Advice("{}, {}", Keyword("in_doubt"), Keyword("sample")),
                advice="Omit one of them.",
            )
        for name, value, minimum in (
            *(("sample", self.sample, 1), ("seed", self.seed, 0)),
            ("read_pages", self.read_pages, 1),
        ):
            if value is not None and value < minimum:
                raise UsageError(
                    f"{value} is not a valid value for {name}.",
                    where=name,
                    advice=f"Use {minimum} or more.",
                )


class VerifyCost(msgspec.Struct, frozen=True):
    """Cost of a verification.

    Args:
        emails: emails to look for.
        contacts: contacts of these emails.
        reads: minimum read calls.
        lookups: look-up calls.
        credits: range of credits; one per call.
    """

    emails: int
    contacts: int
    reads: int
    lookups: int
    credits: CreditRange


class FindingDetail(msgspec.Struct, frozen=True):
    """A finding to show the user, with the deal found in the CRM.

    Args:
        expected: the email and its recorded deal.
        finding: outcome of the comparison.
        actual_deal: the deal in the CRM; None for no deal, or if the email was not found.
    """

    expected: ExpectedLink
    finding: VerifyFinding
    actual_deal: LinkedDeal | None = None


def verify_start_line(ts: str, options: VerifyOptions, cost: VerifyCost) -> bytes:
    """Return the first line of a verification."""
    fields = msgspec.to_builtins(options) | msgspec.to_builtins(cost)
    return json_line({"event": "verify", "ts": ts, **fields})


def finding_line(
    ts: str,
    expected: ExpectedLink,
    finding: VerifyFinding,
    actual_deal: LinkedDeal | None,
    call: int | None,
    code: str | None,
) -> bytes:
    """Return the line of one email: its deals in the ledger and in the CRM.

    Args:
        ts: time as the ledger writes it.
        expected: the email and its recorded deal.
        finding: outcome of the comparison.
        actual_deal: the deal in the CRM; None for no deal.
        call: number of the read call.
        code: why the email was not read; None if it was.
    """
    fields = {
        "event": "finding",
        "ts": ts,
        "finding": finding,
        "row": expected.row,
        "contact_id": expected.contact_id,
        "message_id": expected.message_id,
        "recorded_deal_id": expected.deal_id,
        "recorded_status": expected.status,
        "recorded_code": expected.code,
        "recorded_ts": expected.ts,
        "call": call,
    }
    if finding in (VerifyFinding.NOT_LISTED, VerifyFinding.NOT_READ):
        fields["code"] = code
    else:
        fields["found_deal_id"] = actual_deal.id if actual_deal else None
    return json_line(fields)


def verify_end_line(ts: str, counts: dict[str, int], forecast: CreditRange | None) -> bytes:
    """Return the last line of a verification, complete or stopped.

    Args:
        ts: time as the ledger writes it.
        counts: emails by finding.
        forecast: latest forecast of its credits; None if too few contacts were read.
    """
    credit_costs = msgspec.to_builtins(forecast)
    return json_line({"event": "verified", "ts": ts, "counts": counts, "credits": credit_costs})
