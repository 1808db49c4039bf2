"""Settings of the emulator: behaviour that Zoho leaves open, limits, and permissions.

Each default is the behaviour that Zoho's pages suggest most strongly; where two sources differ, a
comment names both. Every field of `Settings` is an option of the emulator command, with `-` for
`_`, and holds the help of that option.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_type_hints

MAX_ITEMS_PER_CALL = 20
"""Maximum number of emails in a link or unlink call, according to Zoho's pages."""
MAX_MESSAGE_IDS_CHARACTERS = 2_000
"""Maximum length of `message_ids` in an unlink call, according to Zoho's pages."""

EMAILS_AREA = "ZohoCRM.modules.emails"
CONTACTS_AREA = "ZohoCRM.modules.contacts"
DEALS_AREA = "ZohoCRM.modules.deals"
ACCOUNTS_AREA = "ZohoCRM.modules.accounts"
USERS_AREA = "ZohoCRM.users"
COQL_AREA = "ZohoCRM.coql"
DEFAULT_SCOPES = (
    f"{EMAILS_AREA}.ALL",
    f"{CONTACTS_AREA}.ALL",
    f"{DEALS_AREA}.ALL",
    "ZohoCRM.settings.modules.READ",
    "ZohoCRM.settings.layouts.READ",
    "ZohoCRM.settings.pipeline.READ",
    "ZohoCRM.users.READ",
    "ZohoCRM.org.READ",
    f"{COQL_AREA}.READ",
)
VIEW_DEALS, VIEW_CONTACTS = "Crm_Implied_View_Deals", "Crm_Implied_View_Contacts"
DEFAULT_PERMISSIONS = (VIEW_DEALS, VIEW_CONTACTS)

Edition = Literal[
    "free",
    "standard",
    "professional",
    "enterprise",
    "zoho-one",
    "ultimate",
    "crm-plus",
]
PredictionMode = Literal["strict", "loose", "last-modified-first"]
TracingCalls = Literal["none", "link", "unlink", "both"]
QuoteEscape = Literal["both", "backslash", "doubled"]
MAX_NAME_CHARACTERS = 255
"""Maximum length of `linked_record.name`, according to Zoho's OpenAPI file."""


def _option(default: Any, help_text: str) -> Any:
    """Return a field with the help of its option."""
    return field(default=default, metadata={"help": help_text})


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedAnswer:
    """Shape of the answer to a batch with at least one invalid email.

    The documented answer is HTTP 400 with a list of errors for each email, located by `json_path`.

    Args:
        status: the HTTP status if the call has valid and invalid emails; a call without a valid
            email is always answered with 400.
        applied: whether the valid emails of such a call are changed.
        shape: `nested` gives each email a list of its errors, `flat` a single object; `call` is one
            object, the first error, for all emails.
        named: how an entry identifies its email.
        good: the entry of a valid email: a success, an empty list, or omitted.
        order: order of the entries: as sent, reversed, or shuffled by the seed.
    """

    status: Literal[200, 207, 400] = 400
    applied: Literal["no", "yes"] = "no"
    shape: Literal["nested", "flat", "call"] = "nested"
    named: Literal["json-path", "message-id", "both", "none"] = "json-path"
    good: Literal["success", "empty", "omitted"] = "empty"
    order: Literal["sent", "reversed", "shuffled"] = "sent"

    def __post_init__(self) -> None:
        if self.good == "success" and self.applied == "no":
            raise ValueError(
                "good=success needs applied=yes, as an email that is not changed is not a success"
            )
        if self.good == "empty" and self.shape == "flat":
            raise ValueError("good=empty needs shape=nested, as a flat answer has no empty lists")
        if self.shape == "call" and (self.good != "omitted" or self.applied == "yes"):
            raise ValueError("shape=call needs good=omitted and applied=no: it refuses the call")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Behaviour of an emulator, apart from its faults.

    Each field is documented by the help of its option.
    """

    max_items: int = _option(MAX_ITEMS_PER_CALL, "Maximum number of emails in one call.")
    over_max: Literal["limit-exceeded", "invalid-data", "accept"] = _option(
        "limit-exceeded", "Answer to a call with more emails than the maximum."
    )
    mixed_answer: MixedAnswer = _option(  # noqa: RUF009 - a frozen value
        MixedAnswer(),
        "Answer to a call with valid and invalid emails: a comma-separated list of "
        "status=400|207|200, applied=no|yes, shape=nested|flat|call, "
        "named=json-path|message-id|both|none, good=empty|success|omitted, "
        "order=sent|reversed|shuffled; the first value of each is its default.",
    )
    same_deal: Literal["already-linked", "success"] = _option(
        "already-linked", "Answer to linking an email to the deal it is already on."
    )
    unlinked: Literal["success", "invalid-data"] = _option(
        "success", "Answer to unlinking an email that is on no deal."
    )
    wrong_owner: Literal["invalid-data", "accept"] = _option(
        "invalid-data", "Answer to an owner who does not own the email's mailbox."
    )
    mixed_owners: Literal["accept", "invalid-data"] = _option(
        "accept", "Answer to a link call with emails of several owners."
    )
    # The pages call both names mandatory; the OpenAPI file has no owner.name and allows no others.
    names: Literal["required", "optional", "refused"] = _option(
        "required",
        "Whether owner.name and linked_record.name are required, optional, or owner.name refused.",
    )
    # The OpenAPI file says so, the pages do not.
    long_names: Literal["invalid-data", "accept"] = _option(
        "invalid-data", "Answer to a linked_record.name of more than 255 characters."
    )
    # The page's sample echoes; the OpenAPI file and the announcement show SUCCESS.
    single_answer: Literal["echo", "success"] = _option(
        "echo", "Answer to a single link: an echo of the request, or a success as for many emails."
    )
    single_error: Literal["flat", "nested"] = _option(
        "flat", "Shape of the error of a single call."
    )
    wording: Literal["pages", "openapi"] = _option(
        "pages", "Wording of successes: as on Zoho's pages or in its OpenAPI file."
    )
    # The pages ask for emails and contacts; the OpenAPI file for deals as well.
    scope_rule: Literal["pages", "openapi"] = _option(
        "pages", "Scopes that a link needs: as on Zoho's pages or in its OpenAPI file."
    )
    scopes: tuple[str, ...] = _option(DEFAULT_SCOPES, "Scopes of the tokens, comma-separated.")
    permissions: tuple[str, ...] = _option(
        DEFAULT_PERMISSIONS, "Permissions of the user's profile, comma-separated."
    )
    broken_mailboxes: tuple[str, ...] = _option(
        (), "Ids of users whose mailbox cannot be read, comma-separated."
    )
    private_mailboxes: tuple[str, ...] = _option(
        (), "Ids of users whose mailbox is not shared, comma-separated."
    )
    # The help speaks of shared mailboxes only.
    private_links: Literal["refused", "allowed", "no-permission", "invalid-data"] = _option(
        "refused",
        "Answer to a link of an email in such a mailbox: NOT_ALLOWED (refused), another code, or"
        " a success.",
    )
    prediction: PredictionMode = _option(  # noqa: RUF009 - a literal
        "strict",
        "Deal of received mail: the last modified of those forecast Open (strict), of all that are "
        "not lost (loose), or of all, but none if that is lost (last-modified-first).",
    )
    # The help speaks of deals of "the contact or contact role".
    role_links: Literal["allowed", "refused"] = _option(
        "allowed", "Whether an email can be linked to a deal that has its contact by role only."
    )
    role_deals: Literal["listed", "hidden"] = _option(
        "listed", "Whether the deals of a contact include those that have it by role only."
    )
    foreign_deals: Literal["refused", "allowed"] = _option(
        "refused", "Whether an email can be linked to a deal that its contact is not on at all."
    )
    shared_emails: Literal["separate", "shared"] = _option(
        "separate", "Whether contacts that have the same email share its link."
    )
    # The page's sample of a single email has no linked_record.
    single_view: Literal["hidden", "shown"] = _option(
        "hidden", "Whether the view of a single email shows its deal."
    )
    link_touches: TracingCalls = _option(  # noqa: RUF009 - a literal
        "none", "Calls that change when the deal was modified: link, unlink, both or none."
    )
    link_timeline: TracingCalls = _option(  # noqa: RUF009 - a literal
        "none", "Calls that add an entry to the timeline of the deal: link, unlink, both or none."
    )
    link_source: str = _option("crm_api", "Source that these entries name.")
    # Zoho's pages show both.
    coql_quote: QuoteEscape = _option(  # noqa: RUF009 - a literal
        "both", "How a quote within a text of a query is escaped: by a backslash, or doubled."
    )

    edition: Edition | None = _option(  # noqa: RUF009 - None
        None, "Edition of the org. Default: the world's."
    )
    concurrency: int | None = _option(
        None, "Maximum number of calls in flight; 0 for no limit. Default: the edition's."
    )
    link_concurrency: int = _option(
        0, "Maximum number of link and unlink calls in flight; 0 for no separate limit."
    )
    coql_concurrency: int = _option(
        10, "Maximum number of COQL queries in flight; 0 for no separate limit."
    )
    credits: int | None = _option(
        None, "Credits per window; 0 for no limit. Default: the edition's."
    )
    credit_window: float = _option(86_400.0, "Length of the rolling credit window in seconds.")
    link_credits: int = _option(1, "Credits that a link or unlink call costs.")
    read_credits: int = _option(1, "Credits that a call to read emails costs.")
    # The published sample of another call states the limit, its window and when to retry.
    too_many_body: Literal["current", "old", "stated"] = _option(
        "current", "Shape of the body of a 429."
    )
    too_many_text: Literal["told", "same"] = _option(
        "told", "Whether the text of a 429 names the limit: credits or concurrency."
    )
    retry_after: Literal["off", "on"] = _option("off", "Whether a 429 has a Retry-After header.")
    penalty: float = _option(
        0.0, "Seconds that all calls are refused after a 429; doubled by calling too early."
    )
    background_in_flight: int = _option(0, "Calls that the org's other programs keep in flight.")
    background_plan: tuple[str, ...] = _option(
        (),
        "Calls that the org's other programs keep in flight over time: a comma-separated list of "
        "SECONDS=CALLS, counted from the start, such as 30=5,60=0.",
    )
    background_credits: float = _option(
        0.0, "Credits that the org's other programs use per second."
    )

    expires_in: int = _option(3_600, "Lifetime of an access token in seconds.")
    tokens_per_window: int = _option(10, "Access tokens per window; 0 for no limit.")
    token_window: float = _option(600.0, "Length of the access token window in seconds.")
    token_penalty: float = _option(
        60.0, "Seconds by which each request for a token prolongs a refusal of tokens."
    )

    latency: float = _option(0.0, "Seconds that each call takes.")
    seed: int = _option(1, "Seed of the tokens and the shuffled order.")

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, int | float) and name != "seed" and not 0 <= value <= 10**9:
                raise ValueError(f"{name} must be from 0 to 1,000,000,000")
        for name in ("max_items", "credit_window", "token_window"):
            if getattr(self, name) == 0:
                raise ValueError(f"{name} must be above 0")
        parse_background_plan(self)


def parse_background_plan(settings: Settings) -> tuple[tuple[float, int], ...]:
    """Return the calls that other programs keep in flight, as (start second, calls) in order.

    Raises:
        ValueError: if the plan is not valid.
    """
    steps = [(0.0, settings.background_in_flight)]
    for part in settings.background_plan:
        seconds, _, calls = part.partition("=")
        try:
            steps.append((float(seconds), int(calls)))
        except ValueError:
            raise ValueError(f"{part!r} is not of the form SECONDS=CALLS") from None
    if steps != sorted(steps, key=lambda step: step[0]) or any(calls < 0 for _, calls in steps):
        raise ValueError(
            "the steps of background_plan must be in chronological order, with 0 or more calls"
        )
    return tuple(steps)


def parse_mixed_answer(text: str) -> MixedAnswer:
    """Parse a `MixedAnswer` from option text such as `status=207,applied=yes`.

    Raises:
        ValueError: if a name or value is unknown, or two values exclude each other.
    """
    values: dict[str, Any] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        hints = get_type_hints(MixedAnswer)
        choices = {str(choice): choice for choice in get_args(hints.get(name))}
        if value not in choices:
            valid = f"{name}={'|'.join(choices)}" if choices else f"one of {', '.join(hints)}"
            raise ValueError(f"{part.strip()!r} is not known: {valid}")
        values[name] = choices[value]
    return MixedAnswer(**values)
