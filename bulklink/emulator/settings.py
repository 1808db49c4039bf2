"""How the emulator behaves: what Zoho leaves open, its limits, and what the token may do.

Each default is what Zoho's pages suggest most; where two sources differ, the comment names both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

SCOPES = (
    "ZohoCRM.modules.emails.ALL",
    "ZohoCRM.modules.contacts.ALL",
    "ZohoCRM.modules.deals.ALL",
    "ZohoCRM.settings.modules.READ",
    "ZohoCRM.settings.pipeline.READ",
    "ZohoCRM.users.READ",
    "ZohoCRM.org.READ",
)
PERMISSIONS = ("Crm_Implied_View_Deals", "Crm_Implied_View_Contacts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """How a many-emails answer with at least one bad email looks.

    The documented answer is HTTP 400 with a list of errors an email, placed by `json_path`.

    Args:
        status: the HTTP status where good and bad emails stand in one call; a call without a
            good email answers 400 always.
        applied: whether the good emails of such a call are changed.
        shape: `nested` gives each email a list of its errors, `flat` one object.
        named: how an entry names its email.
        good: what stands for a good email: a success entry, an empty list, or nothing.
        order: as sent, reversed, or shuffled (by the seed).
    """

    status: Literal[200, 207, 400] = 400
    applied: bool = False
    shape: Literal["nested", "flat"] = "nested"
    named: Literal["json-path", "message-id", "both", "none"] = "json-path"
    good: Literal["success", "empty", "omitted"] = "empty"
    order: Literal["sent", "reversed", "shuffled"] = "sent"

    def __post_init__(self) -> None:
        if self.good == "success" and not self.applied:
            raise ValueError("good=success needs applied=yes: a success that is none is a lie")
        if self.good == "empty" and self.shape == "flat":
            raise ValueError("good=empty needs shape=nested: a flat answer has no empty lists")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole behaviour of one emulator.

    Args:
        max_items: emails a link or unlink call may carry.
        over_max: what a call with more is answered.
        mixed: the answer to a call with bad emails.
        same_deal: linking an email to the deal it is on already.
        unlinked: unlinking an email that is on no deal.
        wrong_owner: an owner who is a user, but not the owner of the email's mailbox.
        mixed_owners: several owners in one link call.
        names: whether `owner.name` and `linked_record.name` must be there.
        single_answer: a single link echoes the request, or answers as the many-emails call does.
        single_error: the shape of an error of a single call.
        wording: the words of a success.
        expires_in: seconds that an access token lives.
        scopes: what the tokens may do.
        permissions: what the profile of their user may do.
        latency: seconds that each call takes.
        seed: decides whatever is drawn.
    """

    max_items: int = 20
    over_max: Literal["limit-exceeded", "invalid-data", "accept"] = "limit-exceeded"
    mixed: Mixed = field(default_factory=Mixed)
    same_deal: Literal["already-linked", "success"] = "already-linked"
    unlinked: Literal["success", "invalid-data"] = "success"
    wrong_owner: Literal["invalid-data", "accept"] = "invalid-data"
    mixed_owners: Literal["accept", "invalid-data"] = "accept"
    # The pages call the names mandatory; the OpenAPI file leaves owner.name out.
    names: Literal["required", "optional"] = "required"
    # The page's sample echoes; the OpenAPI file and the announcement show SUCCESS.
    single_answer: Literal["echo", "success"] = "echo"
    single_error: Literal["flat", "nested"] = "flat"
    wording: Literal["pages", "openapi"] = "pages"
    expires_in: int = 3600
    scopes: tuple[str, ...] = SCOPES
    permissions: tuple[str, ...] = PERMISSIONS
    latency: float = 0.0
    seed: int = 1
