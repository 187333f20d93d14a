"""Baselines of the next item: what is bought most, and what is bought with what came before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from recurra.tasks.baselines import Baseline, Floats
from recurra.tasks.recommendation.ranking import F32, follow, learn_rules, train_sessions, without

if TYPE_CHECKING:
    from recurra.tasks.bench import Bench

LITTLE = 1e-6  # of popularity, beside the rules


class Popularity(Baseline):
    """How often each item comes in training, whatever the session."""

    key, kind, words = "popularity", "naive", "the items that come most in training"
    name = "popularity"

    def __init__(self, bench: Bench) -> None:
        self.transform: Any = bench.transform
        self.again: bool = bench.task.again  # type: ignore[attr-defined]
        self.V = self.transform.tables[0]
        counts = np.bincount(np.concatenate(train_sessions(bench)), minlength=self.V).astype(np.float64)
        self.shares, self.parameters = counts / counts.sum(), self.V

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """Count."""
        return cls(bench)

    def predict(self, sequence: Any, start: int, stop: int) -> Floats:
        """[M, V]."""
        ids = self.transform.numbers(sequence, 0, stop).astype(np.int64)
        return np.stack([without(self.scores(ids[: t + 1]), ids[: t + 1], self.again) for t in range(start, stop)])

    def scores(self, ids: Any) -> Floats:
        """[V] after some items."""
        shares: Floats = self.shares.copy()
        return shares


class ItemRules(Popularity):
    """What goes with the items of a session, the latest ones most; where nothing does, what comes most."""

    key, kind, words = "rules", "naive", "rules from item to item: what was bought with what came before"
    name = "item-to-item rules"

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.rules: F32 = learn_rules(train_sessions(bench), self.V)
        self.parameters = int((self.rules > 0).sum())

    def scores(self, ids: Any) -> Floats:
        """[V]."""
        found = follow(self.rules, ids)
        scores: Floats = found / max(found.sum(), 1e-30) + LITTLE * self.shares
        return scores
