"""Reasons why nobody can tell what the prediction rule did with an email."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Uncertainty(StrEnum):
    """Why it is uncertain on which deal the rule put an email; the values are for users.

    If several reasons hold, the first of this list is given.
    """

    LINK_CONTRADICTED = "rows of the file name different deals that the email is on"
    LINK_UNKNOWN = "the CRM does not show the deal of the email"
    DIRECTION_UNKNOWN = "whether the email was received or sent is unknown"
    TIME_UNKNOWN = "the time of the email is unknown"
    DEAL_NOT_LISTED = "an email of the contact is on a deal that the contact is not on"
    HISTORY_NOT_READ = "a deal changed since and its history was not read"
    HISTORY_CONTRADICTS = "the history of a deal does not lead to its present state"
    DEAL_TIMES_UNKNOWN = "when a deal was created or modified is unknown"
    STAGE_UNKNOWN = "whether the stage of a deal was open, won or lost is unknown"
    CONTACT_CHANGED = "a deal may have been another contact's at the time"
    CONTACT_MERGED = "the email has none of the contact's addresses: two contacts may be merged"
    ROLE_UNKNOWN = "whether the rule considers a deal that the contact has a role on is unknown"
    SAME_SECOND = "two deals changed in the same second"
    NEAR_CHANGE = "a deal changed at about the time of the email"
    BACKLOG_RULE = "for email from before the mailbox was connected, the rule is not fully known"
    READING = "the possible readings of the rule differ here"
    MAILBOX = "the mailbox may not have been connected yet"


_RANK = {uncertainty: rank for rank, uncertainty in enumerate(Uncertainty)}


def first_uncertainty(uncertainties: Iterable[Uncertainty | None]) -> Uncertainty | None:
    """Return the reason that is given if several hold; None if there is none."""
    reasons = [reason for reason in uncertainties if reason is not None]
    return min(reasons, key=_RANK.__getitem__, default=None)
