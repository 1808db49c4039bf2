"""What a correct run over a synthetic mapping must report, and where it must leave the emails."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from bulklink.emulator.synthetic import Link, Row, RowKind, Synthetic

MOST_ITEMS = 20
LONGEST_MESSAGE_IDS = 2_000


class Op(StrEnum):
    """What the mapping is run as."""

    LINK = "link"
    RELINK = "relink"
    UNLINK = "unlink"


class Expected(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a correct run reports of a row; `code` where the report must carry one."""

    status: str
    code: str | None = None


_DONE = Expected("done")
_UNCHANGED = Expected("unchanged")
_DUPLICATE = Expected("duplicate")
_CONFLICT = Expected("rejected", "conflict")
_REFUSED = Expected("failed", "ALREADY_LINKED")

INVALID_REASONS = ("missing-value", "bad-id", "rounded-id", "bad-id")

_BY_LINK = {
    (Op.LINK, Link.NONE): _DONE,
    (Op.LINK, Link.RIGHT): _UNCHANGED,
    (Op.LINK, Link.WRONG): _REFUSED,
    (Op.RELINK, Link.NONE): _DONE,
    (Op.RELINK, Link.RIGHT): _UNCHANGED,
    (Op.RELINK, Link.WRONG): _DONE,
    (Op.UNLINK, Link.NONE): _UNCHANGED,
    (Op.UNLINK, Link.RIGHT): _DONE,
    (Op.UNLINK, Link.WRONG): _DONE,
}


class Facts(msgspec.Struct, frozen=True):
    """What is known of a row before any run.

    Args:
        row: the row.
        link: where its message is.
        is_conflict: whether the mapping wants its message on two deals.
        is_second: whether an earlier row names the same message.
    """

    row: Row
    link: Link
    is_conflict: bool
    is_second: bool


def facts(made: Synthetic, place: int) -> Facts:
    """Return what is known of the row at a place of the mapping, from 0."""
    row = made.row(place)
    if row.kind is RowKind.INVALID:
        return Facts(row, Link.NONE, is_conflict=False, is_second=False)
    good, again = made.places_of(row.message)
    second = again is not None and place == max(good, again)
    conflict = again is not None and made.is_conflict(row.message)
    return Facts(row, made.link_of(row.message), conflict, second)


def usual(made: Synthetic, op: Op) -> Expected:
    """Return what most rows of a mapping are, by the recipe."""
    linked = made.recipe.linked_right + made.recipe.linked_wrong
    return _UNCHANGED if op is Op.UNLINK and linked < 0.5 else _DONE


def expected(known: Facts, op: Op) -> Expected:
    """Return what a correct run of `op` reports of a row.

    Broken rows are skipped, links are read back, and an email that is on the wanted deal, or for
    an unlink on none, is unchanged. In an unlink the deal plays no part: what conflicts in a
    link is there twice.
    """
    if known.row.kind is RowKind.INVALID:
        return Expected("rejected", INVALID_REASONS[known.row.nth % len(INVALID_REASONS)])
    if op is not Op.UNLINK and known.is_conflict:
        return _CONFLICT
    return _DUPLICATE if known.is_second else _BY_LINK[op, known.link]


class Mail(msgspec.Struct, frozen=True):
    """What is known of a message before any run.

    Args:
        contact_id: its contact.
        message_id: its id.
        group: the number of its contact and owner together.
        first_deal: the deal it is on, or None.
        wanted: the deal it is wanted on.
        link: how the two compare.
        is_conflict: whether the mapping wants it on two deals.
    """

    contact_id: str
    message_id: str
    group: int
    first_deal: str | None
    wanted: str
    link: Link
    is_conflict: bool


def mail(made: Synthetic, message: int) -> Mail:
    """Return what is known of a message."""
    contact, link, wanted = made.contact_of(message), made.link_of(message), made.deal_of(message)
    first = {Link.NONE: None, Link.RIGHT: wanted, Link.WRONG: made.other_deal(message)}[link]
    return Mail(
        contact_id=made.contact_id(contact),
        message_id=made.message_id(message),
        group=contact * made.recipe.owners_per_contact + made.owner_slot(message),
        first_deal=None if first is None else made.deal_id(first),
        wanted=made.deal_id(wanted),
        link=link,
        is_conflict=made.is_conflict(message),
    )


def final_deal(known: Mail, op: Op) -> str | None:
    """Return the deal that a message is on after a correct run."""
    if op is Op.UNLINK:
        return None
    refused = op is Op.LINK and known.link is Link.WRONG
    return known.first_deal if known.is_conflict or refused else known.wanted


class Digest:
    """A fingerprint of which email is on which deal; the order of the emails plays no part."""

    def __init__(self) -> None:
        self._sum = 0

    def add(self, contact_id: str, message_id: str, deal_id: str | None) -> None:
        """Count one email in."""
        text = f"{contact_id}/{message_id}/{deal_id or ''}".encode()
        self._sum += int.from_bytes(hashlib.blake2b(text, digest_size=16).digest())

    def __str__(self) -> str:
        return f"{self._sum % (1 << 128):032x}"


class Tally:
    """What a correct run of one op reports in sum.

    Args:
        op: what the mapping is run as.
        made: the world and its mapping.
    """

    def __init__(self, op: Op, made: Synthetic) -> None:
        self._op = op
        self._made = made
        self._counts: Counter[str] = Counter()
        self._digest = Digest()
        slots = made.recipe.contacts * made.recipe.owners_per_contact
        self._groups = array("L", bytes(array("L").itemsize * slots))

    def add_row(self, told: Expected) -> None:
        """Count a row of the mapping in."""
        self._counts[told.status] += 1

    def add_message(self, known: Mail) -> None:
        """Count a message of the world in."""
        self._digest.add(known.contact_id, known.message_id, final_deal(known, self._op))
        if self._op is Op.UNLINK or not known.is_conflict:
            self._groups[known.group] += 1

    def shape(self) -> dict[str, object]:
        """Return the sums: counts by status, the least calls, and the final fingerprint."""
        names = ("done", "unchanged", "failed", "in_doubt", "rejected", "duplicate", "pending")
        return {
            "counts": {name: self._counts[name] for name in names},
            "least": self._least(),
            "exit_code": 1 if self._counts["failed"] + self._counts["rejected"] else 0,
            "digest": str(self._digest),
        }

    def _least(self) -> int:
        links, unlinks = _calls(self._groups, MOST_ITEMS), _calls(self._groups, self._most_unlinks)
        return {Op.LINK: links, Op.UNLINK: unlinks, Op.RELINK: links + unlinks}[self._op]

    @property
    def _most_unlinks(self) -> int:
        """Message ids that fit into a query: all have one length, joined by commas."""
        fitting = (LONGEST_MESSAGE_IDS + 1) // (self._made.recipe.message_id_length + 1)
        return min(MOST_ITEMS, fitting)


def _calls(groups: Iterable[int], most: int) -> int:
    return sum(-(-size // most) for size in groups)
