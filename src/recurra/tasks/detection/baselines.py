"""What a detector's network must beat: the step before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from recurra.tasks.base import Floats
from recurra.tasks.baselines import Baseline

if TYPE_CHECKING:
    from recurra.tasks.bench import Bench


class LastValue(Baseline):
    """The numbers of the step before, with the deviation of such changes in training."""

    key, kind, words = "step_before", "naive", "the numbers of the step before"
    name = "last value"

    def __init__(self, mean: Floats, spread: Floats) -> None:
        self.mean, self.spread, self.parameters = mean, spread, mean.size + spread.size

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """Of the training part."""
        parts = [s.x[start:stop] for s, start, stop in bench.pieces("train")]
        changes = np.concatenate([np.diff(x, axis=0) for x in parts])
        spread = np.sqrt(np.nanmean(changes**2, 0)) if np.isfinite(changes).any() else np.ones(parts[0].shape[1])
        return cls(np.nanmean(np.concatenate(parts), 0), np.maximum(np.nan_to_num(spread, nan=1.0), 1e-6))

    def predict(self, sequence: Any, start: int, stop: int) -> NDArray[np.float64]:
        """[M, I, 2]."""
        x = np.concatenate([self.mean[None], sequence.x[: stop - 1]])
        known = np.where(np.isnan(x), 0, np.arange(len(x))[:, None])
        x = np.take_along_axis(x, np.maximum.accumulate(known, 0), 0)[start:]
        x = np.where(np.isnan(x), self.mean, x)
        return np.stack([x, np.broadcast_to(self.spread, x.shape)], -1)
