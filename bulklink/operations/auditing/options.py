"""Options of an audit that say what is judged, and how."""

from __future__ import annotations

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.errors import UsageError
from bulklink.finding.prediction_rule import Reading
from bulklink.operations.auditing.proposal_filter import ProposalFilter
from bulklink.operations.fetching.selection import Roles
from bulklink.operations.job import check_ranges, parse_duration


class AuditOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of an audit, checked.

    Args:
        roles: which contact roles count.
        reading: how the prediction rule is read; None for what explains the org's links best.
        weights: TOML file with weights of the evidence; None for bulklink's own.
        propose_detach: whether to propose to unlink emails of no deal.
        proposal_filter: emails for which a change may be proposed.
        number_field: API name of the field with the deals' own numbers; None for none.
        max_age: seconds after which deals that were read are not used.
        read_again: whether deals that were read before are read again.
        yes: whether to spend more than 1,000 credits without asking.
        force: whether to drop an unfinished audit of other contacts.
    """

    roles: Roles
    reading: Reading | None
    weights: str | None
    propose_detach: bool
    proposal_filter: ProposalFilter
    number_field: str | None
    max_age: float
    read_again: bool
    yes: bool
    force: bool

    @property
    def counted_roles(self) -> bool | None:
        """Whether the rule considers deals by a contact role; None for what the links tell."""
        return {Roles.YES: True, Roles.NO: False}.get(self.roles)


def parse_reading(text: str | None) -> Reading | None:
    """Return a reading of the prediction rule; None if none is given.

    Raises:
        UsageError: if there is no such reading.
    """
    if text is None or text in tuple(Reading):
        return None if text is None else Reading(text)
    raise UsageError(
        f"{text!r} is no reading of the prediction rule.",
        where=Advice("{}", Keyword("reading")),
        advice=f"Choose one of {', '.join(Reading)}.",
    )


def parse_max_age(value: float | str) -> float:
    """Return the age in seconds after which deals are not used.

    Args:
        value: seconds, or a text such as `7d`.

    Raises:
        UsageError: if it is not a duration, or out of range.
    """
    seconds = parse_duration(value, "max_age")
    check_ranges({"max_age": seconds})
    return seconds
