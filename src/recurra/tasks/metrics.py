"""Errors of forecasts, gathered part by part: the whole need not be in memory at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.runtime.ops.forecast import middle_of

Floats = NDArray[np.floating[Any]]
Keys = NDArray[np.integer[Any]]


class Score:
    """Errors of the forecasts of one forecaster; missing targets are left out of all of them.

    Letters: M origins, N horizons, Q quantiles. The middle quantile is the forecast.

        MAE = mean |y - f|
        MASE = mean |y - f| / (mean error of "the same again" in training)      Hyndman and Koehler 2006
        sMAPE = mean 2 |y - f| / (|y| + |f|), a share, 0 where both are 0           Makridakis 1993
        pinball = mean over levels a of max(a (y - q), (a - 1) (y - q))         Koenker and Bassett 1978
        coverage = share of targets from the lowest to the highest quantile

    Args:
        horizon: N.
        levels: of the quantiles; with one, there are no coverage and no pinball.
        groups: how many values each kind of key has: {"hour": 24}.

    >>> score = Score(2, [0.1, 0.5, 0.9])
    >>> forecast = np.array([[[1.0, 2.0, 4.0], [1.0, 3.0, 4.0]]])  # [M, N, Q]
    >>> score.add(np.array([[3.0, 5.0]]), forecast, scale=2.0)
    >>> score.summary()["mae"], score.summary()["mase"], score.summary()["coverage"], score.by_horizon()
    (1.5, 0.75, 0.5, [1.0, 2.0])
    """

    def __init__(self, horizon: int, levels: Sequence[float], groups: Mapping[str, int] | None = None) -> None:
        self.levels = np.asarray(levels, np.float64)
        self.middle = middle_of(levels)
        self.error = np.zeros(horizon)
        self.count = np.zeros(horizon, np.int64)
        self.scaled = self.relative = self.inside = self.tilted = 0.0
        self.groups = {name: (np.zeros(size), np.zeros(size, np.int64)) for name, size in (groups or {}).items()}

    def add(
        self, truth: Floats, forecast: Floats, *, scale: float = 1.0, keys: Mapping[str, Keys] | None = None
    ) -> None:
        """Take in some forecasts.

        Args:
            truth: [M, N], NaN where it is missing.
            forecast: [M, N, Q].
            scale: what MASE divides the error by.
            keys: of each kind a whole number for each target [M, N].
        """
        there = ~np.isnan(truth)
        middle = forecast[..., self.middle]
        error = np.where(there, np.abs(truth - middle), 0.0)
        self.error += error.sum(0)
        self.count += there.sum(0)
        self.scaled += float(error.sum()) / scale
        y, f = truth[there].astype(np.float64), forecast[there].astype(np.float64)
        size = np.abs(y) + np.abs(f[:, self.middle])
        self.relative += float((2 * error[there] / np.where(size > 0, size, 1.0)).sum())
        self.inside += float(((y >= f[:, 0]) & (y <= f[:, -1])).sum())
        over = y[:, None] - f
        self.tilted += float(np.maximum(self.levels * over, (self.levels - 1) * over).mean(1).sum())
        for name, (errors, counts) in self.groups.items():
            key = (keys or {})[name][there]
            errors += np.bincount(key, error[there], len(errors))
            counts += np.bincount(key, minlength=len(counts))

    def summary(self) -> dict[str, float | None]:
        """mae, mase, smape, coverage and pinball; None where there is nothing to say."""
        total = int(self.count.sum())
        if not total:
            return dict.fromkeys(("mae", "mase", "smape", "coverage", "pinball"))
        several = len(self.levels) > 1
        return {
            "mae": float(self.error.sum() / total),
            "mase": self.scaled / total,
            "smape": self.relative / total,
            "coverage": self.inside / total if several else None,
            "pinball": self.tilted / total if several else None,
        }

    def by_horizon(self) -> list[float | None]:
        """The MAE of each horizon."""
        return _means(self.error, self.count)

    def by(self, group: str) -> list[float | None]:
        """The MAE of each value of a key; None where there was none."""
        return _means(*self.groups[group])


def _means(sums: Floats, counts: Keys) -> list[float | None]:
    return [float(s / n) if n else None for s, n in zip(sums, counts, strict=True)]


def naive_scale(values: Floats, season: int) -> float:
    """The mean error of "the same again" one season later: what MASE divides by; 1 where it is 0 or unknown.

    >>> naive_scale(np.array([1.0, 2.0, 3.0, np.nan, 6.0, 4.0]), 2)
    2.5
    """
    errors = np.abs(values[season:] - values[:-season]) if season < len(values) else np.zeros(0)
    errors = errors[~np.isnan(errors)]
    mean = float(errors.mean()) if len(errors) else 0.0
    return mean if mean > 0 else 1.0
