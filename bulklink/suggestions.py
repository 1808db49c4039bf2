"""Suggestions for misspelled words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches


def close_matches(
    word: str,
    candidates: Iterable[str],
    *,
    limit: int = 2,
    cutoff: float = 0.6,
    key: Callable[[str], str] = str,
) -> list[str]:
    """Return the candidates that resemble a word, the most similar first.

    Args:
        word: the word that the user typed.
        candidates: the valid words.
        limit: maximum number of matches returned.
        cutoff: minimum similarity, from 0 to 1 (equal).
        key: normalizes word and candidates before they are compared; of candidates with the same
            key, only the first is considered.
    """
    by_key: dict[str, str] = {}
    for candidate in candidates:
        by_key.setdefault(key(candidate), candidate)
    return [by_key[match] for match in get_close_matches(key(word), by_key, limit, cutoff)]


def did_you_mean(suggestions: Sequence[str]) -> str:
    """Return a question with the suggestions and a trailing space; empty if there are none."""
    return f"Did you mean {' or '.join(suggestions)}? " if suggestions else ""
