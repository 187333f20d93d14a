"""What a language model must beat: the frequencies of symbols, and a Kneser-Ney model of n-grams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from recurra.tasks.baselines import Baseline

if TYPE_CHECKING:
    from recurra.tasks.bench import Bench

Floats = NDArray[np.float64]
Keys = NDArray[np.int64]

ORDER = 6  # symbols of the longest n-gram, less where there are so many symbols that 62 bits do not hold it
BITS = 62
MOST = 1 << 23  # tokens of the training part that are counted, from its end
AT_ONCE = 1 << 20  # numbers of a table of probabilities


class Frequencies(Baseline):
    """The shares of the symbols in training, whatever came before."""

    key, kind, words = "frequencies", "naive", "the frequencies of symbols"
    name = "symbol frequencies"

    def __init__(self, shares: Floats, transform: Any) -> None:
        self.shares, self.transform, self.parameters = shares, transform, len(shares)

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """Count, and one more of each."""
        counts = np.ones(bench.transform.tables[0])
        for sequence, start, stop in bench.pieces("train"):
            for at in range(start, stop, AT_ONCE):
                numbers = bench.transform.numbers(sequence, at, min(at + AT_ONCE, stop)).astype(np.int64)  # type: ignore[attr-defined]
                counts += np.bincount(numbers, minlength=len(counts))
        return cls(counts / counts.sum(), bench.transform)

    def of_truth(self, sequence: Any, start: int, stop: int) -> Floats:
        """The probability of the symbols that came, [M]."""
        found: Floats = self.shares[self.transform.numbers(sequence, start, stop).astype(np.int64)]
        return found

    def predict(self, sequence: Any, start: int, stop: int) -> Floats:
        """[M, V]."""
        return np.broadcast_to(self.shares, (stop - start, len(self.shares)))


class KneserNey(Baseline):
    """Interpolated n-grams with modified Kneser-Ney smoothing (Chen and Goodman 1998, section 3).

    p(w | h) = (max(c(h w) - D(c), 0) + (D1 N1 + D2 N2 + D3 N3) p(w | h')) / c(h), where h' is h without its first
    symbol, N1, N2 and N3 are how many symbols follow h once, twice and more often, and, below the longest n-grams, c is
    in how many ways an n-gram is preceded.
    """

    key, kind, words = "kneser_ney", "linear", "n-grams with Kneser-Ney smoothing"

    def __init__(self, symbols: int, order: int, transform: Any) -> None:
        self.V, self.transform = symbols, transform
        self.order = max(1, min(order, int(BITS / np.log2(max(2, symbols)))))
        self.name = f"Kneser-Ney {self.order}-gram"
        self.steps = self.order - 1
        self.levels: list[Level] = []

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """Count the training part; the order is chosen on the validation part where `params` has none."""
        orders = [params["order"]] if params and "order" in params else [4, 5, ORDER, ORDER + 1]
        texts, V = _texts(bench, ("train",)), bench.transform.tables[0]
        made = list({m.order: m for m in (cls(V, order, bench.transform) for order in orders)}.values())
        for one in made:
            one.count(texts)
        pieces = bench.pieces("valid")
        return (
            min(made, key=lambda m: sum(float(-np.log(m.of_truth(*p)).sum()) for p in pieces)) if made[1:] else made[0]
        )

    @classmethod
    def of_parts(cls, bench: Bench, order: int, *parts: str) -> Self:
        """Count some parts."""
        made = cls(bench.transform.tables[0], order, bench.transform)
        made.count(_texts(bench, parts))
        return made

    def count(self, texts: list[Keys]) -> None:
        """Learn from some texts, each the numbers of its symbols."""
        grams = np.concatenate([self._grams(text, self.order) for text in texts])
        keys, counts = np.unique(grams, return_counts=True)
        for n in range(self.order, 0, -1):
            if n < self.order:  # in how many ways each is preceded, and those at a beginning once
                below = [keys % self.V**n, *(self._grams(text[:n], n) for text in texts if len(text) >= n)]
                keys, counts = np.unique(np.concatenate(below), return_counts=True)
            self.levels.insert(0, Level(keys, counts, self.V))
        self.parameters = sum(len(level.keys) for level in self.levels)

    def _grams(self, text: Keys, n: int) -> Keys:
        """The key of each n symbols in a row."""
        found = np.zeros(max(0, len(text) - n + 1), np.int64)
        for k in range(n):
            found = found * self.V + text[k : k + len(found)]
        return found

    def of_truth(self, sequence: Any, start: int, stop: int) -> Floats:
        """The probability of the symbols that came, [M]."""
        return self._of(*self._asked(sequence, start, stop))

    def _asked(self, sequence: Any, start: int, stop: int) -> tuple[Keys, Keys, int]:
        first = max(0, start - self.order + 1)
        text = self.transform.numbers(sequence, first, min(stop, len(sequence.ids))).astype(np.int64)
        text = np.concatenate([text, np.zeros(stop - first - len(text), np.int64)])
        return text, text[start - first :], start - first

    def _of(self, text: Keys, wanted: Keys, lead: int) -> Floats:
        """Of each wanted symbol [M] or [M, V], where `text` has `lead` symbols before those."""
        M = len(wanted)
        p = np.full(wanted.shape, 1.0 / self.V)
        context, ago = np.zeros(M, np.int64), np.arange(lead, lead + M)
        for n, level in enumerate(self.levels, 1):
            if n > 1:
                context = text[np.maximum(ago - n + 1, 0)] * self.V ** (n - 2) + context
            there = ago >= n - 1
            p[there] = level.of(context[there], wanted[there], p[there])
        return p

    def predict(self, sequence: Any, start: int, stop: int) -> Floats:
        """[M, V]."""
        parts, size = [], max(1, AT_ONCE // self.V)
        for at in range(start, stop, size):
            text, truth, lead = self._asked(sequence, at, min(at + size, stop))
            parts.append(self._of(text, np.broadcast_to(np.arange(self.V), (len(truth), self.V)), lead))
        return np.concatenate(parts)

    def state_bytes(self, bench: Bench) -> int:
        """The symbols before."""
        return 8 * (self.order - 1)


def _texts(bench: Bench, parts: Sequence[str]) -> list[Keys]:
    """The numbers of what is counted: from the end of these parts on, as much as there is room for."""
    transform: Any = bench.transform
    found, left = list[Keys](), MOST
    for part in reversed(parts):
        for sequence, start, stop in reversed(bench.pieces(part)):
            if left <= 0:
                return found
            found.append(transform.numbers(sequence, max(start, stop - left), stop).astype(np.int64))
            left -= len(found[-1])
    return found


class Level:
    """The n-grams of one length.

    Attributes:
        keys: of each n-gram its symbols as digits, rising.
        seen: what is left of the count of each.
        contexts: what the n-grams begin with, without their last symbol, rising.
        begins: the first n-gram of each context.
        totals: the counts of each context.
        spared: what was taken from them, for symbols that were not seen.
    """

    def __init__(self, keys: Keys, counts: Keys, V: int) -> None:
        self.keys, self.counts, self.V = keys, counts, V
        n1, n2, n3, n4 = (max(1, int((counts == k).sum())) for k in (1, 2, 3, 4))
        Y = n1 / (n1 + 2 * n2)
        D = np.array([0.0, 1 - 2 * Y * n2 / n1, 2 - 3 * Y * n3 / n2, 3 - 4 * Y * n4 / n3])
        self.less = np.clip(D, 0.0, np.array([0.0, 0.99, 1.99, 2.99]))
        self.contexts, self.begins = np.unique(keys // V, return_index=True)
        self.totals = np.add.reduceat(counts, self.begins).astype(np.float64)
        self.seen = counts - self.less[np.minimum(counts, 3)]
        self.spared = np.add.reduceat(counts - self.seen, self.begins)

    def of(self, context: Keys, wanted: Keys, below: Floats) -> Floats:
        """Of symbols [M] or [M, V] after contexts [M], where `below` has it with a symbol less before."""
        at = np.minimum(np.searchsorted(self.contexts, context), len(self.contexts) - 1)
        known = self.contexts[at] == context
        shape = (len(context),) + (1,) * (wanted.ndim - 1)
        keys = context.reshape(shape) * self.V + wanted
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        seen = np.where(self.keys[place] == keys, self.seen[place], 0.0)
        found: Floats = (seen + self.spared[at].reshape(shape) * below) / self.totals[at].reshape(shape)
        return np.where(known.reshape(shape), found, below)
