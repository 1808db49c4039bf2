"""Synthetic CRM that is computed from a recipe instead of stored.

Every message and row is computed from the recipe and its number alone. A world of any size can
therefore be written in constant memory, and the same recipe always produces the same bytes.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from enum import StrEnum

_MASK_64 = (1 << 64) - 1
_MIN_MESSAGE_ID_LENGTH = 16
_MAIL_PERIOD_MINUTES = 300 * 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Sizes of a synthetic world, and shares of its messages.

    Args:
        messages: number of emails in the world; each has a valid row in the mapping.
        contacts: number of contacts.
        users: number of users, each the owner of a mailbox.
        deals_per_contact: number of deals of each contact.
        owners_per_contact: number of owners among whom a contact's emails are divided.
        skew: 0 gives all contacts the same number of emails; higher values favour the first ones.
        linked_right: share of emails that are already on the target deal.
        linked_wrong: share of emails that are on another deal of their contact.
        duplicates: share of messages with a second, identical row.
        conflicts: share of messages with a second row that names another deal.
        invalid: number of invalid rows added to the mapping, as a share of the messages.
        names_missing: share of the rows without owner_name and deal_name.
        id_length: number of digits of an id.
        message_id_length: number of characters of a message id.
        seed: determines all random choices.
    """

    messages: int
    contacts: int
    users: int = 10
    deals_per_contact: int = 2
    owners_per_contact: int = 1
    skew: float = 0.0
    linked_right: float = 0.0
    linked_wrong: float = 0.0
    duplicates: float = 0.0
    conflicts: float = 0.0
    invalid: float = 0.0
    names_missing: float = 0.0
    id_length: int = 19
    message_id_length: int = 64
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("messages", "contacts", "users", "deals_per_contact", "owners_per_contact"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in ("linked_right", "linked_wrong", "duplicates", "conflicts", "names_missing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1")
        if not 0 <= self.invalid <= 10 or not 0 <= self.skew <= 20:
            raise ValueError("invalid must be from 0 to 10, skew from 0 to 20")
        if self.linked_right + self.linked_wrong > 1 or self.duplicates + self.conflicts > 1:
            raise ValueError(
                "linked_right plus linked_wrong, and duplicates plus conflicts, must be at most 1"
            )
        if (self.linked_wrong or self.conflicts) and self.deals_per_contact < 2:
            raise ValueError("linked_wrong and conflicts need at least 2 deals_per_contact")
        if self.owners_per_contact > self.users:
            raise ValueError("owners_per_contact must not be more than users")
        _check_lengths(self)


def _check_lengths(recipe: Recipe) -> None:
    largest_number = max(recipe.users, recipe.contacts * recipe.deals_per_contact)
    if not len(str(largest_number)) + 4 <= recipe.id_length <= 100:
        raise ValueError(
            f"id_length must be from {len(str(largest_number)) + 4} to 100 for a world of this size"
        )
    if not _MIN_MESSAGE_ID_LENGTH <= recipe.message_id_length <= 500:
        raise ValueError(f"message_id_length must be from {_MIN_MESSAGE_ID_LENGTH} to 500")


class RowKind(StrEnum):
    """Kind of a row of the mapping."""

    GOOD = "good"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class SyntheticRow:
    """One row of the mapping.

    Args:
        kind: the kind of row.
        message: number of its message.
        index_in_kind: its number among the rows of its kind; duplicates and conflicts are numbered
            together.
    """

    kind: RowKind
    message: int
    index_in_kind: int


class InitialLink(StrEnum):
    """Initial deal of a message, compared with its target deal."""

    NONE = "none"
    RIGHT = "right"
    WRONG = "wrong"


def splitmix64(seed: int, stream: int, number: int) -> int:
    """Return 64 pseudo-random bits derived from three numbers by the splitmix64 algorithm."""
    z = (seed * 0x9E3779B97F4A7C15 + stream * 0xD1B54A32D192ED03 + number) & _MASK_64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK_64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK_64
    return z ^ (z >> 31)


class Permutation:
    """A permutation of the numbers below `size`, computed in both directions instead of stored."""

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._multiplier = _coprime(size, seed)
        self._inverse = pow(self._multiplier, -1, size) if size > 1 else 0
        self._offset = splitmix64(seed, 1, size) % size

    def number_at(self, position: int) -> int:
        """Return the number at `position`."""
        return (position * self._multiplier + self._offset) % self._size

    def position_of(self, number: int) -> int:
        """Return the position of a number."""
        return (number - self._offset) * self._inverse % self._size


def _coprime(size: int, seed: int) -> int:
    multiplier = int(size * 0.6180339887) + splitmix64(seed, 2, size) % 97 + 1
    while math.gcd(multiplier, size) != 1:
        multiplier += 1
    return multiplier


class SyntheticWorld:
    """The world and the mapping of a recipe.

    Args:
        recipe: their sizes and shares.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        total = recipe.messages
        self._right_count = round(total * recipe.linked_right)
        self._wrong_count = round(total * recipe.linked_wrong)
        self._duplicate_count = round(total * recipe.duplicates)
        self._conflict_count = min(round(total * recipe.conflicts), total - self._duplicate_count)
        invalid_count = round(total * recipe.invalid)
        self.row_count = total + self._duplicate_count + self._conflict_count + invalid_count
        length = recipe.id_length
        self._id_bases = [5 * 10 ** (length - 1) + kind * 10 ** (length - 2) for kind in range(5)]
        self._link_order = Permutation(total, recipe.seed)
        self._repeat_order = Permutation(total, recipe.seed + 1)
        self._row_order = Permutation(self.row_count, recipe.seed + 2)

    def _id(self, kind: int, number: int) -> str:
        """Return an id whose last digit is not 0, because ids ending in 0 may look rounded."""
        return str(self._id_bases[kind] + number * 10 + number % 9 + 1)

    @property
    def module_id(self) -> str:
        """The id of the Deals module."""
        return self._id(1, 3735)

    def user_id(self, number: int) -> str:
        """Return the id of a user."""
        return self._id(2, number)

    def contact_id(self, number: int) -> str:
        """Return the id of a contact."""
        return self._id(3, number)

    def deal_id(self, number: int) -> str:
        """Return the id of a deal."""
        return self._id(4, number)

    def message_id(self, message: int) -> str:
        """Return the id of a message, in hex digits."""
        length = self.recipe.message_id_length
        text = f"{self.recipe.seed}:{message}".encode()
        digest = hashlib.blake2b(text, digest_size=min(64, (length + 1) // 2)).hexdigest()
        return (digest * (length // len(digest) + 1))[:length]

    def contact_of(self, message: int) -> int:
        """Return the contact of a message; a contact's messages have consecutive numbers."""
        share = (message + 0.5) / self.recipe.messages
        return min(
            self.recipe.contacts - 1,
            int(self.recipe.contacts * share ** (1 + self.recipe.skew)),
        )

    def owner_slot(self, message: int) -> int:
        """Return the position of a message's owner among the owners of its contact."""
        return splitmix64(self.recipe.seed, 3, message) % self.recipe.owners_per_contact

    def owner_of(self, message: int) -> int:
        """Return the user whose mailbox holds a message."""
        first_owner = self.contact_of(message) * self.recipe.owners_per_contact
        return (first_owner + self.owner_slot(message)) % self.recipe.users

    def deal_of(self, message: int) -> int:
        """Return the target deal of a message."""
        count = self.recipe.deals_per_contact
        return self.contact_of(message) * count + splitmix64(self.recipe.seed, 4, message) % count

    def other_deal(self, message: int) -> int:
        """Return a deal of the same contact that is not the target deal of a message."""
        count = self.recipe.deals_per_contact
        target_deal = self.deal_of(message)
        return target_deal - target_deal % count + (target_deal + 1) % count

    def initial_link(self, message: int) -> InitialLink:
        """Return how a message's initial deal compares with its target deal."""
        position = self._link_order.position_of(message)
        if position < self._right_count:
            return InitialLink.RIGHT
        return (
            InitialLink.WRONG
            if position < self._right_count + self._wrong_count
            else InitialLink.NONE
        )

    def is_conflict(self, message: int) -> bool:
        """Return whether the mapping names two deals for a message."""
        position = self._repeat_order.position_of(message)
        return self._duplicate_count <= position < self._duplicate_count + self._conflict_count

    def row_at(self, position: int) -> SyntheticRow:
        """Return the row at `position` of the mapping, counted from 0."""
        number, total = self._row_order.number_at(position), self.recipe.messages
        if number < total:
            return SyntheticRow(RowKind.GOOD, number, number)
        repeat_index = number - total
        repeat_count = self._duplicate_count + self._conflict_count
        if repeat_index >= repeat_count:
            return SyntheticRow(RowKind.INVALID, repeat_index % total, repeat_index - repeat_count)
        kind = RowKind.DUPLICATE if repeat_index < self._duplicate_count else RowKind.CONFLICT
        return SyntheticRow(kind, self._repeat_order.number_at(repeat_index), repeat_index)

    def row_positions(self, message: int) -> tuple[int, int | None]:
        """Return the positions of a message's valid row and its duplicate or conflict, if any."""
        position = self._row_order.position_of(message)
        repeat_index = self._repeat_order.position_of(message)
        if repeat_index >= self._duplicate_count + self._conflict_count:
            return position, None
        return position, self._row_order.position_of(self.recipe.messages + repeat_index)

    def time_of(self, message: int) -> str:
        """Return the time of a message."""
        minute = splitmix64(self.recipe.seed, 5, message) % _MAIL_PERIOD_MINUTES
        day, minute_of_day = divmod(minute, 24 * 60)
        month, day_of_month = divmod(day, 28)
        hour, minute = divmod(minute_of_day, 60)
        return f"2026-{month + 1:02}-{day_of_month + 1:02}T{hour:02}:{minute:02}:00+00:00"
