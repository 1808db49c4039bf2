"""Numbers with the words that agree with them."""

from __future__ import annotations


def inflect(number: float, singular: str, plural: str) -> str:
    """Return the words that agree with a number."""
    return singular if number == 1 else plural


def count_of(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number and the words that agree with it.

    Args:
        number: the number.
        singular: words after the number 1.
        plural: words after any other number; by default the singular with an s.
    """
    return f"{number:,} {inflect(number, singular, plural or f'{singular}s')}"
