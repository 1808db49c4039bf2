"""Headers of other systems' lists of emails, by column."""

from __future__ import annotations

from collections.abc import Mapping

from bulklink.advice import Advice, Keyword
from bulklink.errors import UsageError

SYSTEMS: Mapping[str, Mapping[str, str]] = {
    # Properties of emails in HubSpot's API.
    "hubspot": {
        "time": "hs_timestamp",
        "subject": "hs_email_subject",
        "direction": "hs_email_direction",
        "from_address": "hs_email_from_email",
        "to_addresses": "hs_email_to_email",
        "cc_addresses": "hs_email_cc_email",
    },
    # Fields of Salesforce's object EmailMessage.
    "salesforce": {
        "time": "MessageDate",
        "subject": "Subject",
        "from_address": "FromAddress",
        "to_addresses": "ToAddress",
        "cc_addresses": "CcAddress",
        "deal_key": "RelatedToId",
        "internet_message_id": "MessageIdentifier",
    },
    # Fields of mail messages in Pipedrive's API.
    "pipedrive": {
        "time": "message_time",
        "subject": "subject",
        "from_address": "from",
        "to_addresses": "to",
        "cc_addresses": "cc",
        "deal_key": "deal_id",
    },
}


def system_headers(name: str | None) -> Mapping[str, str]:
    """Return the headers of a system, by column; none if no system is named.

    Raises:
        UsageError: if the system is unknown.
    """
    if name is None:
        return {}
    if name not in SYSTEMS:
        raise UsageError(
            f"{name!r} is not a known system.",
            where=Advice("{}", Keyword("from_system")),
            advice=Advice(
                "Use one of: {}; or name each header with {}.",
                ", ".join(SYSTEMS),
                Keyword("columns"),
            ),
        )
    return SYSTEMS[name]
