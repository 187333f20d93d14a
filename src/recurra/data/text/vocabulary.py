"""`Vocabulary`: symbols and their numbers, learned from the training part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError

UNKNOWN = "\N{REPLACEMENT CHARACTER}"  # the symbol with the number 0: every one that was not learned
MOST_SYMBOLS = 1 << 24  # whole numbers up to here are exact in float32

F32: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Vocabulary:
    """Symbols in the order of their numbers; number 0 is `UNKNOWN`, which stands for all others.

    A symbol's number is a float32, so that ids are rows like any others.

    >>> learned = Vocabulary.learn(["to", "be", "or", "not", "to", "be"], min_count=2)
    >>> learned.symbols[1:], learned.ids(["to", "see"]).tolist(), learned.named([1, 0])
    (('be', 'to'), [2.0, 0.0], ['be', '\N{REPLACEMENT CHARACTER}'])
    """

    symbols: tuple[str, ...]

    @classmethod
    def learn(cls, symbols: Iterable[str], min_count: int = 1, most: int | None = None) -> Self:
        """The symbols that come at least so many times, the most frequent first, and no more than `most`.

        >>> Vocabulary.learn("abracadabra", most=2).symbols[1:]
        ('a', 'b')
        """
        counts = Counter(symbols)
        counts.pop(UNKNOWN, None)
        kept = sorted((s for s, n in counts.items() if n >= min_count), key=lambda s: (-counts[s], s))
        return cls((UNKNOWN, *kept[: min(most or MOST_SYMBOLS, MOST_SYMBOLS - 1)]))

    def __len__(self) -> int:
        return len(self.symbols)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each symbol."""
        return {symbol: k for k, symbol in enumerate(self.symbols)}

    def ids(self, symbols: Sequence[str]) -> F32:
        """The numbers [T] of some symbols; 0 where one is not known."""
        numbers = self.numbers
        return np.fromiter((numbers.get(s, 0) for s in symbols), np.float32, len(symbols))

    def named(self, ids: Iterable[float]) -> list[str]:
        """The symbols of some numbers.

        Raises:
            DataError: there is none of that number.
        """
        found = [int(k) for k in ids]
        odd = next((k for k in found if not 0 <= k < len(self)), None)
        if odd is not None:
            raise DataError(f"a vocabulary: there is no symbol {odd}, expected 0 to {len(self) - 1}")
        return [self.symbols[k] for k in found]

    def to_dict(self) -> dict[str, Any]:
        """As JSON: part of a model file."""
        return {"symbols": list(self.symbols[1:])}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """From `to_dict`.

        Raises:
            DataError: it is not what `to_dict` writes.
        """
        symbols = described.get("symbols") if isinstance(described, Mapping) else None
        if not isinstance(symbols, list) or not all(isinstance(s, str) for s in symbols):
            raise DataError("the model's vocabulary is unreadable, expected a list of symbols: save the model again")
        if len({*symbols, UNKNOWN}) != len(symbols) + 1 or len(symbols) >= MOST_SYMBOLS:
            raise DataError("the model's vocabulary has a symbol twice, or too many: save the model again")
        return cls((UNKNOWN, *symbols))
