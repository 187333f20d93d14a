"""Pairs of texts: what is read, and what is to be written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.text.symbols import LiveSymbols, Symbols, Tokens
from recurra.data.text.tokens import Tokenizer
from recurra.data.text.vocabulary import Vocabulary
from recurra.data.transform import Transform
from recurra.errors import DataError

F32: TypeAlias = NDArray[np.float32]

BEGIN, END = 1, 2  # the numbers of what stands before the first symbol that is written, and behind the last one
_MARKS = ("\x02", "\x03")


@dataclass(frozen=True)
class Pair(Tokens):
    """A text of n tokens, and what is to be written for it.

    Attributes:
        written: tokens; none where it is not known.
    """

    written: tuple[str, ...] = ()


@dataclass(frozen=True)
class PairSymbols(Transform):
    """Numbers of the tokens that are read, and of those that are written.

    Attributes:
        source: of what is read, one number a token.
        tokenizer, vocabulary: of what is written; numbers 1 and 2 are its begin and its end.
    """

    source: Symbols
    tokenizer: Tokenizer
    vocabulary: Vocabulary

    @classmethod
    def learn(
        cls,
        tokenizers: tuple[Tokenizer, Tokenizer],
        pairs: Sequence[Pair],
        min_count: int = 1,
        most: int | None = None,
    ) -> Self:
        """From the pairs of the training part."""
        source = Symbols.learn(tokenizers[0], pairs, ["token"], min_count, most)
        return cls(source, tokenizers[1], written_vocabulary([pair.written for pair in pairs], min_count, most))

    inputs = ("token",)
    input_size = row_size = 1

    @property
    def tables(self) -> tuple[int, ...]:  # type: ignore[override]
        """How many symbols are read."""
        return self.source.tables

    def rows(self, sequence: Pair, start: int, stop: int) -> F32:
        """See `Transform`."""
        return self.source.rows(sequence, start, stop)

    def targets(self, sequence: Pair, start: int, stop: int) -> F32:
        """See `Transform`; what is written belongs to a text as a whole: `written` has its numbers."""
        return self.source.targets(sequence, start, stop)

    @cached_property
    def _known(self) -> dict[str, int]:
        """The number of each token that can be written; begin and end are none, whatever a text says."""
        return {t: n for t, n in self.vocabulary.numbers.items() if n not in (0, BEGIN, END)}

    def written(self, pair: Pair, copied: bool = False) -> F32:
        """The numbers of what is to be written, its end behind it: [m + 1].

        Args:
            pair: the texts.
            copied: whether a token that is unknown, but can be read, has the number of its place (see `places`).
        """
        numbers = self._known
        ids = np.fromiter((numbers.get(t, 0) for t in pair.written), np.float32, len(pair.written))
        if copied:
            at = dict(zip(pair.tokens, self.places(pair), strict=True))
            ids = np.array([n or at.get(t, n) for t, n in zip(pair.written, ids, strict=True)], np.float32)
        return np.append(ids, np.float32(END))

    def places(self, pair: Pair) -> list[int]:
        """The number of each token that is read among what can be written: that of the symbol, or V + where it is
        first."""
        first: dict[str, int] = {}
        numbers = self._known
        return [
            numbers[t] if t in numbers else len(self.vocabulary) + first.setdefault(t, m)
            for m, t in enumerate(pair.tokens)
        ]

    def tokens(self, symbols: Sequence[int], read: Sequence[str], looked: NDArray[Any] | None) -> tuple[str, ...]:
        """The tokens of some symbols, of which those from V on are places of what was read; one that is unknown is
        copied from where the network looked when it wrote it."""
        V = len(self.vocabulary)
        named = self.vocabulary.named([symbol if symbol < V else 0 for symbol in symbols])
        at = [0] * len(symbols) if looked is None else [int(one.argmax()) for one in looked]
        return tuple(
            read[symbol - V] if symbol >= V else token if symbol or looked is None else read[place]
            for token, symbol, place in zip(named, symbols, at, strict=True)
        )

    def live(self, name: str = "") -> LiveSymbols:
        """See `Transform`."""
        return self.source.live(name)

    def to_dict(self) -> dict[str, Any]:
        """See `Transform`."""
        target = {"tokenizer": self.tokenizer.to_dict(), "vocabulary": self.vocabulary.to_dict()}
        return {"input": "pairs", "source": self.source.to_dict(), **target}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """See `Transform`."""
        try:
            source = Symbols.from_dict(described["source"])
            tokenizer = Tokenizer.from_dict(described["tokenizer"])
            vocabulary = Vocabulary.from_dict(described["vocabulary"])
        except (KeyError, TypeError) as error:
            raise DataError(f"the model's pairs are unreadable ({error}): save the model again") from None
        check_marks(vocabulary)
        if source.features != ("token",):
            raise DataError("the model's source has other features than tokens: save the model again")
        return cls(source, tokenizer, vocabulary)


def written_vocabulary(texts: Sequence[Sequence[str]], min_count: int = 1, most: int | None = None) -> Vocabulary:
    """The tokens of texts that are to be written, behind the begin and the end."""
    known = Vocabulary.learn((t for tokens in texts for t in tokens if t not in _MARKS), min_count, most)
    return Vocabulary((known.symbols[0], *_MARKS, *known.symbols[1:]))


def check_marks(vocabulary: Vocabulary) -> None:
    """Raise DataError where a vocabulary has no begin and no end."""
    if vocabulary.symbols[1:3] != _MARKS:
        raise DataError("the model's vocabulary has no begin and no end: save the model again")
