"""Settings of the emulator: what Zoho leaves open, limits of the org, rights of the token.

Each default is what Zoho's pages suggest most; where two sources differ, the comment names both.
Every field of `Settings` is an option of `bulklink emulator` of the same name, `_` written `-`,
and carries the help of that option.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_type_hints

MAX_ITEMS_PER_CALL = 20
"""Emails of a link or unlink call, by the pages."""
MAX_MESSAGE_IDS_CHARACTERS = 2_000
"""Characters of the `message_ids` of an unlink, by the pages."""

EMAILS_AREA = "ZohoCRM.modules.emails"
CONTACTS_AREA = "ZohoCRM.modules.contacts"
DEALS_AREA = "ZohoCRM.modules.deals"
DEFAULT_SCOPES = (
    f"{EMAILS_AREA}.ALL",
    f"{CONTACTS_AREA}.ALL",
    f"{DEALS_AREA}.ALL",
    "ZohoCRM.settings.modules.READ",
    "ZohoCRM.settings.pipeline.READ",
    "ZohoCRM.users.READ",
    "ZohoCRM.org.READ",
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
PredictionMode = Literal["strict", "loose"]


def _option(default: Any, help_text: str) -> Any:
    """Return a field with the help of its option."""
    return field(default=default, metadata={"help": help_text})


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedAnswer:
    """Form of a batch answer with at least one bad email.

    The documented answer is HTTP 400 with a list of errors an email, placed by `json_path`.

    Args:
        status: the HTTP status where good and bad emails stand in one call; a call without a
            good email answers 400 always.
        applied: whether the good emails of such a call are changed.
        shape: `nested` gives each email a list of its errors, `flat` one object.
        named: how an entry names its email.
        good: the entry of a good email: a success, an empty list, or none.
        order: as sent, reversed, or shuffled (by the seed).
    """

    status: Literal[200, 207, 400] = 400
    applied: Literal["no", "yes"] = "no"
    shape: Literal["nested", "flat"] = "nested"
    named: Literal["json-path", "message-id", "both", "none"] = "json-path"
    good: Literal["success", "empty", "omitted"] = "empty"
    order: Literal["sent", "reversed", "shuffled"] = "sent"

    def __post_init__(self) -> None:
        if self.good == "success" and self.applied == "no":
            raise ValueError("good=success needs applied=yes: a success that is none is a lie")
        if self.good == "empty" and self.shape == "flat":
            raise ValueError("good=empty needs shape=nested: a flat answer has no empty lists")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Behaviour of an emulator, apart from its faults.

    The help of each field's option documents it.
    """

    max_items: int = _option(MAX_ITEMS_PER_CALL, "Emails that a link or unlink call may carry.")
    over_max: Literal["limit-exceeded", "invalid-data", "accept"] = _option(
        "limit-exceeded", "The answer to a call with more."
    )
    mixed_answer: MixedAnswer = _option(  # noqa: RUF009 - a frozen value
        MixedAnswer(),
        "The answer to a call with good and bad emails, joined by commas, defaults first: "
        "status=400|207|200, applied=no|yes, shape=nested|flat, "
        "named=json-path|message-id|both|none, good=empty|success|omitted, "
        "order=sent|reversed|shuffled.",
    )
    same_deal: Literal["already-linked", "success"] = _option(
        "already-linked", "Linking an email to the deal that it is on."
    )
    unlinked: Literal["success", "invalid-data"] = _option(
        "success", "Unlinking an email that is on no deal."
    )
    wrong_owner: Literal["invalid-data", "accept"] = _option(
        "invalid-data", "An owner who is not the owner of the email's mailbox."
    )
    mixed_owners: Literal["accept", "invalid-data"] = _option(
        "accept", "Emails of several owners in one link call."
    )
    # The pages call both names mandatory; the OpenAPI file does not.
    names: Literal["required", "optional"] = _option(
        "required", "Whether owner.name and linked_record.name must be there."
    )
    # The page's sample echoes; the OpenAPI file and the announcement show SUCCESS.
    single_answer: Literal["echo", "success"] = _option(
        "echo", "A single link echoes the request, or answers as for many emails."
    )
    single_error: Literal["flat", "nested"] = _option(
        "flat", "The shape of the error of a single call."
    )
    wording: Literal["pages", "openapi"] = _option(
        "pages", "The words of a success: those of the pages or of the OpenAPI file."
    )
    # The pages ask for emails and contacts; the OpenAPI file for deals as well.
    scope_rule: Literal["pages", "openapi"] = _option(
        "pages", "The scopes that a link needs: those of the pages, or of the OpenAPI file."
    )
    scopes: tuple[str, ...] = _option(DEFAULT_SCOPES, "What tokens may do, joined by commas.")
    permissions: tuple[str, ...] = _option(
        DEFAULT_PERMISSIONS, "What the profile of the tokens' user may do, joined by commas."
    )
    broken_mailboxes: tuple[str, ...] = _option(
        (), "Users whose mailbox cannot be read, joined by commas."
    )
    prediction: PredictionMode = _option(  # noqa: RUF009 - a literal
        "strict", "Which deals count as open for received mail: forecast Open, or all not lost."
    )

    edition: Edition | None = _option(  # noqa: RUF009 - None
        None, "The edition; without it, the world's."
    )
    concurrency: int | None = _option(
        None, "Calls in flight; without it, the edition's; 0 for any number."
    )
    link_concurrency: int = _option(
        0, "Link and unlink calls in flight, below the others' limit; 0 for no such limit."
    )
    credits: int | None = _option(
        None, "Credits in a window; without it, the edition's; 0 for any number."
    )
    credit_window: float = _option(86_400.0, "Seconds of the rolling window of credits.")
    link_credits: int = _option(1, "Credits that a link or unlink call costs.")
    read_credits: int = _option(1, "Credits that reading emails costs.")
    # The sample of another call states the limit, its window and when to come again.
    too_many_body: Literal["current", "old", "stated"] = _option("current", "The shape of a 429.")
    too_many_text: Literal["told", "same"] = _option(
        "told", "Whether the words of a 429 tell credits from concurrency."
    )
    retry_after: Literal["off", "on"] = _option("off", "Whether a 429 says when to come again.")
    penalty: float = _option(
        0.0, "Seconds that all calls are refused after a 429; calling too early doubles them."
    )
    background_in_flight: int = _option(0, "Calls that other programs of the org keep in flight.")
    background_plan: tuple[str, ...] = _option(
        (),
        "When they keep how many, instead: SECONDS=CALLS from the start on, joined by commas, "
        "as 30=5,60=0.",
    )
    background_credits: float = _option(0.0, "Credits a second that other programs of the org use.")

    expires_in: int = _option(3_600, "Seconds that an access token lives.")
    tokens_per_window: int = _option(10, "Access tokens in a window; 0 for any number.")
    token_window: float = _option(600.0, "Seconds of the window of access tokens.")
    token_penalty: float = _option(60.0, "Seconds added by asking for a token while refused.")

    latency: float = _option(0.0, "Seconds that each call takes.")
    seed: int = _option(1, "Decides whatever is drawn.")

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, int | float) and name != "seed" and not 0 <= value <= 10**9:
                raise ValueError(f"{name} must not be below 0 or above a thousand million")
        for name in ("max_items", "credit_window", "token_window"):
            if getattr(self, name) == 0:
                raise ValueError(f"{name} must be above 0")
        parse_background_plan(self)


def parse_background_plan(settings: Settings) -> tuple[tuple[float, int], ...]:
    """Return the calls that other programs keep in flight, as (from second, calls) in order.

    Raises:
        ValueError: if the plan is not valid.
    """
    steps = [(0.0, settings.background_in_flight)]
    for part in settings.background_plan:
        seconds, _, calls = part.partition("=")
        try:
            steps.append((float(seconds), int(calls)))
        except ValueError:
            raise ValueError(f"{part!r} is not SECONDS=CALLS") from None
    if steps != sorted(steps, key=lambda step: step[0]) or any(calls < 0 for _, calls in steps):
        raise ValueError("the steps of background_plan are not in order, or below 0 calls")
    return tuple(steps)


def parse_mixed_answer(text: str) -> MixedAnswer:
    """Parse a `MixedAnswer` from the option's text, such as `status=207,applied=yes`.

    Raises:
        ValueError: if a name or value is unknown, or they exclude each other.
    """
    values: dict[str, Any] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        hints = get_type_hints(MixedAnswer)
        choices = {str(choice): choice for choice in get_args(hints.get(name))}
        if value not in choices:
            valid_values = "|".join(choices) if choices else "one of " + ", ".join(hints)
            raise ValueError(
                f"{part.strip()!r} is not known: {name if choices else ''}={valid_values}"
            )
        values[name] = choices[value]
    return MixedAnswer(**values)
