"""Rows whose deal belongs to another contact, and the contact roles that permit them.

An email may be linked to the deals of its contact, and to those on which the contact has a role.
The roles are read before the warning, one credit a deal. Whatever prevents that changes only the
text of the warning.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any

import msgspec

from bulklink.counts import count_of, inflect
from bulklink.engine.caller import Caller
from bulklink.engine.record_lookups import read_contact_roles
from bulklink.mapping.rejects import MAX_FOREIGN_DEALS, ForeignDeals
from bulklink.task_group import task_group
from bulklink.zoho.error_policy import AnswerClass, classify_error
from bulklink.zoho.http import CallKind
from bulklink.zoho.link_response import AnswerVerdict


class RoleCheck(msgspec.Struct, frozen=True):
    """What is known of the contact roles on the deals of other contacts.

    Args:
        roles: pairs of a deal and a contact with a role on it.
        unchecked: what was not checked, a sentence for the user; empty if all was.
    """

    roles: tuple[tuple[str, str], ...] = ()
    unchecked: str = ""


class _TolerantBreaker:
    """Breaker for look-ups that a run can do without: every refusal concerns its record alone."""

    async def on_refusal(
        self,
        kind: CallKind,
        contact_id: str,
        verdict: AnswerVerdict,
        *,
        completes_relink: bool = False,
        record: str = "contact",
    ) -> None:
        """Return, whatever the refusal is."""
        del kind, contact_id, verdict, completes_relink, record

    def on_success(self, kind: CallKind, contact_id: str) -> None:
        """Ignore a success."""
        del kind, contact_id


async def check_roles(caller: Caller, deal_ids: Collection[str], *, at_once: int) -> RoleCheck:
    """Read the contact roles of deals, unless there are too many or they cannot be read.

    The first deal is read alone: if no call of this kind can succeed, no other is made.

    Args:
        caller: makes the calls.
        deal_ids: the deals; one more than `MAX_FOREIGN_DEALS` stands for any number.
        at_once: maximum calls at once.

    Raises:
        RunStoppedError: if the CRM does not answer, or refuses the token.
        StoppedError: if the run was stopped.
    """
    if len(deal_ids) > MAX_FOREIGN_DEALS:
        return RoleCheck(
            unchecked=f"Contact roles were not checked: more than {MAX_FOREIGN_DEALS} deals are"
            " concerned."
        )
    roles: list[tuple[str, str]] = []
    refusals: dict[str, AnswerVerdict] = {}

    async def read_deal(deal_id: str) -> None:
        result = await read_contact_roles(caller, _TolerantBreaker(), deal_id)
        if isinstance(result, AnswerVerdict):
            refusals[deal_id] = result
        else:
            roles.extend((deal_id, role.contact_id) for role in result)

    first, rest = tuple(deal_ids)[:1], tuple(deal_ids)[1:]
    await _for_all(read_deal, first, at_once)
    if not any(map(_is_final, refusals.values())):
        await _for_all(read_deal, rest, at_once)
    return RoleCheck(tuple(roles), _unread_text(tuple(refusals.values())))


async def _for_all(
    read: Callable[[str], Coroutine[Any, Any, None]], deal_ids: Sequence[str], at_once: int
) -> None:
    for start in range(0, len(deal_ids), at_once):
        async with task_group() as group:
            for deal_id in deal_ids[start : start + at_once]:
                group.start_soon(read, deal_id)


def _is_final(verdict: AnswerVerdict) -> bool:
    """Return whether no call of this kind can succeed after a refusal."""
    return classify_error(verdict.http_status, verdict.code) is AnswerClass.FATAL


def _unread_text(refusals: Sequence[AnswerVerdict]) -> str:
    if not refusals:
        return ""
    first = refusals[0]
    reason = first.code if first.code.isupper() else first.text.rstrip(".") or first.code
    return f"Contact roles could not be read ({reason})."


def foreign_deals_warning(foreign: ForeignDeals, check: RoleCheck) -> str:
    """Return the warning about rows that link an email to a deal of another contact.

    Args:
        foreign: the rows, without those whose contact is known to have a role.
        check: what is known of the roles.
    """
    rows = ", ".join(map(str, foreign.first_rows))
    ellipsis = ", …" if foreign.rows > len(foreign.first_rows) else ""
    subject = count_of(foreign.rows, "row links", "rows link")
    them = inflect(foreign.rows, "it", "them")
    roles = (
        f", unless the contact has a role on that deal. {check.unchecked}"
        if check.unchecked
        else ", as the contact has no role on that deal. Give it one first: a contact role is"
        " enough."
    )
    return (
        f"{subject} an email to a deal of another contact (row {rows}{ellipsis}): Zoho is likely to"
        f" refuse {them} as NOT_ALLOWED{roles}"
    )
