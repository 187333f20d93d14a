"""`Adaptive`: intervals that widen where too many values leave them, and narrow where too few do, in a live stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError, SettingError
from recurra.runtime.ops.forecast import middle_of
from recurra.tasks.forecasting.residuals import Residuals

Floats = NDArray[np.float64]

MOST_TRACKED = 24  # horizons that are followed; those between are between
RATE = 0.005


class Adaptive:
    """Adaptive conformal inference for one series: each quantile is moved until it has its share below it.

    With every value that arrives, the forecasts of it that were made 1, 2 .. N rows before are judged. A quantile that
    was left asks for a larger share of the validation part's errors from then on, one that held for a little less:

        share += rate (left - miss),    left = 1 where the value lies outside it, miss = how often that is to be

    The interval is then as wide as that share of the errors on the validation part. In the long run each quantile is
    left as often as its level says, whatever the series does. Memory: the forecasts that wait for their values, of at
    most 24 horizons.

    Args:
        residuals: of the model.
        levels: of the quantiles.
        horizon: N.
        rate: how fast; 0.005 is the paper's.

    Source:
        Gibbs and Candes, Adaptive Conformal Inference Under Distribution Shift, 2021.
    """

    def __init__(self, residuals: Residuals, levels: Sequence[float], horizon: int, rate: float) -> None:
        self.residuals, self.levels, self.rate = residuals, np.asarray(levels, np.float64), rate
        self.middle, self.horizon = middle_of(levels), horizon
        self.tracked = np.unique(np.linspace(1, horizon, min(horizon, MOST_TRACKED)).round().astype(np.int64))
        self.above = np.arange(len(levels)) > self.middle
        self.share = np.where(self.above, self.levels, 1 - self.levels)  # of values that a quantile is to hold
        self.shares = np.tile(self.share, (len(self.tracked), 1))
        self.waiting = np.full((len(self.tracked), horizon, len(levels)), np.nan)
        self.count = np.zeros(1, np.int64)
        self._least = np.array([residuals.stretched(q, self.share[q]) for q in range(len(levels))])

    def take(self, value: float) -> None:
        """Judge the forecasts of the next row by its value; NaN is missing."""
        slots = int(self.count[0]) % self.tracked
        if value == value:
            said = self.waiting[np.arange(len(slots)), slots]
            left = np.where(self.above, value > said, value < said)
            moved = self.rate * (left - (1 - self.share))
            self.shares += np.where(np.isnan(said), 0.0, moved)
        self.waiting[np.arange(len(slots)), slots] = np.nan

    def give(self, quantiles: Floats) -> Floats:
        """The model's quantiles [N, Q] after that row, adapted; they wait for their values."""
        found = quantiles.copy()
        n = np.arange(1, self.horizon + 1)
        middle = quantiles[:, self.middle]
        for q in (*range(self.middle + 1, len(self.levels)), *range(self.middle - 1, -1, -1)):
            if self._least[q] > 0:
                times = self.residuals.stretched(q, np.interp(n, self.tracked, self.shares[:, q])) / self._least[q]
                found[:, q] = middle + np.maximum(0.0, times) * (quantiles[:, q] - middle)
            inner = found[:, q - 1] if q > self.middle else found[:, q + 1]
            found[:, q] = np.maximum(found[:, q], inner) if q > self.middle else np.minimum(found[:, q], inner)
        slots = int(self.count[0]) % self.tracked
        self.waiting[np.arange(len(slots)), slots] = found[self.tracked - 1]
        self.count += 1
        return found

    def skip(self) -> None:
        """A row that was left out."""
        self.take(float("nan"))
        self.count += 1

    def state(self) -> dict[str, NDArray[Any]]:
        """All that it remembers, by name."""
        return {name: array.copy() for name, array in self._arrays().items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` gave.

        Raises:
            DataError: it is of another model.
        """
        for name, array in self._arrays().items():
            got = state.get(name)
            if got is None or got.shape != array.shape or got.dtype != array.dtype:
                raise DataError(f"the state has no {name!r} that fits these intervals: take a snapshot of this model")
        if int(state["count"][0]) < 0:
            raise DataError("the state has a count below zero: take another snapshot")
        for name, array in self._arrays().items():
            array[...] = state[name]

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"shares": self.shares, "waiting": self.waiting, "count": self.count}


def check_rate(rate: Any) -> float:
    """The rate as a number.

    Raises:
        SettingError: it is no number above 0 and below 1.
    """
    number = isinstance(rate, (int, float, np.number)) and not isinstance(rate, bool)
    if not number or not 0 < float(rate) < 1:
        raise SettingError(f"adapt: rate={rate!r}, expected a number above 0 and below 1, such as {RATE}")
    return float(rate)
