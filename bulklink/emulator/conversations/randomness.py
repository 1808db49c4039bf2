"""Random choices derived from integers, the same on every platform and Python version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from bulklink.emulator.synthetic import splitmix64

_T = TypeVar("_T")
_MASK_64 = (1 << 64) - 1


class Draws:
    """A stream of random choices, by the splitmix64 algorithm.

    Args:
        seed: the seed of the world.
        stream: numbers that tell this stream from the others of the seed.
    """

    __slots__ = ("_state",)

    def __init__(self, seed: int, *stream: int) -> None:
        key = splitmix64(seed & _MASK_64, len(stream), 0x5EED)
        for number in stream:
            key = splitmix64(key, number + 1, 0xB01D)
        self._state = key

    def below(self, limit: int) -> int:
        """Return a number from 0 to `limit` - 1."""
        self._state = z = (self._state + 0x9E3779B97F4A7C15) & _MASK_64
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK_64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK_64
        return (z ^ (z >> 31)) * limit >> 64

    def between(self, low: int, high: int) -> int:
        """Return a number from `low` to `high`, both included."""
        return low + self.below(high - low + 1)

    def chance(self, permille: int) -> bool:
        """Return True with a probability in thousandths."""
        return self.below(1_000) < permille

    def pick(self, items: Sequence[_T]) -> _T:
        """Return one of the items."""
        return items[self.below(len(items))]

    def weighted(self, items: Sequence[_T], weights: Sequence[int]) -> _T:
        """Return one of the items, each with a probability in proportion to its weight."""
        number = self.below(sum(weights))
        for item, weight in zip(items, weights, strict=True):
            if number < weight:
                return item
            number -= weight
        raise AssertionError("the weights are positive")

    def rounded(self, total: int, divisor: int) -> int:
        """Return `total / divisor` as a whole number, rounded up or down at random."""
        whole, rest = divmod(total, divisor)
        return whole + (self.below(divisor) < rest)
