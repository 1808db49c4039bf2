"""Model of the page with a sample: plain values; texts are in the template and scripts."""

from __future__ import annotations

import msgspec


class NearbyEmail(msgspec.Struct, frozen=True):
    """An email of the same conversation as a drawn one.

    Args:
        time: when it was sent, ISO 8601; None if unknown.
        direction: received or sent; None if unknown.
        subject: its subject.
        deal: name or id of the deal that it is on; None for none.
    """

    time: str | None
    direction: str | None
    subject: str | None
    deal: str | None


class SampleEmail(msgspec.Struct, frozen=True, kw_only=True):
    """A drawn email; None where something is unknown.

    Args:
        tier: tier of its proposal.
        number: its place in the random order of the tier, from 1.
        kind: the proposed change.
        contact_id: id of the contact.
        owner_id: user whose mailbox holds it.
        owner_name: name of that user.
        message_id: id of the email.
        subject: its subject.
        time: when it was sent, ISO 8601.
        present: name or id of the deal that it is on; None for none.
        proposed: name or id of the proposed deal; None for none.
        other: name or id of the next best deal; None for none.
        reasons: what speaks for the proposal.
        verdict: right, wrong or unsure; None if nobody has looked at it.
        nearby: the first emails of its conversation.
    """

    tier: str
    number: int
    kind: str
    contact_id: str
    owner_id: str | None
    owner_name: str | None
    message_id: str
    subject: str | None
    time: str | None
    present: str | None
    proposed: str | None
    other: str | None
    reasons: str | None
    verdict: str | None
    nearby: tuple[NearbyEmail, ...]


class SampleGroup(msgspec.Struct, frozen=True):
    """Proposals of one kind in a tier, and how many of them may be wrong.

    Args:
        tier: the tier.
        kind: the kind of change.
        proposed: number of proposals.
        promise: share that the tier promises to be right, such as `99.5%`; None for none.
        proving: most wrong ones with which its own proposals keep the promise; None for none.
        rejecting: most wrong ones with which the promise of this tier, or of a lower one, is not
            broken, by tier.
    """

    tier: str
    kind: str
    proposed: int
    promise: str | None
    proving: int | None
    rejecting: dict[str, int]


class SampledAudit(msgspec.Struct, frozen=True, kw_only=True):
    """A sample of an audit.

    Args:
        mapping: name of the mapping.
        table: name of the table of the sample.
        download: name of the file with the verdicts that are given on the page.
        digest: digest of the audit.
        groups: the proposals by tier and kind.
        emails: the drawn emails that are shown, by tier and number.
        left_out: drawn emails that are not shown.
        command: command that reads the downloaded file.
        table_command: command that reads the table.
    """

    mapping: str
    table: str
    download: str
    digest: str
    groups: tuple[SampleGroup, ...]
    emails: tuple[SampleEmail, ...]
    left_out: int
    command: str
    table_command: str
