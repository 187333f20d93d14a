"""Scores of all items: what a network says, and rules of which item goes with which; NumPy and the runtime alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.sessions import REMEMBERED
from recurra.runtime.ops.softmax import Softmax
from recurra.runtime.program import Program

if TYPE_CHECKING:
    from recurra.tasks.bench import Bench

SEEN = 20  # items before, at most, that rules look at
NEAR = 0.8  # what a pair counts for, to the power of the steps between the two
BACK = 0.5  # what an item before another says of it, beside one after it
RECENT = 0.7  # what an item of a session says, to the power of the steps since
SPREAD = 0.5  # the power of an item's pairs, and
COMMON = 0.25  # that of how often the other one comes, by which a rule is divided
NEIGHBOURS = 50  # rules of an item, at most

F32: TypeAlias = NDArray[np.float32]
Ids: TypeAlias = NDArray[np.integer[Any]]


def learn_rules(sessions: Sequence[Ids], V: int) -> F32:
    """For each item the numbers of those that go with it, the strongest first, and how much: float32 [V, 2 K].

    Two items of a session count, the more so the nearer they are and if they came in this order. What comes often
    counts less. Row 0, and what has fewer neighbours, has zeros.

    >>> learn_rules([np.array([1, 2]), np.array([1, 2])], 3).astype(float).round(2).tolist()
    [[0.0, 0.0], [2.0, 1.19], [1.0, 0.84]]
    """
    ids = np.concatenate(sessions).astype(np.int64)
    of = np.repeat(np.arange(len(sessions)), [len(s) for s in sessions])
    count = np.maximum(np.bincount(ids, minlength=V), 1.0)
    keys, weights = [], []
    for d in range(1, min(SEEN, max(map(len, sessions)))):
        a, b = ids[:-d], ids[d:]
        there = (of[:-d] == of[d:]) & (a > 0) & (b > 0) & (a != b)
        a, b = a[there], b[there]
        keys += [a * V + b, b * V + a]
        weights += [np.full(len(a), NEAR ** (d - 1)), np.full(len(a), BACK * NEAR ** (d - 1))]
    pairs, which = np.unique(np.concatenate([*keys, np.zeros(0, np.int64)]), return_inverse=True)
    w = np.bincount(which, np.concatenate([*weights, np.zeros(0)]), len(pairs))
    i, j = np.divmod(pairs, V)
    w = w / np.bincount(i, w, V)[i] ** SPREAD / count[j] ** COMMON
    order = np.lexsort((j, -w, i))
    i, j, w = i[order], j[order], w[order]
    place = np.arange(len(i)) - np.searchsorted(i, i)
    K = int(min(NEIGHBOURS, 1 + place.max(initial=0)))
    kept = place < K
    found = np.zeros((V, 2 * K), np.float32)
    found[i[kept], place[kept]] = j[kept]
    found[i[kept], K + place[kept]] = w[kept]
    return found


def follow(rules: F32, history: Ids) -> Any:
    """What rules [V, 2 K] say of all items after some, [V]; the latest say most."""
    K = rules.shape[1] // 2
    last = np.asarray(history[-SEEN:])[::-1].astype(np.int64)
    rows = rules[last]
    weights = rows[:, K:] * (RECENT ** np.arange(len(last)))[:, None]
    found: Any = np.bincount(rows[:, :K].astype(np.int64).ravel(), weights.ravel(), len(rules))
    found[0] = 0.0
    return found


def without(scores: NDArray[Any], history: Ids, again: bool) -> Any:
    """Scores [V] with 0 for the unknown item and, where nothing is bought again, for those of a session."""
    scores[0] = 0.0
    if not again:
        scores[history[-REMEMBERED:]] = 0.0
    return scores


def first(scores: NDArray[Any], n: int) -> NDArray[np.int64]:
    """The numbers of the n best items, the best first; fewer where fewer have a score."""
    n = min(n, len(scores))
    some = np.argpartition(-scores, n - 1)[:n]
    some = some[scores[some] > 0]
    found: NDArray[np.int64] = some[np.lexsort((some, -scores[some]))]
    return found


class Ranking:
    """The probability of each item to come next: of a network and, for a share of it, of rules.

    Args:
        V: items, the unknown one among them.
        rules: [V, 2 K], see `learn_rules`; None: the network alone.
        share: what the rules count for, 0 to 1.
        again: whether what is in a session may come again.
    """

    def __init__(self, V: int, rules: F32 | None = None, share: float = 0.0, again: bool = False) -> None:
        self.V, self.rules, self.share, self.again = V, rules, share, again

    @cached_property
    def softmax(self) -> Any:
        """Of the runtime, so that bits do not depend on the machine."""
        return Program([Softmax()], {"x": self.V}).session()

    def scores(self, output: F32, history: Ids) -> F32:
        """[V] of a network's output [V] after some items, by their numbers."""
        found = self.softmax.step(np.ascontiguousarray(output, np.float32)).astype(np.float64)
        if self.rules is not None and self.share:
            ruled = follow(self.rules, history)
            total = ruled.sum()
            if total > 0:
                found = (1.0 - self.share) * found + self.share / total * ruled
        kept: F32 = without(found, history, self.again).astype(np.float32)
        return kept


def train_sessions(bench: Bench) -> list[Ids]:
    """The numbers of the items of the training part, session by session."""
    transform: Any = bench.transform
    return [transform.numbers(s, start, stop + 1).astype(np.int64) for s, start, stop in bench.pieces("train")]
