"""N-grams beside a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from recurra.errors import ShapeError
from recurra.runtime.ops.op import FLOAT, MOST_NUMBERS, Op, Shapes
from recurra.weights import Array

MOST_PAST = 64  # symbols that are remembered
SUM = 1e-3  # by which the probabilities of a node may miss 1


@dataclass(frozen=True, eq=False)
class NGrams(Op):
    """What the last symbols alone say of the next one, mixed with what a network says (Mikolov et al. 2010).

        p_0 = 1 / V
        p_n = spare(h_n) p_n-1 + share(h_n, .)      h_n: the last n - 1 symbols, as long as they are known
        y = log((1 - mix) softmax(x) + mix p)

    x [V] are a network's scores, and y are scores too: their softmax is the mixture. The symbols are the first whole
    number of each row that comes in; the last ones are the op's state, -1 where there was none yet.

    The known beginnings h are a tree, from the last symbol back. Its C nodes lie level by level, the empty beginning
    first, the children of one node side by side and in order; the N n-grams that go on from them lie in the order of
    the nodes.

    Shapes: symbol [C], the oldest of each beginning (0 for the empty one); children, grams [C], how many a node has;
    spare [C]; next [N], the symbol that follows, and share [N].

    Args:
        mix: the share of the n-grams, above 0 and below 1.

    Raises:
        ShapeError, DtypeError: it is no such tree, or what follows a node is no probability.

    >>> import numpy as np
    >>> from recurra.runtime import Embedding, Linear, Model, NGrams
    >>> numbers = [[0, 1], [1, 0], [1, 1], [0.5, 0.5], [0, 1], [0.5, 0.5]]  # after 1 comes 1, else 0
    >>> beside = NGrams(*(np.array(n, np.float32) for n in numbers), mix=0.5)
    >>> network = [Embedding(np.zeros((2, 1), np.float32), tables=(2,)), Linear(np.zeros((2, 1), np.float32))]
    >>> np.exp(Model([*network, beside]).run(np.array([[0], [1]], np.float32))).round(3)
    array([[0.625, 0.375],
           [0.438, 0.562]], dtype=float32)
    """

    symbol: Array
    children: Array
    grams: Array
    spare: Array
    next: Array
    share: Array
    mix: float = 0.5
    kind: ClassVar[str] = "ngrams"
    shapes: ClassVar[Shapes] = {
        "symbol": ("C",),
        "children": ("C",),
        "grams": ("C",),
        "spare": ("C",),
        "next": ("N",),
        "share": ("N",),
    }
    goes_by_ids = True
    without = "fit the Generator with ngrams=False"

    def __post_init__(self) -> None:
        super().__post_init__()
        C, N = self.sizes["C"], self.sizes["N"]
        if not 0 < self.mix < 1:
            raise ShapeError(f"ngrams: `mix` is {self.mix!r}, expected a share above 0 and below 1")
        for name, most in (("symbol", MOST_NUMBERS), ("next", MOST_NUMBERS), ("children", C), ("grams", N)):
            numbers = getattr(self, name)
            if not ((numbers >= 0) & (numbers <= most) & (numbers == np.floor(numbers))).all():
                raise ShapeError(f"ngrams: `{name}` has a number that is none from 0 to {most}")
        if C > MOST_NUMBERS or N > MOST_NUMBERS or self._sum(self.children) != C - 1:
            raise ShapeError(
                f"ngrams: `children` says {self._sum(self.children)} nodes, expected {C - 1} of at most 2^24"
            )
        if self._sum(self.grams) != N:
            raise ShapeError(f"ngrams: `grams` says {self._sum(self.grams)} n-grams, expected {N}, those of `next`")
        first = self.first_child
        if (first[:-1] <= np.arange(C))[self.children > 0].any() or not 1 <= self.past <= MOST_PAST:
            raise ShapeError("ngrams: a node does not come before its children, expected one level after the other")
        for name, begins in (("symbol", first), ("next", self.first_gram)):
            if not _in_order(getattr(self, name)[1 if name == "symbol" else 0 :], begins - begins[0]):
                raise ShapeError(f"ngrams: `{name}` is not in order, expected that of each node to rise")
        parts = np.r_[self.share, np.float32(0)].astype(np.float64)
        sums = self.spare + np.where(self.grams > 0, np.add.reduceat(parts, self.first_gram[:-1]), 0.0)
        if not ((self.spare >= 0).all() and (self.share >= 0).all() and (np.abs(sums - 1) < SUM).all()):
            raise ShapeError(
                "ngrams: what follows a node is no probability, expected `spare` and shares whose sum is 1"
            )

    @staticmethod
    def _sum(counts: Array) -> int:
        return int(counts.astype(np.int64).sum())

    @cached_property
    def first_child(self) -> NDArray[np.int64]:
        """The node at which the children of each begin, and behind them the end, [C + 1]."""
        return np.cumsum(np.r_[1, self.children.astype(np.int64)])

    @cached_property
    def first_gram(self) -> NDArray[np.int64]:
        """The n-gram at which those of each node begin, and behind them the end, [C + 1]."""
        return np.cumsum(np.r_[0, self.grams.astype(np.int64)])

    @cached_property
    def past(self) -> int:
        """How many of the last symbols it goes by; one where they say nothing."""
        levels, node = 0, 1
        while node < len(self.symbol):
            levels, node = levels + 1, int(self.first_child[node])
            if levels > MOST_PAST:
                break
        return max(1, levels)

    def width(self, before: int) -> int:
        """As many; the symbols are below that."""
        most = int(max(self.symbol.max(), self.next.max()))
        if most >= before:
            raise ShapeError(f"ngrams: it has the symbol {most}, expected one of the {before} that a network scores")
        return before

    def states(self, width: int) -> Mapping[str, int]:
        """The last symbols, the latest first."""
        return {"last": self.past}

    def beginnings(self, width: int) -> Mapping[str, Array]:
        """None yet."""
        return {"last": np.full(self.past, -1, FLOAT)}

    def probabilities(self, last: NDArray[Any], V: int) -> NDArray[np.float64]:
        """What the last symbols say, the latest first [M, past]: [M, V]; in NumPy."""
        M = len(last)
        p, rows, node = np.full((M, V), 1.0 / V), np.arange(M), np.zeros(M, np.int64)
        known = np.repeat(np.arange(len(self.symbol)), self.children.astype(np.int64)) * V + self.symbol[1:]
        for k in range(self.past + 1):
            p[rows] *= self.spare[node, None]
            counts = self.grams[node].astype(np.int64)
            ends = np.cumsum(counts)
            grams = np.arange(counts.sum()) + np.repeat(self.first_gram[node] - ends + counts, counts)
            p[np.repeat(rows, counts), self.next[grams].astype(np.int64)] += self.share[grams]
            if k == self.past or not len(known):
                break
            wanted = node * V + last[rows, k]
            place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
            there = (known[place] == wanted) & (last[rows, k] >= 0)
            rows, node = rows[there], place[there] + 1
        return p

    def _numbers(self, offsets: Mapping[str, int]) -> Sequence[float]:
        return [self.past, self.mix]


def _in_order(numbers: Array, begins: NDArray[np.int64]) -> bool:
    """Whether numbers rise between one begin and the next."""
    rises = numbers[1:] > numbers[:-1]
    rises[begins[(begins > 0) & (begins < len(numbers))] - 1] = True
    return bool(rises.all())
