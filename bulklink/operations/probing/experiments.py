"""The experiments of a probe: what each asks, sends and needs, and how it reads the replies."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from bulklink.models import Message
from bulklink.operations.probing.probed_org import ProbedOrg, seen_in
from bulklink.operations.probing.replies import (
    Reply,
    read_mixed,
    read_name_replies,
    read_over_max,
    read_single_answer,
    read_single_error,
    read_verdict,
    read_wording,
)
from bulklink.operations.probing.values import (
    Answers,
    ExperimentError,
    Materials,
    ProbeAnswer,
    ProbeDeal,
    ProbeEmail,
    Question,
)
from bulklink.zoho.coql import coql_request, parse_contact_rows, select_quoted_text
from bulklink.zoho.email_pages import parse_email_details
from bulklink.zoho.error_codes import Code
from bulklink.zoho.error_policy import AnswerClass, classify_outcome
from bulklink.zoho.link_response import MAX_NAME_LENGTH
from bulklink.zoho.related_records import parse_contact_deals
from bulklink.zoho.requests import (
    MAX_MESSAGES_PER_CALL,
    deal_records_request,
    email_request,
    timeline_request,
)
from bulklink.zoho.timeline import TimelinePage, parse_timeline

_MIXED_EMAILS = 14
_SOURCE = re.compile("[a-z][a-z_]{0,39}")
_FUTURE = datetime.max.replace(tzinfo=UTC)
_GOOD_POSITIONS = (1, 4)
"""Positions of the valid emails of a mixed call, which differ when counted from its end."""


class NoLinkError(Exception):
    """Raised when the org accepts no link, so that nothing can be found out.

    Args:
        reason: what is refused.
        reply: the refusal.
        email: the email.
    """

    def __init__(self, reason: str, reply: Reply, email: ProbeEmail) -> None:
        super().__init__(f"{reason}: {reply.seen or 'no answer'}.")
        self.code = reply.code(email.message_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A few calls that answer questions.

    Args:
        title: what is tried.
        sends: what is sent, in a sentence for the user.
        questions: the questions that it answers.
        calls: maximum calls, without reads of a contact's emails.
        reads: maximum reads of a contact's emails.
        run: makes the calls and returns the answers.
        lacks: returns the record that is needed and missing; empty if there is none.
        writes: whether it sends links or unlinks.
    """

    title: str
    sends: str
    questions: tuple[Question, ...]
    calls: int
    reads: int = 0
    run: Callable[[ProbedOrg, Materials], Awaitable[Answers]]
    lacks: Callable[[Materials], str] = lambda materials: ""
    writes: bool = True

    def credits(self, materials: Materials) -> int:
        """Return the most credits that it takes."""
        return self.calls + self.reads * materials.pages

    def unknown(self, answer: ProbeAnswer) -> Answers:
        """Return the same answer to each question."""
        return dict.fromkeys((question.key for question in self.questions), answer)


async def _ask_names(org: ProbedOrg, materials: Materials) -> Answers:
    email, deal = materials.email, materials.deal
    refusal = await org.refusal_to_put_back(email)
    if refusal is not None:
        raise NoLinkError("The org refuses to link an email to the deal it is on", refusal, email)
    await org.free(email)
    with_names = await org.link([email.message], [deal], include_names=True)
    await org.free(email)
    ids_alone = await org.link([email.message], [deal], include_names=False)
    with_names.require_shape()
    ids_alone.require_shape()
    names = read_name_replies(with_names, ids_alone, email.message_id)
    if names.answer is None:
        raise NoLinkError("The org refuses links", with_names, email)
    org.include_names = names.answer != "refused"
    return {"names": names, "wording": read_wording([with_names, ids_alone])}


async def _ask_same_deal(org: ProbedOrg, materials: Materials) -> Answers:
    email, deal = materials.email, materials.deal
    await org.place(email, deal)
    reply = await org.link([email.message], [deal])
    return {"same-deal": read_verdict(reply, email.message_id, {Code.SUCCESS: "success"})}


async def _ask_unlinked(org: ProbedOrg, materials: Materials) -> Answers:
    email = materials.email
    await org.free(email)
    reply = await org.unlink(email)
    return {"unlinked": read_verdict(reply, email.message_id, {Code.SUCCESS: "success"})}


async def _ask_mixed(org: ProbedOrg, materials: Materials) -> Answers:
    emails = [email for email in (materials.email, materials.second) if email is not None]
    await org.free(*emails)
    messages = [_made_up(materials.email, number) for number in range(_MIXED_EMAILS)]
    good = _GOOD_POSITIONS[: len(emails)]
    for position, email in zip(good, emails, strict=True):
        messages[position] = email.message
    reply = await org.link(messages, [materials.deal] * len(messages))
    reply.require_shape()
    deals = await org.deals_of(*emails, unchanged=None)
    applied = [deals.get(email.message_id) is not None for email in emails]
    return read_mixed(reply, [message.message_id for message in messages], good, applied)


async def _ask_over_max(org: ProbedOrg, materials: Materials) -> Answers:
    most = await _link_made_up(org, materials, MAX_MESSAGES_PER_CALL)
    one_more = await _link_made_up(org, materials, MAX_MESSAGES_PER_CALL + 1)
    return {"over-max": read_over_max(most, one_more)}


async def _link_made_up(org: ProbedOrg, materials: Materials, count: int) -> Reply:
    messages = [_made_up(materials.email, number) for number in range(count)]
    return await org.link(messages, [materials.deal] * count)


def _made_up(email: ProbeEmail, number: int) -> Message:
    """Return a message that does not exist."""
    message_id = hashlib.sha256(f"bulklink probe {number}".encode()).hexdigest()
    return msgspec.structs.replace(email.message, message_id=message_id)


async def _ask_wrong_owner(org: ProbedOrg, materials: Materials) -> Answers:
    email = materials.email
    await org.free(email)
    owner_id, owner_name = materials.other_owner or ("", "")
    message = msgspec.structs.replace(email.message, owner_id=owner_id, owner_name=owner_name)
    reply = await org.link([message], [materials.deal])
    return {"wrong-owner": read_verdict(reply, email.message_id, {Code.SUCCESS: "accept"})}


async def _ask_mixed_owners(org: ProbedOrg, materials: Materials) -> Answers:
    emails = [email for email in (materials.email, materials.of_other_owner) if email is not None]
    await org.free(*emails)
    reply = await org.link([email.message for email in emails], [materials.deal] * len(emails))
    refused = [email for email in reversed(emails) if not reply.accepts(email.message_id)]
    subject = next(iter(refused), materials.email)
    return {"mixed-owners": read_verdict(reply, subject.message_id, {Code.SUCCESS: "accept"})}


async def _ask_single(org: ProbedOrg, materials: Materials) -> Answers:
    email = materials.email
    await org.free(email)
    no_deal = ProbeDeal(email.contact_id, materials.deal.name)  # the id of a contact is no deal's
    error = await org.link([email.message], [no_deal], single=True)
    await org.free(email)
    success = await org.link([email.message], [materials.deal], single=True)
    return {
        "single-error": read_single_error(error),
        "single-answer": read_single_answer(success, email.message_id),
    }


async def _ask_single_view(org: ProbedOrg, materials: Materials) -> Answers:
    email = materials.email
    await org.place(email, materials.deal)
    request = email_request(email.contact_id, email.message_id, email.owner_id)
    details = await org.look_up(
        request, lambda answer: parse_email_details(answer, email.message_id), "A single email"
    )
    return {"single-view": ProbeAnswer("hidden" if details.deal is msgspec.UNSET else "shown")}


async def _ask_long_names(org: ProbedOrg, materials: Materials) -> Answers:
    email = materials.email
    if not org.include_names:
        raise ExperimentError("The org refuses names.")
    await org.free(email)
    long_name = materials.deal.name.ljust(MAX_NAME_LENGTH + 1, ".")
    reply = await org.link([email.message], [ProbeDeal(materials.deal.id, long_name)])
    return {"long-names": read_verdict(reply, email.message_id, {Code.SUCCESS: "accept"})}


async def _ask_foreign_deals(org: ProbedOrg, materials: Materials) -> Answers:
    return {"foreign-deals": await _ask_deal(org, materials.email, materials.foreign_deal)}


async def _ask_role_links(org: ProbedOrg, materials: Materials) -> Answers:
    return {"role-links": await _ask_deal(org, materials.email, materials.role_deal)}


async def _ask_deal(
    org: ProbedOrg, email: ProbeEmail | None, deal: ProbeDeal | None
) -> ProbeAnswer:
    """Ask whether an email can be linked to a deal."""
    if email is None or deal is None:
        raise ExperimentError("There is no such record.")
    await org.free(email)
    reply = await org.link([email.message], [deal])
    return read_verdict(
        reply, email.message_id, {Code.SUCCESS: "allowed", Code.NOT_ALLOWED: "refused"}
    )


async def _ask_private_links(org: ProbedOrg, materials: Materials) -> Answers:
    return {"private-links": await _ask_deal(org, materials.private, materials.deal)}


async def _ask_role_deals(org: ProbedOrg, materials: Materials) -> Answers:
    del org  # the deals of the contact are known
    return {"role-deals": ProbeAnswer("listed" if materials.role_deal_listed else "hidden")}


async def _ask_shared_emails(org: ProbedOrg, materials: Materials) -> Answers:
    email, twin = materials.shared, materials.shared_with
    if email is None or twin is None:
        raise ExperimentError("There is no such email.")
    await org.free(email)
    before = (await org.deals_of(twin)).get(twin.message_id)
    reply = await org.link([email.message], [materials.deal])
    if before is not None and reply.code(email.message_id) == Code.ALREADY_LINKED:
        return {"shared-emails": ProbeAnswer("shared", seen=reply.seen)}
    if not reply.accepts(email.message_id):
        raise ExperimentError("The email could not be linked.", reply.seen)
    after = (await org.deals_of(twin, unchanged=before)).get(twin.message_id)
    return {"shared-emails": ProbeAnswer("separate" if after == before else "shared")}


class _DealState(msgspec.Struct, frozen=True):
    """What a deal shows of changes: its modified time, and the entries of its timeline."""

    modified_time: str | None
    entries: dict[str, str]
    """Source of each entry, by its id."""


async def _ask_traces(org: ProbedOrg, materials: Materials) -> Answers:
    email, deal = materials.email, materials.deal
    await org.free(email)
    before = await _read_deal(org, deal)
    if before.modified_time != materials.deal_modified_time:
        await org.tick()  # an earlier call may have modified the deal in this second
    await org.place(email, deal)
    linked = await _read_changed_deal(org, deal, before)
    if linked.modified_time != before.modified_time:
        await org.tick()
    await org.free(email)
    unlinked = await _read_changed_deal(org, deal, linked)
    sources = [
        source
        for state, earlier in ((linked, before), (unlinked, linked))
        for key, source in state.entries.items()
        if key not in earlier.entries
    ]
    return {
        "link-touches": ProbeAnswer(
            _which(
                linked.modified_time != before.modified_time,
                unlinked.modified_time != linked.modified_time,
            )
        ),
        "link-timeline": ProbeAnswer(
            _which(
                bool(linked.entries.keys() - before.entries.keys()),
                bool(unlinked.entries.keys() - linked.entries.keys()),
            )
        ),
        "link-source": ProbeAnswer(sources[0])
        if sources
        else ProbeAnswer(reason="Links leave no entry in the timeline."),
    }


def _which(link: bool, unlink: bool) -> str:  # noqa: FBT001 - the two calls, in order
    return "both" if link and unlink else "link" if link else "unlink" if unlink else "none"


async def _read_changed_deal(org: ProbedOrg, deal: ProbeDeal, before: _DealState) -> _DealState:
    """Read a deal after a call; once more if it does not show both changes at once."""
    state = await _read_deal(org, deal)
    if state.modified_time != before.modified_time and state.entries != before.entries:
        return state
    await org.settle()
    return await _read_deal(org, deal)


async def _read_deal(org: ProbedOrg, deal: ProbeDeal) -> _DealState:
    records = await org.look_up(deal_records_request([deal.id]), parse_contact_deals, "A deal")
    if deal.id not in records.items:
        raise ExperimentError("A deal could not be read.")
    page = await org.look_up(
        timeline_request(deal.id, None),
        lambda answer: parse_timeline(answer, deal.id),
        "The timeline of a deal",
    )
    if page.more and not page.reaches_back_before(_FUTURE):
        raise ExperimentError("The timeline of a deal is longer than a page.")
    return _DealState(records.items[deal.id].modified_time, _entries(page))


def _entries(page: TimelinePage) -> dict[str, str]:
    """Return the source of each entry by its id; a source unknown to Zoho's docs is `other`."""
    return {
        entry.id or entry.audited_time.isoformat(): entry.source
        if entry.source and _SOURCE.fullmatch(entry.source)
        else "other"
        for entry in page.entries
    }


async def _ask_coql_quote(org: ProbedOrg, materials: Materials) -> Answers:
    del materials
    backslash = await _accepts_query(org, "\\'")
    doubled = await _accepts_query(org, "''")
    accepted = {
        (True, True): "both",
        (True, False): "backslash",
        (False, True): "doubled",
        (False, False): "none",
    }
    return {"coql-quote": ProbeAnswer(accepted[backslash, doubled])}


async def _accepts_query(org: ProbedOrg, escaped_quote: str) -> bool:
    """Return whether a query with a quote in a text is accepted.

    Raises:
        ExperimentError: if queries are not permitted.
    """
    answer = await org.ask(coql_request(select_quoted_text(escaped_quote)))
    if parse_contact_rows(answer) is not None:
        return True
    if classify_outcome(answer) is not AnswerClass.ITEM:
        raise ExperimentError("Queries are not permitted.", seen_in(answer))
    return False


def _lacks(name: str, record: str) -> Callable[[Materials], str]:
    """Return a function that returns the record if the materials have none."""
    return lambda materials: record if getattr(materials, name) is None else ""


_ROLE_DEAL = "a deal that has the contact by a contact role only"
_FOREIGN_DEAL = "a deal of another contact, on which this one has no role"
_SHARED_EMAIL = "an email that another contact has too"

EXPERIMENTS = (
    Experiment(
        title="names of owner and deal",
        sends="Links an email with names, and again without.",
        questions=(
            Question("names", "Must a link have the names of owner and deal?", "names"),
            Question("wording", "Which words does a success have?", "wording"),
        ),
        calls=4,
        run=_ask_names,
    ),
    Experiment(
        title="more than 20 emails",
        sends="Links 20 and 21 emails that do not exist.",
        questions=(Question("over-max", "What is the answer to 21 emails?", "over-max"),),
        calls=2,
        run=_ask_over_max,
    ),
    Experiment(
        title="the deal that the email is on",
        sends="Links an email to a deal twice.",
        questions=(
            Question(
                "same-deal",
                "What is the answer to linking an email to the deal that it is on?",
                "same-deal",
            ),
        ),
        calls=3,
        reads=1,
        run=_ask_same_deal,
    ),
    Experiment(
        title="the view of a single email",
        sends="Links an email, and looks at it.",
        questions=(
            Question(
                "single-view", "Does the view of a single email show its deal?", "single-view"
            ),
        ),
        calls=3,
        reads=1,
        run=_ask_single_view,
    ),
    Experiment(
        title="an email on no deal",
        sends="Unlinks an email twice.",
        questions=(
            Question(
                "unlinked", "What is the answer to unlinking an email on no deal?", "unlinked"
            ),
        ),
        calls=2,
        reads=1,
        run=_ask_unlinked,
    ),
    Experiment(
        title="valid and invalid emails in one call",
        sends="Links two emails in a call with twelve that do not exist.",
        questions=(
            Question(
                "mixed-status",
                "Which HTTP status has a call with valid and invalid emails?",
                "mixed-answer status",
            ),
            Question("mixed-applied", "… are the valid ones linked?", "mixed-answer applied"),
            Question("mixed-shape", "… what is the shape of the errors?", "mixed-answer shape"),
            Question("mixed-named", "… how do entries name their emails?", "mixed-answer named"),
            Question("mixed-good", "… what is the entry of a valid email?", "mixed-answer good"),
            Question("mixed-order", "… in which order are the entries?", "mixed-answer order"),
        ),
        calls=3,
        reads=3,
        run=_ask_mixed,
    ),
    Experiment(
        title="the endpoint for one email",
        sends="Links an email to a deal that does not exist, then to one of its contact.",
        questions=(
            Question("single-error", "What is the shape of an error there?", "single-error"),
            Question("single-answer", "What is the answer to a link there?", "single-answer"),
        ),
        calls=4,
        reads=2,
        run=_ask_single,
    ),
    Experiment(
        title="another owner",
        sends="Links an email with another user as its owner.",
        questions=(
            Question(
                "wrong-owner",
                "What is the answer to an owner who does not own the mailbox?",
                "wrong-owner",
            ),
        ),
        calls=2,
        reads=1,
        run=_ask_wrong_owner,
        lacks=_lacks("other_owner", "a second user of the org"),
    ),
    Experiment(
        title="several owners in one call",
        sends="Links two emails of different owners in one call.",
        questions=(
            Question(
                "mixed-owners",
                "What is the answer to several owners in one link call?",
                "mixed-owners",
            ),
        ),
        calls=3,
        reads=2,
        run=_ask_mixed_owners,
        lacks=_lacks("of_other_owner", "another email of the contact, owned by another user"),
    ),
    Experiment(
        title="a name of more than 255 characters",
        sends="Links an email with dots after the name of the deal.",
        questions=(
            Question("long-names", "What is the answer to a name of 256 characters?", "long-names"),
        ),
        calls=2,
        reads=1,
        run=_ask_long_names,
    ),
    Experiment(
        title="the deals of a contact",
        sends="Sends nothing: the deals of the contact are known.",
        questions=(
            Question(
                "role-deals",
                "Do the deals of a contact include those by a contact role?",
                "role-deals",
            ),
        ),
        calls=0,
        run=_ask_role_deals,
        lacks=_lacks("role_deal_listed", _ROLE_DEAL),
        writes=False,
    ),
    Experiment(
        title="a deal by a contact role",
        sends="Links an email to a deal that has its contact by a contact role only.",
        questions=(
            Question(
                "role-links", "Can an email be linked to a deal by a contact role?", "role-links"
            ),
        ),
        calls=2,
        reads=1,
        run=_ask_role_links,
        lacks=_lacks("role_deal", _ROLE_DEAL),
    ),
    Experiment(
        title="a deal of another contact",
        sends="Links an email to a deal that its contact is not on.",
        questions=(
            Question(
                "foreign-deals",
                "Can an email be linked to a deal that its contact is not on?",
                "foreign-deals",
            ),
        ),
        calls=2,
        reads=1,
        run=_ask_foreign_deals,
        lacks=_lacks("foreign_deal", _FOREIGN_DEAL),
    ),
    Experiment(
        title="an email of two contacts",
        sends="Links an email under one contact, and looks at it under the other.",
        questions=(
            Question(
                "shared-emails",
                "Is a link under one contact a link under the other?",
                "shared-emails",
            ),
        ),
        calls=2,
        reads=4,
        run=_ask_shared_emails,
        lacks=_lacks("shared", _SHARED_EMAIL),
    ),
    Experiment(
        title="an email of a private mailbox",
        sends="Links an email of a mailbox that is not shared.",
        questions=(
            Question(
                "private-links",
                "Can an email of a private mailbox be linked?",
                "private-links",
            ),
        ),
        calls=1,
        reads=1,
        run=_ask_private_links,
        lacks=_lacks("private", "an email of a private mailbox, which only you can name"),
    ),
    Experiment(
        title="traces of a link on its deal",
        sends="Links and unlinks an email, and looks at the deal and its timeline.",
        questions=(
            Question(
                "link-touches", "Which calls change the Modified_Time of the deal?", "link-touches"
            ),
            Question(
                "link-timeline", "Which calls are in the timeline of the deal?", "link-timeline"
            ),
            Question("link-source", "Which source do its entries name?", "link-source"),
        ),
        calls=13,
        reads=1,
        run=_ask_traces,
    ),
    Experiment(
        title="quotes in queries",
        sends="Sends two queries with a quote in a text.",
        questions=(Question("coql-quote", "How is a quote escaped in COQL?", "coql-quote"),),
        calls=2,
        run=_ask_coql_quote,
        writes=False,
    ),
)
"""All experiments in order; the first one finds out how a link must be sent."""
