"""Putting the emails of a probe back on the deals that they were on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from bulklink.operations.probing.probed_org import ProbedOrg
from bulklink.operations.probing.values import ProbeEmail
from bulklink.zoho.email_pages import LinkedDeal

_ROUNDS = 5
"""Rounds of reading; all but the last one also change what is not as it was."""


async def put_emails_back(org: ProbedOrg, emails: Sequence[ProbeEmail]) -> list[ProbeEmail]:
    """Put emails back on the deals that they were on; return those that are not as they were.

    What an email is on now is read, never assumed: calls of a killed probe, or ones whose answer
    was lost, may have changed it.

    Args:
        org: the org, whose calls are allowed after a graceful stop.
        emails: the emails as they were.

    Raises:
        ExperimentError: if the emails of a contact cannot be read.
        StoppedError: if no call is possible any more.
    """
    by_contact = sorted(emails, key=lambda email: email.contact_id)
    changed: list[ProbeEmail] = []
    for turn in range(_ROUNDS):
        changed = []
        for _, group in groupby(by_contact, key=lambda email: email.contact_id):
            contact_emails = list(group)
            links = await org.read_links(contact_emails)
            for email in contact_emails:
                if not _is_as_it_was(email, links):
                    changed.append(email)
                    if turn < _ROUNDS - 1:
                        await _put_back(org, email, links.get(email.message_id))
        if not changed:
            return []
        if turn:
            await org.settle()
    return changed


def _is_as_it_was(email: ProbeEmail, links: dict[str, LinkedDeal | None]) -> bool:
    if email.message_id not in links:
        return False
    deal = links[email.message_id]
    return (deal.id if deal else None) == (email.deal.id if email.deal else None)


async def _put_back(org: ProbedOrg, email: ProbeEmail, current: LinkedDeal | None) -> None:
    if current is not None:
        await org.unlink(email)
    if email.deal is None:
        return
    for include_names in (org.include_names, not org.include_names):
        reply = await org.link([email.message], [email.deal], include_names=include_names)
        if reply.accepts(email.message_id):
            return
