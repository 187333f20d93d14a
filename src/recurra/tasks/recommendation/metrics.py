"""How high the item that came was ranked among all items."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.tasks.metrics import Floats, Metric

Ranks = NDArray[np.float64]


def ranks_of(truth: Floats, scores: Floats) -> Ranks:
    """The place [M] of each item that came, 1 for the first, among scores [M, V]; inf where it is not known (0).

    An item with the same score as another stands behind it, so that nothing is gained by scores that are all alike.

    >>> ranks_of(np.array([1, 2, 0]), np.array([[0, 0.5, 0.2, 0.5], [0, 0.1, 0.7, 0.2], [0, 1, 1, 1]])).tolist()
    [2.0, 1.0, inf]
    """
    right = np.nan_to_num(truth).astype(np.int64)
    own = np.take_along_axis(scores, right[:, None], -1)
    ranks: Ranks = (scores[:, 1:] >= own).sum(-1).astype(np.float64)
    ranks[(right == 0) | (own[:, 0] <= 0)] = np.inf
    ranks[np.isnan(truth)] = np.nan
    return ranks


class OfRanks(Metric):
    """A mean over the ranks of the items that came.

    Attributes:
        k: how many items are looked at.
    """

    k: int
    less = False

    @abstractmethod
    def gain(self, ranks: Ranks) -> Ranks:
        """What each rank is worth, 0 to 1."""

    def of_ranks(self, ranks: Ranks) -> float:
        """The mean; NaN is left out."""
        return float(np.nanmean(np.where(np.isnan(ranks), np.nan, self.gain(ranks))))

    def value(self, truth: Floats, answers: Floats) -> float:
        """Of truth [M] and scores [M, V]."""
        return self.of_ranks(ranks_of(truth, answers))

    def units(self, truth: Floats, answers: Floats) -> Any:
        """1 less what each is worth."""
        ranks = ranks_of(truth, answers)
        return np.where(np.isnan(ranks), np.nan, 1.0 - self.gain(ranks))


class HitRate(OfRanks):
    """How often the item that came is among the first k.

    >>> HitRate(2).of_ranks(np.array([1.0, 2.0, 3.0, np.inf]))
    0.5
    """

    error = "share of items that came and are not among the first"

    def __init__(self, k: int) -> None:
        self.k, self.key, self.name = k, f"hr_{k}", f"HR@{k}"  # type: ignore[misc]

    def gain(self, ranks: Ranks) -> Ranks:
        """1 within the first k."""
        return (ranks <= self.k).astype(np.float64)


class Ndcg(OfRanks):
    """The mean of 1 / log2(1 + rank) within the first k: the first place is worth 1, the tenth .29.

    >>> Ndcg(5).of_ranks(np.array([1.0, 3.0, 6.0]))
    0.5
    """

    error = "1 - NDCG"

    def __init__(self, k: int) -> None:
        self.k, self.key, self.name = k, f"ndcg_{k}", f"NDCG@{k}"  # type: ignore[misc]

    def gain(self, ranks: Ranks) -> Ranks:
        """Less for later places."""
        return np.where(ranks <= self.k, 1.0 / np.log2(1.0 + np.maximum(ranks, 1.0)), 0.0)
